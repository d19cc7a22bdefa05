"""A registry's REST API over HTTP: several addresses, who asks, and what each way to fail means for an operator.

Source: Confluent's "Schema Registry API Reference" (paths, status and error codes), which Apicurio's ccompat API,
Karapace and Redpanda follow.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from schema.confluent_config import ConfluentConfig, ConfluentTls
from schema.errors import RegistryFailed, RegistryMisconfigured, RegistryRefused

_CCOMPAT = re.compile(r"/apis/ccompat/v\d+$")
_OWN_APIS = ("/apis/registry/v3", "/apis/registry/v2")
"""Apicurio's, of version 3 and of version 2. Source: Apicurio Registry's documentation, "Core Registry API"."""
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_NOT_NOW = {408, 429}
_NOT_THERE = range(40401, 40500)
_NOT_A_SCHEMA = 42201
_READ_ONLY = 42205
_SHOWN_CHARACTERS = 600
_WAITS = "start it or correct registry.url; it is tried again, and delivery goes on from the last offset"


class Conflict(RegistryRefused):
    """The registry will not have this schema beside those it has. `reason` is its own word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotASchema(RegistryRefused):
    """The registry would take a schema from us, and this is none."""


class RegistryApi:
    """Thread-safe. `ask` may be repeated: registering what is registered changes nothing."""

    def __init__(self, config: ConfluentConfig) -> None:
        """Opens no connection. Raises RegistryRefused for files and secrets that cannot be used."""
        self._config = config
        self._urls = config.urls
        self._client = httpx.Client(
            auth=_basic(config),
            headers={"User-Agent": "tailrace", "Accept": f"{_CONTENT_TYPE}, application/json", **_bearer(config)},
            verify=_tls(config.tls),
            timeout=config.timeout_s,
        )

    @property
    def url(self) -> str:
        """The address that answered last, or is to be asked first."""
        return self._urls[0]

    def ask(self, doing: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON, None where the registry has no such subject, version or schema.

        `doing` tells what for: ``look up orders-value``. An address that does not answer leaves it to the next.
        Raises RegistryFailed where none does, RegistryRefused, Conflict, NotASchema.
        """
        return self._asked(doing, method, path, body)

    def ask_apicurio(self, doing: str, path: str) -> Any:
        """What Apicurio's own API has there, None where it has nothing, or the registry is another. Raises as `ask`."""
        if not all(_CCOMPAT.search(url) for url in self._urls):
            return None
        for own in _OWN_APIS:
            found = self._asked(doing, "GET", path, None, own)
            if found is not None:
                return found
        return None

    def _asked(self, doing: str, method: str, path: str, body: dict[str, Any] | None, own: str = "") -> Any:
        """`own` is the API of Apicurio's to ask instead, whose every 404 says that nothing is there."""
        silent: list[str] = []
        for url in self._urls:
            try:
                answer = self._client.request(
                    method,
                    _CCOMPAT.sub(own, url) + path if own else url + path,
                    json=body,
                    headers={"Content-Type": _CONTENT_TYPE} if body else None,
                )
            except httpx.RequestError as error:
                self._tell_tls(url, doing, error)
                silent.append(f"{url}: {self._why(error)}")
                continue
            if answer.is_server_error or answer.status_code in _NOT_NOW:
                silent.append(f"{url}: {_said(answer)}")
                continue
            self._urls = (url, *(other for other in self._urls if other != url))
            if own and answer.status_code == httpx.codes.NOT_FOUND:
                return None
            return self._read(url, doing, answer)
        raise RegistryFailed(f"the schema registry could not {doing}: {'; '.join(silent)}", _WAITS)

    def close(self) -> None:
        self._client.close()

    def _read(self, url: str, doing: str, answer: httpx.Response) -> Any:
        body = _json(answer)
        if answer.is_success and body is not None:
            return body
        code = body.get("error_code") if isinstance(body, dict) else None
        if answer.status_code == httpx.codes.NOT_FOUND and code in _NOT_THERE:
            return None
        text = f"the schema registry {url} could not {doing}: {_said(answer)}"
        if answer.status_code == httpx.codes.CONFLICT:
            raise Conflict(text, _message(answer))
        if code == _NOT_A_SCHEMA:
            raise NotASchema(text, self._hint(answer, code))
        raise RegistryRefused(text, self._hint(answer, code))

    def _hint(self, answer: httpx.Response, code: object) -> str:
        status = answer.status_code
        if status == httpx.codes.UNAUTHORIZED or (status == httpx.codes.FORBIDDEN and not self._who):
            if self._who:
                return f"correct {self._keys}, which the registry does not accept"
            return "set registry.user and registry.password, or registry.token: the registry asks who we are"
        if status == httpx.codes.FORBIDDEN:
            return f"let {self._who} read and write this connector's subjects, in the registry's access rules"
        if code == _READ_ONLY:
            return "set the registry's mode, or the subject's, to READWRITE, and start the connector again"
        if status == httpx.codes.UNPROCESSABLE_ENTITY:
            return "look into the registry's rules for the subject, which refuse a valid Avro schema"
        if answer.is_redirect:
            return f"set registry.url to where it leads, {answer.headers.get('location', 'which it does not say')}"
        if answer.is_success or status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            return "correct registry.url, path included: Apicurio Registry has this API under /apis/ccompat/v7"
        return "look for this request in the log of the registry, or of the proxy before it"

    @property
    def _who(self) -> str:
        return f'the user "{self._config.user}"' if self._config.user else "the token" if self._config.token else ""

    @property
    def _keys(self) -> str:
        return "registry.user and registry.password" if self._config.user else "registry.token"

    def _why(self, error: httpx.RequestError) -> str:
        if isinstance(error, httpx.TimeoutException):
            return f"no answer within {self._config.timeout_s:g} s"
        return _ERRNO.sub("", _line(str(error))) or type(error).__name__

    def _tell_tls(self, url: str, doing: str, error: BaseException) -> None:
        """Raise RegistryRefused where TLS is what failed."""
        found = _tls_error(error)
        if found is None:
            return
        if isinstance(found, ssl.SSLCertVerificationError):
            reason = f"its certificate is not accepted: {found.verify_message}"
            hint = _certificate_hint(found)
        elif "alert" in (found.reason or "").lower():
            reason = f"it ended the TLS handshake: {_reason(found)}"
            hint = "set registry.tls.cert and registry.tls.key to a certificate that the registry accepts"
        else:
            reason = f"it does not speak TLS as we do: {_reason(found)}"
            hint = "set registry.url to http://, if the registry has no TLS on this port, or correct the port"
        raise RegistryRefused(f"the schema registry {url} could not {doing}: {reason}", hint) from error


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What TLS said; None where the connection merely broke."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return None if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) else cause
        cause = cause.__cause__ or cause.__context__
    return None


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    told = error.verify_message.lower()
    if "mismatch" in told or "not valid for" in told:
        return "give the host in registry.url the name that the registry's certificate carries"
    if "expired" in told or "not yet valid" in told:
        return "renew the registry's certificate, or set this machine's clock"
    return "set registry.tls.ca to the file with the certificate of the authority that signed the registry's"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _said(answer: httpx.Response) -> str:
    message = _message(answer)
    cut = "..." if len(message) > _SHOWN_CHARACTERS else ""
    return f"HTTP {answer.status_code}: {message[:_SHOWN_CHARACTERS]}{cut}"


def _message(answer: httpx.Response) -> str:
    body = _json(answer)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return _line(body["message"])
    if answer.is_success:
        return "the answer is not that of a schema registry"
    return answer.reason_phrase or "no reason given"


def _line(text: str) -> str:
    return " ".join(text.split())


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _basic(config: ConfluentConfig) -> httpx.BasicAuth | None:
    if config.user is None or config.password is None:
        return None
    return httpx.BasicAuth(config.user, config.password.get_secret_value())


def _bearer(config: ConfluentConfig) -> dict[str, str]:
    if config.token is None:
        return {}
    token = config.token.get_secret_value()
    if not (token.isascii() and token.isprintable()):
        raise RegistryMisconfigured(
            "registry.token: it holds characters that an HTTP header cannot", "let the secret hold the token alone"
        )
    return {"Authorization": f"Bearer {token}"}


def _tls(tls: ConfluentTls) -> ssl.SSLContext:
    with _read("registry.tls.ca", tls.ca):
        context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        with _read("registry.tls.cert", tls.cert if tls.key is None else f"{tls.cert} with {tls.key}"):
            context.load_cert_chain(tls.cert, tls.key, password="")  # without one, OpenSSL asks on the terminal
    return context


@contextmanager
def _read(key: str, files: object) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = _reason(error) if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "") or str(error)
        raise RegistryMisconfigured(
            f"{key}: {files}: {reason}", "give a PEM file that the user of this process may read, its key not encrypted"
        ) from error
