"""The result of comparing one pair."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from turnout.model.documents import Source
from turnout_parity.explain import explainable
from turnout_parity.faults import Fault
from turnout_parity.json_diff import ABSENT, JsonChange
from turnout_parity.report import Difference, Kind


@dataclass(slots=True, kw_only=True)
class PairResult:
    """Collects the differences of one pair, and how much was compared."""

    run_id: str
    task: str | None = None
    differences: list[Difference] = field(default_factory=list)
    compared: list[tuple[Kind, Source, int]] = field(default_factory=list)
    """How many values of a kind were compared, and their source; a kind may occur several times."""
    differing_values: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """Small values that differ, whole, by the position of their first difference."""
    twin_missing: bool = False
    overhead: tuple[float, float] | None = None
    """Milliseconds, of the primary and of the shadow."""
    documents: int = 0
    """Documents whose digests or contents were compared."""
    fetched: int = 0
    """Documents that were read."""
    verified: int = 0
    """Documents that were read although their digests agree."""

    def count(self, *kinds: Kind, source: Source = Source.RECORDED, times: int = 1) -> None:
        """Count values of each of these kinds as compared."""
        for kind in kinds:
            self.compared.append((kind, source, times))

    def keep_values(self, primary: Any, shadow: Any) -> None:
        """Keep two differing values, whose first difference comes next, for an explanation."""
        if explainable(primary, shadow):
            self.differing_values[len(self.differences)] = primary, shadow

    def differ(self, change: JsonChange, *, artifact: str, kind: Kind, **details: Any) -> None:
        """Add a difference; `details` are further fields of `Difference`."""
        absent = "primary" if change.primary is ABSENT else None
        fields = {
            "pointer": change.pointer,
            "primary": None if change.primary is ABSENT else change.primary,
            "shadow": None if change.shadow is ABSENT else change.shadow,
            "absent": "shadow" if change.shadow is ABSENT else absent,
            "source": Source.RECORDED,
            **details,
        }
        self.differences.append(
            Difference(run_id=self.run_id, task=self.task, artifact=artifact, kind=kind, **fields)
        )

    def reject(self, faults: Iterable[Fault]) -> None:
        """Add each document that is missing or invalid as a difference."""
        for fault in faults:
            self.differences.append(
                Difference(
                    run_id=self.run_id,
                    task=self.task,
                    artifact=fault.artifact,
                    pointer=fault.pointer,
                    kind=Kind.MISSING if fault.missing else Kind.INVALID,
                    absent=fault.side if fault.missing else None,
                    source=Source.RECORDED,
                    detail=f"{fault.side}: {fault.message}",
                )
            )
