"""The window of a dual run: which runs have a twin, and which are not compared.

`parity-window.json` lies at the store's root. Without it every run under `runs/` must have a twin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from turnout.errors import ArtifactInvalid, ArtifactMissing, InvalidJson, TooLarge
from turnout.model.canonical import parse
from turnout.model.parity_window import WINDOW_KEY, Span, WindowDocument
from turnout.ports.artifact_store import ReadsArtifacts
from turnout_parity.report import SetAside


@dataclass(frozen=True, slots=True, kw_only=True)
class DualRunWindow:
    """`parity-window.json`, with methods that answer which runs need a twin."""

    spans: tuple[Span, ...] | None = None
    set_aside: Mapping[str, SetAside] = field(default_factory=dict)
    unknown: bool = False
    """Whether the document is invalid, so that it is not known which runs need a twin."""
    absent: bool = False
    """Whether the store has no such document."""

    def needs_twin(self, task: str, emitted_at: datetime) -> bool:
        """Whether a run was emitted to both sides."""
        if self.unknown:
            return False
        if self.spans is None:
            return True
        return any(
            span.task in {None, task}
            and span.since <= emitted_at
            and (span.until is None or emitted_at < span.until)
            for span in self.spans
        )

    def spans_after(self, task: str, emitted_at: datetime) -> list[Span]:
        """List the spans of a task in which a run's shadow may have begun."""
        return [
            span
            for span in self.spans or ()
            if span.task in {None, task} and (span.until is None or emitted_at < span.until)
        ]


async def read_window(store: ReadsArtifacts) -> DualRunWindow:
    """Read the window; a store without one is one where every run needs a twin.

    `ArtifactInvalid` names what is wrong with the document.
    """
    try:
        raw = (await store.get(WINDOW_KEY)).body
    except ArtifactMissing:
        return DualRunWindow(absent=True)
    except TooLarge as error:
        raise ArtifactInvalid(str(error)) from None
    try:
        parse(raw)
        document = WindowDocument.model_validate_json(raw)
    except (InvalidJson, TooLarge) as error:
        raise ArtifactInvalid(f"{WINDOW_KEY}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/" + "/".join(map(str, first["loc"]))
        raise ArtifactInvalid(f"{WINDOW_KEY} at {place}: {first['msg']}", pointer=place) from None
    return DualRunWindow(
        spans=document.spans,
        set_aside={
            entry.run_id: SetAside(run_id=entry.run_id, why=entry.why, reason=entry.reason)
            for entry in document.set_aside
        },
    )
