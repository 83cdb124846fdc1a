"""Adoption: an adapter reads functions that were written for its vendor's own SDK."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from turnout.model.adoption import Adoption


@runtime_checkable
class Adopts(Protocol):
    """A plugin that can adopt."""

    def examine(self, client: Any) -> Sequence[Adoption] | None:
        """Say what becomes of the functions of a client; None for what is no client of its SDK.

        Nothing is called and nothing is registered; functions are those of loaded modules.
        """
        ...
