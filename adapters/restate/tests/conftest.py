"""The vendor's own server, for the tests that need it; they are skipped aloud without it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout_restate_server.devserver import devserver

# Test modules are imported by path, so the folder of what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _no_named_server() -> Iterator[None]:
    """Have the tests read no setting of a server that runs elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL"):
            patch.delenv(name, raising=False)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `real` where the server's program is missing, with what to install."""
    missing = devserver().missing()
    for item in items:
        if missing and item.get_closest_marker("real"):
            item.add_marker(pytest.mark.skip(reason=f"Restate: {missing}"))
