"""How a connection to a store's server is protected."""

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from offsets.errors import OffsetStoreMisconfigured

Mode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class StoreTls(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode | None = Field(
        default=None, description="How far to trust. Default: verify-full, but prefer for a host that is local."
    )
    ca: Path | None = Field(
        default=None, description="File with the certificates that may sign the server's. Default: the system's."
    )
    cert: Path | None = Field(default=None, description="File with our certificate, where the server asks for one.")
    key: Path | None = Field(default=None, description="File with the private key of `cert`.")


def context(mode: Mode, tls: StoreTls) -> ssl.SSLContext:
    """For a connection that is encrypted in any case. Raises OffsetStoreMisconfigured."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = mode == "verify-full"
    if mode in ("prefer", "require"):
        made.verify_mode = ssl.CERT_NONE
    key, path = "ca", tls.ca
    try:
        if tls.ca:
            made.load_verify_locations(tls.ca)
        else:
            made.load_default_certs()
        key, path = "cert", tls.cert
        if tls.cert:
            made.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        unfit = "it holds no certificate in PEM format, or none that fits the key"
        reason = unfit if isinstance(error, ssl.SSLError) else error.strerror
        raise OffsetStoreMisconfigured(
            f"offsets.tls.{key}: {path} cannot be used: {reason}", f"correct offsets.tls.{key}"
        ) from None
    return made
