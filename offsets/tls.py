"""How a connection to a server is protected."""

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from offsets.errors import OffsetStoreMisconfigured

Mode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class CertificateUnusable(Exception):
    """`key` is ``ca`` or ``cert``."""

    def __init__(self, key: str, path: Path | None, reason: str | None) -> None:
        super().__init__(f"tls.{key}: {path} cannot be used: {reason}")
        self.key = key


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

    def context(self, mode: Mode) -> ssl.SSLContext:
        """Raises OffsetStoreMisconfigured."""
        try:
            return context(mode, self.ca, self.cert, self.key)
        except CertificateUnusable as unusable:
            raise OffsetStoreMisconfigured(f"offsets.{unusable}", f"correct offsets.tls.{unusable.key}") from None


def context(mode: Mode, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """For a connection that is encrypted in any case. Raises CertificateUnusable."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = mode == "verify-full"
    if mode == "require":
        made.verify_mode = ssl.CERT_NONE
    name, path = "ca", ca
    try:
        if ca:
            made.load_verify_locations(ca)
        else:
            made.load_default_certs()
        name, path = "cert", cert
        if cert:
            made.load_cert_chain(cert, key)
    except OSError as error:
        unfit = "it holds no certificate in PEM format, or none that fits the key"
        raise CertificateUnusable(name, path, unfit if isinstance(error, ssl.SSLError) else error.strerror) from None
    return made
