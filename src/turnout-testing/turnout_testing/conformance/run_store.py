"""The promises of a run store, as classes of tests that every backend subclasses.

A backend gives the fixture `store`, fresh and empty. Times are the tests' own: no store reads a
clock.
"""

import pytest

from turnout.ports.run_store import RunStore
from turnout_testing.conformance.run_store_deliveries import DeliveriesContract
from turnout_testing.conformance.run_store_events import EventsContract
from turnout_testing.conformance.run_store_journals import JournalsContract
from turnout_testing.conformance.run_store_limits import SlotsContract
from turnout_testing.conformance.run_store_pump import PumpContract, SchedulesContract
from turnout_testing.conformance.run_store_values import (
    T0,
    emission,
    ended,
    event,
    new_attempt,
    new_run,
    new_step,
    started,
    waiting,
)
from turnout_testing.conformance.run_store_waits import EarlierEventsContract, WaitsContract

__all__ = [
    "T0",
    "RunStoreContract",
    "emission",
    "ended",
    "event",
    "new_attempt",
    "new_run",
    "new_step",
    "started",
    "waiting",
]


class RunStoreContract(
    EventsContract,
    JournalsContract,
    WaitsContract,
    EarlierEventsContract,
    DeliveriesContract,
    SlotsContract,
    PumpContract,
    SchedulesContract,
):
    """All promises. Subclass it, name it `Test…`, and give the fixture `store`."""

    @pytest.fixture
    def store(self) -> RunStore:
        """Give an empty store; the backend overrides it."""
        raise NotImplementedError
