"""The rows that a server logs for a test's database, as bytes."""

from connectors.mysql import rows
from connectors.mysql.events import TABLE_MAP
from schema.change import Value
from tests.connectors.mysql.logged import end_of_log, logged
from tests.mysql_servers import MysqlDatabase

_NAME_AT = rows.HEADER_BYTES + 9


class RawLog:
    """What is logged for a database from now on."""

    def __init__(self, database: MysqlDatabase) -> None:
        self._database = database
        self._place = end_of_log(database)

    def take(self) -> list[bytes]:
        """The rows events since the last call."""
        since, self._place = self._place, end_of_log(self._database)
        name = self._database.name.encode()
        ours: set[int] = set()
        found = []
        for event in logged(self._database, since):
            if event[4] == TABLE_MAP and event[_NAME_AT : _NAME_AT + event[_NAME_AT - 1]] == name:
                ours.add(rows.table_id(event))
            elif rows.WRITE_V1 <= event[4] <= rows.PARTIAL_UPDATE and rows.table_id(event) in ours:
                found.append(event)
        return found

    def inserted(self, widths: list[int]) -> list[list[Value]]:
        """The rows inserted since the last call."""
        found = []
        for event in self.take():
            head = rows.head(event)
            at = head.rows_at
            while at < len(event):
                values, at = rows.image(event, at, widths, head.after)
                found.append(values)
        return found
