"""What only Redis does: keys that expire, memory that ends, keys of other programs."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from offsets.errors import HoldLost, OffsetStoreFailed, OffsetUnreadable
from offsets.position import Offset, Position
from offsets.redis import RedisStore
from offsets.redis_config import RedisStoreConfig
from offsets.runner import Renewal
from tests.conftest import OwnRedisFactory
from tests.servers import until

RUNNER = "tailrace:{shop}:runner"


@pytest.fixture
def redis(own_redis: OwnRedisFactory) -> Iterator[Any]:
    """A client of a server of the test's own."""
    with own_redis().client() as client:
        yield client


def open_store(redis: Any) -> RedisStore:
    return RedisStore(
        RedisStoreConfig(type="redis", host="127.0.0.1", port=redis.connection_pool.connection_kwargs["port"])
    )


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}", '{"system": "1", "slot": "s"}')


def test_a_hold_is_renewed_while_there_is_nothing_to_save(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    often: Callable[..., Renewal] = partial(Renewal, every_s=0.02)
    monkeypatch.setattr("offsets.redis.Renewal", often)
    with closing(open_store(redis)) as store:
        store.hold("shop")
        redis.pexpire(RUNNER, 30_000)
        until(lambda: redis.pttl(RUNNER) > 30_000, "the hold is renewed")
    assert redis.pttl(RUNNER) == -2


def test_a_hold_that_ran_out_is_taken_again_only_by_opening_anew(redis: Any) -> None:
    with closing(open_store(redis)) as store:
        store.hold("shop")
        redis.delete(RUNNER)
        with pytest.raises(HoldLost, match="ran out") as lost:
            store.save("shop", at(1), {})
        assert lost.value.retryable
    with closing(open_store(redis)) as store:
        assert store.load("shop") is None
        store.hold("shop")
        store.save("shop", at(1), {})


def test_a_hold_that_another_one_has_by_now_is_not_released(redis: Any) -> None:
    with closing(open_store(redis)) as store:
        store.hold("shop")
        redis.set(RUNNER, "token pid 1 on host elsewhere")
    assert redis.get(RUNNER) == "token pid 1 on host elsewhere"


def test_a_server_without_memory_changes_nothing_and_is_worth_a_retry(redis: Any) -> None:
    with closing(open_store(redis)) as store:
        store.save("shop", at(1), {"public.orders": "1"})
        redis.config_set("maxmemory", 1)
        with pytest.raises(OffsetStoreFailed) as failed:
            store.save("shop", at(2), {"public.orders": "2"})
        assert failed.value.retryable
        assert "maxmemory" in failed.value.hint
        assert store.load("shop") == Offset(at(1), {"public.orders": "1"})
        redis.config_set("maxmemory", 0)
        store.save("shop", at(2), {})


def test_a_key_of_another_program_is_not_read_as_no_offset(redis: Any) -> None:
    redis.set("tailrace:{shop}:offset", "theirs")
    with closing(open_store(redis)) as store, pytest.raises(OffsetUnreadable) as unreadable:
        store.load("shop")
    assert "offsets.prefix" in unreadable.value.hint


def test_an_offset_with_a_field_missing_is_not_read_as_another(redis: Any) -> None:
    redis.hset("tailrace:{shop}:offset", mapping={"order": "x", "token": "0/1"})
    with closing(open_store(redis)) as store, pytest.raises(OffsetUnreadable):
        store.load("shop")


def test_a_past_that_another_program_wrote_is_told_too(redis: Any) -> None:
    redis.rpush("tailrace:{shop}:changes", "theirs")
    redis.rpush("tailrace:{shop}:samples", "theirs")
    with closing(open_store(redis)) as store:
        with pytest.raises(OffsetUnreadable, match="something else"):
            store.changes("shop")
        with pytest.raises(OffsetUnreadable, match="something else"):
            store.position_at("shop", datetime(2026, 11, 22, tzinfo=UTC))


def test_check_warns_of_a_policy_that_may_evict_an_offset(redis: Any) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    port = redis.connection_pool.connection_kwargs["port"]
    (doubt,) = RedisStore.check(RedisStoreConfig(type="redis", host="127.0.0.1", port=port))
    assert "allkeys-lru" in doubt.text
    assert "noeviction" in doubt.mend
