"""A real Debezium engine that goes on until it is stopped or killed, for tests that take its place."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracle.oracle import engine
from tests.servers import until

STOP_TIMEOUT_S = 120


class LiveEvent(NamedTuple):
    """`key` and `value` are decoded JSON, without schemas; `value` is None for a tombstone."""

    topic: str
    key: Any
    value: Any


class LiveEngine:
    """One run of the engine over `properties`, which are those of a connector. It has a small heap."""

    def __init__(self, folder: Path, properties: Mapping[str, str]) -> None:
        self._raw = folder / "debezium-events.tsv"
        self._log = folder / "debezium.log"
        self._properties = folder / "debezium.properties"
        plain = {"key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"}
        text = "".join(f"{name}={value}\n" for name, value in {**plain, **properties}.items())
        self._properties.write_text(text.replace("\\", "\\\\"))

    def start(self) -> None:
        class_path, java = engine()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    java,
                    "-Xmx256m",
                    "-XX:+UseSerialGC",
                    "-cp",
                    class_path,
                    "Live",
                    str(self._properties),
                    str(self._raw),
                ],
                stdout=log,
                stderr=log,
            )

    def events(self) -> list[LiveEvent]:
        """Every whole event so far; one that a kill cut is none."""
        text = self._raw.read_text() if self._raw.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [
            LiveEvent(topic, _json(key), _json(value)) for topic, key, value in (line.split("\t") for line in lines)
        ]

    def seen(self) -> int:
        """How many events that are. Fails with the engine's log where it has ended by itself."""
        assert self._process.poll() is None, self._log.read_text()[-4000:]
        return self._raw.read_bytes().count(b"\n") if self._raw.exists() else 0

    def stop(self) -> None:
        """In order: the engine stores its last offset."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_TIMEOUT_S)

    def kill(self, when: Callable[[], Any]) -> None:
        """kill -9 at a moment when `when` is true: not in the middle of writing the file of its offsets."""

        def frozen() -> bool:
            os.kill(self._process.pid, signal.SIGSTOP)
            if when():
                return True
            os.kill(self._process.pid, signal.SIGCONT)
            return False

        until(frozen, "the engine can be killed")
        self.end()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _json(text: str) -> Any:
    return json.loads(text)  # "null" for none, which is what Java writes of it
