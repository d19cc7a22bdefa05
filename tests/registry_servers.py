"""A real schema registry for tests: Apicurio, which speaks Confluent's protocol.

It is found by a ladder: an address from the environment (`TAILRACE_TEST_REGISTRY`: an Apicurio server,
``http://host:port``), the jars that `.ci/servers` fetched, a container. Where none is found the test is skipped, which
CI refuses.
"""

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.mysql_servers import PROGRAMS
from tests.rigs import Rigged, finish, free_port, installed
from tests.servers import Rung, docker_answers, skip, until

VARIABLE = "TAILRACE_TEST_REGISTRY"
IMAGE = "apicurio/apicurio-registry:3.3.3"
# Apicurio's Confluent API, and its own, which also knows global ids: https://www.apicur.io/registry/docs
CONFLUENT, OWN = "/apis/ccompat/v7", "/apis/registry/v3"
READ_TIMEOUT_S = 60

_serial = itertools.count(1)


def find_registry() -> Rung:
    """The first rung of the ladder that holds. Starts nothing."""
    if address := os.environ.get(VARIABLE):
        return Rung("environment", address)
    if installed("apicurio"):
        return Rung("programs", str(PROGRAMS / "apicurio"))
    if docker_answers():
        return Rung("container", IMAGE)
    return Rung("none", f"no schema registry: set {VARIABLE}, run .ci/servers, or start docker")


def logins(password: str, **users: str) -> list[str]:
    """Settings of a registry that lets in nobody else. `users` are names with a role: ``sr-admin``, ``sr-developer``,
    ``sr-readonly``."""
    embedded = "quarkus.security.users.embedded"
    return [
        "quarkus.http.auth.basic=true",
        "apicurio.auth.role-based-authorization=true",
        f"{embedded}.plain-text=true",
        *(f"{embedded}.users.{name}={password}" for name in users),
        *(f"{embedded}.roles.{name}={role}" for name, role in users.items()),
    ]


class LocalRegistry(Rigged):
    """A registry of our own on 127.0.0.1; what is registered outlives `stop` and `kill`.

    `settings` are Apicurio's or Quarkus' own, ``quarkus.http.auth.basic=true``; a change takes effect at the next
    start. `tls_port` is free for ``quarkus.http.ssl-port``.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        if not installed("apicurio"):
            skip("no jars of Apicurio Registry on this machine: run .ci/servers")
        super().__init__("apicurio", Path(tempfile.mkdtemp(prefix="tailrace-registry-")))
        self.settings = list(settings)
        self.port, self.tls_port = free_port(), free_port()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        finish(self.launch(str(self.port), *self.settings))

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve() -> Iterator[str]:
    """Yields the address of a running Apicurio server, from whichever rung."""
    rung = find_registry()
    if rung.kind == "environment":
        yield rung.place.rstrip("/")
    elif rung.kind == "programs":
        server = LocalRegistry()
        server.start()
        yield server.address
        server.remove()
    elif rung.kind == "container":
        yield from _serve_container(rung.place)
    else:
        skip(rung.place)


def _serve_container(image: str) -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    with DockerContainer(image).with_exposed_ports(8080) as container:
        address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8080)}"
        until(lambda: _answers(address), "the registry answers")
        yield address


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}{CONFLUENT}/subjects").is_success
    except httpx.TransportError:
        return False


class Registry:
    """A running registry, and subjects of a test's own on it: those whose names begin with `prefix`.

    `url` is what a connector file names; `client` speaks Confluent's API, with paths such as ``/subjects``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"{address}{CONFLUENT}"
        self.prefix = f"test_{os.getpid()}_{next(_serial)}"
        self.client = httpx.Client(base_url=self.url, timeout=READ_TIMEOUT_S)

    def register(self, subject: str, schema: Any) -> int:
        """The id that an event carries; the schema is Avro, as a Python value."""
        answer = self.client.post(f"/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
        return int(_good(answer)["id"])

    def schema(self, schema_id: int) -> Any:
        return json.loads(_good(self.client.get(f"/schemas/ids/{schema_id}"))["schema"])

    def subjects(self) -> list[str]:
        """Those of this test."""
        return sorted(name for name in _good(self.client.get("/subjects")) if name.startswith(self.prefix))

    def versions(self, subject: str) -> list[int]:
        """In order; none where nobody registered it."""
        answer = self.client.get(f"/subjects/{subject}/versions")
        return [] if answer.status_code == httpx.codes.NOT_FOUND else sorted(_good(answer))

    def version(self, subject: str, version: int | str = "latest") -> dict[str, Any]:
        """The registry's words: subject, version, id, schema (as text)."""
        return dict(_good(self.client.get(f"/subjects/{subject}/versions/{version}")))

    def require(self, subject: str, level: str) -> None:
        """The compatibility of one subject's versions: ``BACKWARD``, ``FULL``, ``NONE``."""
        _good(self.client.put(f"/config/{subject}", json={"compatibility": level}))

    def apicurio_ids(self, subject: str, version: int | str = "branch=latest") -> tuple[int, int]:
        """(global id, content id): a global id is of one version, a content id of all that have the same text."""
        found = httpx.get(f"{self.address}{OWN}/groups/default/artifacts/{subject}/versions/{version}")
        return int(_good(found)["globalId"]), int(found.json()["contentId"])

    def drop(self) -> None:
        """Leave no subject behind on a registry that other tests share."""
        for subject in self.subjects():
            _good(self.client.delete(f"/subjects/{subject}"))
            _good(self.client.delete(f"/subjects/{subject}", params={"permanent": True}))

    def close(self) -> None:
        self.client.close()


class OwnRegistry(Registry):
    """A registry of the test's own, which may be stopped, killed or set otherwise: `server`."""

    def __init__(self, server: LocalRegistry) -> None:
        self.server = server
        super().__init__(server.address)

    def remove(self) -> None:
        self.close()
        self.server.remove()


def _good(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()
