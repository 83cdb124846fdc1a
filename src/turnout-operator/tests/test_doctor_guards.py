"""The doctor says who may call what."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from turnout_operator.doctor.check import Health
from turnout_operator.doctor.guards import check_guards

from turnout.model.providers import Guard
from turnout.service.process import Turnout
from turnout.service.settings import Settings

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
OPEN = Guard(path="/vendor", callers="everyone, unsigned", open=True, fix="unset VENDOR_DEV")
SIGNED = Guard(path="/vendor", callers="calls that are signed with VENDOR_KEY")


@dataclass
class Service:
    """As much of a service as the check reads."""

    settings: Settings
    callers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Caller:
    """A caller that serves one path."""

    guard: Guard

    def guards(self) -> list[Guard]:
        """Say who may call it."""
        return [self.guard]


@pytest.mark.parametrize(
    ("settings", "guard", "health", "text"),
    [
        ({}, SIGNED, Health.OK, "/turnout/v1/step: nobody"),
        ({}, SIGNED, Health.OK, "/turnout/runs/{run_id}/events: nobody"),
        ({}, SIGNED, Health.OK, "/vendor: calls that are signed with VENDOR_KEY"),
        ({}, OPEN, Health.WARN, "/vendor: everyone, unsigned"),
        ({"TURNOUT_SIGNING_KEYS": KEY}, SIGNED, Health.OK, "signed with one of 1 key(s)"),
        ({"TURNOUT_EVENTS_TOKEN": "t" * 16}, SIGNED, Health.OK, "with TURNOUT_EVENTS_TOKEN"),
    ],
)
def test_who_may_call(settings: dict[str, str], guard: Guard, health: Health, text: str) -> None:
    """A path by which strangers may start runs is a warning, with its fix."""
    service = Service(Settings(**settings), {"vendor": Caller(guard), "local": object()})
    check = check_guards(cast("Turnout", service))
    assert check.health is health
    assert text in check.text
    assert check.fix == guard.fix
    assert KEY not in check.text
