"""`gates.toml`: what a task must show before new runs may go to the other provider."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnout.errors import InvalidSettings
from turnout.model.canonical import canonical_bytes
from turnout_parity.declarations import read_declarations

Share = Annotated[float, Field(gt=0, lt=1)]


class TaskGates(BaseModel):
    """The gates of one task; each default is the one that a file without it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match_rate: Share = 0.99
    """Status, path and step structure match in more than this share of pairs."""
    output_rate: Share = 0.99
    """Outputs match in more than this share of pairs."""
    times: Literal["alike", "primary", "waived"] = "alike"
    """Times that are compared: only of runs that are alike in time, of a shadow and its primary
    although they are not, or none."""
    slower: Annotated[float, Field(gt=0, le=10)] = 0.2
    """The median pair is not slower by more than this share: 0.2 is 20 %."""
    slower_floor_ms: Annotated[float, Field(ge=0)] = 50
    """A difference below this never counts as slower: ratios of tiny times mean nothing."""
    tail_rate: Share = 0.95
    """More than this share of pairs are within `tail_slower`."""
    tail_slower: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The bound of a slow pair: 2.0 is 200 % slower."""
    spread: Annotated[float, Field(gt=1, le=100)] = 1.5
    """The other provider's times scatter at most this many times as much."""
    set_aside: Share = 0.2
    """Greatest share of pairs that may be set aside without being compared."""
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    """Probability of a wrong PASS of one gate, however often one looks."""


class GateFile(BaseModel):
    """A validated gate file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: TaskGates = TaskGates()
    tasks: dict[str, TaskGates] = Field(default_factory=dict)
    """Gates by task; what a task does not name is as in `defaults`."""

    def gates(self, task: str) -> TaskGates:
        """Return the gates of a task."""
        return self.tasks.get(task, self.defaults)

    @property
    def digest(self) -> str:
        """Digest of what the file says: the same for files that differ only in their form."""
        return sha256(canonical_bytes(self.model_dump(mode="json"))).hexdigest()


def read_gates(path: Path) -> GateFile:
    """Read a gate file; `InvalidSettings` names the file, the place and what is wrong."""
    document = read_declarations(path, what="gates")
    try:
        return GateFile.model_validate(_with_defaults(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidSettings(f"the gates {path}, at {place}: {first['msg']}") from None


def _with_defaults(document: Any) -> Any:
    """Give every task the file's defaults for what it does not name."""
    if not isinstance(document, dict):
        return document
    defaults, tasks = document.get("defaults", {}), document.get("tasks", {})
    if not isinstance(defaults, dict) or not isinstance(tasks, dict):
        return document
    complete = {
        name: {**defaults, **gates} if isinstance(gates, dict) else gates
        for name, gates in tasks.items()
    }
    return {**document, "tasks": complete}
