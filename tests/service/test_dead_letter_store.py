"""Dead letters in the state file: kept raw, in order, once, up to a limit, and through an upgrade."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schema.event import DeadLetter
from service.dead_letters import DeadLetters, Limits, TooManyDeadLetters
from service.state import APPLICATION_ID, State

LETTER = DeadLetter(
    "public.orders", "shop.public.orders", b"\x00key", b"\xffvalue", "100/1", "too large", is_event=True
)
WHEN_S = 1_700_000_000

VERSION_2 = """
create table dead_letter (
    id integer primary key, connector text not null, failed_at_ms integer not null,
    table_name text not null, topic text not null, key blob, value blob,
    position text not null, error text not null
);
create unique index dead_letter_of_row on dead_letter (connector, position, topic, coalesce(key, value, x''));
"""


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(State.open(tmp_path).dead_letters()) as letters:
        yield letters


def nth(number: int) -> DeadLetter:
    return LETTER._replace(position=f"{100 + number}/0", error=f"error {number}")


def test_letters_are_kept_raw_and_in_order(dead: DeadLetters, tmp_path: Path) -> None:
    moved = LETTER._replace(position="100/2", headers=(("__debezium.newkey", b"\x00other"),))
    letters = [LETTER, moved, DeadLetter("public.log", "shop.public.log", None, None, "0/2", "no key")]
    for letter in letters:
        dead.add("shop", letter)
    with closing(State.open(tmp_path).dead_letters()) as again:
        assert [stored.dead for stored in again.of("shop")] == letters
        assert [stored.attempt for stored in again.of("shop")] == [1, 1, 1]
        assert again.of("shop")[1].dead.event().headers == moved.headers
        assert again.of("crm") == []


def test_the_schema_id_is_that_of_an_events_bytes(dead: DeadLetters) -> None:
    wire = b"\x00\x00\x00\x01\x02body"
    assert LETTER._replace(value=wire).schema_id == 258
    assert LETTER._replace(key=wire, value=None).schema_id == 258
    assert LETTER._replace(value=wire, is_event=False).schema_id is None
    assert LETTER._replace(value=b'{"id": 1}').schema_id is None


def test_a_letter_that_comes_again_is_one_attempt_more_in_its_place(dead: DeadLetters) -> None:
    dead.add("shop", LETTER)
    dead.add("shop", nth(2))
    dead.add("shop", LETTER._replace(error="still too large"))
    first, second = dead.of("shop")
    assert (first.id, first.attempt, first.dead.error) == (1, 2, "still too large")
    assert (second.id, second.attempt) == (2, 1)


def test_a_letter_that_comes_again_in_other_bytes_is_the_same_one_with_those(dead: DeadLetters) -> None:
    others = [LETTER._replace(key=b"\x00other"), LETTER._replace(key=None), LETTER._replace(key=None, value=b"\xfeno")]
    made_later = LETTER._replace(value=b"\xffmade later")
    for added in (LETTER, *others, made_later):
        dead.add("shop", added)
    assert [stored.dead for stored in dead.of("shop")] == [made_later, *others]
    assert [stored.attempt for stored in dead.of("shop")] == [2, 1, 1, 1]


def test_bytes_of_the_log_that_come_again_are_the_same_letter_however_they_were_framed(dead: DeadLetters) -> None:
    raw = DeadLetter("public.t", "shop.public.t", None, b"w now 1\tNaN", "0/15AB3B8/2", "NaN")
    for added in (raw, raw._replace(position="0/15AB3B8/3"), raw._replace(value=b"w later 1\tNaN")):
        dead.add("shop", added)
    assert [(stored.dead.position, stored.attempt) for stored in dead.of("shop")] == [
        ("0/15AB3B8/2", 2),
        ("0/15AB3B8/3", 1),
    ]


def test_a_number_is_not_given_out_twice(dead: DeadLetters) -> None:
    dead.add("shop", nth(1))
    dead.remove([1])
    dead.add("shop", nth(2))
    assert [stored.id for stored in dead.of("shop")] == [2]


def test_one_letter_more_than_may_be_kept_is_refused_and_what_comes_again_is_not(dead: DeadLetters) -> None:
    limits = Limits(kept=2)
    dead.add("crm", LETTER)
    for number in (1, 2):
        dead.add("shop", nth(number), limits)
    with pytest.raises(TooManyDeadLetters, match=r"connector shop keeps 2 .*errors.max_dead_letters .*error 3") as many:
        dead.add("shop", nth(3), limits)
    assert "tailrace dlq drop shop" in many.value.hint
    dead.add("shop", nth(2), limits)
    assert [stored.attempt for stored in dead.of("shop")] == [1, 2]


def test_more_letters_a_minute_than_allowed_are_refused_and_a_minute_later_there_is_room(tmp_path: Path) -> None:
    now_s = [float(WHEN_S)]
    limits = Limits(per_minute=2)
    with closing(DeadLetters(State.open(tmp_path).path, lambda: now_s[0])) as dead:
        dead.add("shop", nth(1), limits)
        now_s[0] += 30
        dead.add("shop", nth(2), limits)
        with pytest.raises(TooManyDeadLetters, match=r"put 2 .*within a minute.*max_dead_letters_per_minute"):
            dead.add("shop", nth(3), limits)
        now_s[0] += 31
        dead.add("shop", nth(3), limits)
        assert len(dead.of("shop")) == 3


def test_a_later_event_supersedes_the_open_letters_of_its_key_only(dead: DeadLetters) -> None:
    other = LETTER._replace(key=b"other")
    for letter in (LETTER, other, nth(1)):
        dead.add("shop", letter)
    dead.add("crm", LETTER)
    dead.supersede("shop", [("107/0", LETTER.topic, b"\x00key")])
    dead.supersede("shop", [("108/0", LETTER.topic, b"\x00key")])
    assert [stored.superseded_by for stored in dead.of("shop")] == ["107/0", None, "107/0"]
    assert dead.of("crm")[0].superseded_by is None
    assert dead.open_keys("shop") == [(LETTER.topic, b"other")]


def test_an_event_that_is_rejected_supersedes_nothing(dead: DeadLetters) -> None:
    dead.add("shop", LETTER)
    dead.supersede("shop", [("102/0", LETTER.topic, b"\x00key")])
    dead.add("shop", nth(2))
    assert [stored.superseded_by for stored in dead.of("shop")] == [None, None]


def test_events_before_a_letter_that_come_again_with_it_do_not_supersede_it(dead: DeadLetters) -> None:
    dead.add("shop", LETTER)
    dead.supersede("shop", [("99/0", LETTER.topic, b"\x00key")])
    dead.add("shop", LETTER)
    assert dead.of("shop")[0].superseded_by is None
    dead.supersede("shop", [("107/0", LETTER.topic, b"\x00key")])
    dead.add("shop", LETTER)
    assert dead.of("shop")[0].superseded_by == "107/0"


def test_a_state_of_version_2_keeps_its_letters_and_learns_which_were_events(tmp_path: Path) -> None:
    rows = [
        (3, "shop", WHEN_S, "public.t", "shop.public.t", b"\x00\x00\x00\x00\x07k", b"v", "22738360/3", "too large"),
        (5, "shop", WHEN_S, "public.t", "shop.public.t", None, b"w...", "0/15AB3B8/2", "NaN"),
        (6, "shop", WHEN_S, "public.t", "shop.public.t", None, b"w...", "0/1530000/2", "NaN"),
        (7, "shop", WHEN_S, "public.t", "shop.public.t", None, b"1\tNaN", "copy/1234567890123456/1", "NaN"),
        (8, "shop", WHEN_S, "shop.t", "shop.shop.t", None, b"row", "binlog.000001:1234/0", "zero date"),
        (9, "shop", WHEN_S, "shop.t", "shop.shop.t", None, b"row", "0-1-17/0", "zero date"),
        (10, "shop", WHEN_S, "shop.log", "shop.shop.log", None, b"\x00\x00\x00\x00\x08v", "7/0", "no key"),
    ]
    with closing(sqlite3.connect(tmp_path / "tailrace.db", isolation_level=None)) as db:
        db.executescript(VERSION_2)
        db.executemany("insert into dead_letter values (?,?,?,?,?,?,?,?,?)", rows)
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute("pragma user_version = 2")
    for _ in range(2):
        with closing(State.open(tmp_path).dead_letters()) as dead:
            found = dead.of("shop")
    assert [(stored.id, stored.connector, stored.failed_at_ms, *stored.dead[:6]) for stored in found] == rows
    assert [stored.dead.is_event for stored in found] == [True, False, False, False, False, False, True]
    assert {(stored.attempt, stored.superseded_by) for stored in found} == {(1, None)}
    with closing(State.open(tmp_path).dead_letters()) as dead:
        dead.add("shop", LETTER)
        assert dead.of("shop")[-1].id == 11
