"""A MySQL or MariaDB source read in the test's own process, under the prefix of the goldens."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import connectors
from connectors.base import Source
from service.state import State
from tests.contract.engines import Reading
from tests.mysql_servers import MysqlDatabase
from tests.oracle.mysql_goldens import PREFIX


@contextmanager
def reading(mysql: MysqlDatabase, **source: Any) -> Iterator[Reading]:
    """The test's database from the first copy on. `source` is laid over the section's keys."""
    section = mysql.connector(source=source)["source"]
    cls = connectors.load(section["type"])
    config = cls.Config.model_validate(section, context={"connector": PREFIX})
    with closing(State.open(mysql.folder / "schemas").registry()) as registry:
        made: Source = cls(config, connector=PREFIX, topic_prefix=PREFIX, registry=registry, version="0")
        with closing(made):
            made.open(None)
            yield Reading(made, registry, None)
