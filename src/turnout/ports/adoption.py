"""Adoption: an adapter reads functions that were written for its vendor's own SDK."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from turnout.model.adoption import Adoption


@runtime_checkable
class Adopts(Protocol):
    """A plugin that can adopt functions of its vendor's SDK."""

    def examine(self, client: Any) -> Sequence[Adoption] | None:
        """Say what becomes of the functions of a client; None where it is no client of this SDK.

        No function is called or registered. Only functions of imported modules are seen.
        """
        ...
