"""A real Debezium engine that fills topics and a registry: what a user has who comes from Debezium."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.oracle.oracle import engine

HEAP = "-Xmx400m"
REGISTRIES = ("key.converter.schema.registry.url", "value.converter.schema.registry.url", "schema.registry.url")


class Publisher:
    """Writes Avro by Confluent's converter and Kafka's own producer until `stop`; its offsets stay in `folder`."""

    def __init__(self, folder: Path, properties: Mapping[str, str], *, bootstrap: str, registry: str) -> None:
        self._file = folder / "publisher.properties"
        self._log = folder / "publisher.log"
        self._bootstrap = bootstrap
        kept = {"offset.storage.file.filename": str(folder / "offsets.dat")}
        settings = {**kept, **properties, **dict.fromkeys(REGISTRIES, registry)}
        self._file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def start(self) -> None:
        jars, java = engine()
        command = [java, HEAP, "-XX:+UseSerialGC", "-cp", jars, "Publisher", str(self._file), self._bootstrap]
        with self._log.open("wb") as log:
            self._engine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def running(self) -> bool:
        """Fails with the engine's own words where it has ended."""
        assert self._engine.poll() is None, f"the engine ended:\n{self._said()}"
        return True

    def stop(self) -> None:
        """In order: what it has read is published, its offset stored."""
        self._engine.communicate(b"\n")
        assert self._engine.returncode == 0, f"the engine failed:\n{self._said()}"

    def kill(self) -> None:
        if self._engine.poll() is None:
            self._engine.kill()
            self._engine.wait()

    def _said(self) -> str:
        """Its last lines, which may hold whole schemas."""
        return "\n".join(line[:500] for line in self._log.read_text().splitlines()[-40:])
