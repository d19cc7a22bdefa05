"""The command `tailrace`. Every command imports what it needs when it runs, so that help is quick."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="tailrace",
    help="Every committed change of a database as a versioned Avro event, at least once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Help with connector files.", no_args_is_help=True)
app.add_typer(config_app, name="config")

DEBUG = "TAILRACE_DEBUG"

Paths = Annotated[list[Path], typer.Argument(help="Connector files, or folders of them.", metavar="PATH")]
StateDir = Annotated[Path, typer.Option("--state", envvar="TAILRACE_STATE", help="Folder of the state.", metavar="DIR")]
STATE_DIR = Path("tailrace-state")


def _version(asked: bool) -> None:
    if asked:
        from service import __version__, implementation

        typer.echo(f"tailrace {__version__} ({implementation()})")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar=DEBUG, help="Show tracebacks and debug logs.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


def debugging() -> bool:
    return bool(os.environ.get(DEBUG))


@app.command()
def run(
    paths: Paths,
    state: StateDir = STATE_DIR,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="Exit 0 once all that is committed now is delivered.")
    ] = False,
) -> None:
    """Run every connector found, a process each, until SIGTERM or Ctrl-C."""
    from service import logs, supervisor

    logs.configure(debug=debugging())
    raise typer.Exit(supervisor.run(paths, state, until_caught_up=until_caught_up, debug=debugging()))


@app.command()
def check(paths: Paths) -> None:
    """Preflight: one line per finding, with what mends it. Changes nothing."""
    from service import preflight

    raise typer.Exit(preflight.check(paths, typer.echo))


@app.command()
def tail(
    path: Annotated[Path, typer.Argument(help="A connector file.", metavar="PATH")],
    start: Annotated[str, typer.Option("--from", help="now, start or a position.", metavar="POSITION")] = "now",
    count: Annotated[int | None, typer.Option("-n", min=1, help="Stop after so many events.", metavar="N")] = None,
) -> None:
    """Print decoded events as JSON lines. Stores no offset and takes no permanent slot."""
    from service import config, logs, secrets
    from service.tail import tail as follow

    connector = config.load(path)
    logs.configure(connector.name, secrets.values(connector), debug=debugging())
    follow(connector, "now" if start == "end" else start, count)


@app.command()
def snapshot(
    name: Annotated[str, typer.Argument(help="The connector.", metavar="NAME")],
    tables: Annotated[
        list[str], typer.Argument(help="Tables as schema.table, on MySQL database.table.", metavar="TABLE")
    ],
    where: Annotated[
        str | None, typer.Option("--where", help="Only rows that fulfil this SQL condition.", metavar="SQL")
    ] = None,
    state: StateDir = STATE_DIR,
) -> None:
    """Copy tables again while changes go on, whether the connector runs now or is started later."""
    from service.cli_snapshot import ask

    ask(name, tables, where, state)


class DemoSource(StrEnum):
    postgres = "postgres"
    mysql = "mysql"
    mariadb = "mariadb"


@app.command()
def demo(
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="How long the workload runs.", metavar="N")] = 20,
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Where the files go. Default: demo-output.", metavar="DIR")
    ] = None,
    source: Annotated[DemoSource, typer.Option("--source", help="Which database.")] = DemoSource.postgres,
    programs: Annotated[
        Path | None,
        typer.Option(
            "--server-programs",
            envvar="TAILRACE_DEMO_SERVER",
            help="Where mysqld or mariadbd is. Default: PATH and the usual folders.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """A real database, a live workload and a connector into files; ends by comparing both sides."""
    from service.demo import demo as play

    raise typer.Exit(play(seconds, directory, source.value, programs))


def with_subcommands() -> typer.Typer:
    """The whole command; apart from the rest because these modules import more."""
    from service import cli_dlq, cli_offsets, cli_schemas

    app.add_typer(cli_offsets.app, name="offsets")
    app.add_typer(cli_schemas.app, name="schemas")
    app.add_typer(cli_dlq.app, name="dlq")
    return app


@config_app.callback()
def _config() -> None:
    """A callback of its own keeps `schema` a subcommand."""


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of a connector file, for editors."""
    import json

    from service import config

    typer.echo(json.dumps(config.json_schema(), indent=2))


@config_app.command("import")
def config_import(
    file: Annotated[
        Path,
        typer.Argument(
            help="A connector's JSON or .properties of Kafka Connect, or application.properties of Debezium Server.",
            metavar="FILE",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Write the connector file here; never over another. Default: print it.", metavar="FILE"
        ),
    ] = None,
    worker: Annotated[
        Path | None,
        typer.Option("--worker", help="The Connect worker's .properties, for what stands only there.", metavar="FILE"),
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", help="The Kafka that Connect writes to.", metavar="HOST:PORT")
    ] = None,
) -> None:
    """Turn a Debezium connector's configuration into a connector file; says what becomes of every other key."""
    from service.debezium.cli import import_config

    raise typer.Exit(import_config(file, output, worker, bootstrap_servers))
