"""Are the packages that Python finds under our names ours?

`schema` and `service` are names of other distributions too, and an environment that is shared lets one overwrite
the other in silence.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("connectors", "sinks", "offsets", "schema", "service")
HINT = "install tailrace in an environment of its own: pipx install tailrace, uv tool install tailrace or its container"


def foreign() -> str | None:
    """One sentence about the first package that is not tailrace's own; None where all are."""
    root = Path(__file__).resolve().parent.parent
    recorded = dict(_recorded_hashes(root))
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            return f"tailrace's package {name} is missing under {root}"
        found = Path(spec.origin).resolve()
        if found != root / name / "__init__.py":
            return f"tailrace's package {name} is hidden by {found}, which belongs to something else"
        if name in recorded and _sha256(found) != recorded[name]:
            return f"tailrace's package {name} was overwritten by another one of that name: {found} is not ours"
    return None


def _recorded_hashes(root: Path) -> Iterator[tuple[str, str]]:
    """(package, hash of its first file) as pip wrote them; nothing for a checkout, where nobody overwrites."""
    try:
        ours = distribution("tailrace")
    except PackageNotFoundError:
        return
    if Path(str(ours.locate_file(""))).resolve() != root:
        return
    for file in ours.files or ():
        if file.name == "__init__.py" and len(file.parts) == 2 and file.parts[0] in PACKAGES and file.hash:
            yield file.parts[0], file.hash.value


def _sha256(file: Path) -> str:
    return urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
