"""A probe run: a run of the task that the team declares for it, at a provider of our choice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from turnout.control.emissions import Emissions
from turnout.errors import TurnoutError, WrongUse
from turnout.model.events import Event
from turnout.model.routing import Route, Selection
from turnout.model.runs import Run
from turnout.model.status import RunStatus
from turnout.model.time import Millis
from turnout.service.process import Turnout
from turnout_cutover.move_file import Probe

PATIENCE: Final[Millis] = 60_000
"""How long a probe run may take: a vendor's worker may have to start."""

PAUSE: Final[Millis] = 100
"""Time between two looks at the run."""

Routes: TypeAlias = Callable[[], Mapping[str, Route]]


class ProbeFailed(TurnoutError):
    """The probe run did not complete."""

    code = "probe_failed"


@dataclass(frozen=True, kw_only=True)
class ProbeRun:
    """A probe run that completed."""

    run_id: str
    provider: str
    duration: Millis
    """From its emit to its end."""
    until_called: Millis
    """The vendor's part: until it first called for the run."""

    @property
    def text(self) -> str:
        """Write it in a few words."""
        return f"{self.run_id}, of which {self.until_called} ms until {self.provider} called"


async def run_probe(live: Turnout, probe: Probe, provider: str) -> ProbeRun:
    """Start a probe run at a provider, and wait for its end; ProbeFailed says how it ended.

    Only the probe's task starts, whatever else subscribes to its event.
    """
    return await _run(live, probe, Selection(provider=provider), dict)


async def run_routed_probe(live: Turnout, probe: Probe, routes: Mapping[str, Route]) -> ProbeRun:
    """Start a probe run where these routes send it, and wait for its end; see `run_probe`."""
    return await _run(live, probe, live.selection, lambda: routes)


def probe_event(live: Turnout, probe: Probe) -> Event:
    """Return the event that starts the probe's task.

    UnknownTask where the app has no such task, WrongUse where the task subscribes to no event.
    """
    task = live.app.task(probe.task)
    if not task.on:
        raise WrongUse(f"the probe {probe.task!r} subscribes to no event: give its task one, on=…")
    return Event(name=next(iter(task.on)), payload=probe.payload)


async def _run(live: Turnout, probe: Probe, selection: Selection, routes: Routes) -> ProbeRun:
    async def unchanged() -> None:
        """Keep the routes that were read."""

    event = probe_event(live, probe)
    emissions = Emissions(app=live.app, selection=selection, routes=routes, refresh=unchanged)
    emission = emissions.of_event(event, live.clock.now())
    runs = tuple(new for new in emission.runs if new.run.task == probe.task)
    (emitted,) = await live.store.events.emit([replace(emission, runs=runs)])
    return await _completed(live, emitted.runs[0].run_id)


async def _completed(live: Turnout, run_id: str) -> ProbeRun:
    end = live.clock.now() + PATIENCE
    while True:
        run = (await live.store.journals.load(run_id)).run
        if run.state is RunStatus.COMPLETED:
            return _probe_run(run)
        if run.state.terminal:
            raise ProbeFailed(f"the probe run {run_id} ended as {run.state} at {run.provider}")
        if live.clock.now() >= end:
            raise ProbeFailed(
                f"the probe run {run_id} is {run.state} at {run.provider} after {PATIENCE} ms"
            )
        await live.clock.sleep(PAUSE)


def _probe_run(run: Run) -> ProbeRun:
    ended, started = run.ended_at or run.emitted_at, run.started_at or run.emitted_at
    return ProbeRun(
        run_id=run.run_id,
        provider=run.provider,
        duration=ended - run.emitted_at,
        until_called=started - run.emitted_at,
    )
