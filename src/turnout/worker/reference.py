"""A worker whose answers hold no user data: vendors get ids, digests, states and times."""

from functools import singledispatch
from typing import Any, Final, TypeVar

from turnout.model.protocol import Call, Executed, Followed, Next, Parked, Problem
from turnout.ports.worker import Worker

AnswerT = TypeVar("AnswerT")

WITHHELD: Final = "the message is kept in Turnout's run store"


class ReferenceWorker:
    """Passes calls to another worker, and removes the user's data from the answers.

    Results, messages, progress and streams are removed; ids, digests, states, names of errors and
    times stay.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Answer without the user's data."""
        answer: AnswerT = without_data(await self._worker.answer(call))
        return answer


@singledispatch
def without_data(answer: Any) -> Any:
    """Leave the user's data out of an answer; most answers hold none."""
    return answer


@without_data.register
def _next(answer: Next) -> Next:
    result = answer.result and answer.result.model_copy(update={"inline": None})
    progress = answer.progress.model_copy(update={"progress": None, "chunks": 0})
    return answer.model_copy(
        update={"result": result, "error": _problem(answer.error), "progress": progress}
    )


@without_data.register
def _executed(answer: Executed) -> Executed:
    receipt = answer.receipt.model_copy(update={"error": _problem(answer.receipt.error)})
    return answer.model_copy(update={"receipt": receipt, "next": _next(answer.next)})


@without_data.register
def _parked(answer: Parked) -> Parked:
    return answer.model_copy(update={"next": without_data(answer.next)})


@without_data.register
def _followed(answer: Followed) -> Followed:
    return Followed(seq=answer.seq, recorded=0)


def _problem(error: Problem | None) -> Problem | None:
    return None if error is None else error.model_copy(update={"message": WITHHELD})
