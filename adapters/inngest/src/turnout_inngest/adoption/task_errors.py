"""Errors that are recorded under the name that the function's own code gave them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from turnout.errors import NonRetryable, RetryAfter, TaskError

ENDS_THE_RUN: Final = " (ends the run)"
"""Marks a step's error that no code of the function gets to see, as the vendor's server does."""

DELAYS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (15, 30, 60, 120, 300, 600, 1_200, 2_400, 3_600, 7_200)
)
"""The vendor's delays after the first, second … failure; up to JITTER is added."""
JITTER: Final = timedelta(seconds=30)


class AdoptedError(TaskError):
    """An error that an adopted function raised."""


def error_named(name: str, message: str) -> Exception:
    """Make an error that is recorded as this name and message."""
    return _with_message(_class(name, AdoptedError)(), message)


def final_error(name: str, message: str) -> Exception:
    """Make one after which a step is not tried again."""
    return _with_message(_class(name, NonRetryable)(), message)


def retry_later(name: str, message: str, delay: timedelta) -> Exception:
    """Make one after which a step is tried again, so much later."""
    return _with_message(_class(name, RetryAfter)(delay), message)


def delay_after(
    failed: int, fraction: float, delays: Sequence[timedelta] = DELAYS, jitter: timedelta = JITTER
) -> timedelta:
    """Say how long the vendor waits after the `failed`-th failure. drawn: from 0 to 1."""
    return delays[min(failed, len(delays)) - 1] + jitter * fraction


def _class(name: str, base: type[TaskError]) -> Any:
    return type(name.replace("\0", "")[:200] or "Error", (base,), {"__doc__": ""})


def _with_message(error: Exception, message: str) -> Exception:
    error.args = (message,)  # an empty message stays empty
    return error
