"""What a server logs while a test runs, read by a dump request of the test's own."""

import struct

from pymysql.constants.COMMAND import COM_BINLOG_DUMP

from connectors.mysql.coordinates import Coordinates
from tests.mysql_servers import MysqlDatabase

_UNTIL_END = 1
_CHECKSUM_BYTES = 4


def end_of_log(database: MysqlDatabase) -> Coordinates:
    [(file, pos, *_)] = database.execute(
        "show binary log status" if database.flavor == "mysql" else "show master status"
    )
    return Coordinates(file, pos)


def logged(database: MysqlDatabase, since: Coordinates) -> list[bytes]:
    """The log events from `since` to the end, without their CRC32."""
    connection = database.connect(database=None)
    with connection.cursor() as cursor:
        cursor.execute("set @source_binlog_checksum = 'CRC32', @master_binlog_checksum = 'CRC32'")
        if database.flavor == "mariadb":
            cursor.execute("set @mariadb_slave_capability = 4")
    request = struct.pack("<IHI", since.pos, _UNTIL_END, 0) + since.file.encode()
    connection._execute_command(COM_BINLOG_DUMP, request)
    events = []
    while not (packet := connection._read_packet()).is_eof_packet():
        events.append(packet.get_all_data()[1:-_CHECKSUM_BYTES])
    connection.close()
    return events
