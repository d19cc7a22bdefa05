"""The house: imports point down, files and functions stay small enough to read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "service": {"connectors", "sinks", "schema", "offsets"},
    "connectors": {"schema", "offsets"},
    "sinks": {"schema", "offsets"},
    "schema": {"offsets.position"},
    "offsets": set[str](),
}
FILE_LINES = 400
FUNCTION_LINES = 60
FILES = [file for package in MAY_IMPORT for file in sorted((ROOT / package).rglob("*.py"))]


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def stray_imports(package: str, tree: ast.Module) -> list[str]:
    """What a file of `package` imports though it lies above, beside or in the tests."""
    allowed = MAY_IMPORT[package] | {package}
    return [
        name
        for name in imports(tree)
        if name.partition(".")[0] in {*MAY_IMPORT, "tests"}
        and not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    ]


def identify(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=identify)
def test_imports_point_down(file: Path) -> None:
    assert stray_imports(file.relative_to(ROOT).parts[0], ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("connectors", "from sinks.base import Sink"),
        ("connectors", "from service import config"),
        ("sinks", "import connectors.postgres"),
        ("schema", "from offsets.sqlite import SqliteStore"),
        ("offsets", "from schema.event import Event"),
        ("service", "from tests.servers import until"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(package: str, line: str) -> None:
    assert stray_imports(package, ast.parse(line))


@pytest.mark.parametrize("file", FILES, ids=identify)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, f"{node.name} is too long"


def test_every_adapter_in_the_tables_exists() -> None:
    import connectors
    import offsets
    import schema
    import sinks

    for table in (connectors, sinks, schema, offsets):
        for name in table.names():
            assert table.load(name).Config.model_fields["type"]
