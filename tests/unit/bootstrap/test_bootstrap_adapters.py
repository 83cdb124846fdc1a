"""Adapters are loaded by name, and only those that speak this version of the port."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from turnout.bootstrap import adapters
from turnout.errors import IncompatibleAdapter
from turnout.ports.caller import PORT_VERSION


@dataclass(frozen=True)
class OldPlugin:
    """An adapter that was written for the port before this one."""

    name: str = "courier"
    port_version: int = PORT_VERSION - 1


plugin = OldPlugin()


def test_an_adapter_of_another_version_of_the_port_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name, with both versions, so that one knows what to upgrade."""
    entry = EntryPoint("courier", f"{__name__}:plugin", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda **_: (entry,))
    with pytest.raises(IncompatibleAdapter, match=r"'courier' speaks version 1 of .* version 2;"):
        adapters.load("courier")
