"""What Debezium's events went through, Connect's producer and converters, as `sink`, `events` and `registry`.

Sources: Apache Kafka's "Producer Configs" and librdkafka's CONFIGURATION.md for their names; Confluent's "Schema
Registry and Kafka Connect"; Debezium's page "Avro Serialization" for Apicurio's converter.
"""

import re
from typing import Any

from service.debezium.keys import Kind
from service.debezium.notes import STAND_IN, Notes

_PRODUCER = "producer.override."
_HISTORY_SERVERS = ("schema.history.internal.kafka.bootstrap.servers", "database.history.kafka.bootstrap.servers")
_AVRO = ("io.confluent.connect.avro.avroconverter", "io.apicurio.registry.utils.converter.avroconverter")
_JSON = "org.apache.kafka.connect.json.jsonconverter"
_CLOUDEVENTS = "io.debezium.converters.cloudeventsconverter"
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
_SAME_NAME = ("linger.ms", "batch.size", "client.id", "client.dns.lookup", "reconnect.backoff.ms")
_OTHER_NAME = {"max.request.size": "message.max.bytes", "connections.max.idle.ms": "connections.max.idle.ms"}
_KEPT_ANYWAY = {"acks": ("all", "-1"), "enable.idempotence": ("true",)}
_SERIALIZERS = ("key.serializer", "value.serializer")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_JAAS = re.compile(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_STRATEGIES = {
    "topicnamestrategy": "topic",
    "recordnamestrategy": "record",
    "topicrecordnamestrategy": "topic-record",
}


def sink(notes: Notes, bootstrap_servers: str | None) -> dict[str, Any]:
    """`bootstrap_servers` is what the user says; Connect knows them from its worker."""
    kind = notes.settings.take("debezium.sink.type")
    if kind and kind != "kafka":
        notes.add(
            "debezium.sink.type", Kind.DECIDE, f"{kind}: there is no such sink; one that writes files stands for it"
        )
        return {"type": "files", "directory": "events"}
    made: dict[str, Any] = {"type": "kafka", "bootstrap_servers": bootstrap_servers or _servers(notes)}
    _protection(notes, made)
    _topics(notes, made)
    settings: dict[str, Any] = {}
    for key in notes.settings.under(_PRODUCER):
        value = notes.plain(_PRODUCER + key)
        if key == "compression.type" and value in _COMPRESSIONS:
            made["compression"] = value
        elif key in _SAME_NAME or key in _OTHER_NAME:
            settings[_OTHER_NAME.get(key, key)] = int(value) if value.isdecimal() else value
        elif key not in _SERIALIZERS and value.lower() not in _KEPT_ANYWAY.get(key, ()):
            notes.add(
                _PRODUCER + key, Kind.DIFFERS, "is not Java's producer here: sink.settings takes librdkafka's names"
            )
    if settings:
        made["settings"] = settings
    return made


def _servers(notes: Notes) -> str:
    if given := notes.plain(f"{_PRODUCER}bootstrap.servers"):
        return f"{STAND_IN}:9092" if given == STAND_IN else given
    for key in _HISTORY_SERVERS:
        if given := notes.plain(key):
            notes.add(key, Kind.DIFFERS, "is taken for sink.bootstrap_servers, which Connect's worker has")
            return given
    notes.add(
        "bootstrap.servers",
        Kind.DECIDE,
        "stands in Connect's worker, not here: give --bootstrap-servers, or --worker"
        " FILE; localhost:9092 stands in sink.bootstrap_servers",
    )
    return "localhost:9092"


def _protection(notes: Notes, made: dict[str, Any]) -> None:
    protocol = notes.plain(f"{_PRODUCER}security.protocol").upper()
    if protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
        made["tls"] = {"mode": "disable"}
    elif protocol in ("SSL", "SASL_SSL"):
        made["tls"] = _tls(notes)
    elif not protocol:
        notes.add(
            f"{_PRODUCER}security.protocol", Kind.DIFFERS, "not set, which means PLAINTEXT: sink.tls.mode is disable"
        )
        made["tls"] = {"mode": "disable"}
    if protocol.startswith("SASL"):
        made["sasl"] = _sasl(notes)


def _tls(notes: Notes) -> dict[str, str]:
    checked = notes.settings.take(f"{_PRODUCER}ssl.endpoint.identification.algorithm") or "https"
    made = {"mode": "verify-full" if checked == "https" else "verify-ca"}
    for store, ours in (("truststore", ("ca",)), ("keystore", ("cert", "key"))):
        key = f"{_PRODUCER}ssl.{store}.location"
        file, kind = notes.plain(key), notes.plain(f"{_PRODUCER}ssl.{store}.type").upper()
        notes.settings.take(f"{_PRODUCER}ssl.{store}.password")
        if file and kind == "PEM":
            made |= dict.fromkeys(ours, file)
        elif file:
            names = " and ".join(f"sink.tls.{name}" for name in ours)
            notes.add(key, Kind.DECIDE, f"a Java key store is not read: export it as PEM, and name that as {names}")
    if password := notes.secret("KAFKA_KEY_PASSWORD", f"{_PRODUCER}ssl.key.password"):
        made["key_password"] = password
    return made


def _sasl(notes: Notes) -> dict[str, str]:
    mechanism = notes.plain(f"{_PRODUCER}sasl.mechanism").upper()
    jaas = f"{_PRODUCER}sasl.jaas.config"
    given = dict(_JAAS.findall(notes.settings.take(jaas)))
    if mechanism not in _MECHANISMS:
        notes.add(
            f"{_PRODUCER}sasl.mechanism", Kind.DECIDE, f"{mechanism or 'GSSAPI'}: set sink.sasl as docs/sinks.md says"
        )
        mechanism = "PLAIN"
    user = notes.followed(jaas, given.get("username", ""))
    if not user:
        notes.add(jaas, Kind.DECIDE, "holds no username: set sink.sasl.user")
    password = notes.secret_value(jaas, "KAFKA_PASSWORD", given.get("password", ""))
    return {"mechanism": mechanism, "user": user or STAND_IN, "password": password}


def _topics(notes: Notes, made: dict[str, Any]) -> None:
    """As Connect makes them: by ``topic.creation.default.*``, else as the broker does. Of other groups only that they
    are there is said."""
    default = "topic.creation.default."
    found = {key: notes.plain(default + key) for key in notes.settings.under(default)}
    for key in notes.settings.under("topic.creation."):
        if key != "enable" and notes.settings.take(f"topic.creation.{key}"):
            notes.add(
                f"topic.creation.{key}", Kind.DECIDE, "all topics are made alike: make those of this group yourself"
            )
    topics: dict[str, Any] = {"create": True}
    for key, ours in (("partitions", "partitions"), ("replication.factor", "replication")):
        number = found.pop(key, "")
        if number.isdecimal() and int(number):  # -1 is the broker's default
            topics[ours] = int(number)
    cleanup = found.pop("cleanup.policy", "")
    if cleanup in ("compact", "delete"):
        topics["cleanup"] = cleanup
    elif cleanup:
        found["cleanup.policy"] = cleanup
    found = {key: value for key, value in found.items() if key not in ("include", "exclude")}
    if found:
        topics["settings"] = found
    made["topics"] = topics


def events(notes: Notes, made: dict[str, Any]) -> dict[str, Any]:
    """The format of both converters. Adds `registry` to `made` where they have one."""
    converter = notes.settings.take("value.converter").lower()
    key = notes.settings.take("key.converter").lower()
    if key and converter and key != converter and converter != _CLOUDEVENTS:
        notes.add("key.converter", Kind.DECIDE, "keys have the format of the values")
    if converter in _AVRO:
        _registry(notes, converter, made)
        return {}
    if converter in (_JSON, _CLOUDEVENTS):
        if notes.settings.take("field.name.adjustment.mode") != "avro":
            notes.add(
                "field.name.adjustment.mode", Kind.DIFFERS, "not avro: order-id comes as order_id, as Avro wants it"
            )
        return _json(notes) if converter == _JSON else _cloudevents(notes)
    if converter:
        notes.add("value.converter", Kind.DECIDE, "events are Avro: readers must take it")
    else:
        notes.add(
            "value.converter",
            Kind.DECIDE,
            "stands in Connect's worker, not here: give --worker FILE; Avro stands for it",
        )
    notes.add("registry", Kind.DECIDE, "readers find no schemas yet: set it to the schema registry")
    return {}


def _json(notes: Notes) -> dict[str, Any]:
    schemas, decimals = "value.converter.schemas.enable", "value.converter.decimal.format"
    with_schemas = (notes.settings.take(schemas) or "true").lower() == "true"
    of_keys = (notes.settings.take("key.converter.schemas.enable") or "true").lower() == "true"
    if of_keys != with_schemas:
        notes.add(
            "key.converter.schemas.enable", Kind.DECIDE, "keys have schemas where values have them, and only there"
        )
    if (given := notes.settings.take(decimals).upper()) not in ("", "BASE64"):
        notes.add(decimals, Kind.DECIDE, f"{given}: decimals are base64: readers must take it")
    return {"format": "json_with_schemas" if with_schemas else "json"}


def _cloudevents(notes: Notes) -> dict[str, Any]:
    for key in ("serializer.type", "data.serializer.type"):
        if (given := notes.settings.take(f"value.converter.{key}").lower()) not in ("", "json"):
            notes.add(f"value.converter.{key}", Kind.DECIDE, f"{given}: CloudEvents are JSON: readers must take it")
    if notes.settings.take("value.converter.json.schemas.enable").lower() != "false":
        notes.add("value.converter.json.schemas.enable", Kind.DECIDE, "not false: `data` comes without a schema")
    return {"format": "cloudevents"}


def _registry(notes: Notes, converter: str, made: dict[str, Any]) -> None:
    prefix = "value.converter."
    if url := notes.plain(f"{prefix}schema.registry.url"):
        registry: dict[str, Any] = {"type": "confluent", "url": f"http://{url}" if url == STAND_IN else url}
    elif url := notes.plain(f"{prefix}apicurio.registry.url"):
        registry = {"type": "confluent", "url": _ccompat(notes, url)}
    else:
        notes.add(f"{prefix}schema.registry.url", Kind.DECIDE, "not set: readers find no schemas; set registry")
        return
    strategy = notes.plain(f"{prefix}value.subject.name.strategy").rpartition(".")[2].lower()
    if strategy in _STRATEGIES:
        registry["subjects"] = _STRATEGIES[strategy]
    elif strategy:
        notes.add(f"{prefix}value.subject.name.strategy", Kind.DECIDE, "subjects are named by the topic here")
    user_info, source = f"{prefix}basic.auth.user.info", notes.settings.take(f"{prefix}basic.auth.credentials.source")
    given = notes.settings.get(user_info) or notes.settings.get(f"{prefix}schema.registry.basic.auth.user.info")
    if given:
        registry |= _user(notes, user_info)
    elif source:
        notes.add(f"{prefix}basic.auth.credentials.source", Kind.DECIDE, "set registry.user and registry.password")
    if token := notes.secret("REGISTRY_TOKEN", f"{prefix}bearer.auth.token"):
        registry["token"] = token
    made["registry"] = registry
    _converter_rest(notes)


def _user(notes: Notes, key: str) -> dict[str, str]:
    value = notes.settings.take(key, "value.converter.schema.registry.basic.auth.user.info")
    if value.startswith("${"):
        notes.add(key, Kind.DECIDE, "holds user and password in one: registry.user must be set by itself")
        return {"user": STAND_IN, "password": notes.secret_value(key, "REGISTRY_PASSWORD", "clear")}
    user, _, password = value.partition(":")
    return {"user": user, "password": notes.secret_value(key, "REGISTRY_PASSWORD", password)}


def _ccompat(notes: Notes, url: str) -> str:
    """Apicurio's address of Confluent's protocol beside that of its own."""
    key = "value.converter.apicurio.registry"
    if notes.plain(f"{key}.as-confluent").lower() != "true":
        notes.add(
            f"{key}.as-confluent",
            Kind.DECIDE,
            "not true: schema ids were 8 bytes long, and are 4 here: readers must take it",
        )
    if (notes.plain(f"{key}.headers.enabled") or "false").lower() == "true":
        notes.add(f"{key}.headers.enabled", Kind.DECIDE, "true: schema ids were in headers, and are in the value here")
    return re.sub(r"/(apis/registry/v\d+|api)/?$", "", url).rstrip("/") + "/apis/ccompat/v7"


_SCHEMA_KEYS = (
    "enhanced.avro.schema.support",
    "connect.meta.data",
    "scrub.invalid.names",
    "generalized.sum.type.support",
)


def _converter_rest(notes: Notes) -> None:
    """What is left of the converters' keys. The key's converter is set as the value's, but for its own strategy."""
    settings = notes.settings
    for side in ("value", "key"):
        for key in settings.under(f"{side}.converter."):
            value = settings.take(f"{side}.converter.{key}")
            if side == "key" and not key.startswith("key.subject"):
                continue
            if key in _SCHEMA_KEYS:
                notes.add(
                    f"{side}.converter.{key}", Kind.DECIDE, f"{value}: schemas are those of the converter's defaults"
                )
            elif "ssl" in key:
                notes.add(
                    f"{side}.converter.{key}",
                    Kind.DECIDE,
                    "a Java key store is not read: set registry.tls with PEM files",
                )
            elif key not in ("schemas.enable", "schemas.cache.config"):
                notes.add(f"{side}.converter.{key}", Kind.DIFFERS, "the registry is asked as docs/registry.md says")
