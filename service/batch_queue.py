"""The one queue between the reader and delivery, bounded in bytes."""

from collections import deque
from threading import Condition

from schema.event import Batch


class BatchQueue:
    """First in, first out. A batch larger than the whole bound passes alone, through an empty queue."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._batches: deque[Batch] = deque()
        self._size_bytes = 0
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batch: Batch, timeout_s: float) -> bool:
        """False where there was no room within `timeout_s`; the batch is then still the caller's."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(batch), timeout_s)
            if not self._has_room(batch):
                return False
            self._batches.append(batch)
            self._size_bytes += batch.size_bytes
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float) -> Batch | None:
        """The oldest batch, or None where none came within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._batches, timeout_s)
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self._size_bytes -= batch.size_bytes
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """From now on nothing waits: `get` still empties the queue, then returns None at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, batch: Batch) -> bool:
        return not self._batches or self._size_bytes + batch.size_bytes <= self._limit_bytes
