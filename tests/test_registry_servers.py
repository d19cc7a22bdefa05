"""The registry of tests/registry_servers.py does what tests ask of it."""

import httpx
import pytest

from tests.conftest import OwnRegistryFactory
from tests.registry_servers import Registry, logins

pytestmark = pytest.mark.registry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "int"}]}
NAMED_ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}


def test_a_schema_is_read_back_by_the_id_that_its_registration_gave(registry: Registry) -> None:
    subject = f"{registry.prefix}.orders-value"
    schema_id = registry.register(subject, ORDER)
    assert registry.schema(schema_id) == ORDER
    assert registry.register(subject, ORDER) == schema_id
    assert (registry.subjects(), registry.versions(subject)) == ([subject], [1])
    assert registry.version(subject)["id"] == schema_id


def test_an_incompatible_version_is_refused_where_the_subject_asks_for_it(registry: Registry) -> None:
    subject = f"{registry.prefix}.orders-value"
    registry.register(subject, ORDER)
    registry.require(subject, "BACKWARD")
    with pytest.raises(AssertionError, match="409"):
        registry.register(subject, NAMED_ORDER)
    assert registry.versions(subject) == [1]


def test_one_text_under_two_subjects_has_one_content_id_and_two_global_ids(registry: Registry) -> None:
    subjects = [f"{registry.prefix}.{name}-value" for name in ("orders", "refunds")]
    ids = [registry.register(subject, ORDER) for subject in subjects]
    (global_one, content_one), (global_two, content_two) = (registry.apicurio_ids(subject) for subject in subjects)
    assert global_one != global_two
    assert ids == [content_one, content_two] == [content_one, content_one]


def test_subjects_of_one_test_are_gone_before_the_next(registry: Registry) -> None:
    registry.register(f"{registry.prefix}.orders-value", ORDER)
    registry.drop()
    assert registry.subjects() == []


def test_a_killed_registry_keeps_its_schemas_and_a_protected_one_wants_a_password(
    own_registry: OwnRegistryFactory,
) -> None:
    registry = own_registry()
    schema_id = registry.register("orders-value", ORDER)
    registry.server.kill()
    with pytest.raises(httpx.TransportError):
        registry.schema(schema_id)
    registry.server.settings = logins("secret", alice="sr-admin")
    registry.server.start()
    assert registry.client.get("/subjects").status_code == httpx.codes.UNAUTHORIZED
    registry.client.auth = ("alice", "secret")
    assert registry.schema(schema_id) == ORDER
