"""The image, built from docker/Dockerfile and run beside a real Postgres."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fold import fold
from tests.servers import ROOT, OwnPostgres, skip, until

pytestmark = pytest.mark.container

IMAGE = "tailrace-test"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
RIG = ROOT / "tests" / "rig" / "podman"
RIG_CONF = Path(os.environ.get("RIG_PODMAN_HOME", "/var/tmp/rig-podman")) / "containers.conf"
BASE = "docker.io/library/python:3.11-slim-bookworm"
EVENTS = "/var/lib/tailrace/events"
PATIENCE_S = 240  # each look is three programs of the engine's


class Engine(NamedTuple):
    program: str
    environment: dict[str, str]
    build: list[str]

    def __call__(self, *arguments: str, check: bool = True) -> str:
        return _run([self.program, *arguments], self.environment, check)


def _run(command: list[str], environment: dict[str, str], check: bool = True) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}", pytrace=False)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Docker where it answers, else podman as the rig sets it up; the image is built."""
    found = _docker() or _podman() or skip(f"no container engine: start docker, or (Debian, root) {RIG} install")
    _run(found.build, found.environment)
    return found


def _docker() -> Engine | None:
    if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        return None
    return Engine("docker", {}, ["docker", "build", "-t", IMAGE, "-f", str(DOCKERFILE), str(ROOT)])


def _podman() -> Engine | None:
    if os.geteuid() or not shutil.which("podman") or not RIG_CONF.exists():
        return None
    podman = Engine("podman", {"CONTAINERS_CONF": str(RIG_CONF)}, [])
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode:
        return None
    # Podman's own image format has no place for a health check.
    return podman._replace(build=[str(RIG), "build", IMAGE, str(ROOT), "-f", str(DOCKERFILE), "--format", "docker"])


class Container:
    """tailrace on the host's network, its state and events on a volume of its own."""

    def __init__(self, engine: Engine, connectors: Path, name: str) -> None:
        self.engine = engine
        self.name = name
        self._copy = connectors.with_name("copied")
        engine("volume", "create", name)
        mounts = ["-v", f"{connectors}:/etc/tailrace:ro", "-v", f"{name}:/var/lib/tailrace"]
        engine("run", "--detach", "--name", name, "--network", "host", *mounts, IMAGE)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine("inspect", "--format", "{{json .State}}", self.name))
        return state

    def execute(self, *command: str) -> str:
        return self.engine("exec", self.name, *command)

    def holds(self, tables: dict[str, dict[str, Any]]) -> bool:
        """The events on the volume, hidden files included, amount to these rows. Fails where tailrace has ended."""
        shutil.rmtree(self._copy, ignore_errors=True)
        self.engine("cp", f"{self.name}:{EVENTS}", str(self._copy), check=False)
        if not self.state()["Running"]:
            pytest.fail(f"the container ended:\n{self.logs()}", pytrace=False)
        return fold(self._copy) == tables

    def logs(self) -> str:
        return subprocess.run(
            [self.engine.program, "logs", "--tail", "20", self.name],
            env={**os.environ, **self.engine.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    def remove(self) -> None:
        self.engine("rm", "--force", "--volumes", self.name, check=False)
        self.engine("volume", "rm", "--force", self.name, check=False)


@pytest.fixture
def shop(own_postgres: Callable[..., OwnPostgres]) -> OwnPostgres:
    own = own_postgres()
    own.execute("create table items (id bigint primary key, name text not null)")
    own.execute("insert into items select n, 'first' from generate_series(1, 100) n")
    return own


@pytest.fixture
def container(engine: Engine, shop: OwnPostgres, tmp_path: Path) -> Iterator[Container]:
    connectors = tmp_path / "connectors"
    connectors.mkdir()
    connectors.chmod(0o755)
    sink = {"type": "files", "directory": EVENTS}
    (connectors / "shop.json").write_text(json.dumps(shop.connector("shop", sink=sink)))
    running = Container(engine, connectors, f"{IMAGE}-{shop.name.replace('_', '-')}")
    yield running
    running.remove()


def expected(shop: OwnPostgres) -> dict[str, dict[str, Any]]:
    rows = shop.execute("select id, name from items")
    return {"public.items": {json.dumps({"id": key}): {"id": key, "name": name} for key, name in rows}}


def test_a_killed_container_goes_on_from_its_volume(container: Container, shop: OwnPostgres) -> None:
    until(lambda: container.holds(expected(shop)), "the rows that were there arrive", PATIENCE_S)
    shop.execute("update items set name = 'second' where id <= 50")
    container.engine("kill", "--signal", "KILL", container.name)
    until(lambda: not container.state()["Running"], "the container is gone", PATIENCE_S)
    shop.execute("insert into items values (101, 'while it was away')")
    shop.execute("delete from items where id > 90 and id <= 100")
    container.engine("start", container.name)
    until(lambda: container.holds(expected(shop)), "what happened meanwhile arrives", PATIENCE_S)
    container.engine("stop", "--time", "60", container.name)
    assert container.state()["ExitCode"] == 0, container.logs()


def test_the_container_is_not_root_and_says_that_it_is_alive(container: Container) -> None:
    assert container.execute("id", "-u") != "0"
    image = json.loads(container.engine("inspect", "--format", "{{json .Config}}", container.name))
    word, *check = image["Healthcheck"]["Test"]
    assert word == "CMD"
    asked = ("exec", container.name, *check)
    until(lambda: "is alive" in container.engine(*asked, check=False), "it is alive", PATIENCE_S)


def test_the_image_is_the_command(engine: Engine) -> None:
    version = engine("run", "--rm", IMAGE, "--version")
    assert version.startswith("tailrace ")
    assert "(compiled)" in version
