"""Names and ids: what is allowed, and how new ones are made."""

import os
import re

from turnout.errors import InvalidDefinition, InvalidRunId, WrongUse
from turnout.model.text import is_storable, plain_text
from turnout.model.time import Millis

SHADOW_SUFFIX = "-dryrun"
LONGEST_RUN_ID = 128
LONGEST_EVENT_KEY = 512
"""Characters of an event's key."""
_RUN_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_=-]|\.(?!\.))*")
_TASK_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*")
_STEP_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_NUMBERED = re.compile(r".*:\d+")
_EVENT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-])*")
OWN_STREAM = "turnout"
"""The stream at a vendor that shows the values of ctx.progress."""
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _BASE32 for second in _BASE32)


def new_run_id(now: Millis, *, draw: bytes | None = None) -> str:
    """Make a run id of 26 characters; later ones sort after earlier ones.

    draw: the ten random bytes of the id; the same bytes and moment give the same id.
    """
    number = (now << 80) | int.from_bytes((os.urandom(10) if draw is None else draw)[:10])
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def check_run_id(run_id: str) -> str:
    """Accept a primary's run id: one safe path segment that does not end in -dryrun."""
    if not is_segment(run_id):
        raise InvalidRunId(
            f"run id {run_id[:140]!r} is not one safe path segment: at most {LONGEST_RUN_ID} of"
            " A-Z a-z 0-9 . _ = -, starting with a letter or digit, without '..'"
        )
    if run_id.endswith(SHADOW_SUFFIX):
        raise InvalidRunId(f"run id {run_id!r} ends in {SHADOW_SUFFIX}, which names a shadow")
    return run_id


def check_stream_name(name: str) -> str:
    """Accept a stream's name."""
    if not isinstance(name, str) or not _STREAM.fullmatch(name):
        raise InvalidDefinition(
            f"stream name {str(name)[:80]!r}: use up to 64 of A-Z a-z 0-9 . _ -, starting with a"
            " letter or digit"
        )
    name = plain_text(name)
    if name == OWN_STREAM:
        raise InvalidDefinition(
            f"stream name {name!r} is taken: at vendors it shows the values of ctx.progress"
        )
    return name


def is_segment(text: str) -> bool:
    """Whether a text is one safe path segment."""
    return len(text) <= LONGEST_RUN_ID and _RUN_ID.fullmatch(text) is not None


def is_shadow(run_id: str) -> bool:
    """Whether a run id is a shadow's."""
    return run_id.endswith(SHADOW_SUFFIX)


def shadow_id(run_id: str) -> str:
    """Name the shadow of a primary."""
    return check_run_id(run_id) + SHADOW_SUFFIX


def primary_id(run_id: str) -> str:
    """Name the primary of a pair, from the id of the primary or of its shadow."""
    return run_id.removesuffix(SHADOW_SUFFIX)


def check_task_id(task_id: str) -> str:
    """Accept a task's id."""
    if len(task_id) > 100 or _TASK_ID.fullmatch(task_id) is None:  # noqa: PLR2004
        raise InvalidDefinition(
            f"task id {task_id[:120]!r}: use at most 100 of A-Z a-z 0-9 . _ -, like agent-run"
        )
    return task_id


def check_step_id(step_id: str) -> str:
    """Accept a step's id; `name:2` is refused because vendors number repeated ids like that."""
    if not isinstance(step_id, str) or _STEP_ID.fullmatch(step_id) is None:
        raise InvalidDefinition(f"step id {step_id!r:.220}: use 1 to 200 printable characters")
    if _NUMBERED.fullmatch(step_id):
        raise InvalidDefinition(
            f"step id {step_id!r} ends in ':' and digits, which vendors give to repeated ids;"
            f" write {step_id.replace(':', '-')!r}"
        )
    return plain_text(step_id)


def check_event_name(name: str) -> str:
    """Accept an event's name."""
    if not isinstance(name, str) or len(name) > 200 or _EVENT_NAME.fullmatch(name) is None:  # noqa: PLR2004
        raise InvalidDefinition(
            f"event name {name!r:.220}: use at most 200 of A-Z a-z 0-9 . _ / -,"
            " like agent/run.requested"
        )
    return plain_text(name)


def check_event_key(key: str) -> str:
    """Accept an event's key."""
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_EVENT_KEY:
        raise WrongUse(f"an event's key has 1 to {LONGEST_EVENT_KEY} characters")
    if not is_storable(key):
        raise WrongUse("an event's key has no NUL and no lone surrogate")
    return plain_text(key)
