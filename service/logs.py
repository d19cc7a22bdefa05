"""Logs go to stderr: for people on a terminal, as JSON lines anywhere else.

Everything logs through the standard library's loggers or structlog's; both end here in one form.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

_COLOURS = {"debug": "\033[2m", "warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"
_EVENT_WIDTH = 44
_COMMAND = re.compile(r"(\btailrace [a-z ]+ )NAME\b")


def named(hint: str, connector: str) -> str:
    """`hint` with the connector's name in its commands where NAME stands."""
    return _COMMAND.sub(lambda command: f"{command[1]}{connector}", hint)


def configure(connector: str = "", secrets: Iterable[str] = (), *, debug: bool = False) -> None:
    """Call once a process. `secrets` are values that must not appear, wherever they come from."""
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
        structlog.processors.UnicodeDecoder(),
    ]
    if connector:
        shared.append(_Named(connector))
    if debug:
        shared.append(structlog.processors.format_exc_info)
    else:
        shared.append(_without_traceback)
    shared.append(_Hide(secrets))
    render: Processor = Human(colours=terminal) if terminal else _json_line
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("httpx").setLevel(logging.DEBUG if debug else logging.WARNING)  # a line for each request
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class Human:
    """``22:14:03 shop  snapshot of public.orders done    rows=1200``, and what to do on a line of its own."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        level = str(event.pop("level", method))
        time, connector = event.pop("timestamp", ""), event.pop("connector", "")
        hint, traceback = event.pop("hint", ""), event.pop("exception", "")
        text = str(event.pop("event", ""))
        facts = "  ".join(f"{key}={value}" for key, value in event.items())
        head = f"{self._paint(_DIM, time)} {self._paint(_BOLD, connector)}{'  ' if connector else ''}"
        mark = f"{level}: " if level in ("warning", "error", "critical") else ""
        line = head + self._paint(_COLOURS.get(level, ""), mark + text)
        if facts:
            line += " " * max(2, _EVENT_WIDTH - len(text)) + facts
        return "\n".join(part for part in (line, f"         {hint}" if hint else "", traceback) if part)

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours and colour and text else text


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    head = {key: event.pop(key) for key in ("timestamp", "level", "connector", "event") if key in event}
    return json.dumps({**head, **event}, default=str, ensure_ascii=False)


class _Named:
    """Whose line it is; a command in a hint takes the connector's name where it has NAME."""

    def __init__(self, connector: str) -> None:
        self._connector = connector

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        name = event.setdefault("connector", self._connector)
        if "hint" in event:
            event["hint"] = named(str(event["hint"]), name)
        return event


class _Hide:
    """Blots secret values out of every text, also where a library's error quotes one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            event[key] = self._hidden(value)
        return event

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, (int, float, type(None), logging.LogRecord)):
            return value
        text = value if isinstance(value, str) else str(value)
        if not any(secret in text for secret in self._secrets):
            return value
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _without_traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Only --debug shows tracebacks; elsewhere an error is its sentence."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.setdefault("error", f"{type(error).__name__}: {error}")
    return event
