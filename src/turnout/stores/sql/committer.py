"""Group commit: callers on any loop wait, one thread commits for all who wait.

An operation is a plain function of a transaction. A thread takes all operations that wait, runs
them in one transaction, commits once, and tells each loop once. Operations of one kind may be
shared: one call of one function does them all, in few statements. An operation that raises undoes
only itself: where it had written something the group is undone, and each runs alone. Operations of
one run go through one thread, in order.
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

from turnout.errors import StoreUnavailable, TurnoutError
from turnout.stores.sql.links import Link, Lost, Opens
from turnout.stores.sql.statements import Contended, Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Transaction, Sequence[Any]], Sequence[Any]]

LARGEST_GROUP: Final = 256
TRIES: Final = 5
"""How often an operation that others are in the way of, or whose connection broke, is tried."""
FIRST_PAUSE: Final = 0.02
"""Seconds before it is tried again; doubled each time."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Operation:
    """One caller's method: what to do, with what, and whom to tell.

    shared: whether the work takes the items of others with it, who wait for the same work. light:
    whether a loss of power may undo it.
    """

    name: str
    work: Work
    item: Any
    shared: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    light: bool = False
    result: Any = None
    error: Exception | None = None


Around = Callable[[Sequence[Operation]], AbstractContextManager[Any]]
"""Gives what a commit of operations happens within: a span of a trace, or a test's own."""


class Committer:
    """The threads of a store, and the way to them."""

    def __init__(
        self, opens: Opens, *, writers: int, readers: int, around: Around = nullcontext
    ) -> None:
        """Make the threads; each commit of a writing one happens within what `around` gives."""
        self._writers = [_Thread(opens, around, reading=False, at=at) for at in range(writers)]
        self._readers = [_Thread(opens, around, reading=True, at=at) for at in range(readers)]
        self._closed = False

    async def write(self, name: str, work: Callable[[Transaction], Result], of: str) -> Result:
        """Run an operation that writes; those with the same `of` keep their order."""
        found: Result = await self._submit(
            self._writer(of), name, _single(work), None, shared=False
        )
        return found

    async def write_one(
        self,
        name: str,
        work: Callable[[Transaction, Sequence[Item]], Sequence[Result]],
        item: Item,
        of: str,
        *,
        light: bool = False,
    ) -> Result:
        """Write one of many items: the work takes all that wait for it at once, in order.

        It writes nothing of an item whose result says so, and raises only where all must be undone.
        """
        found: Result = await self._submit(
            self._writer(of), name, work, item, shared=True, light=light
        )
        return found

    async def read(self, name: str, work: Callable[[Transaction], Result]) -> Result:
        """Run an operation that only reads, as one consistent view."""
        thread = self._readers[0] if self._readers else self._writers[0]
        found: Result = await self._submit(thread, name, _single(work), None, shared=False)
        return found

    def _writer(self, of: str) -> "_Thread":
        writers = self._writers
        return writers[crc32(of.encode()) % len(writers)] if len(writers) > 1 else writers[0]

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
        """Finish what was begun, and let go of the connections."""
        self._closed = True
        for thread in (*self._writers, *self._readers):
            await asyncio.to_thread(thread.stop)


class _Thread:
    """One thread with one connection, which it opens when it first needs it."""

    def __init__(self, opens: Opens, around: Around, *, reading: bool, at: int) -> None:
        self._opens = opens
        self._around = around
        self._reading = reading
        self._waiting: SimpleQueue[Operation | None] = SimpleQueue()
        self._link: Link | None = None
        name = f"turnout-store-{'reader' if reading else 'writer'}-{at}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = threading.Lock()

    def put(self, operation: Operation) -> None:
        self._waiting.put(operation)
        if self._thread.ident is None:
            with self._started:
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
                self._commit(group)
                _tell(group)
        if self._link is not None:
            self._link.close()

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

    def _commit(self, group: list[Operation]) -> None:
        """Run and commit a group; what cannot be run with the others, one by one."""
        left = self._together(group) if len(group) > 1 else group
        for at, operation in enumerate(left):
            if not self._alone(operation):
                for each in left[at + 1 :]:
                    each.error = operation.error
                return

    def _together(self, group: list[Operation]) -> list[Operation]:
        """Run and commit a group; gives those that must be run alone."""
        try:
            return self._transaction(group, patient=False)
        except Lost:
            self._drop()
        except Exception as error:  # noqa: BLE001 - whose it is shows when each runs alone
            _log.debug("group undone", extra={"action": "group_undone", "error": repr(error)})
        return group

    def _alone(self, operation: Operation) -> bool:
        """Run one operation, patiently; False when the database itself does not answer."""
        told, answered = "", True
        for tried in range(TRIES):
            try:
                self._transaction([operation], patient=True)
            except Contended:
                told, answered = "the run store is busy: others hold what this one needs", True
            except Lost as error:
                told, answered = f"the run store does not answer: {error}", False
                self._drop()
            except Exception as error:  # noqa: BLE001 - its caller's, who must be told
                operation.error = error
                return True
            else:
                return True
            time.sleep(FIRST_PAUSE * 2**tried)
        operation.error = StoreUnavailable(told)
        _log.warning(told, extra={"action": "store_unavailable", "operation": operation.name})
        return answered

    def _transaction(self, group: list[Operation], *, patient: bool) -> list[Operation]:
        """Run operations in one transaction and commit it; gives those that were put off."""
        if self._link is None:
            self._link = self._opens.open(reading=self._reading)
        link = self._link
        try:
            lightly = all(each.light for each in group)
            link.begin(reading=self._reading, patient=patient, lightly=lightly)
            if patient:
                (operation,) = group
                _alone(link, operation)
                if operation.error is None:
                    self._finish(link, group)
                return []
            put_off: list[Operation] = []
            done: list[Operation] = []
            for alike in _alike(group):
                (done if _beside_others(link, alike) else put_off).extend(alike)
            self._finish(link, done)
            return put_off
        except Exception as error:
            # The database's refusals get a name; anything else goes to the caller as it is.
            raise _named(link, error) from error
        finally:
            link.rollback()

    def _finish(self, link: Link, group: Sequence[Operation]) -> None:
        if self._reading:
            link.commit()
            return
        with self._around(group):
            try:
                link.commit()
            except Exception as error:
                if not isinstance(_named(link, error), Lost):
                    raise
                self._drop()
                for operation in group:
                    operation.error = StoreUnavailable("the run store was lost during the commit")

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Spoiled(Exception):
    """An operation failed in a way that only undoing the group undoes."""


def _single(work: Callable[[Transaction], Result]) -> Work:
    def once(tx: Transaction, _items: Sequence[Any]) -> Sequence[Result]:
        return (work(tx),)

    return once


def _alike(group: Sequence[Operation]) -> Iterable[Sequence[Operation]]:
    """Gather the operations that one call can do together."""
    shared: dict[Work, list[Operation]] = {}
    gathered: list[list[Operation]] = []
    for operation in group:
        others = shared.get(operation.work) if operation.shared else None
        if others is not None:
            others.append(operation)
            continue
        gathered.append([operation])
        if operation.shared:
            shared[operation.work] = gathered[-1]
    return gathered


def _alone(link: Link, operation: Operation) -> None:
    """Run the only operation of a transaction; its own failure is its outcome."""
    operation.error = None
    try:
        (operation.result,) = operation.work(link.tx, (operation.item,))
    except Exception as error:
        if isinstance(named := _named(link, error), Contended | Lost):
            raise named from error
        operation.error = error


def _beside_others(link: Link, alike: Sequence[Operation]) -> bool:
    """Run operations of a group; False when nothing is done yet and each must be run alone."""
    tx = link.tx
    tx.untouched = True
    try:
        results = alike[0].work(tx, [each.item for each in alike])
    except Exception as error:
        if isinstance(error, Contended) and tx.untouched:
            return False
        if isinstance(named := _named(link, error), Contended | Lost):
            raise named from error
        # A savepoint for each operation would cost more than the few times that this happens.
        if len(alike) > 1 or not (isinstance(error, TurnoutError) and tx.untouched):
            raise _Spoiled from error
        alike[0].error = error
        return True
    for operation, result in zip(alike, results, strict=True):
        operation.result = result
    return True


def _named(link: Link, error: Exception) -> Exception:
    return error if isinstance(error, Contended | Lost | _Spoiled) else link.translated(error)


def _tell(group: Sequence[Operation]) -> None:
    """Resolve the futures, waking each loop once."""
    of_loop: dict[asyncio.AbstractEventLoop, list[Operation]] = {}
    for operation in group:
        of_loop.setdefault(operation.loop, []).append(operation)
    for loop, told in of_loop.items():
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: Sequence[Operation]) -> None:
    for operation in told:
        if operation.future.done():
            continue  # its caller was cancelled
        if operation.error is not None:
            operation.future.set_exception(operation.error)
        else:
            operation.future.set_result(operation.result)
