"""Reads the vendor's times."""

from datetime import datetime

from turnout.model.time import Millis


def moment_of(text: object) -> Millis | None:
    """Read an ISO time; None when it is missing, as `finishedAt` of some cancelled runs is."""
    if not isinstance(text, str):
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1_000)
    except ValueError:
        return None
