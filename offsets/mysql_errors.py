"""Numbers of errors that mean the same for every connection to a MySQL or MariaDB server.

Source: MySQL, "Server Error Message Reference" and "Client Error Message Reference"; MariaDB, "Error Codes".
"""

from pymysql.constants import CR, ER

WRONG_USER = {
    *(ER.ACCESS_DENIED_ERROR, ER.HOST_NOT_PRIVILEGED, ER.HOST_IS_BLOCKED, ER.NOT_SUPPORTED_AUTH_MODE),
    *(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, CR.CR_AUTH_PLUGIN_ERR),
    # No plugin, no password, expired (twice), locked, blocked for a while, locked on MariaDB.
    *(1524, 1698, 1820, 1862, 3118, 3955, 4151),
}
NO_PRIVILEGE = {
    *(ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR),
    *(ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.PROCACCESS_DENIED_ERROR),
}
TLS = {CR.CR_SSL_CONNECTION_ERROR, 3159, 4219}  # the server wants TLS
