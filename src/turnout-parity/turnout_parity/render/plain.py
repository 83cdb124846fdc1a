"""A report as JSON, and one value of it in a line."""

from typing import Any

import orjson

from turnout_parity.report import Difference, Kind, ParityReport


def render_json(report: ParityReport) -> str:
    """Write the report as JSON."""
    return report.model_dump_json(indent=2)


def in_line(difference: Difference, side: str, *, limit: int) -> str:
    """Write one side of a difference as JSON of at most `limit` characters."""
    if difference.absent == side:
        return "(absent)"
    value: Any = getattr(difference, side)
    if value is None and difference.kind in {Kind.MISSING, Kind.INVALID, Kind.OVERLAP}:
        return ""
    text = orjson.dumps(value, default=repr).decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
