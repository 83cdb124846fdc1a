"""What the doctor makes of the connections that replicas hold to providers."""

from pathlib import Path

import pytest
from turnout_operator.doctor.check import Check, Health
from turnout_operator.doctor.examine import examine

from turnout.model.providers import LinkState, LinkStatus
from turnout.model.replicas import Replica
from turnout.service.clock import SystemClock
from turnout.stores.sql import open_run_store

UP = LinkStatus(state=LinkState.CONNECTED, connections=3, problem="gone away")
DOWN = LinkStatus(state=LinkState.CONNECTING, connections=1, problem="refused")


@pytest.mark.parametrize(
    ("links", "health", "told"),
    [
        ([UP], Health.OK, "1 of 1 replica(s) connected; made anew 2 time(s); last problem: gone"),
        ([UP, DOWN], Health.WARN, "1 of 2 replica(s) connected; made anew 2 time(s); problem: ref"),
        ([DOWN, DOWN], Health.FAIL, "0 of 2 replica(s) connected; problem: refused (connecting)"),
        ([LinkStatus(state=LinkState.IDLE)], Health.FAIL, "0 of 1 replica(s) connected (idle)"),
        ([], None, ""),
    ],
    ids=["up", "some down", "all down", "not begun", "none has any"],
)
async def test_what_the_doctor_says_of_links(
    tmp_path: Path, links: list[LinkStatus], health: Health | None, told: str
) -> None:
    """Some replicas that are cut off are a warning, all are a failure; the problem is named."""
    url = f"sqlite:///{tmp_path}/runs.db"
    store, now = open_run_store(url), SystemClock().now()
    common = Replica(replica_id="0", provider="local", definition="d", version="1", seen_at=now)
    for number, link in enumerate(links):
        await store.replicas.beat(_with(common, f"r{number}", link))
    await store.replicas.beat(common)
    await store.close()
    environ = {"ORCHESTRATOR_PROVIDER": "local", "TURNOUT_DATABASE_URL": url}
    found = await examine({**environ, "TURNOUT_ARTIFACTS": "none"}, "turnout_demo.tasks:agents")
    seen = {each.name: each for each in found}
    check: Check | None = seen.get("link acme")
    assert (check and check.health) == health
    assert check is None or check.text.startswith(told)


def _with(common: Replica, name: str, link: LinkStatus) -> Replica:
    return Replica(
        replica_id=name,
        provider=common.provider,
        definition=common.definition,
        version=common.version,
        seen_at=common.seen_at,
        links={"acme": link},
    )
