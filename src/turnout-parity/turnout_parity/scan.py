"""Goes once over a store: reads, compares and counts its pairs, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from turnout.errors import ArtifactInvalid
from turnout.model.documents import Source
from turnout.model.keys import MANIFEST, RUNS, STATUS, is_run_name
from turnout.model.parity_window import WINDOW_KEY
from turnout.model.storage import GetResult
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout_parity.compare_documents import DocumentComparison, report_unlisted
from turnout_parity.compare_manifests import lists_no_steps, steps_to_read
from turnout_parity.compare_pair import compare_pair, report_missing_twin
from turnout_parity.counts import Counts
from turnout_parity.faults import SideName
from turnout_parity.overlap import Excess, Overlaps
from turnout_parity.pair_result import PairResult
from turnout_parity.pairing import Pair, pairs
from turnout_parity.report import Difference, Kind
from turnout_parity.rules import Rules
from turnout_parity.run_documents import RunDocuments, read_run
from turnout_parity.set_aside import not_due, set_aside
from turnout_parity.window import DualRunWindow, read_window

CHUNK: Final = 128
"""Pairs whose manifests and status documents are requested together."""

CONCURRENT_PAIRS: Final = 8
"""Pairs whose further documents are read at the same time."""


@dataclass(slots=True, kw_only=True)
class Scan:
    """Compares all pairs of a store, and keeps only counts of them."""

    store: ArtifactStore
    rules: Rules
    counts: Counts
    progress: Callable[[int], None]
    now: Millis
    window: DualRunWindow = field(default_factory=DualRunWindow)
    overlaps: Overlaps = field(default_factory=Overlaps)
    waiting: deque[tuple[PairResult, asyncio.Task[None] | None]] = field(default_factory=deque)
    """Pairs that are not counted yet, in order, each with the task that reads its documents."""
    readings: int = 0
    """How many pairs in `waiting` have a task that reads documents."""
    pairs_seen: int = 0
    shadows_seen: bool = False

    async def run(self) -> list[str]:
        """Count all pairs; return the warnings for the report."""
        warnings = await self._read_window()
        try:
            async for chunk in _chunks(pairs(self._names())):
                await self._compare_chunk(chunk)
                self.progress(self.pairs_seen)
            await self._count_compared(0)
        finally:
            for _, reading in self.waiting:
                if reading is not None:
                    reading.cancel()
        for excess in self.overlaps.excesses():
            self.counts.add_late_finding(_as_difference(excess))
        return warnings

    @property
    def dual_run_seen(self) -> bool:
        """Whether the store has a window or a shadow; without both there was no dual run."""
        return self.shadows_seen or not self.window.absent

    async def _read_window(self) -> list[str]:
        try:
            self.window = await read_window(self.store)
        except ArtifactInvalid as error:
            self.counts.totals["unusable"] += 1
            self.window = DualRunWindow(unknown=True)
            effect = "nobody can tell which runs need a twin; one without is counted as single"
            return [f"{WINDOW_KEY} cannot be believed, so {effect}: {error}"]
        return []

    async def _names(self) -> AsyncIterator[str]:
        async for page in self.store.folders(f"{RUNS}/"):
            for name in page:
                if is_run_name(name):
                    yield name
                else:
                    self.counts.totals["junk"] += 1

    async def _compare_chunk(self, chunk: Sequence[Pair]) -> None:
        """Compare manifests and status documents; begin to read the documents they call for."""
        outcomes = self.store.get_many(_keys(chunk))
        for pair in chunk:
            primary = await _read_run("primary", pair.primary, outcomes)
            shadow = await _read_run("shadow", pair.shadow, outcomes)
            self.shadows_seen = self.shadows_seen or shadow is not None
            self._note_concurrency(pair.run_id, primary, shadow)
            if self._set_aside(pair.run_id, primary, shadow):
                continue
            if primary is not None and shadow is not None:
                await self._compare(pair.run_id, primary, shadow)
            elif run := primary or shadow:
                self._report_unpaired(pair.run_id, run)
            await self._count_compared(CONCURRENT_PAIRS)

    async def _count_compared(self, limit: int) -> None:
        """Count compared pairs in their order, until at most `limit` have documents to be read."""
        while self.waiting:
            result, reading = self.waiting[0]
            if reading is not None:
                bounded = self.readings <= limit and len(self.waiting) < CHUNK
                if bounded and not reading.done():
                    return
                await reading
                self.readings -= 1
            self.waiting.popleft()
            self.counts.add(result)

    def _note_concurrency(
        self, run_id: str, primary: RunDocuments | None, shadow: RunDocuments | None
    ) -> None:
        for run in (primary, shadow):
            if run is not None and run.record is not None:
                slot = run.record.concurrency_slot
                if slot is not None:
                    self.overlaps.add(run_id, run.side, slot)

    def _set_aside(
        self, run_id: str, primary: RunDocuments | None, shadow: RunDocuments | None
    ) -> bool:
        """Count a pair that is not to be compared, or not yet; False: compare it."""
        aside = set_aside(run_id, primary, shadow, self.window)
        patience = self.rules.patience
        if aside is None and patience is not None:
            window, now = self.window, self.now
            aside = not_due(run_id, primary, shadow, window, now=now, patience=patience)
        if aside is not None:
            self.counts.add_set_aside(aside)
        return aside is not None

    def _report_unpaired(self, run_id: str, run: RunDocuments) -> None:
        """Report a run without a twin, unless it was never to have one."""
        status = run.status if run.side == "primary" else None
        if status is not None and not self.window.needs_twin(status.task, status.emitted_at):
            self.counts.add_single(run_id)
            return
        self.pairs_seen += 1
        self.waiting.append((report_missing_twin(run_id, run), None))

    async def _compare(self, run_id: str, primary: RunDocuments, shadow: RunDocuments) -> None:
        """Compare a pair by its digests; begin to read the documents that they leave open."""
        self.pairs_seen += 1
        for run in (primary, shadow):
            if run.status is not None:
                self.counts.add_provider(run.side, run.status.provider)
        verify = self.rules.verifies(run_id, self.pairs_seen)
        result = compare_pair(run_id, primary, shadow, self.rules.bounds, verify=verify)
        record, twin_record = primary.record, shadow.record
        if record is None or twin_record is None:
            await report_unlisted(self.store, result, primary)
            await report_unlisted(self.store, result, shadow)
            self.waiting.append((result, None))
            return
        search = verify or lists_no_steps(record) or lists_no_steps(twin_record)
        comparison = DocumentComparison(
            store=self.store,
            bounds=self.rules.bounds,
            result=result,
            primary=record,
            shadow=twin_record,
            steps=steps_to_read(record, twin_record, verify=verify),
            searched_runs=(primary, shadow) if search else (),
        )
        comparison.count_unread()
        if comparison.needs_reading:
            self.readings += 1
            self.waiting.append((result, asyncio.create_task(comparison.compare())))
        else:
            await comparison.compare()
            self.waiting.append((result, None))


async def _read_run(
    side: SideName, name: str | None, outcomes: AsyncIterator[tuple[str, GetResult]]
) -> RunDocuments | None:
    """Take a run's two documents from those requested; None where there is no such run."""
    if name is None:
        return None
    _, manifest = await anext(outcomes)
    _, status = await anext(outcomes)
    return read_run(side, name, manifest, status)


async def _chunks(stream: AsyncIterator[Pair]) -> AsyncIterator[list[Pair]]:
    chunk: list[Pair] = []
    async for pair in stream:
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _keys(chunk: Sequence[Pair]) -> Iterator[str]:
    for pair in chunk:
        for name in (pair.primary, pair.shadow):
            if name is not None:
                yield f"{RUNS}/{name}/{MANIFEST}"
                yield f"{RUNS}/{name}/{STATUS}"


def _as_difference(excess: Excess) -> Difference:
    runs = f"{excess.at_once} runs at once with the key {excess.key!r}"
    return Difference(
        run_id=excess.run_id,
        task=excess.task,
        artifact=MANIFEST,
        pointer="/concurrency/limit",
        kind=Kind.OVERLAP,
        primary=excess.at_once if excess.side == "primary" else None,
        shadow=excess.at_once if excess.side == "shadow" else None,
        source=Source.RECORDED,
        detail=f"{excess.side}: {runs}; the limit is {excess.limit}",
    )
