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


@pytest.mark.parametrize(
    ("vendors", "primary", "message"),
    [
        (["courier", "rail", "sail"], "courier", "ORCHESTRATOR_SHADOW who runs .*: rail or sail"),
        (["courier", "rail", "sail"], None, "needs ORCHESTRATOR_PRIMARY"),
        (["courier"], "courier", "the adapter of another one"),
    ],
    ids=["several could be meant", "no primary", "none is left"],
)
def test_a_dual_run_without_its_two_providers_is_refused(
    monkeypatch: pytest.MonkeyPatch, vendors: list[str], primary: str | None, message: str
) -> None:
    """The fault names what is missing, and the adapters that may be chosen."""
    entries = tuple(EntryPoint(name, f"{__name__}:plugin", adapters.GROUP) for name in vendors)
    monkeypatch.setattr(adapters, "entry_points", lambda **_: entries)
    with pytest.raises(InvalidSettings, match=message):
        adapters.select_by_names("dual", primary=primary, shadow=None, production=False)
