"""`turnout.move.toml`: what a team declares of its move."""

import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnout.errors import InvalidSettings

NAME: Final = "turnout.move.toml"


class Probe(BaseModel):
    """The task that drills and rollbacks may start: it does nothing that a user notices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    payload: dict[str, Any] = Field(default_factory=dict)


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

    def owner_of(self, *tasks: str) -> str | None:
        """Return who is asked about these tasks."""
        return next((self.owners[task] for task in tasks if task in self.owners), self.owner)


def read_move_file(path: Path) -> MoveFile:
    """Read the file; one that is not there declares nothing. InvalidSettings names the place."""
    if not path.is_file():
        return MoveFile()
    try:
        file = MoveFile.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidSettings(f"{path}, at {place}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}") from None
    gates = None if file.gates is None else path.parent / file.gates
    return file.model_copy(update={"gates": gates})
