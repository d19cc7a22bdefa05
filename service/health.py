"""Whether `tailrace run` is alive, for a container's health check: the supervisor touches a file, this reads its age.

    python -m service.health [STATE]    exit 0 alive, 1 not; STATE defaults to $TAILRACE_STATE or ./tailrace-state

Alive says that the supervisor goes round its loop, not that every connector delivers: a connector that needs an
operator does not stop the others, and restarting the container would.
"""

import os
import sys
import time
from pathlib import Path

MAX_AGE_S = 30.0


def beat(state: Path) -> None:
    """The supervisor is alive. Called at least every few seconds; a state folder that cannot be written is silence."""
    try:
        _file(state).touch()
    except OSError:
        return


def age_s(state: Path) -> float | None:
    """Seconds since the last beat, None where there was none."""
    try:
        return time.time() - _file(state).stat().st_mtime
    except OSError:
        return None


def _file(state: Path) -> Path:
    return state / "heartbeat"


def main() -> int:
    state = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TAILRACE_STATE", "tailrace-state"))
    age = age_s(state)
    if age is None:
        print(f"no tailrace ever ran on {state}")
    elif age > MAX_AGE_S:
        print(f"tailrace on {state} gave its last sign of life {age:.0f} s ago")
    else:
        print(f"tailrace on {state} is alive")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
