"""JSON lines: one object per event, readable without its schema."""

import mmap
import os
from collections.abc import Sequence
from typing import BinaryIO

from schema.decode import Decoder
from schema.errors import Undecodable
from schema.event import Event
from sinks.errors import Rejected


class Jsonl:
    """The lines of one topic that wait to be written."""

    suffix = ".jsonl"

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._lines: list[bytes] = []
        self.size_bytes = 0

    def begin(self, events: Sequence[Event], at: int) -> bytes:
        return b""

    def add(self, events: Sequence[Event], at: int) -> int:
        line = self._decoder.line
        size_bytes = 0
        for event in events[at:] if at else events:
            try:
                text = line(event)
            except Undecodable as error:
                raise Rejected(event, str(error), error.hint) from error
            size_bytes += len(text)
            self._lines.append(text)
        self.size_bytes += size_bytes
        return len(events)

    def take(self) -> tuple[list[bytes], bytes]:
        lines, self._lines, self.size_bytes = self._lines, [], 0
        return [b"".join(lines)], b""

    @staticmethod
    def whole_bytes(file: BinaryIO) -> int:
        """A power cut may leave a tail without its newline, and zeros where a page never reached the disk."""
        if not os.fstat(file.fileno()).st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            hole = text.find(b"\0")
            return text.rfind(b"\n", 0, len(text) if hole < 0 else hole) + 1
