"""What every offset store keeps. A new store adds one line to STORES."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from offsets.base import Offsets
from offsets.errors import OffsetMovedBackwards
from offsets.memory import MemoryStore
from offsets.position import Offset, Position
from service.state import State

STORES: dict[str, Callable[[Path], Offsets]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: State.open(folder).offsets(),
}
LOG = '{"type": "postgres", "host": "db", "slot": "tailrace_shop", "system": "1", "timeline": 1}'
PROMOTED = '{"type": "postgres", "host": "db2", "slot": "tailrace_shop", "system": "1", "timeline": 2}'
OTHER_SLOT = '{"type": "postgres", "host": "db", "slot": "tailrace_new", "system": "1", "timeline": 1}'
OTHER_SERVER = '{"type": "postgres", "host": "db", "slot": "tailrace_shop", "system": "2", "timeline": 1}'


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Offsets]:
    with closing(STORES[request.param](tmp_path / "state")) as store:
        yield store


def at(order: int, origin: str = LOG) -> Position:
    return Position(order, f"0/{order:X}", origin)


def test_a_connector_never_seen_has_no_offset(store: Offsets) -> None:
    assert store.load("shop") is None


def test_what_was_saved_last_is_loaded(store: Offsets) -> None:
    store.save("shop", at(100), {"public.orders": "1"})
    store.save("shop", at(200), {})
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_snapshot_progress_is_merged_table_by_table(store: Offsets) -> None:
    store.save("shop", at(100), {"public.orders": "1", "public.items": "1"})
    store.save("shop", at(100), {"public.orders": "2", "public.new": "0"})
    offset = store.load("shop")
    assert offset is not None
    assert offset.snapshot == {"public.orders": "2", "public.items": "1", "public.new": "0"}


def test_empty_progress_forgets_a_table(store: Offsets) -> None:
    store.save("shop", at(1), {"public.orders": "1", "public.items": "1"})
    store.save("shop", at(2), {"public.orders": "", "public.never": ""})
    offset = store.load("shop")
    assert offset is not None
    assert offset.snapshot == {"public.items": "1"}


def test_connectors_do_not_see_each_other(store: Offsets) -> None:
    store.save("shop", at(100), {"public.orders": "1"})
    store.save("crm", at(7), {})
    assert store.load("shop") == Offset(at(100), {"public.orders": "1"})
    assert store.load("crm") == Offset(at(7), {})


def test_going_back_is_refused_and_changes_nothing(store: Offsets) -> None:
    store.save("shop", at(200), {"public.orders": "1"})
    with pytest.raises(OffsetMovedBackwards, match=r"shop .* back from 0/C8 to 0/64") as refused:
        store.save("shop", at(100), {"public.orders": "2"})
    assert "tailrace offsets seek shop 0/64" in refused.value.hint
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_the_same_position_may_be_saved_again(store: Offsets) -> None:
    store.save("shop", at(200), {})
    store.save("shop", at(200), {"public.orders": "1"})
    assert store.load("shop") == Offset(at(200), {"public.orders": "1"})


def test_a_promoted_server_is_the_same_log_and_may_not_go_back(store: Offsets) -> None:
    store.save("shop", at(200), {})
    with pytest.raises(OffsetMovedBackwards):
        store.save("shop", at(100, PROMOTED), {})
    store.save("shop", at(300, PROMOTED), {})
    assert store.load("shop") == Offset(at(300, PROMOTED), {})


@pytest.mark.parametrize("origin", [OTHER_SLOT, OTHER_SERVER, "not json"])
def test_positions_of_another_log_are_not_compared(store: Offsets, origin: str) -> None:
    store.save("shop", at(200), {})
    store.save("shop", at(100, origin), {})
    assert store.load("shop") == Offset(at(100, origin), {})


def test_binlogs_under_another_name_are_another_log(store: Offsets) -> None:
    renamed = json.dumps({**json.loads(LOG), "log": "renamed"})
    store.save("shop", at(200, json.dumps({**json.loads(LOG), "log": "binlog"})), {})
    store.save("shop", at(100, renamed), {})
    with pytest.raises(OffsetMovedBackwards):
        store.save("shop", at(50, LOG), {})
    assert store.load("shop") == Offset(at(100, renamed), {})


def test_names_of_any_kind_are_kept_apart(store: Offsets) -> None:
    names = ["shop", "Shop", "shop'; drop table offset_current; --", "käse", "a/b"]
    for order, name in enumerate(names):
        store.save(name, at(order), {})
    assert [store.load(name) for name in names] == [Offset(at(order), {}) for order in range(len(names))]
