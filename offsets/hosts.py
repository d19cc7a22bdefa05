"""Where a server is."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and ":" not in name:
        raise ValueError(f'"{host}" holds a port: give "{name}" here, and {port} as `port`')
    return host


Host = Annotated[str, Field(min_length=1), AfterValidator(_without_port)]


def is_local(host: str) -> bool:
    """A Unix socket or a loopback address: nobody can listen in between."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
