"""A drill: the probe's task goes to the new provider and back, and runs once at each."""

from dataclasses import dataclass

from turnout.errors import TurnoutError, WrongUse
from turnout.model.routing import Stage
from turnout.model.time import Millis
from turnout.service.process import Turnout
from turnout_cutover.changes import Action, Signature
from turnout_cutover.move_file import Probe
from turnout_cutover.moving import Moved, MoveRequest, move
from turnout_cutover.operations import Operations
from turnout_cutover.outcome import Exit, Failure, Stopped
from turnout_cutover.probing import ProbeFailed, ProbeRun, probe_event, run_routed_probe
from turnout_cutover.rolling_back import PROBE_COMPLETED, OpensLive
from turnout_cutover.stages import Target


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One way of the drill."""

    run: ProbeRun
    duration: Millis
    """From the command to the end of the probe run."""

    def line(self, word: str) -> str:
        """Write it in one line."""
        return f"{word} {self.duration / 1_000:.1f} s: probe run {self.run.text}"


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A drill that came back."""

    outward: Leg
    homeward: Leg


def declared_probe(operations: Operations) -> Probe:
    """Return the probe; WrongUse where the team declares none: a drill starts no task of users."""
    probe = operations.move_file.probe
    if probe is None:
        raise WrongUse(
            "a drill needs a probe: declare a task for it in turnout.move.toml, [probe] task = …"
        )
    return probe


def leg_request(probe: Probe, stage: Stage, signature: Signature, *, dry_run: bool) -> MoveRequest:
    """Make the request that sends the probe's task one way."""
    return MoveRequest(
        tasks=(probe.task,),
        target=Target(stage=stage),
        action=Action.DRILL,
        signature=signature,
        dry_run=dry_run,
    )


async def planned(operations: Operations, signature: Signature) -> Moved:
    """Say what a drill would do first, or refuse as it would be refused."""
    request = leg_request(declared_probe(operations), Stage.NEW, signature, dry_run=True)
    return await move(operations, request)


async def drill(operations: Operations, signature: Signature, open_live: OpensLive) -> Drill:
    """Send the probe's task there and back, with a run at each end.

    WrongUse, before anything is moved, where the app cannot start the probe's task. `Stopped` with
    `PARTWAY` names the way on which the probe run did not complete; the task is sent back then.
    """
    probe = declared_probe(operations)
    async with open_live() as live:
        probe_event(live, probe)
        try:
            outward = await _leg(operations, live, probe, Stage.NEW, signature)
        except ProbeFailed as error:
            await _move(operations, probe, Stage.OLD, signature)
            raise _ended(operations, signature, "there", error) from error
        try:
            homeward = await _leg(operations, live, probe, Stage.OLD, signature)
        except ProbeFailed as error:
            raise _ended(operations, signature, "back", error) from error
    await _record(operations, probe, homeward, signature)
    return Drill(outward=outward, homeward=homeward)


async def _leg(
    operations: Operations, live: Turnout, probe: Probe, stage: Stage, signature: Signature
) -> Leg:
    start = operations.clock.now()
    await _move(operations, probe, stage, signature)
    routes = await operations.log.routes()
    run = await run_routed_probe(live, probe, routes)
    route = routes[probe.task]
    expected = route.new if stage is Stage.NEW else route.old
    if run.provider != expected:
        raise ProbeFailed(f"the probe run {run.run_id} was at {run.provider}, not at {expected}")
    leg = Leg(run=run, duration=operations.clock.now() - start)
    operations.report(leg.line("there" if stage is Stage.NEW else "back"))
    return leg


async def _move(operations: Operations, probe: Probe, stage: Stage, signature: Signature) -> Moved:
    return await move(operations, leg_request(probe, stage, signature, dry_run=False))


async def _record(operations: Operations, probe: Probe, leg: Leg, signature: Signature) -> None:
    change = (await operations.log.routes())[probe.task].generation
    detail = {"step": PROBE_COMPLETED, "ms": leg.duration, "change": change}
    await operations.log.note({probe.task: detail}, signature, operations.clock.now())


def _ended(operations: Operations, signature: Signature, way: str, error: TurnoutError) -> Stopped:
    return Stopped(
        Exit.PARTWAY,
        Failure(
            text=f"the drill ended on the way {way}: {error}",
            state="the probe's task is at old; no other task was touched",
            users="no: a drill starts no task of users",
            safe_until="as long as you like; move nothing before a drill comes back",
            next_command="turnout doctor --through-worker",
            owner=operations.move_file.owner or signature.operator,
        ),
    )
