"""A store for tests keeps its promises as any other does."""

from contextlib import closing

import pytest

from offsets.errors import OffsetMovedBackwards
from offsets.memory import MemoryStore
from offsets.position import Offset, Position


def test_what_was_saved_is_loaded_and_never_goes_back() -> None:
    with closing(MemoryStore()) as store:
        store.save("shop", Position(2, "0/2", '{"system": "1"}'), {"public.orders": "1"})
        with pytest.raises(OffsetMovedBackwards):
            store.save("shop", Position(1, "0/1", '{"system": "1"}'), {})
        assert store.load("shop") == Offset(Position(2, "0/2", '{"system": "1"}'), {"public.orders": "1"})
    with closing(MemoryStore()) as other:
        assert other.load("shop") is None
