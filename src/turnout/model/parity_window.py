"""`parity-window.json`: from when to when runs had a shadow, and which are not compared.

It lies at the root of an artifact store. A dual run writes it, a parity check reads it.
"""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

WINDOW_KEY: Final = "parity-window.json"


class Span(BaseModel):
    """From when to when runs were emitted to both sides; one task's, or every task's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    lag_ms: Annotated[int, Field(ge=0)] | None = None
    """How long after its primary's emit a shadow is due; without it no shadow is awaited."""


class DeclaredAside(BaseModel):
    """One run that the dual run itself set aside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    why: Literal["late", "not_comparable"]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class WindowDocument(BaseModel):
    """`parity-window.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Annotated[Literal["turnout/parity-window@1"], Field(alias="schema")]
    spans: tuple[Span, ...] | None = None
    """Runs emitted outside all of them need no twin; null where every run needs one."""
    set_aside: tuple[DeclaredAside, ...] = ()
