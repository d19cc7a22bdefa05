"""What libpq wants and says, for every connection to a Postgres server.

Source: PostgreSQL manual, "libpq - C Library": parameter key words; "PostgreSQL Error Codes".
"""

import re
import ssl
from pathlib import Path
from typing import Any

import psycopg

CONNECT_TIMEOUT_S = 30
NETWORK: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""In s and the last in ms: a host that is gone is an error, not a wait for ever."""
_ADDRESS = re.compile(
    r"^connection (?:failed|is bad): |^connection to server (?:at|on) .*? failed: |^(?:FATAL|ERROR): +"
    r"|\[Errno -?\d+\] | Is the server running [^?]*\?"
)
_SENTENCES = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ('role "', "28000"),
    ("certificate", "tls"),
    ("does not exist", "3D000"),
    ("does not support SSL", "tls"),
    ("must be superuser or replication role", "42501"),
    ("permission denied", "42501"),
)


def protection(mode: str, ca: Path | None, cert: Path | None, key: Path | None) -> dict[str, str]:
    """Key words for TLS; `mode` is libpq's sslmode."""
    words = {"sslmode": mode}
    if mode.startswith("verify-"):
        words["sslrootcert"] = str(ca or ssl.get_default_verify_paths().cafile or "system")
    if cert:
        words["sslcert"] = str(cert)
    if key:
        words["sslkey"] = str(key)
    return words


def failure(error: psycopg.Error) -> tuple[str | None, str]:
    """(SQLSTATE, text in one line); the state is ``tls`` where TLS failed and None where no server answered."""
    text = _without_address(" ".join(str(error).split()))
    return error.sqlstate or _state_of_connect_error(text), text


def _without_address(text: str) -> str:
    """What failed, in the server's or the system's own words; whoever says it names host and port before."""
    while (shorter := _ADDRESS.sub("", text)) != text:
        text = shorter
    return text


def _state_of_connect_error(text: str) -> str | None:
    """libpq gives no SQLSTATE for a refused connection, only the server's sentence."""
    return next((state for sentence, state in _SENTENCES if sentence in text), None)
