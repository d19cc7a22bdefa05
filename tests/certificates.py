"""Certificates for tests of TLS."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority(NamedTuple):
    """A certificate authority in a folder: ``ca.pem``, and ``NAME.pem`` with ``NAME-key.pem`` for what it signed."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir()
        authority = cls(folder, ec.generate_private_key(ec.SECP256R1()), _named(f"{folder.name} authority"))
        authority._write("ca", authority.key, authority.name, x509.BasicConstraints(ca=True, path_length=None))
        return authority

    def sign(self, name: str, *hosts: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        self._write(name, key, _named(name), x509.SubjectAlternativeName(names))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.folder / f"{name}-key.pem").write_bytes(key.private_bytes(*form))

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, subject: x509.Name, says: x509.ExtensionType) -> None:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - day)
        signed = builder.not_valid_after(now + day).add_extension(says, critical=False).sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
