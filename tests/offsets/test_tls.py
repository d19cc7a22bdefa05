"""Connections to a store's server are encrypted and its certificate is checked, as far as the file asks."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from offsets.errors import OffsetStoreRefused
from tests.certificates import Authority
from tests.conftest import OwnMysqlFactory, OwnPostgresFactory, OwnRedisFactory
from tests.offset_stores import Place, mysql_place, postgres_place
from tests.servers import until

Start = Callable[[Authority], Place]


def server_files(authority: Authority) -> tuple[Path, Path]:
    return authority.folder / "server.pem", authority.folder / "server-key.pem"


@pytest.fixture(params=["postgres", "mysql97", "redis"])
def start(
    request: pytest.FixtureRequest,
    own_postgres: OwnPostgresFactory,
    own_mysql: OwnMysqlFactory,
    own_redis: OwnRedisFactory,
) -> Start:
    """Starts a server with the certificate `server` of an authority."""

    def postgres(authority: Authority) -> Place:
        database = own_postgres(15)  # the wheel of 18 is built without TLS
        owner = database.server.data.stat()
        for file in server_files(authority):
            copy = Path(shutil.copy(file, database.server.data))
            os.chown(copy, owner.st_uid, owner.st_gid)
            copy.chmod(0o600)
        for name, value in (("ssl_cert_file", "server.pem"), ("ssl_key_file", "server-key.pem"), ("ssl", "on")):
            database.execute(f"alter system set {name} = '{value}'")
        database.execute("select pg_reload_conf()")
        until(lambda: database.execute("show ssl") == [("on",)], "the server speaks TLS")
        return postgres_place(database)

    def mysql(authority: Authority) -> Place:
        certificate, key = server_files(authority)
        ca = authority.folder / "ca.pem"
        return mysql_place(own_mysql("mysql97", f"--ssl-ca={ca}", f"--ssl-cert={certificate}", f"--ssl-key={key}"))

    def redis(authority: Authority) -> Place:
        certificate, key = server_files(authority)
        server = own_redis()
        with server.client() as client:
            client.config_set("tls-cert-file", str(certificate), "tls-key-file", str(key))
            client.config_set("tls-ca-cert-file", str(authority.folder / "ca.pem"), "tls-auth-clients", "no")
            client.config_set("tls-port", server.tls_port)
        section = {"type": "redis", "host": "127.0.0.1", "port": server.tls_port}
        return Place(section, server.folder, "", lambda: None)

    known: dict[str, Start] = {"postgres": postgres, "mysql97": mysql, "redis": redis}
    return known[request.param]


def opens(place: Place, mode: str, ca: Path | None = None) -> bool:
    tls: dict[str, Any] = {"mode": mode, **({"ca": ca} if ca else {})}
    with closing(place.open(tls=tls)) as store:
        return store.all() == []


def test_a_certificate_of_the_right_authority_for_the_right_host_is_trusted_and_no_other(
    start: Start, tmp_path: Path
) -> None:
    ours, others = Authority.make(tmp_path / "ours"), Authority.make(tmp_path / "others")
    ours.sign("server", "127.0.0.1")
    place = start(ours)
    assert opens(place, "verify-full", ours.folder / "ca.pem")
    assert opens(place, "require")
    with pytest.raises(OffsetStoreRefused, match=r"(?i)certificate") as refused:
        opens(place, "verify-full", others.folder / "ca.pem")
    assert "offsets.tls" in refused.value.hint
    assert not refused.value.retryable


def test_a_certificate_of_another_host_is_trusted_only_where_the_file_says_so(start: Start, tmp_path: Path) -> None:
    ours = Authority.make(tmp_path / "ours")
    ours.sign("server", "db.internal")
    place = start(ours)
    assert opens(place, "verify-ca", ours.folder / "ca.pem")
    with pytest.raises(OffsetStoreRefused, match=r"(?i)certificate") as refused:
        opens(place, "verify-full", ours.folder / "ca.pem")
    assert "offsets.tls" in refused.value.hint
