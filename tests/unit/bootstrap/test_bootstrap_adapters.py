"""Adapters are loaded by name, and only those that speak this version of the port."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from turnout.bootstrap import adapters
from turnout.errors import IncompatibleAdapter, InvalidSettings, LaptopSetting
from turnout.model.routing import Selection
from turnout.ports.caller import PORT_VERSION, Surroundings


@dataclass(frozen=True)
class OldPlugin:
    """An adapter that was written for the port before this one."""

    name: str = "courier"
    port_version: int = PORT_VERSION - 1


plugin = OldPlugin()


class LaptopPlugin:
    """An adapter whose settings are for a laptop."""

    def open(self, surroundings: Surroundings) -> Any:
        """Refuse them in production."""
        if surroundings.production:
            raise LaptopSetting("COURIER_DEV: is for a laptop")
        return "a caller"


@pytest.mark.parametrize("provider", ["courier", "local"])
def test_a_setting_for_a_laptop_is_refused_whoever_is_selected(provider: str) -> None:
    """An adapter that is not selected serves its old runs, so its doors are open, too."""
    plugins: Any = {"courier": LaptopPlugin()}
    surroundings: Any = SimpleNamespace(production=False)
    selection = Selection(provider=provider)
    assert adapters.open_callers(plugins, surroundings, selection) == {"courier": "a caller"}
    surroundings.production = True
    with pytest.raises(InvalidSettings, match="COURIER_DEV"):
        adapters.open_callers(plugins, surroundings, selection)


def test_an_adapter_of_another_version_of_the_port_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name, with both versions, so that one knows what to upgrade."""
    entry = EntryPoint("courier", f"{__name__}:plugin", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda **_: (entry,))
    with pytest.raises(IncompatibleAdapter, match=r"'courier' speaks version 1 of .* version 2;"):
        adapters.load("courier")
