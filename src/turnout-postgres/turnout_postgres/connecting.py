"""What every connection to PostgreSQL needs, the store's and that of the signals."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from sqlalchemy import URL

CONNECT_SECONDS: Final = 5


def connection_parameters(url: URL) -> Mapping[str, Any]:
    """Return what libpq needs to connect to a URL."""
    named = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
    }
    parameters: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "turnout",
    }
    parameters |= {name: value for name, value in named.items() if value is not None}
    return parameters | dict(url.query)


def has_session(connection: "psycopg.Connection[Any]") -> bool:
    """Whether the connection is to the server itself, not to a pooler in front of it.

    A pooler makes up the process id that it tells at the start. Behind one, a prepared statement or
    a setting of the session may be another client's at the next transaction.
    """
    ((process_id,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return bool(process_id == connection.info.backend_pid)


def number(name: str) -> int:
    """Return the number of a name for advisory locks: 63 bits of its digest."""
    return int.from_bytes(hashlib.sha256(f"turnout:{name}".encode()).digest()[:8]) >> 1
