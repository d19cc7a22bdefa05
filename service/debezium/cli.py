"""What `tailrace config import` prints, and the file that it writes."""

import json
from pathlib import Path

import typer

from service import config, exits
from service.debezium.config import translate
from service.refused import Refused


def import_config(file: Path, output: Path | None, worker: Path | None, bootstrap_servers: str | None) -> int:
    """The exit code: FINDINGS where something must be decided. Raises ConfigError, Refused."""
    imported = translate(file, worker, bootstrap_servers)
    config.validated(imported.connector, file)
    text = json.dumps(imported.connector, indent=2, ensure_ascii=False)
    if output is None:
        typer.echo(text)
    else:
        _write(output, text)
    for line in imported.lines:
        typer.echo(line, err=True)
    if output is not None:
        typer.echo(f"{output}: written; `tailrace check {output}` looks whether it would run", err=True)
    return exits.FINDINGS if imported.to_decide else exits.DONE


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except FileExistsError:
        raise Refused(f"{output} is there already, and is left as it is", "name another file by --output") from None
    except OSError as error:
        raise Refused(
            f"{output} cannot be written: {error.strerror}", "name a file in a folder that can be written, by --output"
        ) from None
