"""A registry that really asks who we are, and what we may do."""

from contextlib import closing
from typing import Any

import pytest

from schema.change import Avro
from schema.confluent import ConfluentRegistry
from schema.confluent_config import ConfluentConfig
from schema.errors import RegistryRefused
from schema.registry import RegisteredVersion
from tests.conftest import OwnRegistryFactory
from tests.registry_servers import logins

pytestmark = pytest.mark.registry

ORDER: Avro = {
    "type": "record",
    "name": "Value",
    "namespace": "shop.public.orders",
    "fields": [{"name": "id", "type": "int"}],
}
SUBJECT = "shop.public.orders-value"


def config(url: str, **keys: Any) -> ConfluentConfig:
    return ConfluentConfig.model_validate({"type": "confluent", "url": url, "timeout_s": 60, **keys})


def register(url: str, **keys: Any) -> RegisteredVersion:
    with closing(ConfluentRegistry(config(url, **keys))) as client:
        return client.register(SUBJECT, ORDER)


def refused(url: str, **keys: Any) -> str:
    """The error as an operator reads it, the same when a connector is checked as when it registers."""
    with pytest.raises(RegistryRefused) as caught:
        register(url, **keys)
    with pytest.raises(RegistryRefused) as checked:
        ConfluentRegistry.check(config(url, **keys), "shop")
    assert checked.value.hint == caught.value.hint
    return f"{caught.value}\n{caught.value.hint}"


def test_a_registry_with_passwords_takes_schemas_of_who_has_the_right_one_and_the_right_to_write(
    own_registry: OwnRegistryFactory,
) -> None:
    own = own_registry(*logins("secret", tailrace="sr-developer", reader="sr-readonly"))
    own.client.auth = ("reader", "secret")
    said = refused(own.url)
    assert "HTTP 401" in said
    assert "set registry.user and registry.password, or registry.token: the registry asks who we are" in said
    said = refused(own.url, user="tailrace", password="wrong")
    assert "HTTP 401" in said
    assert "correct registry.user and registry.password, which the registry does not accept" in said
    assert "wrong" not in said
    said = refused(own.url, user="reader", password="secret")
    assert "HTTP 403" in said
    assert 'let the user "reader" read and write this connector\'s subjects' in said
    assert own.client.get("/subjects").json() == []
    right = {"user": "tailrace", "password": "secret"}
    assert ConfluentRegistry.check(config(own.url, **right), "shop").endswith("takes new schemas")
    registered = register(own.url, **right)
    assert own.versions(SUBJECT) == [1]
    assert own.schema(registered.id) == ORDER
