"""Fixtures for all tests; each lives in a module that is named by what it runs."""

from tests.postgres import clean_postgres_url, postgres_server, postgres_url
from tests.servers import moto_server, rclone_server

__all__ = [
    "clean_postgres_url",
    "moto_server",
    "postgres_server",
    "postgres_url",
    "rclone_server",
]
