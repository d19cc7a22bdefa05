"""What becomes of each of Debezium's keys that no key of ours takes the place of.

Sources: Debezium 3.6's own descriptions of its Postgres and MySQL connectors' configuration, its pages per connector
for the names of older releases, and Kafka Connect's documentation for what every connector may set.
"""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple


class Kind(StrEnum):
    """What a key means for who moves in."""

    IGNORED = "ignored"
    """Nothing changes by leaving it out."""
    DIFFERS = "differs"
    """tailrace does it in another way."""
    DECIDE = "decide"
    """Readers, or what is delivered, would notice: somebody must decide."""


class Rule(NamedTuple):
    """`same` are the values with which nothing is to be said."""

    kind: Kind
    text: str
    same: tuple[str, ...] = ()


_I, _DIFFERS, _DECIDE = Kind.IGNORED, Kind.DIFFERS, Kind.DECIDE

_HISTORY = Rule(
    _I, "tailrace keeps no schema history: the log, or versions stored with the offset, tell a table's shape"
)
_TUNING = Rule(_I, "tailrace sizes this by itself")
_LOCKING = Rule(_I, "copies are chunked, run beside the stream and hold no lock")
_SIGNAL = Rule(_DIFFERS, "`tailrace snapshot NAME TABLE` takes the place of signals")
_METRICS = Rule(_I, "metrics are at /metrics, by connector")
_CONNECT = Rule(_I, "Kafka Connect's own; tailrace runs a process for each connector")
_FORMATS = Rule(_DECIDE, "events have no other form for this: readers must take {same}")
_COLUMNS = Rule(_DECIDE, "every column is delivered, as it is")
_COPY_PART = Rule(_DECIDE, "every captured table is copied whole; with an imported offset none is")
_PASS_BY = Rule(
    _DIFFERS, "tailrace never passes over what it cannot read: it stops with exit 3 and names it", ("fail",)
)
_TRANSFORM = Rule(_DECIDE, "there are no transforms: events go out in Debezium's envelope, under their tables' topics")
_PROCESSOR = Rule(_DECIDE, "there are no post-processors and converters of columns: values come as docs/events.md says")
_HEARTBEAT = Rule(_DIFFERS, "no heartbeat events: the offset follows the log by itself, also where nothing is captured")
_STORE = Rule(_I, "tailrace keeps its own offset; `tailrace offsets import NAME FROM` takes over Debezium's")

RULES: dict[str, Rule] = {
    "tasks.max": _CONNECT,
    "config.action.reload": _CONNECT,
    "header.converter": _CONNECT,
    "errors.log.enable": _CONNECT,
    "errors.log.include.messages": _CONNECT,
    "errors.tolerance": Rule(
        _DIFFERS, "errors.unrepresentable and errors.rejected say what an error leads to", ("none",)
    ),
    "errors.retry.timeout": Rule(_DIFFERS, "errors.retry_for_s says how long a retryable error may last (900 s)"),
    "errors.retry.delay.max.ms": _TUNING,
    "errors.max.retries": Rule(_DIFFERS, "errors.retry_for_s says how long a retryable error may last (900 s)"),
    "exactly.once.support": Rule(
        _DECIDE, "events come at least once unless sink.exactly_once is set, with offsets in Kafka", ("requested",)
    ),
    "transaction.boundary": _TUNING,
    "topic.creation.enable": _CONNECT,
    "database.ssl.keystore.password": Rule(_I, "belongs to a Java key store, which is not read"),
    "database.ssl.truststore.password": Rule(_I, "belongs to a Java key store, which is not read"),
    "database.sslfactory": Rule(_DIFFERS, "source.tls.mode says what is verified"),
    "database.sslpassword": Rule(_DECIDE, "source.tls.key must be a file without a password"),
    "database.tcpKeepAlive": _TUNING,
    "database.initial.statements": Rule(_DECIDE, "no statements of yours are run: set them for the role or the server"),
    "plugin.name": Rule(
        _DECIDE,
        "a slot of another plugin than pgoutput cannot be read: give source.slot a new name and copy the tables anew",
        ("pgoutput",),
    ),
    "slot.drop.on.stop": Rule(
        _DECIDE,
        "Debezium would drop the slot when it stops, and with it every change from then on: set it to false first",
        ("false",),
    ),
    "slot.failover": Rule(_I, "on Postgres 17 and newer a slot that tailrace makes has it"),
    "slot.stream.params": Rule(_DECIDE, "the plugin is given no parameters of yours"),
    "publication.autocreate.mode": Rule(
        _DIFFERS, "a publication that is there stays; one that is not is made of the captured tables"
    ),
    "publish.via.partition.root": Rule(
        _DECIDE, "partitions are delivered as their root's, which the publication must be set to", ("true",)
    ),
    "replica.identity.autoset.values": Rule(_DIFFERS, "replica identity is never changed; what was set stays"),
    "flush.lsn.source": Rule(_DECIDE, "the slot is always advanced behind the offset", ("true",)),
    "lsn.flush.mode": Rule(_DECIDE, "the slot is always advanced behind the offset", ("connector",)),
    "offset.mismatch.strategy": Rule(_DIFFERS, "a slot that has passed the offset stops the connector with the gap"),
    "internal.slot.seek.to.known.offset.on.start": Rule(
        _DIFFERS, "a slot that has passed the offset stops the connector with the gap"
    ),
    "xmin.fetch.interval.ms": Rule(_DIFFERS, "source.xmin is null", ("0",)),
    "hstore.handling.mode": Rule(_FORMATS.kind, _FORMATS.text, ("json",)),
    "interval.handling.mode": Rule(_FORMATS.kind, _FORMATS.text, ("numeric",)),
    "decimal.handling.mode": Rule(_FORMATS.kind, _FORMATS.text, ("precise",)),
    "binary.handling.mode": Rule(_FORMATS.kind, _FORMATS.text, ("bytes",)),
    "bigint.unsigned.handling.mode": Rule(_FORMATS.kind, _FORMATS.text, ("precise",)),
    "money.fraction.digits": Rule(_FORMATS.kind, _FORMATS.text, ("2",)),
    "schema.name.adjustment.mode": Rule(_FORMATS.kind, _FORMATS.text, ("avro", "none")),
    "field.name.adjustment.mode": Rule(_FORMATS.kind, _FORMATS.text, ("avro", "none")),
    "sanitize.field.names": Rule(_FORMATS.kind, "names are always adjusted to what Avro allows", ("true",)),
    "unavailable.value.placeholder": Rule(_FORMATS.kind, _FORMATS.text, ("__debezium_unavailable_value",)),
    "toasted.value.placeholder": Rule(_FORMATS.kind, _FORMATS.text, ("__debezium_unavailable_value",)),
    "include.unknown.datatypes": Rule(_DIFFERS, "a type without a form of its own comes as the server's text"),
    "tombstones.on.delete": Rule(_DECIDE, "every delete is followed by a tombstone: readers must take it", ("true",)),
    "provide.transaction.metadata": Rule(
        _DECIDE, "`transaction` is null and there is no topic of transactions", ("false",)
    ),
    "message.key.columns": Rule(
        _DECIDE, "keys are the primary key's columns, else a unique index's over NOT NULL columns"
    ),
    "skip.messages.without.change": Rule(_DIFFERS, "every change is delivered", ("false",)),
    "include.schema.comments": Rule(_DIFFERS, "DDL events have no comments", ("false",)),
    "sourceinfo.struct.maker": Rule(_DECIDE, "`source` is as Debezium has it by default"),
    "topic.delimiter": Rule(_DECIDE, "a topic's parts have dots between them", (".",)),
    "topic.naming.strategy": Rule(
        _DECIDE,
        "topics are PREFIX.SCHEMA.TABLE, on MySQL PREFIX.DATABASE.TABLE",
        ("io.debezium.schema.schematopicnamingstrategy", "io.debezium.schema.defaulttopicnamingstrategy"),
    ),
    "topic.transaction": _CONNECT,
    "topic.cache.size": _TUNING,
    "event.processing.failure.handling.mode": _PASS_BY,
    "event.deserialization.failure.handling.mode": _PASS_BY,
    "event.converting.failure.handling.mode": _PASS_BY,
    "inconsistent.schema.handling.mode": _PASS_BY,
    "read.only": Rule(_I, "nothing is written to the server but, on Postgres, messages beside a copy"),
    "table.ignore.builtin": Rule(_DECIDE, "the server's own tables are never captured", ("true",)),
    "snapshot.include.collection.list": _COPY_PART,
    "snapshot.tables.order.by.row.count": Rule(_I, "tables are copied side by side or in the order of their names"),
    "snapshot.new.tables": Rule(_I, "a table that is created later and matches is picked up, its rows included"),
    "snapshot.query.mode": Rule(_DECIDE, "a copy reads whole rows of whole tables", ("select_all",)),
    "gtid.source.includes": Rule(_DECIDE, "changes are delivered whichever server they began on"),
    "gtid.source.excludes": Rule(_DECIDE, "changes are delivered whichever server they began on"),
    "gtid.source.filter.dml.events": Rule(_DECIDE, "changes are delivered whichever server they began on"),
    "gtid.ignore.on.recovery": Rule(_DIFFERS, "a server with GTIDs is resumed by GTIDs", ("false",)),
    "gtid.new.channel.position": Rule(_DIFFERS, "what follows the stored GTIDs is delivered, of every channel"),
    "enable.time.adjuster": Rule(_DIFFERS, "the years 0 to 99 are these, not those from 1970 to 2069", ("false",)),
    "connector.adapter": _CONNECT,
    "provider": _CONNECT,
    "predicates": _TRANSFORM,
    "transforms": _TRANSFORM,
    "converters": _PROCESSOR,
    "post.processors": _PROCESSOR,
    "column.include.list": _COLUMNS,
    "column.exclude.list": _COLUMNS,
    "column.whitelist": _COLUMNS,
    "column.blacklist": _COLUMNS,
    "offset.storage": _STORE,
    "query.fetch.size": _TUNING,
    **dict.fromkeys(("max.batch.size", "max.queue.size", "poll.interval.ms", "queue.provider.type"), _TUNING),
    **dict.fromkeys(("status.update.interval.ms", "schema.refresh.mode", "binlog.buffer.size"), _TUNING),
    **dict.fromkeys(("connect.timeout.ms", "connect.keep.alive", "connect.keep.alive.interval.ms"), _TUNING),
    **dict.fromkeys(("slot.max.retries", "slot.retry.delay.ms", "retriable.restart.connector.wait.ms"), _TUNING),
    **dict.fromkeys(("lsn.flush.timeout.ms", "lsn.flush.timeout.action", "streaming.delay.ms"), _TUNING),
    **dict.fromkeys(("connection.validation.timeout.ms", "database.query.timeout.ms"), _TUNING),
    **dict.fromkeys(("executor.shutdown.timeout.ms", "use.nongraceful.disconnect", "ddl.parser.type"), _TUNING),
    **dict.fromkeys(("min.row.count.to.stream.results", "database.server.id.offset"), _TUNING),
    **dict.fromkeys(("snapshot.delay.ms", "snapshot.fetch.size", "snapshot.isolation.mode"), _LOCKING),
    **dict.fromkeys(("snapshot.lock.timeout.ms", "snapshot.max.threads.multiplier"), _LOCKING),
    **dict.fromkeys(("legacy.snapshot.max.threads",), _LOCKING),
    **dict.fromkeys(("custom.metric.tags", "custom.sanitize.pattern", "statistics.metrics.enabled"), _METRICS),
}

_PATTERNS: dict[str, Rule] = {
    "schema.history.internal*": _HISTORY,
    "database.history*": _HISTORY,
    "snapshot.locking.mode*": _LOCKING,
    "incremental.snapshot.*": _LOCKING,
    "snapshot.select.statement.overrides*": _COPY_PART,
    "snapshot.query.mode.*": Rule(_DECIDE, "a copy reads whole rows of whole tables"),
    "snapshot.mode.*": Rule(_DECIDE, "a copy is made at the first start, or never: source.snapshot"),
    "signal.*": _SIGNAL,
    "read.only.*": _SIGNAL,
    "notification.*": Rule(_DIFFERS, "progress is in the metrics and the HTTP API; nothing is notified"),
    "heartbeat.*": _HEARTBEAT,
    "topic.heartbeat.prefix": _HEARTBEAT,
    "message.prefix.*": Rule(_DIFFERS, "logical messages are not delivered"),
    "transforms.*": _TRANSFORM,
    "predicates.*": _TRANSFORM,
    "column.mask.*": _COLUMNS,
    "column.truncate.*": _COLUMNS,
    "column.propagate.source.type": Rule(_DECIDE, "schemas hold no source types of columns: they register anew"),
    "datatype.propagate.source.type": Rule(_DECIDE, "schemas hold no source types of columns: they register anew"),
    "transaction.metadata.*": Rule(_I, "there are no transaction events"),
    "guardrail.*": Rule(_DIFFERS, "the number of tables has no limit"),
    "openlineage.*": Rule(_DIFFERS, "no lineage is reported"),
    "memory.management.*": _TUNING,
    "internal.*": _TUNING,
    "binlog.net.*": _TUNING,
    "offset.storage.*": _STORE,
    "offset.flush.*": Rule(_I, "delivery.flush_interval_ms says how often the offset moves (200 ms)"),
    "offsets.storage.topic": _STORE,
    "config.providers*": Rule(_I, "secrets are ${env:NAME} or ${file:PATH}, and need no provider"),
    "database.*": Rule(_DIFFERS, "belongs to Debezium's database driver, which is another one here"),
    "driver.*": Rule(_DIFFERS, "belongs to Debezium's database driver, which is another one here"),
    "quarkus.*": Rule(_I, "belongs to Debezium Server's process"),
    "debezium.sink.*": Rule(_DECIDE, "there is no such sink: docs/sinks.md has those there are"),
}
"""The first that fits holds; asked where RULES has no such key."""

UNKNOWN = Rule(_DECIDE, "neither Debezium's documentation nor tailrace knows it")


def rule(key: str) -> Rule:
    """What is to be said of a key that was not translated."""
    if key in RULES:
        return RULES[key]
    return next((found for pattern, found in _PATTERNS.items() if fnmatchcase(key, pattern)), UNKNOWN)
