"""Rolling back: new runs go to the old provider, and each step is seen to be done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

from turnout.errors import TurnoutError
from turnout.model.routing import Route, Stage
from turnout.model.time import Millis
from turnout.service.process import Turnout
from turnout_cutover.changes import Action, Entry, Signature
from turnout_cutover.move_file import Probe
from turnout_cutover.moving import Moved, MoveRequest, move
from turnout_cutover.open_runs import OpenRuns, read_open_runs
from turnout_cutover.operations import Operations, caller_of
from turnout_cutover.outcome import Exit, Failure, Stopped
from turnout_cutover.probing import run_probe
from turnout_cutover.stages import Target

ROUTES_WRITTEN: Final = "routes written"
REPLICAS_AGREE: Final = "replicas agree"
SCHEDULES_ARMED: Final = "schedules armed at the old provider"
PROBE_COMPLETED: Final = "a probe run completed at the old provider"

ARMING: Final[Millis] = 30_000
"""How long the replicas may take to arm the schedules."""

OpensLive: TypeAlias = Callable[[], AbstractAsyncContextManager[Turnout]]
"""Opens the app and the callers of its providers; it may fail where routes can be written."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of one step."""

    step: str
    verified: bool
    duration: Millis
    text: str = ""

    def line(self) -> str:
        """Write it in one line."""
        mark = "✓" if self.verified else "✗"
        text = f", {self.text}" if self.text else ""
        return f"{mark} {self.step}: {self.duration / 1_000:.1f} s{text}"


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What became of a rollback."""

    moved: Moved
    steps: Sequence[StepResult]
    staying: Sequence[OpenRuns]
    """The open runs at the new providers: they end there."""


async def roll_back(
    operations: Operations,
    request: MoveRequest,
    open_live: OpensLive,
) -> RolledBack:
    """Send the new runs of tasks to their old provider, and verify every step.

    `Stopped` with `REFUSED` where nothing was changed, with `PARTWAY` where a step was not seen to
    be done; the same command goes on with it. With `dry_run` nothing is changed.
    """
    start = operations.clock.now()
    moved = await move(operations, request)
    tasks = [proposal.task for proposal in moved.proposals]
    providers = {proposal.after.new for proposal in moved.proposals}
    staying = [
        runs
        for runs in await read_open_runs(operations.store)
        if runs.task in tasks and runs.provider in providers
    ]
    if request.dry_run:
        return RolledBack(moved=moved, steps=(), staying=staying)
    duration = operations.clock.now() - start
    steps = [StepResult(step=ROUTES_WRITTEN, verified=True, duration=duration)]
    operations.report(steps[0].line())
    routes = await operations.log.routes()
    verification = Verification(operations, routes, tasks, request.signature, open_live)
    steps += await verification.run()
    missing = [result for result in steps if not result.verified]
    if missing:
        raise _half_done(operations, request, steps, missing)
    return RolledBack(moved=moved, steps=steps, staying=staying)


def rollback_request(
    operations: Operations,
    tasks: Sequence[str],
    signature: Signature,
    *,
    override: str | None = None,
    dry_run: bool = False,
) -> MoveRequest:
    """Make the request of a rollback; the history keeps the steps that it is to be verified by."""
    return MoveRequest(
        tasks=tasks,
        target=Target(stage=Stage.OLD),
        action=Action.ROLLBACK,
        signature=signature,
        detail={"steps": steps_of(operations)},
        override=override,
        dry_run=dry_run,
        wait=False,
    )


def steps_of(operations: Operations) -> list[str]:
    """Name the steps of a rollback; there is a probe where the team declares one."""
    probe = operations.move_file.probe
    return [
        ROUTES_WRITTEN,
        REPLICAS_AGREE,
        SCHEDULES_ARMED,
        *([] if probe is None else [PROBE_COMPLETED]),
    ]


def moved_tasks(routes: Mapping[str, Route]) -> list[str]:
    """List the tasks that `--all` rolls back: those past the first stage, and not pinned."""
    return [
        task for task, route in routes.items() if route.stage is not Stage.OLD and not route.stay
    ]


def unverified(route: Route, entries: Sequence[Entry]) -> tuple[int, list[str]] | None:
    """Return how many steps a task's rollback has, and those that were not seen to be done.

    None: its last change was no rollback. entries: of this task, in any order.
    """
    changes = [entry for entry in entries if entry.number == route.generation]
    if not changes or changes[0].action is not Action.ROLLBACK:
        return None
    steps = changes[0].detail.get("steps", [])
    verified = {ROUTES_WRITTEN} | {
        entry.detail.get("step")
        for entry in entries
        if entry.action is Action.VERIFIED and entry.detail.get("change") == route.generation
    }
    return len(steps), [step for step in steps if step not in verified]


class Verification:
    """Sees that the steps of a rollback are done, and records each."""

    def __init__(
        self,
        operations: Operations,
        routes: Mapping[str, Route],
        tasks: Sequence[str],
        signature: Signature,
        open_live: OpensLive,
    ) -> None:
        self._operations = operations
        self._routes = {task: routes[task] for task in tasks if task in routes}
        self._signature = signature
        self._open_live = open_live

    async def run(self) -> list[StepResult]:
        """Verify the steps after the first one, each whatever became of the one before."""
        results = [await self._step(REPLICAS_AGREE, self._agreed)]
        probe = self._operations.move_file.probe
        try:
            async with self._open_live() as live:
                results.append(await self._step(SCHEDULES_ARMED, lambda: self._armed(live)))
                if probe is not None:
                    results.append(
                        await self._step(PROBE_COMPLETED, lambda: self._probed(live, probe))
                    )
        except TurnoutError as error:
            remaining = steps_of(self._operations)[1 + len(results) :]
            results += [
                StepResult(step=step, verified=False, duration=0, text=str(error))
                for step in remaining
            ]
        return results

    async def _step(self, step: str, verify: Callable[[], Awaitable[str]]) -> StepResult:
        clock = self._operations.clock
        start = clock.now()
        try:
            text, verified = await verify(), True
        except TurnoutError as error:
            text, verified = str(error), False
        result = StepResult(step=step, verified=verified, duration=clock.now() - start, text=text)
        self._operations.report(result.line())
        if verified:
            await self._record(result)
        return result

    async def _record(self, result: StepResult) -> None:
        details = {
            task: {"step": result.step, "ms": result.duration, "change": route.generation}
            for task, route in self._routes.items()
        }
        await self._operations.log.note(details, self._signature, self._operations.clock.now())

    async def _agreed(self) -> str:
        replicas = await self._operations.agreed()
        objection = replicas.objection()
        if objection is not None:
            raise TurnoutError(objection)
        return f"{replicas.count} replicas"

    async def _armed(self, live: Turnout) -> str:
        """Wait until the old providers' runtimes list the schedules of these tasks."""
        end = live.clock.now() + ARMING
        while True:
            missing = await self._unarmed(live)
            if not missing:
                return ""
            if live.clock.now() >= end:
                raise TurnoutError(f"not armed: {', '.join(missing)}")
            await live.clock.sleep(500)

    async def _unarmed(self, live: Turnout) -> list[str]:
        stored = [
            owned.schedule
            for owned in await live.store.schedules.read()
            if owned.schedule.task in self._routes and not owned.schedule.paused
        ]
        old = {schedule.id: self._routes[schedule.task].old for schedule in stored}
        names = sorted(set(old.values()))
        callers = [caller_of(live, name) for name in names]
        lists = await asyncio.gather(*(caller.armed() for caller in callers))
        armed = {
            (name, schedule.id)
            for name, schedules in zip(names, lists, strict=True)
            for schedule in schedules
            if schedule.active
        }
        return [f"{key} at {name}" for key, name in old.items() if (name, key) not in armed]

    async def _probed(self, live: Turnout, probe: Probe) -> str:
        names = sorted({route.old for route in self._routes.values()})
        runs = [await run_probe(live, probe, name) for name in names]
        return "; ".join(run.text for run in runs)


def _half_done(
    operations: Operations,
    request: MoveRequest,
    steps: Sequence[StepResult],
    missing: Sequence[StepResult],
) -> Stopped:
    tasks = " ".join(request.tasks)
    number = len(steps) - len(missing)
    return Stopped(
        Exit.PARTWAY,
        Failure(
            text=f"{number} of {len(steps)} steps; not {'; not '.join(map(_missing, missing))}",
            state=f"the routes are those of the old provider; not verified: {len(missing)} step(s)",
            users=_users(missing),
            safe_until="the next slot of a schedule of these tasks, or their next run",
            next_command=f"turnout rollback {tasks} --reason …",
            owner=operations.move_file.owner_of(*request.tasks) or request.signature.operator,
        ),
    )


def _missing(result: StepResult) -> str:
    return f"{result.step} ({result.text})"


def _users(missing: Sequence[StepResult]) -> str:
    if any(result.step == REPLICAS_AGREE for result in missing):
        return "perhaps: a replica may still send new runs to the new provider"
    return "not known: what was not verified may work"
