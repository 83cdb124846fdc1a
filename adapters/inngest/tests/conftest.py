"""Fixtures: a lab, and a lab in self-hosted mode."""

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from turnout_inngest_double.options import Options

# Test modules are imported by path, so the folders of what they share are put on the path by hand.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from inngest_lab import Lab, free_port


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing here speaks TLS, and loading certificates takes longer than most tests."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A server on a free port, with a folder of its own and a clock to turn."""
    return Options(port=free_port(), data=tmp_path / "server", test_clock=True)


@pytest.fixture
async def bare_lab(options: Options) -> AsyncIterator[Lab]:
    """A lab whose server a test starts and stops itself."""
    lab = Lab(options)
    yield lab
    await lab.api.aclose()


@pytest.fixture
async def lab(bare_lab: Lab) -> AsyncIterator[Lab]:
    """A lab whose server is up."""
    async with bare_lab.server():
        yield bare_lab


@pytest.fixture
async def keyed_lab(options: Options) -> AsyncIterator[Lab]:
    """A lab in self-hosted mode."""
    keyed = replace(options, signing_key="ab" * 16, event_keys=("key",))
    lab = Lab(keyed)
    lab.client = lab.sdk("lab", is_production=True, signing_key="ab" * 16, event_key="key")
    async with lab.server():
        yield lab
    await lab.api.aclose()
