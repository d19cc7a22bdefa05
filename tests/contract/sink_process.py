"""A process that delivers to a sink until it is killed: `python -m tests.contract.sink_process CONFIG`.

CONFIG is the `sink` part of a connector file. Says "flushed" and "written" on standard error.
"""

import json
import sys
import time

import sinks
from tests.sinks.events import ITEMS, ORDERS, SCHEMAS, batch, event

FLUSHED = [event(n, topic) for n in range(500) for topic in (ORDERS, ITEMS)]
UNFLUSHED = [event(n, topic, text="x" * 5000) for n in range(500, 1000) for topic in (ORDERS, ITEMS)]


def main() -> None:
    cls = sinks.load(json.loads(sys.argv[1])["type"])
    sink = cls(cls.Config.model_validate_json(sys.argv[1]), SCHEMAS)
    sink.open()
    for part in (FLUSHED[:400], FLUSHED[400:]):
        sink.write(batch(part))
        sink.flush()
    print("flushed", file=sys.stderr, flush=True)
    sink.write(batch(UNFLUSHED))
    print("written", file=sys.stderr, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
