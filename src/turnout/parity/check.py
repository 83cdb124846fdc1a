"""The parity check: a stream of pairs in, one report out."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from turnout.errors import ArtifactInvalid
from turnout.model.keys import MANIFEST, RUNS, is_shadow_id, valid_run_id
from turnout.model.storage import ArtifactBody, GetResult
from turnout.model.time import Millis, as_datetime, moment
from turnout.parity.documents import Documents, check_documents
from turnout.parity.due import not_due
from turnout.parity.explain import Explainer
from turnout.parity.heads import StepPair, hollow, slot_of
from turnout.parity.ignores import Ignore
from turnout.parity.overlap import Excess, Overlaps
from turnout.parity.pair import Reading, Rules, compare_heads, settle_unread, to_read, whole
from turnout.parity.pairing import SHADOW, Pair, pairs
from turnout.parity.quick import Quick
from turnout.parity.redaction import Redaction
from turnout.parity.report import Difference, Kind, Report, Source
from turnout.parity.sides import (
    Fault,
    Side,
    SideName,
    faults_as_differences,
    read_side,
    set_aside,
    task_of,
    unlisted,
)
from turnout.parity.steps import compare_totals
from turnout.parity.summary import summary
from turnout.parity.tally import Compared, Tally
from turnout.parity.window import WINDOW_KEY, Window, read_window
from turnout.ports.artifact_store import ArtifactStore

CHUNK: Final = 128
"""Pairs whose heads are asked for in one go."""

AT_ONCE: Final = 8
"""Pairs whose further documents are read at the same time."""

MOST_UNLISTED: Final = 20
"""Documents of one run that its manifest does not know, and that are listed one by one."""

NO_DUAL_RUN: Final = (
    f"no dual run was seen: there is no {WINDOW_KEY} in the store, and no run has a shadow"
    f" ({RUNS}/…{SHADOW}/); a service under ORCHESTRATOR_PROVIDER=dual writes both to its"
    " TURNOUT_ARTIFACTS"
)

Progress = Callable[[int], None]


async def check(
    store: ArtifactStore,
    *,
    ignores: Sequence[Ignore] = (),
    documents: Documents | None = None,
    progress: Progress | None = None,
    rules: Rules | None = None,
    redaction: Redaction | None = None,
    now: datetime | None = None,
    name: str = "",
) -> Report:
    """Compare every pair in a store, and say what was found.

    With `documents`, a team's own JSON is compared instead of runs' artifacts. `progress` is told
    the number of pairs seen so far; `rules` hold the bounds, and how many digests are verified;
    `name` is what the report calls the store; by `now` it is told which shadows may still come,
    and which ignores have expired. Memory does not grow with the documents: per pair a
    few numbers are kept. A document that cannot be believed fails its own pair. Raises
    `StoreUnavailable` where the store does not answer.
    """
    begun = time.monotonic()
    now = now or datetime.now(UTC)
    active = [ignore for ignore in ignores if not ignore.expired(now.date())]
    tally = Tally(ignores=active, redaction=redaction or Redaction())
    tell = progress or _silent
    warnings: list[str] = []
    hints: list[str] = []
    if documents is not None:
        await check_documents(store, documents, tally, tell)
    else:
        rules = replace(rules or Rules(), explain=Explainer(redaction=tally.redaction))
        pass_ = _Check(store=store, rules=rules, tally=tally, progress=tell, now=moment(now))
        warnings += await pass_.run()
        hints += pass_.hints()
    return summary(
        tally,
        store=name,
        checked_at=now,
        duration_ms=(time.monotonic() - begun) * 1000,
        ignores=ignores,
        warnings=warnings,
        hints=hints,
    )


def _silent(seen: int) -> None:
    del seen


@dataclass(slots=True, kw_only=True)
class _Check:
    """One pass over a store: pairs are read ahead, compared, and counted in order."""

    store: ArtifactStore
    rules: Rules
    tally: Tally
    progress: Progress
    now: Millis
    window: Window = field(default_factory=Window)
    overlaps: Overlaps = field(default_factory=Overlaps)
    quick: Quick = field(default_factory=Quick)
    seen: int = 0
    shadowed: bool = False
    waiting: deque[Compared | asyncio.Task[Compared]] = field(default_factory=deque)

    async def run(self) -> list[str]:
        """Count everything; give back what a reader should be warned of."""
        warnings = await self._read_window()
        try:
            async for chunk in _chunks(pairs(self._names())):
                await self._chunk(chunk)
                self.progress(self.seen)
            await self._drain(0)
        finally:
            for task in self.waiting:
                if isinstance(task, asyncio.Task):
                    task.cancel()
        self.tally.fold()
        for excess in self.overlaps.excesses():
            self.tally.add_late_finding(_overlap(excess))
        return warnings

    def hints(self) -> list[str]:
        """Say what explains the whole: that there never was a dual run."""
        if self.shadowed or not self.window.absent:
            return []
        return [NO_DUAL_RUN]

    async def _read_window(self) -> list[str]:
        try:
            self.window = await read_window(self.store)
        except ArtifactInvalid as error:
            self.tally.totals["unusable"] += 1
            self.window = Window(unknown=True)
            unknown = "nobody can tell which runs need a twin; one without is counted as single"
            return [f"{WINDOW_KEY} cannot be believed, so {unknown}: {error}"]
        return []

    async def _names(self) -> AsyncIterator[str]:
        async for page in self.store.folders(f"{RUNS}/"):
            for name in page:
                if valid_run_id(name) or is_shadow_id(name):
                    yield name
                else:
                    self.tally.totals["junk"] += 1

    async def _chunk(self, chunk: Sequence[Pair]) -> None:
        outcomes = self.store.get_many(_heads_of(chunk))
        for pair in chunk:
            names = [name for name in (pair.primary, pair.shadow) if name is not None]
            self.shadowed = self.shadowed or pair.shadow is not None
            heads = [(await anext(outcomes))[1] for _ in range(2 * len(names))]
            if len(names) == 2 and self._equal(pair, heads):  # noqa: PLR2004 (both sides)
                continue
            sides: dict[SideName, Side] = {}
            for name in names:
                side: SideName = "primary" if name == pair.primary else "shadow"
                place = 2 * len(sides)
                sides[side] = read_side(side, name, heads[place], heads[place + 1])
            await self._pair(pair.run_id, sides.get("primary"), sides.get("shadow"))

    def _equal(self, pair: Pair, heads: Sequence[GetResult]) -> bool:
        """Count a pair the short way, where that is possible."""
        run_id = pair.run_id
        if run_id in self.window.set_aside or self.rules.verifies(run_id, self.seen + 1):
            return False
        bodies = tuple(each.body for each in heads if isinstance(each, ArtifactBody))
        if len(bodies) != len(heads):
            return False
        equal = self.quick.look(run_id, run_id + SHADOW, bodies)
        if equal is None or equal.overhead[1] - equal.overhead[0] > self.rules.bounds.slow_ms:
            return False
        for side, slot in zip(("primary", "shadow"), equal.slots or (), strict=False):
            self.overlaps.add(run_id, side, slot)
        self.seen += 1
        self.tally.add_equal(
            run_id, equal.task, equal.tested, equal.overhead, documents=4 + 2 * equal.steps
        )
        return True

    async def _pair(self, run_id: str, primary: Side | None, shadow: Side | None) -> None:
        self._note_slots(run_id, primary, shadow)
        if aside := set_aside(run_id, primary, shadow, self.window):
            self.tally.put_aside(aside)
            return
        if self._waits(run_id, primary, shadow):
            return
        if primary is None or shadow is None:
            self._alone(run_id, primary, shadow)
            return
        self.seen += 1
        for side in (primary, shadow):
            if side.status is not None:
                self.tally.note_provider(side.side, side.status.provider)
        await self._whole_pair(run_id, primary, shadow)

    def _waits(self, run_id: str, primary: Side | None, shadow: Side | None) -> bool:
        """Count a pair whose shadow may still come as such."""
        status = primary.status if primary is not None else None
        patience = self.rules.patience
        if status is None or patience is None:
            return False
        if not self.window.needs_twin(status.task, as_datetime(status.emitted_at)):
            return False
        aside = not_due(run_id, primary, shadow, self.window, now=self.now, patience=patience)
        if aside is not None:
            self.tally.put_aside(aside)
        return aside is not None

    async def _whole_pair(self, run_id: str, primary: Side, shadow: Side) -> None:
        found = compare_heads(run_id, primary, shadow, self.rules)
        ours, theirs = whole(primary), whole(shadow)
        if ours is None or theirs is None:
            found.missing_twin = shadow.empty or primary.empty
            await self._unlisted(found, primary, shadow)
            self.waiting.append(found)
        else:
            verify = self.rules.verifies(run_id, self.seen)
            look = (primary, shadow) if verify or hollow(ours) or hollow(theirs) else ()
            steps = to_read(ours, theirs, verify=verify)
            settle_unread(found, ours, theirs, steps)
            reading = Reading(
                store=self.store, rules=self.rules, found=found, primary=ours, shadow=theirs
            )
            same_result = ours.status.result_sha256 == theirs.status.result_sha256
            if not steps and same_result and not look:
                found.tested[(Kind.OUTPUT, Source.OURS)] += 1
                compare_totals(found, ours.status, theirs.status)
                self.waiting.append(found)
            else:
                self.waiting.append(asyncio.create_task(self._read(reading, steps, look)))
        await self._drain(AT_ONCE)

    async def _read(
        self, reading: Reading, steps: Sequence[StepPair], look: Sequence[Side]
    ) -> Compared:
        await self._unlisted(reading.found, *look)
        await reading.steps(steps)
        await reading.result()
        compare_totals(reading.found, reading.primary.status, reading.shadow.status)
        return reading.found

    async def _unlisted(self, found: Compared, *sides: Side) -> None:
        """Look for documents of steps that their own manifest does not know."""
        for side in sides:
            if side.manifest is None:
                continue
            folder, told = f"{RUNS}/{side.name}/", {each.path for each in side.manifest.documents}
            faults: list[Fault] = []
            async for page in self.store.pages(f"{folder}steps/"):
                paths = [each.key.removeprefix(folder) for each in page]
                faults += [unlisted(side.side, path) for path in paths if path not in told]
                if len(faults) >= MOST_UNLISTED:
                    break
            found.differences += faults_as_differences(
                found.run_id, found.task, faults[:MOST_UNLISTED]
            )

    def _alone(self, run_id: str, primary: Side | None, shadow: Side | None) -> None:
        """Count a run without a twin: by design, or as a mismatch."""
        side = primary or shadow
        if side is None:
            return
        status = side.status
        if primary is not None and status is not None:
            emitted = as_datetime(status.emitted_at)
            if not self.window.needs_twin(status.task, emitted):
                self.tally.pass_by(run_id)
                return
        self.seen += 1
        absent = "shadow" if primary is not None else "primary"
        where = run_id + (SHADOW if absent == "shadow" else "")
        twin = Fault(
            side=absent,  # type: ignore[arg-type]
            artifact=MANIFEST,
            pointer="",
            message=f"there is no {RUNS}/{where}/",
            missing=True,
        )
        found = Compared(run_id=run_id, task=task_of(side), documents=2, fetched=2)
        found.missing_twin = True
        found.differences = faults_as_differences(run_id, found.task, [twin, *side.faults])
        self.waiting.append(found)

    def _note_slots(self, run_id: str, *sides: Side | None) -> None:
        for side in sides:
            heads = whole(side) if side is not None else None
            slot = slot_of(heads.status, heads.manifest) if heads is not None else None
            if side is not None and slot is not None:
                self.overlaps.add(run_id, side.side, slot)

    async def _drain(self, most: int) -> None:
        """Count what is compared, in order, until at most `most` pairs are still being read."""
        reading = sum(isinstance(each, asyncio.Task) for each in self.waiting)
        while self.waiting:
            first = self.waiting[0]
            if isinstance(first, asyncio.Task):
                if reading <= most and not first.done() and len(self.waiting) < CHUNK:
                    return
                reading -= 1
                first = await first
            self.waiting.popleft()
            self.tally.add(first)


async def _chunks(stream: AsyncIterator[Pair]) -> AsyncIterator[list[Pair]]:
    chunk: list[Pair] = []
    async for pair in stream:
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _heads_of(chunk: Sequence[Pair]) -> Iterable[str]:
    for pair in chunk:
        for name in (pair.primary, pair.shadow):
            if name is not None:
                yield f"{RUNS}/{name}/{MANIFEST}"
                yield f"{RUNS}/{name}/status.json"


def _overlap(excess: Excess) -> Difference:
    what = f"{excess.at_once} runs at once with the key {excess.key!r}"
    detail = f"{excess.side}: {what}; the limit is {excess.limit}"
    at_once = {excess.side: excess.at_once}
    return Difference(
        run_id=excess.run_id,
        task=excess.task,
        artifact=MANIFEST,
        pointer="/concurrency/limit",
        kind=Kind.OVERLAP,
        primary=at_once.get("primary"),
        shadow=at_once.get("shadow"),
        source=Source.OURS,
        detail=detail,
    )
