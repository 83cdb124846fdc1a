"""The rules of a check: how all pairs are compared."""

import zlib
from dataclasses import dataclass, field
from typing import Final

from turnout.model.time import Millis

PATIENCE: Final[Millis] = 120_000
"""How much later than its primary plus the lag a shadow may end: it may wait in a queue, and a
provider needs a minute to notice that a process was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The fixed limits on time."""

    slow_ms: int = 5_000
    """A shadow may have this much more overhead than its primary."""
    late_ms: int = 5_000
    """A retry may come this much later than it did on the primary."""
    early_ms: int = 250
    """A retry may come earlier than planned by this and `early_share` together."""
    early_share: float = 0.25
    """A share of the planned delay; see `early_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a check compares."""

    bounds: Bounds = field(default_factory=Bounds)
    verify_first: int = 100
    """All documents of the first pairs, up to this number, are read, whatever their digests say."""
    verify_one_in: int = 100
    """After them, all documents of one pair in this many are read; the run id selects it."""
    patience: Millis | None = PATIENCE
    """How long a shadow is awaited after its lag; None where no more shadows can come."""

    def verifies(self, run_id: str, number: int) -> bool:
        """Whether the digests of the `number`-th pair are checked against its documents."""
        selected = zlib.crc32(run_id.encode(errors="replace")) % max(self.verify_one_in, 1) == 0
        return number <= self.verify_first or selected
