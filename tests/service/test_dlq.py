"""`tailrace dlq` as an operator runs it, on a state with dead letters in it. It needs no database."""

from contextlib import closing

import pytest

from offsets.position import Position
from schema.event import DeadLetter, Event, StoredLetter
from service.state import State
from tests.fold import read_events
from tests.servers import Tailrace
from tests.service.test_cli_offsets import running
from tests.sinks.events import BODIES, LOG, ORDERS, event, wire

PASSED = 1000


class Shop:
    """A connector that has passed `PASSED`, its files, and its dead letters."""

    def __init__(self, tailrace: Tailrace) -> None:
        self.tailrace = tailrace
        self.out = tailrace.folder / "out"
        state = State.open(tailrace.state)
        with closing(state.registry()) as registry:
            for schema_id in range(1, max(BODIES) + 1):
                body = BODIES.get(schema_id, {"type": "fixed", "name": "Another", "size": schema_id})
                assert registry.register(f"t{schema_id}", body).id == schema_id
        source = {"type": "postgres", "host": "nowhere.invalid", "database": "shop", "user": "shop"}
        sink = {"type": "files", "directory": str(self.out), "format": "jsonl"}
        state.remember_config("shop", tailrace.write({"name": "shop", "source": source, "sink": sink}))
        self.pass_by(PASSED)

    def pass_by(self, order: int) -> None:
        with closing(State.open(self.tailrace.state).offsets()) as offsets:
            offsets.save("shop", Position(order, f"0/{order:X}", "{}"), {})

    def add(self, *letters: DeadLetter) -> None:
        with closing(State.open(self.tailrace.state).dead_letters()) as dead:
            for letter in letters:
                dead.add("shop", letter)

    def deliver(self, later: Event) -> None:
        """An event behind the letters, as the pipeline notes it."""
        assert later.key is not None
        with closing(State.open(self.tailrace.state).dead_letters()) as dead:
            dead.supersede("shop", [(f"{later.id[0]}/{later.id[1]}", later.topic, later.key)])

    def left(self) -> list[StoredLetter]:
        with closing(State.open(self.tailrace.state).dead_letters()) as dead:
            return dead.of("shop")

    def delivered(self) -> list[tuple[int, str]]:
        return [(each["value"]["id"], each["value"]["text"]) for each in read_events(self.out) if each["value"]]

    def dlq(self, command: str, *arguments: str, code: int = 0) -> tuple[str, str]:
        done = self.tailrace("dlq", command, "shop", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def shop(tailrace: Tailrace) -> Shop:
    return Shop(tailrace)


def row(number: int, order: int, text: str, topic: str = ORDERS) -> Event:
    return event(number, topic, text=text)._replace(id=(order, 0))


def letter(number: int, order: int, text: str, topic: str = ORDERS) -> DeadLetter:
    return DeadLetter.of(row(number, order, text, topic), "too large")


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "1"], ["replay"], ["drop", "--all"]], ids=lambda given: given[0]
)
def test_a_name_that_the_state_does_not_know_is_refused_with_those_that_it_knows(
    shop: Shop, arguments: list[str]
) -> None:
    command, *rest = arguments
    wrong = shop.tailrace("dlq", command, "shpo", *rest)
    assert wrong.returncode == shop.tailrace("offsets", "show", "shpo").returncode == 2
    assert "connector shpo has never run" in wrong.stderr
    assert "these have: shop; or name another state by --state" in wrong.stderr
    assert "no dead letters" in shop.dlq("list")[1]


RAW = DeadLetter("public.orders", ORDERS, None, b"7\tNaN", "0/15AB3B8/2", "public.orders.n: a decimal cannot hold NaN")


def test_replay_delivers_the_letters_in_order_through_the_connectors_sink_and_removes_them(shop: Shop) -> None:
    tombstone = DeadLetter.of(row(2, 503, "")._replace(value=None), "too large")
    shop.add(letter(1, 500, "old"), letter(2, 501, "b"), letter(1, 502, "new"), tombstone, letter(9, 504, "l", LOG))
    said, _ = shop.dlq("replay")
    assert said == "delivered again: 5 (1, 2, 3, 4, 5)\n"
    assert sorted(shop.delivered()) == [(1, "new"), (1, "old"), (2, "b"), (9, "l")]
    assert [text for number, text in shop.delivered() if number == 1] == ["old", "new"]
    assert [each["key"] for each in read_events(shop.out) if each["value"] is None] == [{"id": 2}]
    assert shop.left() == []
    assert shop.dlq("replay")[0] == "delivered again: none\n"


def test_replay_delivers_only_those_that_are_named(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"), letter(2, 501, "b"), letter(3, 502, "c"))
    assert shop.dlq("replay", "3", "1")[0] == "delivered again: 2 (1, 3)\n"
    assert shop.delivered() == [(1, "a"), (3, "c")]
    assert [each.id for each in shop.left()] == [2]
    assert "no dead letter 7" in shop.dlq("replay", "2", "7", code=2)[1]
    assert [each.id for each in shop.left()] == [2]


def test_a_dry_run_says_what_would_be_delivered_and_changes_nothing(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"), RAW)
    said, refused = shop.dlq("replay", "--dry-run", code=1)
    assert said == "dry run: nothing was changed; to be delivered again: 1 (1)\n"
    assert "letter 2 of public.orders" in refused
    assert not shop.out.exists()
    assert len(shop.left()) == 2


def test_a_letter_behind_which_a_newer_event_was_delivered_stays_and_its_row_is_had_by_a_snapshot(shop: Shop) -> None:
    shop.add(letter(1, 500, "old"), letter(2, 501, "b"))
    shop.deliver(row(1, 700, "newer"))
    shop.add(letter(1, 800, "newest"))
    said, refused = shop.dlq("replay", code=1)
    assert said == "delivered again: 2 (2, 3)\n"
    assert "letter 1 of public.orders at 500/0 stays: event 700/0 of the same key was delivered" in refused
    assert '`tailrace snapshot shop public.orders --where "id = 1"`' in refused
    assert shop.delivered() == [(2, "b"), (1, "newest")]
    assert "superseded by 700/0" in shop.dlq("list")[0]


def test_what_never_was_an_event_stays_and_its_row_is_had_by_a_snapshot(shop: Shop) -> None:
    shop.add(RAW)
    said, refused = shop.dlq("replay", "1", code=1)
    assert said == "delivered again: none\n"
    assert "letter 1 of public.orders at 0/15AB3B8/2 stays: it holds what the log held" in refused
    assert '`tailrace snapshot shop public.orders --where "SQL"`' in refused


def test_a_letter_is_not_delivered_before_an_older_one_of_its_key(shop: Shop) -> None:
    shop.add(letter(1, 500, "old"), letter(2, 501, "b"), letter(1, 502, "new"))
    said, refused = shop.dlq("replay", "2", "3", code=1)
    assert said == "delivered again: 1 (2)\n"
    assert "letter 3 of public.orders at 502/0 stays: letter 1 of the same key comes first" in refused
    assert "replay 1 with it, or drop it" in refused
    shop.dlq("drop", "1")
    assert shop.dlq("replay", "3")[0] == "delivered again: 1 (3)\n"


def test_a_letter_under_a_new_version_of_its_keys_schema_waits_for_the_older_one(shop: Shop) -> None:
    new = letter(1, 502, "new")
    assert new.key is not None
    shop.add(letter(1, 500, "old"), new._replace(key=b"\0\0\0\0\x7f" + new.key[5:]))
    refused = shop.dlq("replay", "2", code=1)[1]
    assert "letter 2 of public.orders at 502/0 stays: letter 1 of the same key comes first" in refused


def test_a_letter_that_the_connector_has_not_passed_stays_and_holds_those_behind_it(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"), letter(1, PASSED, "b"))
    said, refused = shop.dlq("replay", code=1)
    assert said == "delivered again: 1 (1)\n"
    assert "the connector has not passed it yet" in refused
    shop.pass_by(PASSED + 1)
    assert shop.dlq("replay")[0] == "delivered again: 1 (2)\n"


def test_a_letter_whose_own_event_was_delivered_since_stays_until_it_is_dropped(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"))
    shop.deliver(row(1, 500, "a"))
    refused = shop.dlq("replay", code=1)[1]
    assert "its event came again, and was delivered\n`tailrace dlq drop shop 1` removes it" in refused
    assert "came again" in shop.dlq("list")[0]


def test_letters_of_a_key_whose_order_is_not_known_stay(shop: Shop) -> None:
    shop.add(letter(1, 500, "from one server"), letter(1, 20, "from the next"))
    said, refused = shop.dlq("replay", code=1)
    assert said == "delivered again: 1 (1)\n"
    assert "letter 2 of public.orders at 20/0 stays" in refused
    assert "their order is not known" in refused


def test_replay_is_refused_while_the_connector_runs(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"))
    with running(shop.tailrace):
        refused = shop.dlq("replay", code=3)[1]
    assert "connector shop is already running as pid" in refused
    assert len(shop.left()) == 1


def test_a_sink_that_cannot_be_reached_keeps_every_letter(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"))
    shop.out.write_text("in the way of the folder")
    shop.dlq("replay", code=2)
    assert [each.attempt for each in shop.left()] == [1]


def test_drop_forgets_what_is_named_and_says_how_many(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"), letter(2, 501, "b"), letter(3, 502, "c"), letter(9, 503, "l", LOG))
    assert "what to drop is not said" in shop.dlq("drop", code=2)[1]
    assert "what to drop is not said" in shop.dlq("drop", "1", "--table", "public.log", code=2)[1]
    assert shop.dlq("drop", "2", "--dry-run")[0].startswith("dry run: nothing was changed")
    assert shop.dlq("drop", "2")[0] == "dropped 1 of 4 dead letters of connector shop\n"
    assert "no dead letter 2" in shop.dlq("drop", "2", code=2)[1]
    assert shop.dlq("drop", "--all", "--table", "public.log")[0] == "dropped 1 of 3 dead letters of connector shop\n"
    assert [each.id for each in shop.left()] == [1, 3]
    assert shop.dlq("drop", "--all")[0] == "dropped 2 of 2 dead letters of connector shop\n"
    assert shop.left() == []


def test_show_says_everything_that_is_known_of_a_letter(shop: Shop) -> None:
    shop.add(letter(1, 500, "a"))
    shop.add(letter(1, 500, "a"))
    shown = dict(
        line.split(maxsplit=1) for line in shop.dlq("show", "1")[0].replace("schema id", "schema_id").splitlines()
    )
    assert {name: shown[name] for name in ("table", "topic", "schema_id", "position", "error", "attempt", "state")} == {
        "table": "public.orders",
        "topic": ORDERS,
        "schema_id": "11",
        "position": "500/0",
        "error": "too large",
        "attempt": "2",
        "state": "waits",
    }
    assert shown["key"] == repr(wire(10, {"id": 1}))[2:-1]
