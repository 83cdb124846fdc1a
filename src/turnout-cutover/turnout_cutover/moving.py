"""Moving tasks: what a change would be, what is against it, and making it once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from turnout.errors import WrongUse
from turnout.model.routing import Route, Stage
from turnout.model.time import Millis, iso
from turnout_cutover.agreement import Agreement
from turnout_cutover.changes import Action, Change, Entry, Signature
from turnout_cutover.gates import Evidence
from turnout_cutover.operations import PATIENCE, Operations, check_tasks
from turnout_cutover.outcome import Exit, Failure, Stopped, refused
from turnout_cutover.stages import (
    Target,
    default_route,
    describe,
    is_forward,
    needs_evidence,
    routed,
    same_place,
    skipped,
    soak_left,
)

SETTLING: Final[Millis] = 2_000
"""How long a change waits for replicas that have not read the last one yet."""


@dataclass(frozen=True, kw_only=True)
class MoveRequest:
    """What an operator asks for."""

    tasks: Sequence[str]
    target: Target | None = None
    """None: the stage stays; for a pin."""
    stay: bool | None = None
    """Whether the tasks are pinned from then on; None: as they are."""
    action: Action = Action.MOVE
    old: str | None = None
    new: str | None = None
    """The providers, for tasks that have no route; None: those of the flag."""
    gates: Path | None = None
    override: str | None = None
    """Why what is against the change does not count."""
    signature: Signature
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the history is to keep beside the routes."""
    dry_run: bool = False
    wait: bool = True


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a change of one task would be, and what is against it."""

    task: str
    before: Route
    """As it is stored, or as the flag has it."""
    base: Route
    """The same, or the first stage of another move that begins."""
    after: Route
    objections: tuple[str, ...] = ()
    evidence: Evidence | None = None

    @property
    def in_place(self) -> bool:
        """Whether the task is there."""
        return same_place(self.before, self.after)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of a request."""

    proposals: Sequence[Proposal]
    changed: bool
    """Whether routes were written."""
    at: Millis
    agreement: Agreement
    overridden: tuple[str, ...] = field(default=())
    """What was against the change."""


def base_route(
    route: Route | None, default: Route | None, old: str | None, new: str | None
) -> Route:
    """Return the route that a task has, or that it would have with these providers.

    WrongUse where no providers are known, and where others are given for a task under way.
    """
    if route is None:
        return _first_route(default, old, new)
    if old in (None, route.old) and new in (None, route.new):
        return route
    finished = route.stage in (Stage.NEW, Stage.DRAINED) and old == route.new
    if not finished and not (route.stage is Stage.OLD and old in (None, route.old)):
        raise WrongUse(
            f"a move from {route.old} to {route.new} is under way ({describe(route)}); at new, the"
            f" next one begins with --old {route.new}"
        )
    next_move = replace(route, stage=Stage.OLD, old=old or route.old, new=new or route.new)
    if next_move.old == next_move.new:
        raise WrongUse(f"--old and --new are both {next_move.old}")
    return next_move


def _first_route(default: Route | None, old: str | None, new: str | None) -> Route:
    if default is not None and old in (None, default.old) and new in (None, default.new):
        return default
    old = old or (default.old if default else None)
    new = new or (default.new if default else None)
    if old is None or new is None or old == new:
        raise WrongUse(
            "between which providers? give --old and --new, two that differ; no replica has started"
            " with ORCHESTRATOR_PROVIDER=dual"
        )
    return Route(stage=Stage.OLD, old=old, new=new)


def propose(
    task: str, route: Route | None, default: Route | None, request: MoveRequest
) -> Proposal:
    """Say what a change would be, and what the stages have against it; pure."""
    base = base_route(route, default, request.old, request.new)
    before = base if route is None else route
    after = base if request.target is None else routed(base, request.target)
    if request.stay is not None:
        after = replace(after, stay=request.stay)
    objections = []
    if before.stay and not same_place(replace(before, stay=after.stay), after):
        objections.append(f"{task} is pinned at {before.stage}")
    passed_over = skipped(base, after)
    if passed_over and request.action is not Action.DRILL:
        objections.append(
            f"{task} would skip {' and '.join(passed_over)}: {base.stage} → {after.stage}"
        )
    return Proposal(task=task, before=before, base=base, after=after, objections=tuple(objections))


async def move(operations: Operations, request: MoveRequest) -> Moved:
    """Make the change that is asked for, or refuse it with what is against it: `Stopped`.

    A second request for the same changes nothing. Of two operators at once, the second is refused.
    """
    owner = operations.move_file.owner_of(*request.tasks) or request.signature.operator
    await operations.check_environment(owner)
    proposals = await proposed(operations, request)
    pending = [proposal for proposal in proposals if not proposal.in_place]
    replicas = await operations.agreed(SETTLING if pending else PATIENCE)
    against = [text for text in (replicas.objection(),) if text is not None]
    against += [text for proposal in proposals for text in proposal.objections]
    now = operations.clock.now()
    if against and request.override is None:
        raise refused("; ".join(against), next_command=_next(request), owner=owner)
    moved = Moved(
        proposals=proposals,
        changed=False,
        at=now,
        agreement=replicas,
        overridden=tuple(against),
    )
    if request.dry_run:
        return moved
    if pending:
        await _write(operations, request, pending, tuple(against), owner)
    if not request.wait:
        return replace(moved, changed=bool(pending))
    settled = await _settled(operations, against, owner)
    return replace(moved, changed=bool(pending), agreement=settled)


async def proposed(operations: Operations, request: MoveRequest) -> Sequence[Proposal]:
    """Say what each change would be, gates included; nothing is changed."""
    routes, replicas = await operations.log.routes(), await operations.replicas()
    check_tasks(request.tasks, replicas, routes)
    operations.check_providers(*filter(None, (request.old, request.new)))
    default = default_route(await operations.flag())
    proposals = [
        propose(task, routes.get(task), default, request) for task in dict.fromkeys(request.tasks)
    ]
    soaked = [await _soaked(operations, request, proposal) for proposal in proposals]
    return await _judged(operations, request, soaked)


async def _soaked(operations: Operations, request: MoveRequest, proposal: Proposal) -> Proposal:
    """Add what a declared soak has against going on."""
    soak = operations.move_file.soak_of(proposal.task)
    forward = is_forward(proposal.base, proposal.after)
    if not soak or not forward or request.action is not Action.MOVE:
        return proposal
    since = await arrived(operations, proposal.task, proposal.before.generation)
    left = soak_left(since, soak, operations.clock.now())
    if not left:
        return proposal
    text = f"{proposal.task} stays at {proposal.base.stage} for {left // 1_000} s more"
    return replace(proposal, objections=(*proposal.objections, text))


async def arrived(operations: Operations, task: str, generation: int) -> Millis | None:
    """Return when a task came to the route that it has; None: it was never changed."""
    entries = await operations.log.history(task=task, limit=1_000)
    return next((entry.at for entry in entries if entry.number == generation), None)


async def _judged(
    operations: Operations, request: MoveRequest, proposals: Sequence[Proposal]
) -> Sequence[Proposal]:
    """Add the verdicts of the gates, where there are any and they count."""
    gates = request.gates or operations.move_file.gates
    judged = [
        proposal.task
        for proposal in proposals
        if not proposal.in_place and needs_evidence(proposal.base, proposal.after)
    ]
    if gates is None or not judged or request.action is not Action.MOVE:
        return proposals
    verdicts = await operations.judge(operations.settings, gates, judged)
    return [_with_verdict(proposal, verdicts.get(proposal.task)) for proposal in proposals]


def _with_verdict(proposal: Proposal, verdict: Evidence | None) -> Proposal:
    if verdict is None or verdict.passed:
        return replace(proposal, evidence=verdict)
    text = f"the gates of {proposal.task} say {verdict.verdict}: {verdict.text}"
    return replace(proposal, evidence=verdict, objections=(*proposal.objections, text))


async def _write(
    operations: Operations,
    request: MoveRequest,
    pending: Sequence[Proposal],
    against: tuple[str, ...],
    owner: str,
) -> None:
    detail = dict(request.detail)
    if against:
        detail |= {"override": request.override, "overridden": list(against)}
    changes = [
        Change(
            task=proposal.task,
            action=request.action,
            before=proposal.before,
            after=proposal.after,
            evidence=None if proposal.evidence is None else proposal.evidence.digest,
            detail=detail,
        )
        for proposal in pending
    ]
    stale = await operations.log.change(changes, request.signature, operations.clock.now())
    if stale:
        raise await _outrun(operations, stale, owner)


async def _outrun(operations: Operations, stale: Sequence[str], owner: str) -> Stopped:
    """Say what another operator has done meanwhile."""
    texts = []
    for task in stale:
        entries = await operations.log.history(task=task, limit=1)
        texts.append(f"{task} was changed meanwhile: {summary(entries[0]) if entries else '?'}")
    return refused("; ".join(texts), next_command=f"turnout history {stale[0]}", owner=owner)


async def _settled(operations: Operations, against: Sequence[str], owner: str) -> Agreement:
    """Wait until the replicas have the routes; where they have not, that is a state of its own."""
    replicas = await operations.agreed(0 if against else PATIENCE)
    text = replicas.objection()
    if text is None or against:
        return replicas
    raise Stopped(
        Exit.PARTWAY,
        Failure(
            text=f"the routes are written, and in force at {replicas.count} replicas: {text}",
            state="the new routes are stored; the replicas that are named have older ones",
            users="no: every run has one provider, by the routes that its replica has",
            safe_until="the replicas read them again: they try twice a second",
            next_command="turnout status",
            owner=owner,
        ),
    )


def _next(request: MoveRequest) -> str:
    tasks = " ".join(request.tasks)
    return (
        f"turnout status; to do it nevertheless: turnout {request.action} {tasks} … --override WHY"
    )


def summary(entry: Entry) -> str:
    """Write an entry of the history in one line."""
    routes = entry.routes
    text = entry.action.value
    if routes is not None:
        text = f"{describe(routes[0])} → {describe(routes[1])}"
    elif "step" in entry.detail:
        text = f"{entry.action}: {entry.detail['step']}"
    return f"{text} by {entry.signature.operator} at {iso(entry.at)} ({entry.signature.reason})"


def gate_text(proposal: Proposal) -> str:
    """Say what the gates said of a change."""
    if proposal.evidence is None:
        return "none"
    return f"{proposal.evidence.verdict} {proposal.evidence.digest[:12]}"


def rows(moved: Moved) -> list[Mapping[str, Any]]:
    """Write what became of each task, as JSON."""
    return [
        {
            "task": proposal.task,
            "before": describe(proposal.before),
            "after": describe(proposal.after),
            "already": proposal.in_place,
            "changed": moved.changed and not proposal.in_place,
            "gate": gate_text(proposal),
            "evidence": None if proposal.evidence is None else proposal.evidence.digest,
        }
        for proposal in moved.proposals
    ]
