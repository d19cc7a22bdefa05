"""What every offset store keeps. A new store adds its kind to tests/offset_stores.py."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from offsets.base import OffsetStore
from offsets.errors import OffsetMovedBackwards
from offsets.position import Offset, Position
from tests.offset_stores import Place

LOG = '{"type": "postgres", "host": "db", "slot": "tailrace_shop", "system": "1", "timeline": 1}'
PROMOTED = '{"type": "postgres", "host": "db2", "slot": "tailrace_shop", "system": "1", "timeline": 2}'
OTHER_SLOT = '{"type": "postgres", "host": "db", "slot": "tailrace_new", "system": "1", "timeline": 1}'
OTHER_SERVER = '{"type": "postgres", "host": "db", "slot": "tailrace_shop", "system": "2", "timeline": 1}'


START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(place: Place, clock: Clock) -> Iterator[OffsetStore]:
    with closing(place.open(clock)) as store:
        yield store


def at(order: int, origin: str = LOG) -> Position:
    return Position(order, f"0/{order:X}", origin)


def test_a_connector_never_seen_has_no_offset(store: OffsetStore) -> None:
    assert store.load("shop") is None


def test_what_was_saved_last_is_loaded(store: OffsetStore) -> None:
    store.save("shop", at(100), {"public.orders": "1"})
    store.save("shop", at(200), {})
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_snapshot_progress_is_merged_table_by_table(store: OffsetStore) -> None:
    store.save("shop", at(100), {"public.orders": "1", "public.items": "1"})
    store.save("shop", at(100), {"public.orders": "2", "public.new": "0"})
    offset = store.load("shop")
    assert offset is not None
    assert offset.snapshot == {"public.orders": "2", "public.items": "1", "public.new": "0"}


def test_empty_progress_forgets_a_table(store: OffsetStore) -> None:
    store.save("shop", at(1), {"public.orders": "1", "public.items": "1"})
    store.save("shop", at(2), {"public.orders": "", "public.never": ""})
    offset = store.load("shop")
    assert offset is not None
    assert offset.snapshot == {"public.items": "1"}


def test_connectors_do_not_see_each_other(store: OffsetStore) -> None:
    store.save("shop", at(100), {"public.orders": "1"})
    store.save("crm", at(7), {})
    assert store.load("shop") == Offset(at(100), {"public.orders": "1"})
    assert store.load("crm") == Offset(at(7), {})


def test_going_back_is_refused_and_changes_nothing(store: OffsetStore) -> None:
    store.save("shop", at(200), {"public.orders": "1"})
    with pytest.raises(OffsetMovedBackwards, match=r"shop .* back from 0/C8 to 0/64") as refused:
        store.save("shop", at(100), {"public.orders": "2"})
    assert "tailrace offsets seek shop 0/64" in refused.value.hint
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_the_same_position_may_be_saved_again(store: OffsetStore) -> None:
    store.save("shop", at(200), {})
    store.save("shop", at(200), {"public.orders": "1"})
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_a_promoted_server_is_the_same_log_and_may_not_go_back(store: OffsetStore) -> None:
    store.save("shop", at(200), {})
    with pytest.raises(OffsetMovedBackwards):
        store.save("shop", at(100, PROMOTED), {})
    store.save("shop", at(300, PROMOTED), {})
    assert store.load("shop") == Offset(at(300, PROMOTED), {})


@pytest.mark.parametrize("origin", [OTHER_SLOT, OTHER_SERVER, "not json"])
def test_positions_of_another_log_are_not_compared(store: OffsetStore, origin: str) -> None:
    store.save("shop", at(200), {})
    store.save("shop", at(100, origin), {})
    assert store.load("shop") == Offset(at(100, origin), {})


def test_binlogs_under_another_name_are_another_log(store: OffsetStore) -> None:
    renamed = json.dumps({**json.loads(LOG), "log": "renamed"})
    store.save("shop", at(200, json.dumps({**json.loads(LOG), "log": "binlog"})), {})
    store.save("shop", at(100, renamed), {})
    with pytest.raises(OffsetMovedBackwards):
        store.save("shop", at(50, LOG), {})
    assert store.load("shop") == Offset(at(100, renamed), {})


def test_names_of_any_kind_are_kept_apart(store: OffsetStore) -> None:
    names = ["shop", "Shop", "shop'; drop table offset_current; --", "käse", "a/b"]
    for order, name in enumerate(names):
        store.save(name, at(order), {})
    assert [store.load(name) for name in names] == [Offset(at(order), {}) for order in range(len(names))]


def test_an_operators_change_may_go_back_and_is_remembered_with_what_it_replaced(store: OffsetStore) -> None:
    store.save("shop", at(200), {"public.orders": "1"})
    before = Offset(at(200), {"public.orders": "1"})
    after = Offset(at(100), {})
    store.replace("shop", after, "seek")
    assert store.load("shop") == after
    [change] = store.changes("shop")
    assert (change.command, change.before, change.after) == ("seek", before, after)
    assert change.changed_at == START


def test_a_reset_leaves_a_connector_that_was_never_seen(store: OffsetStore) -> None:
    store.save("shop", at(200), {"public.orders": "1"})
    store.replace("shop", None, "reset")
    assert store.load("shop") is None
    store.save("shop", at(5), {})
    assert store.load("shop") == Offset(at(5), {})


def test_the_position_at_a_moment_is_one_from_before_it(store: OffsetStore, clock: Clock) -> None:
    for minute in range(10):
        for second in (5, 35):
            clock.now = START + timedelta(minutes=minute, seconds=second)
            store.save("shop", at(1000 + minute * 100 + second), {})
    found = store.position_at("shop", START + timedelta(minutes=4, seconds=50))
    assert found == at(1405)


def test_a_moment_before_the_first_save_is_not_known(store: OffsetStore) -> None:
    store.save("shop", at(100), {})
    assert store.position_at("shop", START - timedelta(seconds=1)) is None
    assert store.position_at("crm", START) is None


def test_a_clock_that_was_set_back_gives_the_earlier_of_two_answers(store: OffsetStore, clock: Clock) -> None:
    store.save("shop", at(100), {})
    clock.later(minutes=30)
    store.save("shop", at(200), {})
    clock.later(minutes=-20)
    store.save("shop", at(300), {})
    assert store.position_at("shop", START + timedelta(minutes=15)) == at(100)


def test_what_operators_did_is_kept_for_ever(store: OffsetStore, clock: Clock) -> None:
    store.save("shop", at(1), {})
    store.replace("shop", Offset(at(2), {}), "seek")
    clock.later(days=400)
    store.save("shop", at(3), {})
    assert [change.command for change in store.changes("shop")] == ["seek"]


def test_an_idle_connectors_last_position_answers_for_the_days_after_it(store: OffsetStore, clock: Clock) -> None:
    store.save("shop", at(1), {})
    clock.later(days=20)
    store.save("shop", at(2), {})
    assert store.position_at("shop", clock.now - timedelta(days=2)) == at(1)


def test_a_process_that_starts_later_finds_all_of_it(place: Place, clock: Clock) -> None:
    with closing(place.open(clock)) as first:
        first.save("shop", at(1), {"public.orders": "1"})
        first.replace("shop", Offset(at(2), {"public.items": "ä \\ ' \" %s"}), "seek")
    with closing(place.open(clock)) as later:
        assert later.load("shop") == Offset(at(2), {"public.items": "ä \\ ' \" %s"})
        assert [(change.command, change.before) for change in later.changes("shop")] == [
            ("seek", Offset(at(1), {"public.orders": "1"}))
        ]
        assert later.position_at("shop", START) == at(2)


def test_every_connector_is_listed_by_name_with_the_time_of_its_save(store: OffsetStore, clock: Clock) -> None:
    store.save("shop", at(1), {"public.orders": "1"})
    clock.later(minutes=1)
    store.save("crm", at(2), {})
    assert [(stored.connector, stored.offset.position, stored.saved_at) for stored in store.all()] == [
        ("crm", at(2), START + timedelta(minutes=1)),
        ("shop", at(1), START),
    ]


def test_the_latest_change_comes_first_and_not_more_than_asked_for(store: OffsetStore) -> None:
    for order in range(5):
        store.replace("shop", Offset(at(order), {}), f"seek {order}")
    assert [change.command for change in store.changes("shop", limit=2)] == ["seek 4", "seek 3"]
    assert store.changes("crm") == []


def test_samples_are_dropped_after_seven_days(store: OffsetStore, clock: Clock) -> None:
    for order in range(10):
        store.save("shop", at(order), {})
        clock.later(days=1)
    assert store.position_at("shop", START + timedelta(hours=12)) is None
    assert store.position_at("shop", clock.now - timedelta(days=6)) == at(4)


def test_a_saved_text_of_a_megabyte_and_a_position_of_63_bits_come_back(store: OffsetStore) -> None:
    large = Position((1 << 63) - 1, "gtid:" + "1-2," * 250_000, LOG)
    store.save("shop", large, {"public.orders": "x" * 1_000_000})
    assert store.load("shop") == Offset(large, {"public.orders": "x" * 1_000_000})


def test_a_store_may_be_closed_twice(place: Place) -> None:
    store = place.open()
    store.close()
    store.close()
