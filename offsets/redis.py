"""Offsets in a Redis server, or in Valkey, which speaks the same protocol.

Keys of connector NAME, behind the prefix: ``{NAME}:offset`` (a hash: order, token, origin, saved_at_ms),
``{NAME}:snapshot`` (a hash: table, progress), ``{NAME}:samples`` and ``{NAME}:changes`` (lists), ``{NAME}:runner``
(who runs it; expires).

Source: Redis manual, "Scripting with Lua" (a script is atomic, its writes are one transaction of the append-only file),
"Redis persistence" (what `appendfsync` promises).
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004 (redis' own)
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004
)

from offsets.base import Doubt
from offsets.errors import (
    HOLD_ENDS_S,
    HeldElsewhere,
    HoldLost,
    OffsetError,
    OffsetStoreFailed,
    OffsetStoreMisconfigured,
    OffsetStoreRefused,
    OffsetUnreadable,
)
from offsets.history import SAMPLES_KEPT_MS, Change, Sampled, Stored, from_json, time_of, to_json
from offsets.origin import refuse_to_go_back
from offsets.position import Offset, Position
from offsets.redis_config import RedisStoreConfig
from offsets.runner import TOKEN, Renewal, ourselves

_HOLD_MS = int(HOLD_ENDS_S * 1000)
_TRIES = 10

_GUARD = """
local function guard()
    if ARGV[1] ~= '' then
        local runner = redis.call('get', KEYS[1]) or ''
        if string.sub(runner, 1, #ARGV[1]) ~= ARGV[1] then return {'lost', runner} end
        redis.call('pexpire', KEYS[1], ARGV[2])
    end
    local stored = redis.call('hmget', KEYS[2], 'order', 'token', 'origin')
    for i = 1, 3 do
        if (stored[i] or '') ~= ARGV[2 + i] then return {'moved'} end
    end
end
local function put_offset()
    redis.call('hset', KEYS[2], 'order', ARGV[6], 'token', ARGV[7], 'origin', ARGV[8], 'saved_at_ms', ARGV[9])
end
local function put_progress(first)
    for i = first, #ARGV, 2 do
        if ARGV[i + 1] == '' then redis.call('hdel', KEYS[3], ARGV[i])
        else redis.call('hset', KEYS[3], ARGV[i], ARGV[i + 1]) end
    end
end
local function sample()
    redis.call('rpush', KEYS[4], ARGV[10])
    local second = redis.call('lindex', KEYS[4], 1)
    while second and tonumber(string.match(second, '^%d+')) < tonumber(ARGV[11]) do
        redis.call('lpop', KEYS[4])
        second = redis.call('lindex', KEYS[4], 1)
    end
end
local refused = guard()
if refused then return refused end
"""
"""KEYS: runner, offset, snapshot, samples, changes. ARGV: our token or '', its time to live, the order, token and
origin that must be stored, those to store, their time, a sample or '', the time up to which samples are old."""
_READ = "return {redis.call('hgetall', KEYS[1]), redis.call('hgetall', KEYS[2])}"
_SAVE = f"""{_GUARD}
put_offset()
put_progress(12)
if ARGV[10] ~= '' then sample() end
return {{'done'}}
"""
_REPLACE = f"""{_GUARD}
redis.call('rpush', KEYS[5], ARGV[12])
redis.call('del', KEYS[3])
if ARGV[6] == '' then redis.call('del', KEYS[2])
else
    put_offset()
    put_progress(13)
    sample()
end
return {{'done'}}
"""
_RENEW = """
if string.sub(redis.call('get', KEYS[1]) or '', 1, #ARGV[1]) == ARGV[1] then
    return redis.call('pexpire', KEYS[1], ARGV[2])
end
"""
_LEAVE = """
if string.sub(redis.call('get', KEYS[1]) or '', 1, #ARGV[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
"""


class RedisStore:
    """An OffsetStore. A save is one script, which writes only where what is stored is what the save was judged by."""

    Config: ClassVar[type[RedisStoreConfig]] = RedisStoreConfig

    def __init__(self, config: RedisStoreConfig, clock: Callable[[], float] = time.time) -> None:
        self.place = config.place
        self._prefix = config.prefix
        self._clock = clock
        self._sampled = Sampled()
        self._known: dict[str, Position | None] = {}
        self._held: str | None = None
        self._renewal: Renewal | None = None
        self._client: Any = config.client()
        with self._reported("reach"):
            self._client.ping()

    @classmethod
    def check(cls, config: RedisStoreConfig) -> Sequence[Doubt]:
        """Try whether it can be reached and written; nothing stays. Raises OffsetError."""
        with closing(cls(config)) as store, store._reported("write to"):
            key = f"{config.prefix}check"
            store._client.set(key, TOKEN, px=1)
            store._client.eval(_RENEW, 1, key, TOKEN, 1)
            return store._doubts()

    def load(self, connector: str) -> Offset | None:
        with self._reported(f"read the offset of connector {connector} from"):
            stored, snapshot = self._hashes(connector)
            offset = Offset(_position(stored), snapshot) if stored else None
        self._known[connector] = offset.position if offset else None
        return offset

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        now_ms = self._now_ms()
        due = self._sampled.due(connector, now_ms)

        def script(stored: Position | None) -> Sequence[object]:
            refuse_to_go_back(connector, stored, position)
            sample = _sample(position, now_ms) if due else ""
            return (*position, now_ms, sample, now_ms - SAMPLES_KEPT_MS, *_flat(snapshot))

        self._write(f"save the offset of connector {connector} in", connector, _SAVE, script)
        self._known[connector] = position
        self._sampled.done(connector, now_ms)

    def replace(self, connector: str, offset: Offset | None, command: str) -> None:
        now_ms = self._now_ms()

        def script(stored: Position | None) -> Sequence[object]:
            change = json.dumps(
                {
                    "command": command,
                    "before": to_json(self.load(connector)),
                    "after": to_json(offset),
                    "changed_at_ms": now_ms,
                }
            )
            position: Sequence[object] = offset.position if offset else ("", "", "")
            sample = _sample(offset.position, now_ms) if offset else ""
            progress = _flat(offset.snapshot) if offset else ()
            return (*position, now_ms, sample, now_ms - SAMPLES_KEPT_MS, change, *progress)

        self._write(f"{command} the offset of connector {connector} in", connector, _REPLACE, script)
        self._known.pop(connector, None)

    def all(self) -> list[Stored]:
        with self._reported("read"):
            begin, end = f"{self._prefix}{{", "}:offset"
            keys = self._client.scan_iter(match=f"{begin}*{end}", count=1000)
            found = []
            for name in sorted({key.removeprefix(begin).removesuffix(end) for key in keys}):
                stored, snapshot = self._hashes(name)
                if stored:
                    found.append(Stored(name, Offset(_position(stored), snapshot), time_of(int(stored["saved_at_ms"]))))
            return found

    def changes(self, connector: str, limit: int = 20) -> list[Change]:
        with self._reported("read"):
            texts = self._client.lrange(self._key(connector, "changes"), -limit, -1)
            return [_change(text) for text in reversed(texts)]

    def position_at(self, connector: str, moment: datetime) -> Position | None:
        moment_ms = int(moment.timestamp() * 1000)
        found = None
        with self._reported("read"):
            for sample in self._client.lrange(self._key(connector, "samples"), 0, -1):
                # By place, not by time: where the clock was set back, the earlier of two answers is the safe one.
                saved_at_ms, _, text = sample.partition(" ")
                if int(saved_at_ms) > moment_ms:
                    break
                found = Position(*json.loads(text))
        return found

    def hold(self, connector: str) -> None:
        key, value = self._key(connector, "runner"), f"{TOKEN} {ourselves()}"
        with self._reported(f"hold connector {connector} in"):
            # Where the server was away we may still hold it from before.
            if not self._client.set(key, value, nx=True, px=_HOLD_MS) and not self._renew(connector):
                raise HeldElsewhere(connector, self.holder(connector) or "another process", self.place)
        self._held = connector
        self._renewal = Renewal(lambda: self._renew(connector))

    def holder(self, connector: str) -> str | None:
        with self._reported("read"):
            runner = self._client.get(self._key(connector, "runner"))
        return runner.partition(" ")[2] if runner else None

    def close(self) -> None:
        if self._renewal is not None:
            self._renewal.close()
        with suppress(RedisError, OSError):
            if self._held is not None:
                self._client.eval(_LEAVE, 1, self._key(self._held, "runner"), TOKEN)
        self._held = None
        self._client.close()

    def _renew(self, connector: str) -> bool:
        """Whether it was ours."""
        with self._reported("reach"):
            return bool(self._client.eval(_RENEW, 1, self._key(connector, "runner"), TOKEN, _HOLD_MS))

    def _write(
        self, doing: str, connector: str, script: str, arguments: Callable[[Position | None], Sequence[object]]
    ) -> None:
        """Run `script` with `arguments`, which are made for the offset that is stored, until nobody was faster."""
        names = ("runner", "offset", "snapshot", "samples", "changes")
        keys = [self._key(connector, name) for name in names]
        token = TOKEN if self._held == connector else ""
        for _ in range(_TRIES):
            if connector not in self._known:
                self.load(connector)
            stored = self._known[connector]
            given = arguments(stored)
            with self._reported(doing):
                answer = self._client.eval(script, len(keys), *keys, token, _HOLD_MS, *(stored or ("", "", "")), *given)
            if answer[0] == "done":
                return
            if answer[0] == "lost":
                other = answer[1].partition(" ")[2] or "nobody: the hold ran out"
                raise HoldLost(
                    f"connector {connector} is held by {other}, says {self.place}",
                    "where two of them run, stop one; the offset was not changed",
                )
            del self._known[connector]
        raise OffsetStoreFailed(
            f"cannot {doing} {self.place}: somebody else changes it all the time", "stop whoever else writes there"
        )

    def _hashes(self, connector: str) -> tuple[dict[str, str], dict[str, str]]:
        """Offset and snapshot progress of one moment."""
        keys = [self._key(connector, name) for name in ("offset", "snapshot")]
        stored, snapshot = (
            dict(zip(flat[::2], flat[1::2], strict=True)) for flat in self._client.eval(_READ, 2, *keys)
        )
        return stored, snapshot

    def _doubts(self) -> list[Doubt]:
        wanted = (("appendonly", "yes"), ("appendfsync", "always"))
        try:
            found = {**self._client.config_get("append*"), **self._client.config_get("maxmemory-policy")}
        except RedisError:
            text = f"{self.place} does not tell us whether it keeps what it acknowledges"
            return [Doubt(text, "see that appendonly is yes, appendfsync always and maxmemory-policy noeviction")]
        doubts = [
            Doubt(f"{self.place} runs with {name} {found[name]}: a crash may lose offsets", f"set {name} {value}")
            for name, value in wanted
            if found.get(name, value) != value
        ]
        policy = found.get("maxmemory-policy", "noeviction")
        if policy.startswith("allkeys"):
            text = f"{self.place} runs with maxmemory-policy {policy}: it may forget an offset to make room"
            doubts.append(Doubt(text, "set maxmemory-policy noeviction"))
        return doubts

    def _key(self, connector: str, name: str) -> str:
        return f"{self._prefix}{{{connector}}}:{name}"

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise _translated(error, f"cannot {doing} {self.place}: {_in_one_line(error)}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise OffsetUnreadable(
                f"cannot {doing} {self.place}: its keys hold something else: {error}",
                "another program wrote them; choose another offsets.prefix",
            ) from None


def _position(stored: Mapping[str, str]) -> Position:
    return Position(int(stored["order"]), stored["token"], stored["origin"])


def _change(text: str) -> Change:
    change = json.loads(text)
    before, after = from_json(change["before"]), from_json(change["after"])
    return Change(change["command"], before, after, time_of(change["changed_at_ms"]))


def _sample(position: Position, now_ms: int) -> str:
    return f"{now_ms} {json.dumps(position)}"


def _flat(snapshot: Mapping[str, str]) -> Sequence[str]:
    return [text for pair in snapshot.items() for text in pair]


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".")


def _translated(error: Exception, said: str) -> OffsetError:
    text = str(error)
    if isinstance(error, AuthenticationError) or "WRONGPASS" in text:
        return OffsetStoreRefused(said, "correct offsets.user and offsets.password, or the server's ACL")
    if isinstance(error, NoPermissionError):
        return OffsetStoreRefused(said, "give the user the rights of docs/offset-stores.md by ACL SETUSER")
    if isinstance(error, (ConnectionError, OSError)) and "certificate" in text.lower():
        return OffsetStoreRefused(said, "correct offsets.tls; `verify-full` is the default off this host")
    if "DB index is out of range" in text:
        return OffsetStoreMisconfigured(said, "correct offsets.database")
    if "WRONGTYPE" in text:
        return OffsetUnreadable(said, "another program wrote this key; choose another offsets.prefix")
    if isinstance(error, ReadOnlyError):
        return OffsetStoreFailed(said, "nothing was changed; let offsets.host lead to the server that is written")
    if isinstance(error, OutOfMemoryError):
        return OffsetStoreFailed(said, "nothing was changed; raise the server's maxmemory")
    if "MISCONF" in text:
        return OffsetStoreFailed(said, "nothing was changed; make room on the server's disk")
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return OffsetStoreFailed(said, "check that the server runs and that this host may reach it")
    return OffsetStoreFailed(said, "see the server's log for the whole story")
