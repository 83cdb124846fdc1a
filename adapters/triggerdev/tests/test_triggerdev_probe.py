"""What `turnout doctor --through-worker` makes of what the worker saw."""

from typing import Any

import pytest
from turnout_triggerdev.api import Api
from turnout_triggerdev.probe import judged, probe
from turnout_triggerdev.settings import TriggerdevSettings
from turnout_triggerdev_double.server.clock import FrozenClock
from turnout_triggerdev_double.server.main import KEYS

DIGEST = "d" * 64
GOOD = {
    "service": "http://service",
    "definition": DIGEST,
    "status": 200,
    "code": None,
    "message": None,
    "latency_ms": 4.2,
    "clock_ms": 12,
}
WRONG = {
    "network": {"status": None, "message": "ECONNREFUSED"},
    "signature": {"status": 401, "message": "the signature is wrong or too old"},
    "definition": {"status": 426, "definition": "e" * 64},
    "service": {"status": 404, "message": "no such page"},
    "clock": {"clock_ms": -120_000},
}


def api_of(url: str) -> Api:
    """The adapter's client of that server."""
    clock: Any = FrozenClock(1_795_199_580_000)
    return Api(TriggerdevSettings(api_url=url, secret_key=KEYS["dev"]), clock)


def test_a_good_way_is_told_check_by_check() -> None:
    """Network, clock, signature and definition, each with its figure."""
    seen = judged(GOOD, DIGEST)
    assert [each.subject for each in seen] == ["network", "clock", "signature", "definition"]
    assert all(each.ok for each in seen)
    assert "4.2 ms" in seen[0].text


@pytest.mark.parametrize("what", WRONG)
def test_a_fault_is_named_and_has_a_fix(what: str) -> None:
    """The first thing that is wrong is told, with what to do."""
    faults = [each for each in judged(GOOD | WRONG[what], DIGEST) if not each.ok]
    assert [each.subject for each in faults] == [what]
    assert faults[0].fix


def test_a_slow_way_is_a_fault() -> None:
    """Every step takes a call."""
    (fault,) = [each for each in judged(GOOD | {"latency_ms": 2_500.0}, DIGEST) if not each.ok]
    assert "slow" in fault.text


@pytest.mark.asyncio(loop_scope="module")
async def test_the_stand_in_looks_from_where_runs_are_worked_on(rig: Any) -> None:
    """The probe is a vendor run, so what is seen is the path of all others."""
    rig.peer.ahead = 90_000
    api = api_of(rig.api.url)
    seen = {each.subject: each for each in await probe(api, DIGEST, 15.0)}
    await api.close()
    assert all(seen[what].ok for what in ("worker", "network", "signature", "definition"))
    assert not seen["clock"].ok
    assert "ahead" in seen["clock"].text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_that_is_not_there_is_told(rig: Any) -> None:
    """Nobody takes the probe: the doctor says how to start one."""
    api = api_of(rig.api.url)
    rig.standin.stop()
    (nobody,) = await probe(api, DIGEST, 1.0)
    await api.close()
    assert (nobody.subject, nobody.ok) == ("worker", False)
    assert "trigger dev" in nobody.fix
