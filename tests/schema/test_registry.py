"""The local registry: ids and versions that stay what they were."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schema.errors import RegistryFailed
from schema.registry import LocalRegistry, RegisteredVersion
from service.state import State

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LocalRegistry]:
    with closing(State.open(tmp_path / "state").registry()) as registry:
        yield registry


def record(*names: str) -> dict[str, Any]:
    return {"type": "record", "name": "Value", "fields": [{"name": name, "type": "long"} for name in names]}


def test_ids_are_small_and_versions_count_within_a_subject(registry: LocalRegistry) -> None:
    assert registry.register("orders-value", record("id")) == RegisteredVersion(1, 1)
    assert registry.register("orders-value", record("id", "sum")) == RegisteredVersion(2, 2)
    assert registry.register("items-value", record("sku")) == RegisteredVersion(3, 1)


def test_the_same_schema_keeps_its_id_and_version(registry: LocalRegistry) -> None:
    first = registry.register("orders-value", record("id"))
    registry.register("orders-value", record("id", "sum"))
    assert registry.register("orders-value", record("id")) == first
    assert len(registry.versions("orders-value")) == 2


def test_the_same_schema_has_one_id_under_every_subject(registry: LocalRegistry) -> None:
    registry.register("orders-value", record("other"))
    assert registry.register("orders-value", record("id")) == RegisteredVersion(2, 2)
    assert registry.register("items-value", record("id")) == RegisteredVersion(2, 1)


def test_the_order_of_attributes_does_not_matter_but_that_of_fields_does(registry: LocalRegistry) -> None:
    turned = dict(reversed(record("a", "b").items()))
    assert registry.register("s", record("a", "b")).id == registry.register("s", turned).id
    assert registry.register("s", record("b", "a")).id == 2


def test_a_registered_schema_is_there_for_the_next_process_as_it_was_given(
    registry: LocalRegistry, tmp_path: Path
) -> None:
    given = {**record("id"), "connect.name": "käse"}
    registered = registry.register("orders-value", given)
    with closing(State.open(tmp_path / "state").registry()) as other:
        found = other.schema(registered.id)
        assert isinstance(found, dict)
        assert list(found.items()) == list(given.items())
        assert other.subjects() == ["orders-value"]
        assert other.register("orders-value", given) == registered


def test_an_id_never_given_out_is_a_key_error(registry: LocalRegistry) -> None:
    with pytest.raises(KeyError):
        registry.schema(1)


def test_a_subject_never_registered_has_no_versions(registry: LocalRegistry) -> None:
    assert registry.subjects() == []
    assert registry.versions("orders-value") == []


def test_threads_get_the_same_ids(registry: LocalRegistry) -> None:
    def register(nth: int) -> RegisteredVersion:
        return registry.register("orders-value", record(f"column_{nth % 10}"))

    with ThreadPoolExecutor(8) as threads:
        registered = list(threads.map(register, range(80)))
    assert {version.id for version in registered} == set(range(1, 11))
    assert all(registered[nth] == registered[nth % 10] for nth in range(80))


REGISTRAR = """
import sys
from pathlib import Path
from service.state import State
registry = State.open(Path(sys.argv[1])).registry()
for nth in range(10):
    schema = {"type": "record", "name": f"Value{nth}", "fields": []}
    print(nth, *registry.register("orders-value", schema))
"""


def test_processes_get_the_same_ids(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTRAR, tmp_path / "state"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = {process.communicate()[0] for process in processes}
    assert len(said) == 1
    assert {line.split()[1] for line in said.pop().splitlines()} == {str(schema_id) for schema_id in range(1, 11)}


def test_a_registry_that_cannot_write_gives_out_no_id(registry: LocalRegistry) -> None:
    registry._db.execute("pragma query_only = on")
    with pytest.raises(RegistryFailed, match=r"register a schema of orders-value.*readonly") as failed:
        registry.register("orders-value", record("id"))
    assert failed.value.retryable
    assert registry.subjects() == []
    registry._db.execute("pragma query_only = off")
    assert registry.register("orders-value", record("id")) == RegisteredVersion(1, 1)
