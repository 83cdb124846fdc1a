"""What the doctor says of replicas whose machines' clocks differ from the run store's."""

from dataclasses import replace
from pathlib import Path

import pytest
from turnout_operator.doctor.check import Health
from turnout_operator.doctor.examine import examine

from turnout.model.replicas import Replica
from turnout.service.clock import SystemClock
from turnout.stores.sql import open_run_store


@pytest.mark.parametrize(
    ("offsets", "health", "text"),
    [
        ([None], None, ""),
        ([0, 900], Health.OK, "to the run store's: a +0.0 s, b +0.9 s"),
        ([0, 90_000], Health.WARN, "to the run store's: a +0.0 s, b +90.0 s; replicas go by"),
        ([-90_000, 0], Health.WARN, "to the run store's: a -90.0 s, b +0.0 s; replicas go by"),
    ],
    ids=["not known", "right", "ahead", "behind"],
)
async def test_the_doctor_shows_each_replicas_offset(
    tmp_path: Path, offsets: list[int | None], health: Health | None, text: str
) -> None:
    """A machine that is 90 s ahead is a warning that names it and its offset."""
    url = f"sqlite:///{tmp_path}/runs.db"
    store, now = open_run_store(url), SystemClock().now()
    common = Replica(replica_id="", provider="local", definition="d", version="1", seen_at=now)
    for name, offset in zip("ab", offsets, strict=False):
        await store.replicas.beat(replace(common, replica_id=name, clock_ahead=offset))
    await store.close()
    environ = {"ORCHESTRATOR_PROVIDER": "local", "TURNOUT_DATABASE_URL": url}
    checks = await examine({**environ, "TURNOUT_ARTIFACTS": "none"}, "turnout_demo.tasks:agents")
    check = {check.name: check for check in checks}.get("clocks")
    assert (check and check.health) == health
    assert check is None or check.text.startswith(text)
