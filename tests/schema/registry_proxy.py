"""A proxy in front of a real registry that does what the registry cannot be made to do."""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Fault = Callable[["Exchange"], bool]
"""Deals with one exchange; False: it is passed on to the registry."""


class Proxy:
    """`url` stands for the registry's. `asked` is every request as ``GET /subjects``, the registry's path left out."""

    def __init__(self, registry_url: str, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.fault: Fault | None = None
        self._server = _Server(registry_url, self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        scheme, path = "http" if tls is None else "https", urlsplit(registry_url).path
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self) -> None:
        """Nothing listens any more, and every connection is broken."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client hung up, or TLS was not agreed on
            self.close_connection = True

    def _pass(self) -> None:
        proxy, registry = self.server.proxy, self.server.registry
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.asked.append(f"{self.command} {self.path.removeprefix(registry.path)}")
        if proxy.fault is not None and proxy.fault(self):
            return
        connection = http.client.HTTPConnection(registry.netloc, timeout=60)
        try:
            kept = {name: value for name, value in self.headers.items() if name in ("Content-Type", "Accept")}
            connection.request(self.command, self.path, self.body, kept)
            got = connection.getresponse()
            self.answer(got.status, got.read(), {"Content-Type": got.headers.get("Content-Type", "")})
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = _pass  # noqa: N815 (the names that http.server looks for)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry_url: str, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.registry = urlsplit(registry_url)
        self.proxy = proxy
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        self.socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, *_: Any) -> None:
        pass


def answers(status: int, body: str = "", **headers: str) -> Fault:
    """Whatever is asked."""

    def fault(exchange: Exchange) -> bool:
        exchange.answer(status, body.encode(), headers)
        return True

    return fault


def breaks_off(exchange: Exchange) -> bool:
    """Half an answer, then nothing."""
    exchange.send_response(200)
    exchange.send_header("Content-Length", "1000")
    exchange.end_headers()
    exchange.wfile.write(b'{"id"')
    exchange.close_connection = True
    return True


def wants(authorization: str) -> Fault:
    """401 for whoever does not send this header: ``Bearer TOKEN``, or what `basic` makes."""

    def fault(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") == authorization:
            return False
        exchange.answer(401, b'{"error_code": 401, "message": "Unauthorized"}')
        return True

    return fault


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
