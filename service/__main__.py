"""``tailrace`` and ``python -m service``."""

import signal
import sys

# Before anything else is imported: until a command has its own way to stop, there is nothing to drain.
signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(0))

from service import ownership  # noqa: E402


def main() -> None:
    """Run the command; ends the process with one of the exit codes, and never with a traceback but for --debug."""
    foreign = ownership.foreign()
    if foreign is not None:
        _end(foreign, ownership.HINT, 2)

    from service import cli

    try:
        cli.with_subcommands()(prog_name="tailrace")
    except Exception as error:
        if cli.debugging():
            raise
        from service import exits

        said = exits.say(error)
        _end(said.cause, said.hint, said.code)


def _end(cause: str, hint: str, code: int) -> None:
    print(f"tailrace: {cause}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
