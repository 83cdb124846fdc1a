"""The made-up adapters `acme` and `bolt`: with metadata of their own, installed by their path."""

import os
from pathlib import Path

import pytest

ACME = Path(__file__).with_name("acme")
"""The folder that makes them installed."""


@pytest.fixture
def made_up_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install them for a test, and for the processes that it starts."""
    monkeypatch.syspath_prepend(str(ACME))
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(ACME) if not path else f"{ACME}{os.pathsep}{path}")
