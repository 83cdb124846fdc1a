"""The servers that the tests of tracking share with the runtime's, and a made-up provider."""

import sys
from pathlib import Path

from tests.acme_installed import made_up_adapters
from tests.command_line import folder
from tests.postgres import clean_postgres_url, postgres_server, postgres_url

__all__ = ["clean_postgres_url", "folder", "made_up_adapters", "postgres_server", "postgres_url"]

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))
