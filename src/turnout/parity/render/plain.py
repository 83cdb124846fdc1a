"""A report as JSON, and a value in one line of it."""

from typing import Any, Literal

import orjson

from turnout.parity.report import Difference, Kind, ParityReport


def render_json(report: ParityReport) -> str:
    """Write the documented result."""
    return report.model_dump_json(indent=2)


def in_line(each: Difference, side: Literal["primary", "shadow"], *, most: int) -> str:
    """Write one side of a difference as JSON of at most `most` characters."""
    if each.absent == side:
        return "(absent)"
    value: Any = getattr(each, side)
    if value is None and each.kind in {Kind.MISSING, Kind.INVALID, Kind.OVERLAP}:
        return ""
    text = orjson.dumps(value, default=repr).decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"
