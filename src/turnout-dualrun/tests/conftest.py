"""The made-up adapters and the PostgreSQL server that the runtime's tests use, too."""

from tests.acme_installed import made_up_adapters
from tests.postgres import clean_postgres_url, postgres_server, postgres_url

__all__ = ["clean_postgres_url", "made_up_adapters", "postgres_server", "postgres_url"]
