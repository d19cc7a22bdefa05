"""`tailrace snapshot`: copy tables of a connector again."""

from contextlib import closing
from pathlib import Path

import typer

from service.refused import Refused
from service.state import State


def ask(name: str, tables: list[str], where: str | None, state: Path) -> None:
    """Store the request; a running connector takes it within seconds, a stopped one at its next start."""
    opened = State.open(state, create=False)
    with closing(opened.offsets()) as store:
        if opened.config_path(name) is None and store.load(name) is None:
            raise Refused(
                f"connector {name} has never run with the state in {state}",
                "name the state folder that it runs with by --state; `tailrace offsets list` shows its connectors",
            )
    for table in tables:
        if "." not in table.strip("."):
            raise Refused(
                f"{table!r} names no table",
                "give schema.table as its topic ends: public.orders, or shop.orders on MySQL",
            )
    with closing(opened.snapshot_requests()) as requests:
        requests.add(name, tables, where)
    when = "within seconds" if opened.holder(name) else "at its next start"
    typer.echo(f"connector {name} copies {', '.join(tables)} again{f' where {where}' if where else ''}, {when}")
