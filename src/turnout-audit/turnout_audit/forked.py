"""Work in forked processes: what is compiled is shared, and only results are sent."""

import os
import pickle
from collections.abc import Callable, Sequence
from typing import IO, TypeVar

Given = TypeVar("Given")
Done = TypeVar("Done")


def each(work: Callable[[Given], Done], given: Sequence[Given]) -> list[Done]:
    """Do the first piece of work here and each other one in a process of its own.

    A process that does not answer, killed for want of memory for example, costs only time: its
    work is done again here, and whatever was wrong is raised here.
    """
    started = [_start(work, piece) for piece in given[1:]]
    answers: list[tuple[Done] | None] = []
    try:
        first = [work(piece) for piece in given[:1]]
    finally:
        answers = [_answer(child, pipe) for child, pipe in started]
    rest = zip(given[1:], answers, strict=True)
    return first + [work(piece) if answer is None else answer[0] for piece, answer in rest]


def _start(work: Callable[[Given], Done], piece: Given) -> tuple[int, IO[bytes]]:
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, os.fdopen(reader, "rb")
    code = 1
    try:
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump((work(piece),), pipe, pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)  # whatever happened: nothing of the parent's may run, or be flushed, here


def _answer(child: int, pipe: IO[bytes]) -> tuple[Done] | None:
    with pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return pickle.loads(told) if status == 0 else None  # noqa: S301 -- written by our own child
