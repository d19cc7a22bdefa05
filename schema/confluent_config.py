"""The `registry` part of a connector file with `"type": "confluent"`."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from schema.errors import Policy

Strategy = Literal["topic", "record", "topic-record"]
_ACCEPTED = "accepted: http://HOST:PORT/PATH or https://, several with commas between"


def _urls(given: str) -> str:
    for url in given.split(","):
        if "@" in url:
            raise ValueError("holds a user; accepted: `user` and `password` as keys of their own")
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f'"{url.strip()}" is no address: {error}; {_ACCEPTED}') from None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise ValueError(f'"{url.strip()}" is no address; {_ACCEPTED}')
        if parts.query or parts.fragment:
            raise ValueError(f'"{url.strip()}" goes on behind its path; {_ACCEPTED}')
    return given


class ConfluentTls(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path | None = Field(
        default=None, description="File with the certificates that may sign the registry's. Default: the system's."
    )
    cert: Path | None = Field(default=None, description="File with our certificate, where the registry asks for one.")
    key: Path | None = Field(default=None, description="File with the private key of `cert`, where `cert` lacks it.")

    @model_validator(mode="after")
    def _key_belongs_to_cert(self) -> Self:
        if self.key is not None and self.cert is None:
            raise ValueError("cert: missing; accepted: key only beside a cert")
        return self


class ConfluentConfig(BaseModel):
    """A registry that speaks Confluent's REST API: Confluent's own, Apicurio, Karapace, Redpanda."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["confluent"]
    url: Annotated[str, AfterValidator(_urls)] = Field(
        description="Its address, http:// or https://, path included; several with commas between, asked in turn."
    )
    user: str | None = Field(default=None, min_length=1, description="User for basic authentication.")
    password: SecretStr | None = Field(default=None, description="Its password, as ${env:NAME} or ${file:PATH}.")
    token: SecretStr | None = Field(
        default=None, description="Bearer token, instead of a user, as ${env:NAME} or ${file:PATH}."
    )
    tls: ConfluentTls = Field(default=ConfluentTls(), description="How an https:// connection is protected.")
    timeout_s: float = Field(
        default=10, gt=0, le=60, description="How long one request may wait for an answer, in seconds."
    )
    subjects: Strategy = Field(
        default="topic",
        description="How subjects are named: topic: TOPIC-key and TOPIC-value; record: the schema's name; "
        "topic-record: both.",
    )
    incompatible: Policy = Field(
        default="stop",
        description="A table's new version that the registry finds incompatible: stop with exit 3; register it under "
        "SUBJECT-v2 (new_subject); put its changes aside as dead letters, without any other setting (dead_letter); "
        "keep the wider type of each column, else stop (widen).",
    )

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(url.strip().rstrip("/") for url in self.url.split(","))

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.token is not None and (self.user is not None or self.password is not None):
            raise ValueError("token: there is a user, too; accepted: token, or user and password")
        if (self.user is None) != (self.password is None):
            missing = "user" if self.user is None else "password"
            raise ValueError(f"{missing}: missing; accepted: both or neither of user and password")
        if self.tls != ConfluentTls() and not any(url.startswith("https:") for url in self.urls):
            raise ValueError("tls: no url is encrypted; accepted: tls only with https://")
        return self
