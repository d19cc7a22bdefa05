"""What is said of a Debezium configuration while it becomes ours, and values that stand elsewhere."""

import os
import re
from pathlib import Path

import javaproperties

from service.debezium.keys import Kind, rule
from service.debezium.settings import Settings

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
STAND_IN = "replace_me"
"""In place of a value that is not to be had here; it may be a host, a user, a slot."""


class Notes:
    """Lines for the user, and the environment variables that secrets become. `connector` is its name with us."""

    def __init__(self, settings: Settings, connector: str) -> None:
        self.settings = settings
        self.lines: list[str] = []
        self.to_decide = 0
        self._variable = re.sub(r"\W", "_", connector).upper()

    def add(self, key: str, kind: Kind, text: str) -> None:
        self.lines.append(f"{self.settings.shown(key)}: {kind}: {text}")
        self.to_decide += kind is Kind.DECIDE

    def add_rest(self) -> None:
        """A line for each key that nothing took, but for those whose value is what tailrace does."""
        for key, value in self.settings.rest():
            found = rule(key)
            if not value or value.lower() in found.same:
                continue
            text = found.text.format(same=found.same[0] if found.same else "")
            self.add(key, found.kind, f"{value}: {text}" if found.same else text)

    def plain(self, *keys: str) -> str:
        """The value of the first key that has one, else ""."""
        key = next((key for key in keys if self.settings.get(key)), keys[0])
        return self.followed(key, self.settings.take(*keys))

    def followed(self, key: str, value: str) -> str:
        """A value that is no secret, with what providers' references in it lead to here and now."""
        missing = [text for text in _REFERENCE.finditer(value) if self._found(text) is None]
        if missing:
            self.add(key, Kind.DECIDE, f"{missing[0][0]} leads nowhere here; {STAND_IN} stands in its place")
        return _REFERENCE.sub(lambda text: self._found(text) or STAND_IN, value)

    def secret(self, purpose: str, *keys: str) -> str | None:
        """A reference for the first key that has a value; None where none has."""
        key = next((key for key in keys if self.settings.get(key)), keys[0])
        value = self.settings.take(*keys)
        return self.secret_value(key, purpose, value) if value else None

    def secret_value(self, key: str, purpose: str, value: str) -> str:
        """A reference of ours for a secret, which is itself never shown. `purpose` ends a variable's name."""
        variable = f"{self._variable}_{purpose}"
        found = _REFERENCE.fullmatch(value)
        provider, name = self._parts(found) if found else ("", "")
        if provider == "env":
            return f"${{env:{name.partition(':')[0]}}}"
        if provider == "directory":
            return f"${{file:{name.replace(':', '/', 1)}}}"
        place = f"{found[0]} is not read by tailrace" if found else "the secret stands in clear in that file"
        self.add(key, Kind.DECIDE, f"{place}: put it into the environment variable {variable}")
        return f"${{env:{variable}}}"

    def _parts(self, reference: re.Match[str]) -> tuple[str, str]:
        """(provider, name). Debezium Server knows the environment alone, and does not name it."""
        if self.settings.is_server:
            return "env", reference[1]
        provider, _, name = reference[1].partition(":")
        return provider, name

    def _found(self, reference: re.Match[str]) -> str | None:
        provider, name = self._parts(reference)
        place, _, key = name.partition(":")
        if provider == "env":
            return os.environ.get(place) or key or None
        try:
            if provider == "file":
                return javaproperties.loads(Path(place).read_text()).get(key)
            if provider == "directory":
                return (Path(place) / key).read_text().strip()
        except (OSError, ValueError):
            return None
        return None
