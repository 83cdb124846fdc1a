"""What commands log can be read: when, how grave, of whom, and why; never a secret."""

import logging
import sys

import pytest

from turnout.cli.logs import LONGEST, Lines


def written(name: str, message: str, **fields: object) -> str:
    """Write a record as a command does."""
    record = logging.makeLogRecord(
        {"name": name, "msg": message, "levelname": "WARNING", "created": 1_800_000_000.25}
    )
    vars(record).update(fields)
    return Lines().format(record)


def test_a_line_has_its_time_level_and_fields() -> None:
    """A field of more than a word is quoted, so that a line stays one line."""
    assert written("turnout.x", "not asked", provider="local", error='a "b"\nc', none=None) == (
        '2027-01-15T08:00:00.250Z WARNING turnout.x: not asked provider=local error="a \\"b\\"\\nc"'
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"api_token": "hush"},
        {"signing_keys": "hush"},
        {"error": "postgresql://user:hush@db/runs does not answer"},
        {"error": "401 for Bearer hush-hush.hush"},
        {"error": "whsec_hush/hush+hush="},
    ],
)
def test_secrets_are_not_written(fields: dict[str, str]) -> None:
    """Neither under a name that tells, nor within an address or a header."""
    assert "hush" not in written("turnout_acme.api", "refused", **fields)


def test_what_others_put_into_their_records_is_left_out() -> None:
    """A library may carry anything; its message alone is shown."""
    assert written("acme.sdk", "sent", body="hush").endswith("acme.sdk: sent")


def test_long_fields_are_cut() -> None:
    """A line is for reading."""
    assert len(written("turnout.x", "said", error="a" * 10_000)) < LONGEST + 100


def test_what_was_raised_is_below_the_line() -> None:
    """With its trace, and without the secrets in it."""
    try:
        int("postgresql://user:hush@db")
    except ValueError:
        text = written("turnout.x", "broke", exc_info=sys.exc_info())
    assert "Traceback" in text
    assert "postgresql://user:***@db" in text
