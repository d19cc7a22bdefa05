"""Where a server is."""

from ipaddress import ip_address


def is_local(host: str) -> bool:
    """A Unix socket or a loopback address: nobody can listen in between."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
