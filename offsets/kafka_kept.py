"""What an offsets topic holds of a connector: JSON in keys and values, the last value of a key is the one that counts.

| key | value |
| --- | --- |
| ``["offset", NAME]`` | ``{"order", "token", "origin", "saved_at_ms"}`` |
| ``["table", NAME, TABLE]`` | snapshot progress of a table, in the source's own words |
| ``["samples", NAME, N]`` | what normal saves left behind: ``[[saved_at_ms, order, token, origin], ...]``, 60 in each |
| ``["change", NAME, N]`` | what an operator did: ``{"command", "before", "after", "changed_at_ms"}`` |
| ``["runner", NAME]`` | who opened the connector's transactions last: ``{"token", "runner"}`` |
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from offsets.history import SAMPLES_KEPT_MS, Change, from_json, time_of, to_json
from offsets.position import Offset, Position

SAMPLES_TOGETHER = 60

Place = tuple[str | int, ...]
"""A key without its connector: ``("table", "public.orders")``."""


class Put(NamedTuple):
    """What is to be written; a value of None forgets."""

    place: Place
    value: Any


class Kept:
    """Reads what was written, and says what to write."""

    def __init__(self) -> None:
        self._values: dict[Place, Any] = {}

    def take(self, put: Put) -> None:
        if put.value is None:
            self._values.pop(put.place, None)
        else:
            self._values[put.place] = put.value

    @property
    def offset(self) -> Offset | None:
        stored = self._values.get(("offset",))
        if stored is None:
            return None
        position = Position(stored["order"], stored["token"], stored["origin"])
        return Offset(position, {str(table): progress for (table,), progress in self._of("table")})

    @property
    def saved_at_ms(self) -> int:
        return int(self._values["offset",]["saved_at_ms"])

    @property
    def runner(self) -> Mapping[str, str]:
        runner: Mapping[str, str] = self._values.get(("runner",), {"token": "", "runner": "nobody"})
        return runner

    def changes(self) -> list[Change]:
        """The latest first."""
        return [
            Change(put["command"], from_json(put["before"]), from_json(put["after"]), time_of(put["changed_at_ms"]))
            for _, put in sorted(self._of("change"), reverse=True)
        ]

    def position_at(self, moment_ms: int, now_ms: int) -> Position | None:
        found = None
        for _, (saved_at_ms, *position) in self._live(now_ms):
            # By place, not by time: where the clock was set back, the earlier of two answers is the safe one.
            if saved_at_ms > moment_ms:
                break
            found = Position(*position)
        return found

    def save(self, position: Position, snapshot: Mapping[str, str], now_ms: int, *, sample: bool) -> Iterator[Put]:
        yield Put(("offset",), {**position._asdict(), "saved_at_ms": now_ms})
        for table, progress in snapshot.items():
            yield Put(("table", table), progress or None)
        if sample:
            yield from self._sample(position, now_ms)

    def replace(self, offset: Offset | None, command: str, now_ms: int) -> Iterator[Put]:
        number = 1 + max((int(number) for (number,), _ in self._of("change")), default=0)
        change = {"before": to_json(self.offset), "after": to_json(offset), "changed_at_ms": now_ms}
        yield Put(("change", number), {"command": command, **change})
        for (table,), _ in self._of("table"):
            if offset is None or table not in offset.snapshot:
                yield Put(("table", table), None)
        if offset is None:
            yield Put(("offset",), None)
        else:
            yield from self.save(offset.position, offset.snapshot, now_ms, sample=True)

    def _sample(self, position: Position, now_ms: int) -> Iterator[Put]:
        chunks = sorted((int(number), samples) for (number,), samples in self._of("samples"))
        number, samples = chunks[-1] if chunks else (0, [])
        if len(samples) >= SAMPLES_TOGETHER:
            number, samples = number + 1, []
        yield Put(("samples", number), [*samples, [now_ms, *position]])
        first = next((number for number, _ in self._live(now_ms)), number)
        for old, _ in chunks:
            if old < first:
                yield Put(("samples", old), None)

    def _live(self, now_ms: int) -> list[tuple[int, list[Any]]]:
        """(chunk, sample) of those that are not too old, and of the last before them, which is the answer for any
        moment up to the next."""
        chunks = sorted((int(number), samples) for (number,), samples in self._of("samples"))
        every = [(number, sample) for number, samples in chunks for sample in samples]
        old = [nth for nth, (_, sample) in enumerate(every) if sample[0] < now_ms - SAMPLES_KEPT_MS]
        return every[old[-1] :] if old else every

    def _of(self, kind: str) -> list[tuple[Place, Any]]:
        return [(place[1:], value) for place, value in self._values.items() if place[0] == kind]


def key(connector: str, place: Place) -> bytes:
    return json.dumps([place[0], connector, *place[1:]], ensure_ascii=False).encode()


def value(put: Put) -> bytes | None:
    return None if put.value is None else json.dumps(put.value, ensure_ascii=False).encode()


def read(written: Iterable[tuple[bytes | None, bytes | None]]) -> dict[str, Kept]:
    """By connector. Raises ValueError, TypeError for what is not ours."""
    found: dict[str, Kept] = {}
    for raw_key, raw_value in written:
        kind, connector, *rest = json.loads(raw_key or b"")
        put = Put((kind, *rest), None if raw_value is None else json.loads(raw_value))
        found.setdefault(connector, Kept()).take(put)
    return found
