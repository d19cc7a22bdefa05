"""Servers of our own that a script in tests/rig starts from the programs that `.ci/servers` fetched."""

import os
import random
import signal
import socket
import subprocess
from pathlib import Path

from tests.mysql_servers import PROGRAMS
from tests.servers import ROOT


class Rigged:
    """One server process in a folder; `name` is its script's and its programs'."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def launch(self, *arguments: str, jvm_options: str = "") -> subprocess.Popen[str]:
        """Begin to start it; `finish` waits until it serves."""
        environment = {**os.environ, **({"RIG_JVM_OPTIONS": jvm_options} if jvm_options else {})}
        return subprocess.Popen(
            [self._script, "start", str(PROGRAMS / self.name), str(self.folder), *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """In order, as an operator does it."""
        self._rig("stop")

    def kill(self) -> None:
        """kill -9; `start` brings it up again."""
        self._rig("kill")

    def signal(self, signum: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT lets it go on."""
        os.kill(int((self.folder / "server.pid").read_text()), signum)

    def lives(self) -> bool:
        done = subprocess.run([self._script, "status", self.folder], capture_output=True, check=False)
        return done.returncode == 0

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "server.log").read_text()

    @property
    def _script(self) -> Path:
        return ROOT / "tests" / "rig" / self.name

    def _rig(self, verb: str) -> None:
        done = subprocess.run([self._script, verb, self.folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{verb} of {self.name}: {done.stderr[-2000:]}"


def installed(name: str) -> bool:
    return (PROGRAMS / name / "VERSION").exists()


def finish(started: subprocess.Popen[str]) -> None:
    _, said = started.communicate()
    assert started.returncode == 0, said[-2000:]


def free_port() -> int:
    """Below the ports that the kernel hands to clients: one that dials a dead server on such a port may be given the
    same port, and is then connected to itself."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 20000 and 32000")
