"""`turnout.move.toml`: what a team declares of its move."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from turnout.errors import InvalidDefinition, InvalidSettings, WrongUse
from turnout.model.routing import Stage
from turnout.model.time import Millis, millis
from turnout_cutover.stages import Target, read_target

NAME: Final = "turnout.move.toml"


class Probe(BaseModel):
    """The task that drills and rollbacks may start: it does nothing that a user notices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    payload: dict[str, Any] = Field(default_factory=dict)


def _stages(names: Any) -> Any:
    """Read the names of stages; a value that is wrong is the field's fault."""
    if not isinstance(names, list):
        return names
    try:
        return tuple(read_target(str(name)) for name in names)
    except WrongUse as error:
        raise ValueError(str(error)) from None


def _duration(text: Any) -> Any:
    """Read a duration like 2h."""
    try:
        return millis(text, field="soak")
    except InvalidDefinition as error:
        raise ValueError(str(error)) from None


class Wave(BaseModel):
    """Tasks that move together, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tasks: tuple[str, ...]
    stages: Annotated[tuple[Target, ...], BeforeValidator(_stages)] = (
        Target(stage=Stage.DUAL),
        Target(stage=Stage.RAMP, percentage=10),
        Target(stage=Stage.RAMP, percentage=50),
        Target(stage=Stage.NEW),
    )
    """The stages that each task goes through, in this order."""
    soak: Annotated[Millis, BeforeValidator(_duration)] = 0
    """How long a task stays at a stage before it goes on."""


class MoveFile(BaseModel):
    """A validated file; every field may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gates: Path | None = None
    """The gate file of `turnout parity check`, beside this one."""
    probe: Probe | None = None
    owner: str | None = None
    """Who is asked where a command stops."""
    owners: dict[str, str] = Field(default_factory=dict)
    """The same by task."""

    waves: tuple[Wave, ...] = ()
    """In the order in which they move."""

    def wave(self, name: str) -> Wave:
        """Return a wave; WrongUse names those that are declared."""
        for wave in self.waves:
            if wave.name == name:
                return wave
        names = ", ".join(wave.name for wave in self.waves)
        raise WrongUse(f"no wave {name!r} is declared; declared: {names or 'none'}")

    def soak_of(self, task: str) -> Millis:
        """Return how long a task stays at a stage before it goes on."""
        return next((wave.soak for wave in self.waves if task in wave.tasks), 0)

    def owner_of(self, *tasks: str) -> str | None:
        """Return who is asked about these tasks."""
        return next((self.owners[task] for task in tasks if task in self.owners), self.owner)


def read_move_file(path: Path) -> MoveFile:
    """Read the file; one that is not there declares nothing. InvalidSettings names the place."""
    try:
        file = MoveFile.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        return MoveFile()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidSettings(f"{path}, at {place}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}") from None
    gates = None if file.gates is None else path.parent / file.gates
    return file.model_copy(update={"gates": gates})
