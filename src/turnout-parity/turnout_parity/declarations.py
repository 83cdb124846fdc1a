"""Reads what a team declares in a file: ignores, gates."""

import tomllib
from pathlib import Path
from typing import Any, Final

import orjson

from turnout.errors import InvalidSettings

MAX_BYTES: Final = 1_000_000


def read_declarations(path: Path, *, what: str) -> Any:
    """Parse a file of TOML, or of JSON if its name ends in `.json`; `what` names its content.

    Raises `InvalidSettings` where the file cannot be read, is too large, or is neither.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidSettings(f"{path} is larger than {MAX_BYTES} bytes")
        content = path.read_bytes()
        return orjson.loads(content) if path.suffix == ".json" else tomllib.loads(content.decode())
    except OSError as error:
        raise InvalidSettings(f"cannot read the {what}: {error}") from error
    except ValueError as error:
        raise InvalidSettings(f"{path} is not TOML, nor JSON by its name: {error}") from error
