"""The wheel as users get it: built from the source distribution, installed alone, run from anywhere."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from service import __version__
from service.ownership import PACKAGES

ROOT = Path(__file__).parent.parent.parent


def call(*command: str | Path, cwd: str | Path = "/", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Without our PYTHONPATH; the output is in the failure's message."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it and nothing else."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that was empty before the wheel was installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (wheel,) = distributions.glob("*.whl")
    call(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return folder / "bin"


def test_the_wheel_holds_the_packages_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, f"tailrace-{__version__}.dist-info"}


def test_the_source_distribution_holds_what_the_repository_does(distributions: Path) -> None:
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    listed = call("git", "-c", f"safe.directory={ROOT}", "ls-files", "*.py", cwd=ROOT).stdout.split()
    assert set(listed) <= packed


def test_the_command_runs_from_anywhere(installed: Path) -> None:
    assert call(installed / "tailrace", "--version").stdout == f"tailrace {__version__} (plain)\n"
    assert '"postgres"' in call(installed / "tailrace", "config", "schema").stdout


def test_a_connectors_process_finds_the_installed_packages(installed: Path, tmp_path: Path) -> None:
    """Nothing listens on port 1: the process came as far as connecting, whatever lies in the folder it ran from."""
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    (tmp_path / "shop.json").write_text(
        '{"name": "shop", "source": {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "user": "u"},'
        ' "sink": {"type": "discard"}, "errors": {"retry_for_s": 0}}'
    )
    done = call(installed / "tailrace", "run", "shop.json", "--state", tmp_path / "state", cwd=tmp_path, check=False)
    assert done.returncode == 4, done.stderr
    assert "connector shop: " in done.stderr
    assert "the wrong package" not in done.stderr


def test_a_package_that_another_distribution_overwrote_is_named(installed: Path) -> None:
    (package,) = installed.parent.glob("lib/python*/site-packages/schema/__init__.py")
    ours = package.read_text()
    package.write_text("class Schema: ...\n")
    try:
        done = call(installed / "tailrace", "--version", check=False)
    finally:
        package.write_text(ours)
    assert done.returncode == 2
    assert (
        f"tailrace's package schema was overwritten by another one of that name: {package} is not ours" in done.stderr
    )
    assert "pipx install tailrace" in done.stderr
    assert "Traceback" not in done.stderr
