"""What must happen to runs when a process is killed: each promise with its trial."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from turnout.model.reports import RunReport
from turnout.model.status import AttemptState, DeliveryState, ParkReason
from turnout_testing.kills.outage import OutageShare, Victim
from turnout_testing.kills.stage import KillStage

KillTrial = Callable[[KillStage, OutageShare], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class KillBehaviour:
    """A named promise, and what is killed to try it."""

    name: str
    victim: Victim
    promise: str
    trial: KillTrial


def _behaviour(victim: Victim) -> Callable[[KillTrial], KillBehaviour]:
    def decorate(trial: KillTrial) -> KillBehaviour:
        promise = " ".join((trial.__doc__ or "").split())
        assert promise, f"{trial.__name__} has no promise"
        name = trial.__name__.replace("_", "-")
        return KillBehaviour(name=name, victim=victim, promise=promise, trial=trial)

    return decorate


@_behaviour(Victim.SERVICE)
async def a_service_killed_in_mid_step_tries_the_step_again(
    stage: KillStage, outage: OutageShare
) -> None:
    """The attempt is lost, and the next completes; steps before it are not done again."""
    name, report = await _struck_at_work(stage, outage)
    states = [attempt.state for attempt in report.journal.attempts["work"]]
    assert states == [AttemptState.LOST, AttemptState.COMPLETED], states
    _done_once(stage, name, "before", "work ends", "after")


@_behaviour(Victim.SERVICE)
async def a_service_killed_in_mid_step_gives_its_place_in_line_back(
    stage: KillStage, outage: OutageShare
) -> None:
    """The next run of the same key begins after the one that was killed, and both complete."""
    first, second, key = stage.fresh(), stage.fresh(), stage.fresh()
    run_ids = [await stage.start("line", id=name, key=key) for name in (first, second)]
    await stage.noted(first, "work begins")
    await outage.strikes()
    stage.release(first)
    stage.release(second)
    await outage.is_over()
    for run_id in run_ids:
        await stage.completes(run_id, outage, after=stage.patience / 2)
    _done_once(stage, first, "work ends")
    _done_once(stage, second, "work begins", "work ends")


@_behaviour(Victim.SERVICE)
async def an_event_during_a_kill_ends_a_wait(stage: KillStage, outage: OutageShare) -> None:
    """A run that is parked while the service is killed goes on by an event of that time."""
    await _struck_in_a_wait(stage, outage)


@_behaviour(Victim.SERVICE)
async def a_sleep_that_ends_during_a_kill_goes_on(stage: KillStage, outage: OutageShare) -> None:
    """A run whose sleep is over while the service is away goes on when it is back."""
    name = stage.fresh()
    run_id = await stage.start("sleep", id=name, nap="2s")
    await stage.parked(run_id, ParkReason.SLEEP)
    await outage.strikes()
    await outage.is_over()
    await stage.completes(run_id, outage, after=2.0)
    _done_once(stage, name, "before", "after")


@_behaviour(Victim.SERVICE)
async def a_run_emitted_during_a_kill_begins(stage: KillStage, outage: OutageShare) -> None:
    """What another process emits while the service is away runs when it is back, once."""
    await _emitted_meanwhile(stage, outage)


@_behaviour(Victim.WORKER)
async def a_worker_killed_in_mid_step_loses_no_step(stage: KillStage, outage: OutageShare) -> None:
    """Where the vendor's worker calls us: the body ends, and the run goes on by another call."""
    name, _ = await _struck_at_work(stage, outage)
    _done_once(stage, name, "before", "work begins", "work ends", "after")


@_behaviour(Victim.WORKER)
async def a_worker_killed_while_a_run_is_parked_loses_no_event(
    stage: KillStage, outage: OutageShare
) -> None:
    """A run that is parked in a killed worker goes on by an event, though nothing waits there."""
    await _struck_in_a_wait(stage, outage)


@_behaviour(Victim.SERVER)
async def a_step_that_ends_while_the_provider_is_away_is_kept(
    stage: KillStage, outage: OutageShare
) -> None:
    """Its outcome is recorded at once, and the run goes on when the provider is back."""
    name, _ = await _struck_at_work(stage, outage, ends_meanwhile=True)
    _done_once(stage, name, "before", "work begins", "work ends", "after")


@_behaviour(Victim.SERVER)
async def a_wait_that_ends_while_the_provider_is_away_goes_on(
    stage: KillStage, outage: OutageShare
) -> None:
    """An event that comes while the provider is away wakes its run when the provider is back."""
    await _struck_in_a_wait(stage, outage)


@_behaviour(Victim.SERVER)
async def a_run_emitted_while_the_provider_is_away_begins(
    stage: KillStage, outage: OutageShare
) -> None:
    """It waits, queued, and runs when the provider is back; its delivery is not taken for lost."""
    report = await _emitted_meanwhile(stage, outage)
    states = [delivery.state for delivery in report.deliveries]
    assert DeliveryState.SUPERSEDED not in states, states


KILLS: Final[Sequence[KillBehaviour]] = (
    a_service_killed_in_mid_step_tries_the_step_again,
    a_service_killed_in_mid_step_gives_its_place_in_line_back,
    an_event_during_a_kill_ends_a_wait,
    a_sleep_that_ends_during_a_kill_goes_on,
    a_run_emitted_during_a_kill_begins,
    a_worker_killed_in_mid_step_loses_no_step,
    a_worker_killed_while_a_run_is_parked_loses_no_event,
    a_step_that_ends_while_the_provider_is_away_is_kept,
    a_wait_that_ends_while_the_provider_is_away_goes_on,
    a_run_emitted_while_the_provider_is_away_begins,
)
"""Every promise of the group, by what is killed."""


async def _struck_at_work(
    stage: KillStage, outage: OutageShare, *, ends_meanwhile: bool = False
) -> tuple[str, RunReport]:
    """Have the victim killed while a step's body runs; the run's name, and how it completed.

    ends_meanwhile: wait until the body has ended before the victim is back.
    """
    name = stage.fresh()
    run_id = await stage.start("work", id=name)
    await stage.noted(name, "work begins")
    await outage.strikes()
    stage.release(name)
    if ends_meanwhile:
        await stage.noted(name, "work ends")
    await outage.is_over()
    return name, await stage.completes(run_id, outage)


async def _struck_in_a_wait(stage: KillStage, outage: OutageShare) -> None:
    """Have the victim killed while a run waits for an event, which comes before it is back."""
    name = stage.fresh()
    run_id = await stage.start("wait", id=name)
    await stage.parked(run_id, ParkReason.EVENT)
    await outage.strikes()
    await stage.emit("kills/go", id=name)
    await outage.is_over()
    await stage.completes(run_id, outage)
    _done_once(stage, name, "before", "after")


async def _emitted_meanwhile(stage: KillStage, outage: OutageShare) -> RunReport:
    """Emit a run while the victim is away; how it completed."""
    name = stage.fresh()
    await outage.strikes()
    run_id = await stage.start("plain", id=name)
    await outage.is_over()
    report = await stage.completes(run_id, outage)
    _done_once(stage, name, "only")
    return report


def _done_once(stage: KillStage, name: str, *labels: str) -> None:
    counts = {label: stage.count(name, label) for label in labels}
    assert set(counts.values()) == {1}, counts
