"""How a command of a move ends: its exit codes, and the four lines of a failure."""

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from turnout.errors import TurnoutError


class Exit(IntEnum):
    """The exit codes of all commands of a move."""

    CLEAN = 0
    FINDINGS = 1
    WRONG_USE = 2
    UNSURE = 3
    REFUSED = 4
    """Nothing was changed."""
    PARTWAY = 5
    """Stopped in a state that has a name and is safe."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What an operator has to know where a command did not do what it was asked for."""

    text: str
    """What happened, in one line."""
    state: str
    """The state now."""
    users: str
    """Whether users are affected."""
    safe_until: str
    """Until when it may be left as it is."""
    next_command: str
    """The one next command."""
    owner: str
    """Who is to run it."""

    def lines(self) -> list[str]:
        """Write it for people: what happened, then the four lines."""
        return [
            self.text,
            f"  state now: {self.state}",
            f"  users affected: {self.users}",
            f"  safe to leave until: {self.safe_until}",
            f"  next: {self.next_command}   (owner: {self.owner})",
        ]

    def document(self) -> dict[str, Any]:
        """Write it as JSON."""
        return asdict(self)


class Stopped(TurnoutError):
    """The command did not do what it was asked for."""

    code = "stopped"

    def __init__(self, code: Exit, failure: Failure) -> None:
        super().__init__(failure.text)
        self.exit = code
        self.failure = failure


def refused(text: str, *, next_command: str, owner: str) -> Stopped:
    """Make the refusal of a command that has changed nothing."""
    failure = Failure(
        text=f"refused: {text}",
        state="as before; nothing was changed",
        users="no",
        safe_until="as long as you like",
        next_command=next_command,
        owner=owner,
    )
    return Stopped(Exit.REFUSED, failure)
