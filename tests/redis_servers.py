"""Real Redis servers for tests.

A server is found by a ladder: an address from the environment (`TAILRACE_TEST_REDIS`: ``redis://host:port``), the
program that `.ci/servers` unpacked, a container. Where none is found the test is skipped, which CI refuses.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from tests.mysql_servers import PROGRAMS
from tests.rigs import Rigged, finish, free_port, installed
from tests.servers import Rung, docker_answers, skip

VARIABLE = "TAILRACE_TEST_REDIS"
IMAGE = "redis:7"


def find_redis() -> Rung:
    """The first rung of the ladder that holds. Starts nothing."""
    if address := os.environ.get(VARIABLE):
        return Rung("environment", address)
    if installed("redis"):
        return Rung("programs", str(PROGRAMS / "redis"))
    if docker_answers():
        return Rung("container", IMAGE)
    return Rung("none", f"no Redis: set {VARIABLE}, run .ci/servers, or start docker")


class LocalRedis(Rigged):
    """A server of our own on 127.0.0.1; what it acknowledged outlives `stop` and `kill`.

    `settings` are those of its command line, ``--requirepass``, ``secret``; a change takes effect at the next start.
    `tls_port` is free for ``--tls-port``.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        if not installed("redis"):
            skip("no programs of Redis on this machine: run .ci/servers")
        super().__init__("redis", Path(tempfile.mkdtemp(prefix="tailrace-redis-")))
        self.settings = list(settings)
        self.port, self.tls_port = free_port(), free_port()

    def start(self) -> None:
        finish(self.launch(str(self.port), *self.settings))

    def client(self, **options: Any) -> Any:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve() -> Iterator[tuple[str, int]]:
    """Yields host and port of a running server, from whichever rung."""
    rung = find_redis()
    if rung.kind == "environment":
        parts = urlsplit(rung.place)
        yield parts.hostname or "127.0.0.1", parts.port or 6379
    elif rung.kind == "programs":
        server = LocalRedis()
        server.start()
        yield "127.0.0.1", server.port
        server.remove()
    elif rung.kind == "container":
        from testcontainers.redis import RedisContainer

        with RedisContainer(rung.place).with_command("redis-server --appendonly yes --appendfsync always") as container:
            yield container.get_container_host_ip(), int(container.get_exposed_port(6379))
    else:
        skip(rung.place)
