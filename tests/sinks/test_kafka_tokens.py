"""OAUTHBEARER with tokens from an endpoint that checks who asks for them."""

import json
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from sinks.errors import SinkUnavailable
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import tokens
from tests.servers import until
from tests.sinks.events import batch
from tests.sinks.kafka import change, numbers, opened

pytestmark = pytest.mark.kafka


class Endpoint(ThreadingHTTPServer):
    """Gives OIDC client credentials a token that nobody signs, good for `lasts_s`; `asked` are the scopes that were
    asked for by those who got one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/token"
        self.lasts_s = 3600
        self.asked: list[str] = []

    def answer(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        known = b64decode(authorization.removeprefix("Basic ")) == b"shop:secret"
        if not known or form.get("grant_type") != ["client_credentials"]:
            return 401, {"error": "invalid_client", "error_description": "Invalid client or client credentials"}
        self.asked.append(" ".join(form.get("scope", [])))
        now = int(time.time())
        token = ".".join((_part({"alg": "none"}), _part({"sub": "shop", "iat": now, "exp": now + self.lasts_s}), ""))
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lasts_s}


class _Asked(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        status, said = self.server.answer(self.headers.get("Authorization", ""), form)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: Any) -> None:
        pass


def _part(claims: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    serving = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    yield endpoint
    endpoint.shutdown()
    endpoint.server_close()
    serving.join()


def sasl(endpoint: Endpoint, **keys: str) -> dict[str, str]:
    client = {"client_id": "shop", "client_secret": "secret"}
    return {"mechanism": "OAUTHBEARER", "token_url": endpoint.url, **client, **keys}


def test_a_token_is_asked_for_and_who_is_given_none_reads_why(own_kafka: OwnKafkaFactory, endpoint: Endpoint) -> None:
    kafka = own_kafka(1, *tokens(), clients="SASL_PLAINTEXT")
    kafka.create_topic("orders")
    address = kafka.server.clients_bootstrap
    with pytest.raises(SinkUnavailable, match="no token to show to Kafka") as refused:
        opened(address, sasl=sasl(endpoint, client_secret="wrong-one"))
    assert "Invalid client or client credentials" in str(refused.value)
    assert "correct it, client_id or client_secret" in refused.value.hint
    assert "wrong-one" not in str(refused.value)
    assert endpoint.asked == []
    sink = opened(address, sasl=sasl(endpoint, scope="orders:write"))
    sink.write(batch([change("orders", 1)]))
    sink.flush()
    sink.close()
    assert numbers(kafka.read("orders")) == [1]
    assert set(endpoint.asked) == {"orders:write"}


def test_a_token_that_runs_out_is_asked_for_anew_before_the_next_login(
    own_kafka: OwnKafkaFactory, endpoint: Endpoint
) -> None:
    kafka = own_kafka(1, *tokens(), clients="SASL_PLAINTEXT")
    kafka.create_topic("orders")
    kafka.create_topic("items")
    endpoint.lasts_s = 10
    sink = opened(kafka.server.clients_bootstrap, sasl=sasl(endpoint))
    sink.write(batch([change("orders", 1)]))
    sink.flush()
    kafka.server.stop()
    first = len(endpoint.asked)
    until(lambda: len(endpoint.asked) > first, "a token is asked for though nothing is delivered")
    kafka.server.start()
    sink.write(batch([change("items", 2), change("orders", 3)]))
    sink.flush()
    sink.close()
    assert numbers(kafka.read("orders")) == [1, 3]
    assert numbers(kafka.read("items")) == [2]
