"""Stores on a server: one runner at a time on all machines, and every fault leaves the old offset or the new one."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from offsets.errors import (
    HeldElsewhere,
    HoldLost,
    OffsetStoreFailed,
    OffsetStoreMisconfigured,
    OffsetStoreRefused,
)
from offsets.position import Offset, Position
from tests.conftest import OwnMysqlFactory, OwnPostgresFactory, OwnRedisFactory
from tests.offset_stores import OwnServer, Place, own_mysql_server, own_postgres_server, own_redis_server
from tests.servers import ROOT, until

LOCKING = ("postgres", "mysql", "redis", "kafka")
"""The state folder has a lock of its own (tests/service/test_state.py)."""
LOG = '{"system": "1", "slot": "s"}'

RUNNER = """
import json, sys, time
import offsets
from offsets.position import Position
kind, section = sys.argv[1], json.loads(sys.argv[2])
store = offsets.load(kind)
opened = store(store.Config(**section))
opened.hold("shop")
print("holds", flush=True)
order = 0
while "save" in sys.argv:
    order += 1
    opened.save("shop", Position(order, str(order), "{}"), {"public.orders": str(order)})
    print(order, flush=True)
time.sleep(600)
"""


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}", LOG)


@contextmanager
def running(place: Place, *what: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the connector `shop`, and saves without end where told to."""
    section = json.dumps(place.revealed())
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, place.type, section, *what], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    assert runner.stdout.readline() == "holds\n"
    yield runner
    runner.kill()
    runner.wait()
    runner.stdout.close()


@pytest.fixture(params=["postgres", "mysql97", "mariadb118", "redis"])
def own(
    request: pytest.FixtureRequest,
    own_postgres: OwnPostgresFactory,
    own_mysql: OwnMysqlFactory,
    own_redis: OwnRedisFactory,
) -> OwnServer:
    """A store on a server of the test's own, which asks for a password."""
    match request.param:
        case "postgres":
            return own_postgres_server(own_postgres(password="secret"))
        case "redis":
            return own_redis_server(own_redis("--requirepass", "secret"))
        case kind:
            return own_mysql_server(own_mysql(kind))


def test_a_second_runner_is_told_who_runs_the_connector(place: Place) -> None:
    if place.type not in LOCKING:
        return
    with running(place) as runner:
        with closing(place.open()) as store:
            assert store.holder("shop") == f"pid {runner.pid} on host {socket.gethostname()}"
            assert store.holder("crm") is None
            store.hold("crm")
        with closing(place.open()) as store, pytest.raises(HeldElsewhere, match=rf"shop .* pid {runner.pid} on host"):
            store.hold("shop")


def test_a_runner_that_ends_leaves_its_place_to_the_next(place: Place) -> None:
    if place.type not in LOCKING:
        return
    for _ in range(2):
        with closing(place.open()) as store:
            store.hold("shop")
            assert store.holder("shop") == f"pid {os.getpid()} on host {socket.gethostname()}"
            store.save("shop", at(1), {})
    with closing(place.open()) as store:
        assert store.holder("shop") is None


def test_a_killed_runner_has_saved_what_returned_or_the_next_and_never_a_mixture(place: Place) -> None:
    if place.type not in LOCKING:
        return
    with running(place, "save") as saver:
        assert saver.stdout is not None
        lines = [saver.stdout.readline() for _ in range(20)]
        saver.send_signal(signal.SIGKILL)
        returned = int([*lines, *saver.stdout][-1])
        saver.wait()
    with closing(place.open()) as store:
        # What was under way when its process died is done or undone before anybody else may save.
        offset = until(lambda: store.load("shop"), "the offset is there")
    assert offset.position.order in (returned, returned + 1)
    assert offset.snapshot == {"public.orders": str(offset.position.order)}


def test_a_killed_server_has_the_last_save_that_returned_or_the_next_and_never_a_mixture(own: OwnServer) -> None:
    with running(own.place, "save") as saver:
        assert saver.stdout is not None
        lines = [saver.stdout.readline() for _ in range(20)]
        own.kill()
        returned = int([*lines, *saver.stdout][-1])
    own.start()
    with closing(own.place.open()) as store:
        offset = store.load("shop")
    assert offset is not None
    assert offset.position.order in (returned, returned + 1)
    assert offset.snapshot == {"public.orders": str(offset.position.order)}


def test_a_server_that_goes_away_is_an_error_worth_a_retry_and_the_old_offset_is_there_later(own: OwnServer) -> None:
    with closing(own.place.open()) as store:
        store.hold("shop")
        store.save("shop", at(1), {"public.orders": "1"})
        own.stop()
        with pytest.raises(OffsetStoreFailed) as failed:
            store.save("shop", at(2), {"public.orders": "2"})
        assert failed.value.retryable
        assert own.place.address in str(failed.value)
    with pytest.raises(OffsetStoreFailed) as away:
        own.place.open()
    assert away.value.retryable
    assert "this host may reach it" in away.value.hint
    own.start()
    with closing(own.place.open()) as store:
        assert store.load("shop") == Offset(at(1), {"public.orders": "1"})
        store.hold("shop")
        store.save("shop", at(2), {})


def test_a_runner_whose_hold_was_taken_over_saves_nothing_more(own: OwnServer) -> None:
    with closing(own.place.open()) as first:
        first.hold("shop")
        first.save("shop", at(1), {})
        own.lose_hold("shop")
        with closing(own.place.open()) as other:
            until(lambda: other.holder("shop") is None, "the server has let the hold go")
            with running(own.place):
                with pytest.raises(OffsetStoreFailed) as lost:
                    first.save("shop", at(2), {"public.orders": "2"})
                assert lost.value.retryable
                assert other.load("shop") == Offset(at(1), {})


def test_servers_that_share_no_locks_still_let_only_the_last_runner_save(own: OwnServer) -> None:
    with closing(own.place.open()) as first:
        first.hold("shop")
        own.put_other_runner("shop", "pid 1 on host elsewhere")
        with pytest.raises(HoldLost, match="pid 1 on host elsewhere"):
            first.save("shop", at(2), {})
        with pytest.raises(HoldLost):
            first.replace("shop", None, "reset")
        assert first.load("shop") is None


def test_a_wrong_password_is_refused_and_not_retried(own: OwnServer) -> None:
    with pytest.raises(OffsetStoreRefused, match=own.place.address) as refused:
        own.place.open(password="wrong")
    assert not refused.value.retryable
    assert "offsets.password" in refused.value.hint
    assert "wrong" not in str(refused.value)


def test_a_user_without_rights_is_told_which(own: OwnServer) -> None:
    user = own.user_without_rights()
    with pytest.raises(OffsetStoreRefused) as refused, closing(own.place.open(user=user)) as store:
        store.save("shop", at(1), {})
    assert own.right in refused.value.hint


def test_the_least_privilege_of_the_documentation_is_enough(own: OwnServer) -> None:
    user = own.user_of_documentation()
    check = own.place.store_class().check
    check(own.place.config(user=user))
    with closing(own.place.open(user=user)) as store:
        store.hold("shop")
        store.save("shop", at(1), {"public.orders": "1"})
        store.save("shop", at(2), {"public.orders": ""})
        store.replace("shop", Offset(at(1), {"public.items": "1"}), "seek")
        assert [stored.connector for stored in store.all()] == ["shop"]
        assert store.changes("shop")[0].after == store.load("shop")
        assert store.holder("shop") is not None
    check(own.place.config(user=user))


def test_a_server_that_is_only_read_changes_nothing_and_is_worth_a_retry(own: OwnServer) -> None:
    user = own.user_of_documentation()
    with closing(own.place.open(user=user)) as store:
        store.save("shop", at(1), {"public.orders": "1"})
    own.only_read(user)
    with pytest.raises(OffsetStoreFailed) as failed, closing(own.place.open(user=user)) as store:
        store.hold("shop")
        store.save("shop", at(2), {"public.orders": "2"})
    assert failed.value.retryable
    assert "server that is written" in failed.value.hint
    with pytest.raises(OffsetStoreFailed, match="cannot write to"):
        own.place.store_class().check(own.place.config(user=user))
    with closing(own.place.open()) as store:
        assert store.load("shop") == Offset(at(1), {"public.orders": "1"})


def test_a_database_that_is_not_there_is_a_mistake_of_the_file(own: OwnServer) -> None:
    with pytest.raises(OffsetStoreMisconfigured) as missing:
        own.place.open(database=99 if own.place.type == "redis" else "nowhere")
    assert "offsets.database" in missing.value.hint


def test_check_changes_nothing_and_tells_settings_that_may_lose_an_offset(own: OwnServer) -> None:
    check = own.place.store_class().check
    before = own.contents()
    check(own.place.config())
    assert until(lambda: own.contents() == before, "the check left nothing behind")
    own.be_careless()
    assert any("lose offsets" in doubt.text for doubt in check(own.place.config()))


def test_a_certificate_file_that_cannot_be_used_is_named(own: OwnServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(OffsetStoreMisconfigured, match=r"offsets.tls.ca: .*ca.pem cannot be used") as unfit:
        own.place.open(tls={"mode": "verify-full", "ca": tmp_path / "ca.pem"})
    assert "offsets.tls" in unfit.value.hint


def test_a_killed_runner_frees_its_connector(own: OwnServer) -> None:
    with running(own.place) as runner, closing(own.place.open()) as store:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        own.pass_hold_time("shop")
        until(lambda: store.holder("shop") is None, "the server has noticed that the runner is gone")
        store.hold("shop")
