"""Who acts on what a run does next, once something has been committed on it."""

from enum import Enum, auto


class Continuation(Enum):
    """Decides how a commit leaves the run: for its caller, for this worker, or for the pump."""

    CALLER = auto()
    """The vendor run reads the answer and calls for what comes next."""
    WORKER = auto()
    """This worker claims the next attempt in the same commit, and runs it for its caller."""
    PUMP = auto()
    """Nobody reads the answer: the pump wakes the vendor run, also to end with its run."""
