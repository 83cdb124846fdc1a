"""Folders, adapters and a service that the tests of a move share."""

from collections.abc import AsyncIterator

import pytest
from turnout_cutover.route_log import route_log

from tests.acme_installed import made_up_adapters
from tests.command_line import folder
from tests.operated_service import T0, LeapingClock, Service, replica
from tests.postgres import postgres_server
from turnout.stores.sql import open_run_store

__all__ = ["folder", "made_up_adapters", "postgres_server"]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Two replicas that follow the routes."""
    store, clock = open_run_store("sqlite://"), LeapingClock()
    made = Service(store, route_log(store), clock, [replica("r1"), replica("r2")])
    clock.meanwhile = made.follow
    await store.flags.join("dual acme bolt", T0)
    await made.follow()
    yield made
    await store.close()
