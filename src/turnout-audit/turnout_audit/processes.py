"""Does jobs in child processes, each within a bound that the kernel keeps.

What a library does in C cannot be interrupted from within; a process can be ended.
"""

import mmap
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NoReturn, Protocol, TypeVar

from turnout_audit.errors import AuditError

CHUNK = 1 << 20
"""Bytes that are read at once of what a process sends."""
AT_RISK = 0.05
"""Seconds after which a process sends its results: so much is done again where it is ended."""
NUMBER, MESSAGE = 8, 200
"""Bytes, shared with a process, of the number of its job and of the error that ended it."""
Job = TypeVar("Job")
Result = TypeVar("Result")


class Work(Protocol):
    """Jobs in order, for one process after another; a job with a result is taken out."""

    jobs: list[Any]

    def limit(self, job: Any) -> float:
        """Return the seconds of the processor that a job may take."""

    def do(self, job: Any) -> Any:
        """Do a job, and return its result, which must be picklable; in the child process."""

    def ended(self, results: Sequence[Any], failure: "Failure | None", seconds: float) -> None:
        """Take note of how a process ended; the next one does what is left in `jobs`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A process ended early: at which of the jobs that are left, by which signal or error."""

    number: int
    signal: int
    error: str

    @property
    def too_long(self) -> bool:
        """Say whether the job took longer than its limit."""
        return self.signal == signal.SIGPROF

    def reason(self, seconds: float) -> str:
        """Say why the process ended; `seconds` is the limit of the job."""
        if self.too_long:
            return f"took longer than {seconds:.1f} s of the processor"
        return self.error or f"its process was ended by signal {self.signal}"


def can_fork() -> bool:
    """Say whether processes can be bounded here."""
    return hasattr(os, "fork") and hasattr(signal, "setitimer")


def do_all(works: Iterable[Work]) -> Iterator[Any]:
    """Do all works side by side, and yield their results, those of each work in order.

    A process that ends early is followed by another one for the rest.
    """
    children: dict[int, _Child] = {}
    poller = select.poll()

    def start(work: Work) -> None:
        if work.jobs:
            child = _Child(work)
            children[child.reading] = child
            poller.register(child.reading)

    try:
        for work in works:
            start(work)
        while children:
            for reading, _ in poller.poll():
                child = children[reading]
                if child.receive():
                    continue
                poller.unregister(reading)
                del children[reading]
                yield from child.end()
                start(child.work)
    finally:
        for child in children.values():
            child.kill()


def do_each(
    jobs: Sequence[Job],
    do: Callable[[Job], Result],
    *,
    limit: Callable[[Job], float],
    failed: Callable[[Job, str], Result],
) -> Iterator[Result]:
    """Do jobs that do not depend on each other, and yield their results in order.

    `limit` is the seconds of the processor that a job may take. The result of a job that ends its
    process is what `failed` makes of the reason.
    """
    if can_fork():
        entries = [(job, "") for job in jobs]
        work = _Independent(jobs=entries, of_job=do, limit_of=limit, of_failure=failed)
        yield from do_all([work])
    else:
        yield from map(do, jobs)


@dataclass(kw_only=True)
class _Independent:
    """The work of `do_each`: jobs, and why those failed at which a process ended."""

    jobs: list[tuple[Any, str]]
    of_job: Callable[[Any], Any]
    limit_of: Callable[[Any], float]
    of_failure: Callable[[Any, str], Any]

    def limit(self, entry: tuple[Any, str]) -> float:
        """Return the seconds that a job may take."""
        return self.limit_of(entry[0])

    def do(self, entry: tuple[Any, str]) -> Any:
        """Do a job, or say what follows from its failure."""
        job, reason = entry
        return self.of_failure(job, reason) if reason else self.of_job(job)

    def ended(self, results: Sequence[Any], failure: Failure | None, seconds: float) -> None:
        """Go on; the job at which the process ended has failed."""
        del results, seconds
        if failure is not None:
            job, _ = self.jobs[failure.number]
            self.jobs[failure.number] = job, failure.reason(self.limit_of(job))


class _Child:
    """A process that does a work's jobs; its results arrive while it goes on."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.progress = mmap.mmap(-1, NUMBER + MESSAGE)
        self.received = bytearray()
        self.reading, writing = os.pipe()
        try:
            self.pid = os.fork()
        except OSError as error:
            raise AuditError(f"no process can be started: {error.strerror}") from error
        if self.pid == 0:
            _serve(work, self.progress, writing)
        os.close(writing)

    def receive(self) -> bool:
        """Receive what is there; false where the process has ended."""
        chunk = os.read(self.reading, CHUNK)
        self.received += chunk
        return bool(chunk)

    def end(self) -> list[Any]:
        """Wait for the end, tell the work, and return the results."""
        os.close(self.reading)
        _, status, usage = os.wait4(self.pid, 0)
        results = list(_loaded(self.received))
        failure = None
        del self.work.jobs[: len(results)]
        if self.work.jobs:
            number = int.from_bytes(self.progress[:NUMBER], "little") - len(results)
            error = self.progress[NUMBER:].rstrip(b"\0").decode("utf-8", "replace")
            failure = Failure(max(0, number), os.WTERMSIG(status), error)
        self.work.ended(results, failure, usage.ru_utime + usage.ru_stime)
        return results

    def kill(self) -> None:
        """End the process, whatever it does."""
        os.close(self.reading)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _serve(work: Work, progress: mmap.mmap, writing: int) -> NoReturn:
    """Do the jobs in a forked process, which nothing of its parent's outlives."""
    try:
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        with open(writing, "wb", buffering=CHUNK) as output:
            _send_results(work, progress, output)
    finally:
        if (error := sys.exception()) is not None:
            message = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:MESSAGE]
            progress[NUMBER : NUMBER + len(message)] = message
        os._exit(0)


def _send_results(work: Work, progress: mmap.mmap, output: Any) -> None:
    pickler = pickle.Pickler(output, pickle.HIGHEST_PROTOCOL)  # what is equal is sent once
    sent = 0.0
    for number, job in enumerate(work.jobs):
        progress[:NUMBER] = number.to_bytes(NUMBER, "little")
        signal.setitimer(signal.ITIMER_PROF, work.limit(job))
        pickler.dump(work.do(job))
        if (now := time.process_time()) > sent + AT_RISK:
            output.flush()
            sent = now
    signal.setitimer(signal.ITIMER_PROF, 0)


def _loaded(received: bytearray) -> Iterator[Any]:
    """Load complete results; the last one is cut off where its process was ended."""
    unpickler = pickle.Unpickler(BytesIO(received))  # noqa: S301 -- our own child wrote it
    while True:
        try:
            yield unpickler.load()
        except (EOFError, pickle.UnpicklingError):
            return
