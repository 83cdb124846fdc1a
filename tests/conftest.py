"""Fixtures for all tests; each lives in a module that is named by what it runs."""

from tests.acme_installed import made_up_adapters
from tests.command_line import folder
from tests.postgres import clean_postgres_url, postgres_server, postgres_url
from tests.servers import moto_server, rclone_server

__all__ = [
    "clean_postgres_url",
    "folder",
    "made_up_adapters",
    "moto_server",
    "postgres_server",
    "postgres_url",
    "rclone_server",
]
