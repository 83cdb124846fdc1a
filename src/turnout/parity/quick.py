"""The short way to "equal": compare canonical bytes with what may differ taken out.

A document's *shape* is its bytes without the values of volatile and measured fields, each of which
must look as the schema wants it. Two documents of one shape are both valid or both not, and are
equal in everything that is compared exactly. So one of them is validated, and of a manifest only
one per shape. Whatever is unusual (another shape, retries, a limit on time) takes the long way.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from turnout.errors import ArtifactInvalid
from turnout.model.artifacts import (
    ManifestDocument,
    StatusDocument,
    read_manifest,
    read_status,
    step_path,
)
from turnout.model.keys import STATUS
from turnout.model.status import Role, StepKind
from turnout.parity.heads import asked
from turnout.parity.overlap import Slot
from turnout.parity.report import Kind, Source

MOST_SHAPES: Final = 256
"""Shapes of manifests that are remembered."""

_RUN_ID: Final = rb'"run_id":"[A-Za-z0-9_][A-Za-z0-9._=-]{0,134}"'
_COUNT: Final = rb"(?:0|[1-9][0-9]{0,14})"
_DAY: Final = (
    rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    rb"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_MOMENT: Final = (
    rb'"20[0-9]{2}-' + _DAY + rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}" + rb'Z"'
)
_WORD: Final = rb'"[ !#-\[\]-~]{1,200}"'


def _taken_out(*patterns: bytes) -> tuple[tuple[re.Pattern[bytes], bytes], ...]:
    """Give each pattern a mark of its own, so that a shape says what was taken out where.

    JSON has no zero bytes, so no document can hold a mark itself.
    """
    return tuple((re.compile(pattern), b"\0%d" % number) for number, pattern in enumerate(patterns))


# One pattern after the other with a fixed mark: `re` puts templates together in Python, far slower.
_MANIFEST: Final = _taken_out(
    _RUN_ID + rb"(?=,)",
    rb'"parity_sha256":"[0-9a-f]{64}"(?=,)',
    rb',"sha256":"[0-9a-f]{64}","size":' + _COUNT + rb"(?=\})",
)
_STATUS: Final = _taken_out(
    rb'"deliveries":' + _COUNT + rb',"emitted_at":' + _MOMENT + rb"(?=,)",
    rb'"provider":' + _WORD + rb',"provider_run_id":(?:null|' + _WORD + rb"),"
    rb'"provider_state":(?:null|"(?:queued|running|completed|failed|cancelled|timed_out)")(?=,)',
    rb'"role":"(?:primary|shadow)",' + _RUN_ID + rb"(?=,)",
    rb'"shadow_mode":(?:null|"replay"|"mock"|"execute")(?=,)',
    rb'"timings":\{"execution_ms":'
    + rb",".join(
        rb'"%s":' % name + _COUNT
        for name in (b"overhead_ms", b"queued_ms", b"total_ms", b"waiting_ms")
    ).join((_COUNT + rb",", rb"\}(?=,)")),
    rb'"at":' + _MOMENT + rb"(?=,)",
)
_DIGESTS: Final = re.compile(rb'"parity_sha256":"([0-9a-f]{64})"')
_PROVIDER_STATE: Final = re.compile(rb'"provider_state":(?:null|"([a-z_]+)"),"result":')
_OVERHEAD: Final = re.compile(rb'"overhead_ms":([0-9]+)')
_MODE: Final = re.compile(rb'"shadow_mode":"([a-z]+)"')
_TRANSITION: Final = re.compile(rb'\{"at":"([^"]+)","state":"([a-z_]+)"\}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Equal:
    """A pair that is equal in all that its digests decide."""

    task: str
    steps: int
    overhead: tuple[float, float]
    tested: Counter[tuple[str, Source]]
    """Shared between pairs: never changed."""
    slots: tuple[Slot, Slot] | None


@dataclass(slots=True)
class Quick:
    """Looks at pairs the short way, and remembers shapes of manifests."""

    manifests: dict[bytes, ManifestDocument] = field(default_factory=dict)
    counters: dict[tuple[int, bool, bool], Counter[tuple[str, Source]]] = field(
        default_factory=dict
    )

    def look(self, run_id: str, shadow_id: str, bodies: tuple[bytes, ...]) -> Equal | None:
        """Compare manifest, status, manifest, status; None where the long way must decide."""
        if any(b"\0" in body for body in bodies):
            return None
        manifest = self._manifest(run_id, shadow_id, bodies[0], bodies[2])
        if manifest is None:
            return None
        status = _status(run_id, shadow_id, bodies[1], bodies[3])
        if status is None or status.task != manifest.task or _retried(manifest, status):
            return None
        tail = _tail(bodies[3])
        overhead, mode = _OVERHEAD.search(tail), _MODE.search(tail)
        if overhead is None or mode is None or status.timings.overhead_ms is None:
            return None
        said = _PROVIDER_STATE.search(bodies[3])
        both = asked(status, said and said[1])
        if both and said is not None and said[1].decode() != status.provider_state:
            return None
        return Equal(
            task=status.task,
            steps=len(manifest.steps),
            overhead=(float(status.timings.overhead_ms), float(overhead[1])),
            tested=self._tested(len(manifest.steps), mode[1] == b"execute", both),
            slots=_slots(manifest, status, tail),
        )

    def _manifest(
        self, run_id: str, shadow_id: str, primary: bytes, shadow: bytes
    ) -> ManifestDocument | None:
        """Give a manifest of this shape, where both sides have it and agree by their digests."""
        shape = _shape(_MANIFEST, primary)
        if shape != _shape(_MANIFEST, shadow):
            return None
        if _DIGESTS.findall(primary) != _DIGESTS.findall(shadow):
            return None
        if not _names(run_id, primary) or not _names(shadow_id, shadow):
            return None
        known = self.manifests.get(shape)
        if known is None:
            known = _regular(primary, run_id)
            if known is not None:
                if len(self.manifests) >= MOST_SHAPES:
                    self.manifests.clear()
                self.manifests[shape] = known
        return known

    def _tested(self, steps: int, executed: bool, asked: bool) -> Counter[tuple[str, Source]]:  # noqa: FBT001
        key = (steps, executed, asked)
        if key not in self.counters:
            self.counters[key] = _count(*key)
        return self.counters[key]


def _status(run_id: str, shadow_id: str, primary: bytes, shadow: bytes) -> StatusDocument | None:
    """Give the primary's status, where the shadow's is the same and both are what they should."""
    if _result(primary) != _result(shadow):  # a result may hold what looks like our fields
        return None
    if _shape(_STATUS, primary) != _shape(_STATUS, shadow):
        return None
    tail = _tail(shadow)
    if b'"role":"shadow"' not in tail or not _names(shadow_id, tail):
        return None
    try:
        status = read_status(primary, run_id=run_id)
    except ArtifactInvalid:
        return None
    usual = status.role is Role.PRIMARY and status.not_comparable is None and status.state.terminal
    return status if usual else None


def _shape(patterns: tuple[tuple[re.Pattern[bytes], bytes], ...], raw: bytes) -> bytes:
    for pattern, mark in patterns:
        raw = pattern.sub(mark, raw)
    return raw


def _result(status: bytes) -> bytes:
    return status.partition(b',"result":')[2].rpartition(b',"result_ref":')[0]


def _tail(status: bytes) -> bytes:
    """Give what follows the result: names of fields there are ours."""
    return status.rpartition(b',"result_sha256":')[2]


def _names(run_id: str, raw: bytes) -> bool:
    return b'"run_id":"' + run_id.encode() + b'"' in raw


def _regular(raw: bytes, run_id: str) -> ManifestDocument | None:
    """Validate a manifest; None where it is invalid or lists a step twice or without a document."""
    try:
        manifest = read_manifest(raw, run_id=run_id)
    except ArtifactInvalid:
        return None
    paths = {entry.path for entry in manifest.documents}
    listed = STATUS in paths and all(
        step_path(entry.index, entry.step) in paths for entry in manifest.steps
    )
    single = len({entry.step for entry in manifest.steps}) == len(manifest.steps)
    return manifest if listed and single else None


def _retried(manifest: ManifestDocument, status: StatusDocument) -> bool:
    return status.attempts > sum(entry.kind is StepKind.STEP for entry in manifest.steps)


def _count(steps: int, executed: bool, asked: bool) -> Counter[tuple[str, Source]]:  # noqa: FBT001
    """Count what two equal shapes and equal digests have compared."""
    found: Counter[tuple[str, Source]] = Counter(
        {
            (Kind.STATUS, Source.OURS): 1,
            (Kind.TRANSITIONS, Source.OURS): 1,
            (Kind.SLOW, Source.OURS): 1,
            (Kind.ORDER, Source.OURS): 1,
            (Kind.ATTEMPTS, Source.OURS): 1 + steps,
            (Kind.STEP, Source.OURS): 1 + steps,
            (Kind.OUTPUT, Source.OURS): 1,
        }
    )
    found[(Kind.OUTPUT, Source.OURS if executed else Source.CONSTRUCTION)] += steps
    found[(Kind.STATUS, Source.PROVIDER)] += asked
    return +found


def _slots(
    manifest: ManifestDocument, status: StatusDocument, shadow: bytes
) -> tuple[Slot, Slot] | None:
    limit = manifest.concurrency
    if limit is None:
        return None
    moments = [
        (state.decode(), datetime.fromisoformat(at.decode()).timestamp() * 1000)
        for at, state in _TRANSITION.findall(shadow)
    ]
    paths = [[(each.state.value, float(each.at)) for each in status.transitions], moments]
    slots: list[Slot] = []
    for path in paths:
        running = [at for state, at in path if state == "running"]
        if not running:
            return None
        slots.append(
            Slot(
                task=status.task,
                key=limit.key,
                limit=limit.limit,
                start_ms=running[0],
                end_ms=path[-1][1],
            )
        )
    return slots[0], slots[1]
