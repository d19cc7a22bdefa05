"""The command line: what it prints, where, and with which exit code."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from service import __version__, exits, implementation
from tests.servers import ROOT, Tailrace

ADAPTERS = Path(__file__).parent / "adapters"


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A connector whose source is the stand-in."""
    monkeypatch.setenv("PYTHONPATH", str(ADAPTERS))
    source = {"type": "standin", "diary": str(tmp_path / "diary")}
    return {"name": "shop", "source": source, "sink": {"type": "discard"}}


def test_version_is_the_packages_own(tailrace: Tailrace) -> None:
    assert tailrace("--version").stdout == f"tailrace {__version__} ({implementation()})\n"


def test_help_names_every_command(tailrace: Tailrace) -> None:
    text = tailrace("--help").stdout
    for command in ("run", "check", "tail", "demo", "offsets", "schemas", "config"):
        assert f"  {command} " in text


@pytest.mark.parametrize(
    "arguments", [["--no-such-option"], ["no-such-command"], ["run"], ["check"], ["tail"], ["offsets", "seek"]]
)
def test_bad_usage_ends_with_2(tailrace: Tailrace, arguments: list[str]) -> None:
    done = tailrace(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: tailrace" in done.stderr


def test_config_schema_is_json_that_names_every_source_and_sink(tailrace: Tailrace) -> None:
    schema = json.loads(tailrace("config", "schema").stdout)
    text = json.dumps(schema)
    assert all(f'"const": "{kind}"' in text for kind in ("postgres", "files", "stdout"))


def test_errors_go_to_stderr_as_a_sentence_and_what_to_do(tailrace: Tailrace, tmp_path: Path) -> None:
    file = tmp_path / "gone.json"
    for command in ("run", "check", "tail"):
        done = tailrace(command, file)
        assert done.returncode == 2
        assert f"{file}: cannot be read: No such file or directory" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tailrace: Tailrace, tmp_path: Path) -> None:
    done = tailrace("--debug", "run", tmp_path / "gone.json")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("does", "code", "lines"),
    [
        ("idle", 0, ["ok    shop: the stand-in is there"]),
        ("flaky", 0, ["warn  shop: it may stumble; alter system set stumbling = off"]),
        ("gap", 1, ["ok    shop: the stand-in is there", "fail  shop: there is a gap; select mend()"]),
        ("unreachable", 1, ["fail  shop: the stand-in is away; bring it back"]),
    ],
)
def test_check_prints_a_line_per_finding_with_what_mends_it(
    tailrace: Tailrace, standin: dict[str, Any], does: str, code: int, lines: list[str]
) -> None:
    standin["source"]["does"] = does
    done = tailrace("check", tailrace.write(standin))
    assert done.returncode == code
    assert set(lines) <= set(done.stdout.splitlines())


def test_check_names_a_broken_file_and_still_checks_the_others(tailrace: Tailrace, standin: dict[str, Any]) -> None:
    tailrace.write(standin)
    (tailrace.folder / "broken.json").write_text("{}")
    done = tailrace("check", tailrace.folder)
    assert done.returncode == 2
    assert "ok    shop: the stand-in is there" in done.stdout
    assert f"fail  {tailrace.folder / 'broken.json'}: name: is missing" in done.stdout


def test_logs_are_json_lines_where_nobody_watches(tailrace: Tailrace, standin: dict[str, Any]) -> None:
    standin["source"]["does"] = "gap"
    done = tailrace("run", tailrace.write(standin))
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if "gap" in line]
    assert (line["level"], line["connector"], line["hint"]) == ("error", "shop", "mend the log")
    assert line["event"] == "connector shop: the log has a gap"
    assert line["timestamp"].endswith("Z")


def read_screen(screen: int) -> str:
    """All that was written to a terminal which nobody holds any more: one read may give a part, the last gives EIO."""
    said = b""
    with suppress(OSError):
        while part := os.read(screen, 65536):
            said += part
    return said.decode()


def test_logs_are_for_people_on_a_terminal(tailrace: Tailrace, standin: dict[str, Any]) -> None:
    standin["source"]["does"] = "gap"
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "service", "run", str(tailrace.write(standin)), "--state", str(tailrace.state)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=terminal, check=False)
    os.close(terminal)
    lines = re.sub(r"\033\[\d+m", "", read_screen(screen)).splitlines()
    os.close(screen)
    assert done.returncode == 3
    assert re.fullmatch(r"\d\d:\d\d:\d\d shop  error: connector shop: the log has a gap", lines[0])
    assert lines[1].strip() == "mend the log"


def test_an_offset_store_of_somebody_elses_is_found_and_used(tailrace: Tailrace, standin: dict[str, Any]) -> None:
    standin["source"]["does"] = "ends"
    diary = tailrace.folder / "held"
    connector = {**standin, "offsets": {"type": "standin", "diary": str(diary)}}
    done = tailrace("run", tailrace.write(connector), "--until-caught-up")
    assert done.returncode == exits.DONE, done.stderr
    assert diary.read_text() == "shop held\n"


def test_a_connector_that_runs_does_not_begin_anew_where_its_offset_was_lost(
    tailrace: Tailrace, standin: dict[str, Any]
) -> None:
    standin["source"]["does"] = "flaky"
    offsets = {"type": "standin", "diary": str(tailrace.folder / "held"), "forgets": True}
    done = tailrace("run", tailrace.write({**standin, "offsets": offsets}), "--until-caught-up")
    assert done.returncode == exits.FATAL
    assert "has lost the offset of connector shop, which it had a moment ago" in done.stderr
    assert "start the connector again" in done.stderr
