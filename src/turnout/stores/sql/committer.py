"""Group commit: callers on any loop wait, and one thread commits for all of them.

An operation is a plain function of a transaction. A thread takes all operations that wait, runs
them in one transaction, commits once, and wakes each loop once. Operations of one kind may be
shared: one call of one function does them all, in few statements. An operation that raises undoes
only itself: where it had written something the group is undone, and each runs alone. Operations of
one key (mostly a run's id) go through one thread, in order.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar
from zlib import crc32

from turnout.errors import FailureLog, StoreUnavailable, TurnoutError
from turnout.stores.sql.connections import ConnectionLost, OpensConnections, StoreConnection
from turnout.stores.sql.statements import Contended, NameHeld, Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Transaction, Sequence[Any]], Sequence[Any]]

LARGEST_GROUP: Final = 256
TRIES: Final = 5
"""How often an operation is tried that is Contended, or whose connection broke."""
FIRST_PAUSE: Final = 0.02
"""Seconds before it is tried again; doubled each time."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Operation:
    """One caller's method that waits to be committed."""

    name: str
    work: Work
    item: Any
    shared: bool
    """Whether the work takes the items of all operations that wait for the same work."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    light: bool = False
    """Whether the commit may be lost when the machine loses power."""
    result: Any = None
    error: Exception | None = None


Around = Callable[[Sequence[Operation]], AbstractContextManager[Any]]
"""Makes the context that a commit of operations happens within, like the span of a trace."""


class Committer:
    """The threads of a store; takes operations and gives each to its thread."""

    def __init__(
        self,
        database: OpensConnections,
        *,
        writers: int,
        readers: int,
        around: Around = nullcontext,
        made_due: Callable[[], None] = lambda: None,
    ) -> None:
        """around: makes the context that each commit of a writing thread happens in.

        made_due: called in that thread after each commit that made something due for the pump.
        """
        self._writers = [
            _Thread(database, around, f"writer-{number}", made_due) for number in range(writers)
        ]
        self._readers = [
            _Thread(database, around, f"reader-{number}", made_due, reading=True)
            for number in range(readers)
        ]
        self._closed = False

    async def write(
        self, name: str, work: Callable[[Transaction], Result], key: str, *, light: bool = False
    ) -> Result:
        """Run an operation that writes; those of one key keep their order."""
        result: Result = await self._submit(
            self._writer(key), name, _single(work), None, shared=False, light=light
        )
        return result

    async def write_one(
        self,
        name: str,
        work: Callable[[Transaction, Sequence[Item]], Sequence[Result]],
        item: Item,
        key: str,
        *,
        light: bool = False,
    ) -> Result:
        """Write one of many items: the work takes all that wait for it at once, in order.

        It writes nothing of an item whose result says so, and raises only where all must be undone.
        """
        result: Result = await self._submit(
            self._writer(key), name, work, item, shared=True, light=light
        )
        return result

    async def read(self, name: str, work: Callable[[Transaction], Result]) -> Result:
        """Run an operation that only reads, as one consistent view."""
        thread = self._readers[0] if self._readers else self._writers[0]
        result: Result = await self._submit(thread, name, _single(work), None, shared=False)
        return result

    def _writer(self, key: str) -> "_Thread":
        writers = self._writers
        return writers[crc32(key.encode()) % len(writers)] if len(writers) > 1 else writers[0]

    def _submit(
        self,
        thread: "_Thread",
        name: str,
        work: Work,
        item: Any,
        *,
        shared: bool,
        light: bool = False,
    ) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable("the run store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        thread.put(Operation(name, work, item, shared, loop, future, light))
        return future

    async def close(self) -> None:
        """Finish the operations that have begun, then close the connections."""
        self._closed = True
        for thread in (*self._writers, *self._readers):
            await asyncio.to_thread(thread.stop)


class _Thread:
    """One thread with one connection, which it opens when it first needs it."""

    def __init__(
        self,
        database: OpensConnections,
        around: Around,
        name: str,
        made_due: Callable[[], None],
        *,
        reading: bool = False,
    ) -> None:
        self._database = database
        self._around = around
        self._made_due = made_due
        self._group_errors: tuple[type[Exception], ...] = (
            Contended,
            _GroupFailed,
            *database.errors,
        )
        self._operation_errors: tuple[type[Exception], ...] = (TurnoutError, *database.errors)
        self._reading = reading
        self._waiting: SimpleQueue[Operation | None] = SimpleQueue()
        self._connection: StoreConnection | None = None
        self._thread = threading.Thread(target=self._run, name=f"turnout-store-{name}", daemon=True)
        self._starting = threading.Lock()

    def put(self, operation: Operation) -> None:
        self._waiting.put(operation)
        if self._thread.ident is None:
            with self._starting:
                if self._thread.ident is None:
                    self._thread.start()

    def stop(self) -> None:
        if self._thread.ident is not None:
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group, stopping = self._take()
            if group:
                self._commit_safely(group)
                _resolve(group)
        if self._connection is not None:
            self._connection.close()

    def _take(self) -> tuple[list[Operation], bool]:
        """Wait for an operation, and take all that wait with it."""
        group: list[Operation] = []
        operation = self._waiting.get()
        while operation is not None:
            if not operation.future.cancelled():
                group.append(operation)
            if len(group) == LARGEST_GROUP:
                return group, False
            try:
                operation = self._waiting.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit_safely(self, group: list[Operation]) -> None:
        """Commit a group; whatever happens, its callers get an answer and the thread goes on."""
        with FailureLog(_log, "a commit failed", action="commit_failed") as failure:
            self._commit(group)
            return
        self._drop()
        for operation in group:
            operation.error = failure.error

    def _commit(self, group: list[Operation]) -> None:
        """Run and commit a group; operations that cannot be run with the others are run alone."""
        remaining = self._commit_together(group) if len(group) > 1 else group
        for position, operation in enumerate(remaining):
            if not self._commit_alone(operation):
                for unanswered in remaining[position + 1 :]:
                    unanswered.error = operation.error
                return

    def _commit_together(self, group: list[Operation]) -> list[Operation]:
        """Run and commit a group; returns the operations that must be run alone."""
        try:
            return self._transaction(group, patient=False)
        except ConnectionLost:
            self._drop()
        except self._group_errors as error:
            # Which operation is at fault shows when each runs alone.
            _log.debug("group undone", extra={"action": "group_undone", "error": repr(error)})
        return group

    def _commit_alone(self, operation: Operation) -> bool:
        """Run one operation, waiting for locks; False when the database itself does not answer."""
        problem, answered = "", True
        for attempt in range(TRIES):
            try:
                self._transaction([operation], patient=True)
            except Contended:
                problem, answered = "the run store is busy: others hold what this one needs", True
            except ConnectionLost as error:
                problem, answered = f"the run store does not answer: {error}", False
                self._drop()
            except self._operation_errors as error:
                operation.error = error
                return True
            else:
                return True
            time.sleep(FIRST_PAUSE * 2**attempt)
        operation.error = StoreUnavailable(problem)
        _log.warning(problem, extra={"action": "store_unavailable", "operation": operation.name})
        return answered

    def _transaction(self, group: list[Operation], *, patient: bool) -> list[Operation]:
        """Run operations in one transaction and commit it; returns those that must be run alone."""
        if self._connection is None:
            self._connection = self._database.open(reading=self._reading)
        connection = self._connection
        try:
            lightly = all(operation.light for operation in group)
            connection.begin(reading=self._reading, patient=patient, lightly=lightly)
            connection.tx.made_due = False
            if patient:
                (operation,) = group
                _run_alone(connection, operation)
                if operation.error is None:
                    self._finish(connection, group)
                return []
            postponed: list[Operation] = []
            answered: list[Operation] = []
            for batch in _batches(group):
                (answered if _run_together(connection, batch) else postponed).extend(batch)
            self._finish(connection, answered)
            return postponed
        except self._database.errors as error:
            raise connection.translated(error) from error
        finally:
            connection.rollback()

    def _finish(self, connection: StoreConnection, group: Sequence[Operation]) -> None:
        if self._reading:
            connection.commit()
            return
        with self._around(group):
            try:
                connection.commit()
            except self._database.errors as error:
                if not isinstance(connection.translated(error), ConnectionLost):
                    raise
                self._drop()
                for operation in group:
                    operation.error = StoreUnavailable("the run store was lost during the commit")
        if connection.tx.made_due:
            self._made_due()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _GroupFailed(Exception):
    """An operation failed after it may have written: the whole group must be undone."""


def _single(work: Callable[[Transaction], Result]) -> Work:
    def once(tx: Transaction, _items: Sequence[Any]) -> Sequence[Result]:
        return (work(tx),)

    return once


def _batches(group: Sequence[Operation]) -> Iterable[Sequence[Operation]]:
    """Gather the operations that one call can do together."""
    shared: dict[Work, list[Operation]] = {}
    gathered: list[list[Operation]] = []
    for operation in group:
        batch = shared.get(operation.work) if operation.shared else None
        if batch is not None:
            batch.append(operation)
            continue
        gathered.append([operation])
        if operation.shared:
            shared[operation.work] = gathered[-1]
    return gathered


def _run_alone(connection: StoreConnection, operation: Operation) -> None:
    """Run the only operation of a transaction; its error is recorded as its outcome."""
    operation.error = _run(connection, [operation])


def _run_together(connection: StoreConnection, batch: Sequence[Operation]) -> bool:
    """Run a batch of a group; False: nothing was written, and each must be run alone."""
    tx = connection.tx
    tx.untouched = True
    try:
        error = _run(connection, batch)
    except NameHeld:
        if tx.untouched:
            return False
        raise
    if error is None:
        return True
    # A savepoint for each operation would cost more than the few times that this happens.
    if len(batch) > 1 or not (isinstance(error, TurnoutError) and tx.untouched):
        raise _GroupFailed from error
    batch[0].error = error
    return True


def _run(connection: StoreConnection, batch: Sequence[Operation]) -> Exception | None:
    """Run a batch in one call; returns the error that their callers get.

    Contended and ConnectionLost are raised: they concern the whole transaction.
    """
    try:
        results = batch[0].work(connection.tx, [operation.item for operation in batch])
    except Exception as error:
        translated = connection.translated(error)
        if isinstance(translated, Contended | ConnectionLost):
            raise translated from error
        return error
    for operation, result in zip(batch, results, strict=True):
        operation.result = result
    return None


def _resolve(group: Sequence[Operation]) -> None:
    """Resolve the futures, waking each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Operation]] = {}
    for operation in group:
        by_loop.setdefault(operation.loop, []).append(operation)
    for loop, operations in by_loop.items():
        # Nothing waits any more on a loop that was closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_results, operations)


def _set_results(operations: Sequence[Operation]) -> None:
    for operation in operations:
        if operation.future.done():
            continue  # its caller was cancelled
        if operation.error is not None:
            operation.future.set_exception(operation.error)
        else:
            operation.future.set_result(operation.result)
