"""`tailrace schemas` as an operator runs it."""

import json
from contextlib import closing
from typing import Any

import pytest

from service.state import State
from tests.servers import Tailrace


def record(**columns: str) -> dict[str, Any]:
    fields = [{"name": name, "type": kind} for name, kind in columns.items()]
    return {"type": "record", "name": "Value", "fields": fields}


@pytest.fixture
def orders(tailrace: Tailrace) -> Tailrace:
    with closing(State.open(tailrace.state).registry()) as registry:
        registry.register("shop.public.orders-value", record(id="int"))
        registry.register("shop.public.orders-value", record(id="long"))
        registry.register("shop.public.orders-value", record(id="int", note="string"))
        registry.register("shop.public.items-value", record(sku="int"))
    return tailrace


def run(tailrace: Tailrace, *arguments: str, code: int = 0) -> str:
    done = tailrace("schemas", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_list_shows_each_subject_with_its_latest_version(orders: Tailrace) -> None:
    lines = [line.split() for line in run(orders, "list").splitlines()]
    assert lines == [
        ["SUBJECT", "VERSION", "ID"],
        ["shop.public.items-value", "1", "4"],
        ["shop.public.orders-value", "3", "3"],
    ]


def test_show_prints_the_latest_version_or_the_one_asked_for(orders: Tailrace) -> None:
    assert json.loads(run(orders, "show", "shop.public.orders-value")) == record(id="int", note="string")
    assert json.loads(run(orders, "show", "shop.public.orders-value", "1")) == record(id="int")


def test_diff_says_what_changed_and_that_old_events_can_be_read(orders: Tailrace) -> None:
    said = run(orders, "diff", "shop.public.orders-value", "1", "2")
    assert "version 1 -> 2" in said
    assert "id changed from int to long" in said
    assert "\ncompatible" in said


def test_diff_of_the_last_two_versions_ends_with_1_where_they_are_not_compatible(orders: Tailrace) -> None:
    said = run(orders, "diff", "shop.public.orders-value", code=1)
    assert "version 2 -> 3" in said
    assert "id changed from long to int (not compatible)" in said
    assert "note was added: string, without a default" in said
    assert "\nnot compatible" in said


def test_diff_of_the_only_version_has_nothing_to_say(orders: Tailrace) -> None:
    assert "nothing changed" in run(orders, "diff", "shop.public.items-value")


def test_an_unknown_subject_or_version_is_answered_with_the_known_ones(orders: Tailrace) -> None:
    assert "shop.public.items-value" in run(orders, "show", "items", code=2)
    assert "its versions are 1 to 3" in run(orders, "show", "shop.public.orders-value", "9", code=2)


def test_a_state_without_schemas_says_so(tailrace: Tailrace) -> None:
    State.open(tailrace.state)
    assert "no schemas are stored" in run(tailrace, "list")
