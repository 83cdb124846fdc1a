"""The PostgreSQL server that the runtime's tests use, too."""

from tests.postgres import clean_postgres_url, postgres_server, postgres_url

__all__ = ["clean_postgres_url", "postgres_server", "postgres_url"]
