"""Forked work: every answer comes back, whatever becomes of a process."""

import os
import signal

import pytest
from turnout_audit import forked


def test_answers_come_in_the_order_of_the_work() -> None:
    """Also large ones, which fill a pipe."""
    given = [1, 2, 3]
    assert forked.each(lambda n: "x" * n * 100_000, given) == ["x" * n * 100_000 for n in given]
    assert forked.each(len, []) == []


def test_work_of_a_killed_process_is_done_again() -> None:
    """Nothing is lost when a process is killed, for want of memory for example."""
    here = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert forked.each(work, [1, 2]) == [1, 2]


def test_what_goes_wrong_there_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    """With its own error, not as silence."""

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    with pytest.raises(ValueError, match="two"):
        forked.each(work, [1, 2])
