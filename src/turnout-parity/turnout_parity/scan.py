"""One pass over a store: pairs stream by, are compared and counted in their order."""

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
from turnout.model.time import Millis, as_datetime
from turnout.ports.artifact_store import ArtifactStore
from turnout_parity.compare_documents import DocumentComparison, report_unlisted
from turnout_parity.compare_manifests import is_hollow, steps_to_read
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


@dataclass(slots=True)
class _Chunk:
    """Some pairs in their order; their further documents are read while the next chunk is."""

    results: list[PairResult] = field(default_factory=list)
    readings: list[asyncio.Task[None]] = field(default_factory=list)
    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENT_PAIRS))

    def begin(self, comparison: DocumentComparison) -> None:
        """Read and compare the further documents of one pair."""
        self.readings.append(asyncio.create_task(self._compare(comparison)))

    async def _compare(self, comparison: DocumentComparison) -> None:
        async with self.permits:
            await comparison.compare()

    def cancel(self) -> None:
        """Stop reading."""
        for reading in self.readings:
            reading.cancel()


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
    pairs_seen: int = 0
    shadows_seen: bool = False

    async def run(self) -> list[str]:
        """Count everything; give back what a reader must be warned of."""
        warnings = await self._read_window()
        chunks: deque[_Chunk] = deque()
        try:
            async for members in _chunks(pairs(self._names())):
                chunks.append(_Chunk())
                await self._compare_chunk(members, chunks[-1])
                # One chunk behind: meanwhile its further documents were read.
                if len(chunks) > 1:
                    await self._count(chunks[0])
                    chunks.popleft()
                self.progress(self.pairs_seen)
            for last in chunks:
                await self._count(last)
        finally:
            for chunk in chunks:
                chunk.cancel()
        for excess in self.overlaps.excesses():
            self.counts.add_late_finding(_as_difference(excess))
        return warnings

    @property
    def dual_run_seen(self) -> bool:
        """Whether there is a window or a shadow; where not, there never was a dual run."""
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

    async def _compare_chunk(self, members: Sequence[Pair], chunk: _Chunk) -> None:
        """Compare manifests and status documents, and begin to read what these leave open."""
        outcomes = self.store.get_many(_keys(members))
        for pair in members:
            primary = await _read_run("primary", pair.primary, outcomes)
            shadow = await _read_run("shadow", pair.shadow, outcomes)
            self.shadows_seen = self.shadows_seen or shadow is not None
            self._note_concurrency(pair.run_id, primary, shadow)
            if self._set_aside(pair.run_id, primary, shadow):
                continue
            if primary is not None and shadow is not None:
                result, comparison = await self._compare(pair.run_id, primary, shadow)
                chunk.results.append(result)
                if comparison is not None:
                    chunk.begin(comparison)
            elif run := primary or shadow:
                chunk.results += filter(None, [self._unpaired(pair.run_id, run)])

    async def _count(self, chunk: _Chunk) -> None:
        """Count a chunk's pairs in their order, once all of them are compared."""
        for reading in chunk.readings:
            await reading
        for result in chunk.results:
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
        """Count a pair that must not be compared, or not yet."""
        aside = set_aside(run_id, primary, shadow, self.window)
        patience = self.rules.patience
        if aside is None and patience is not None:
            window, now = self.window, self.now
            aside = not_due(run_id, primary, shadow, window, now=now, patience=patience)
        if aside is not None:
            self.counts.add_set_aside(aside)
        return aside is not None

    def _unpaired(self, run_id: str, run: RunDocuments) -> PairResult | None:
        """Report a run without a twin; None where it was never to have one."""
        if run.side == "primary" and run.status is not None:
            emitted_at = as_datetime(run.status.emitted_at)
            if not self.window.needs_twin(run.status.task, emitted_at):
                self.counts.add_single(run_id)
                return None
        self.pairs_seen += 1
        return report_missing_twin(run_id, run)

    async def _compare(
        self, run_id: str, primary: RunDocuments, shadow: RunDocuments
    ) -> tuple[PairResult, DocumentComparison | None]:
        """Compare a pair as far as its digests decide; name the documents that decide the rest."""
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
            return result, None
        search = verify or is_hollow(record) or is_hollow(twin_record)
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
            return result, comparison
        await comparison.compare()
        return result, None


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


def _keys(members: Sequence[Pair]) -> Iterator[str]:
    for pair in members:
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
