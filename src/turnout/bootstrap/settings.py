"""Where settings are read: the environment over `.env` over `turnout.toml`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from turnout.bootstrap.settings_faults import setting_faults
from turnout.errors import InvalidSettings
from turnout.service.settings import Settings

__all__ = ["Settings", "read_settings"]


def read_settings(environ: Mapping[str, str], *, folder: Path | None = None) -> Settings:
    """Read the settings; InvalidSettings names every fault and the setting it is in.

    folder: where `.env` and `turnout.toml` are; None: the working folder. An empty value counts as
    unset.
    """
    folder = folder or Path()
    values = {**_toml_values(folder / "turnout.toml"), **_dotenv_values(folder / ".env"), **environ}
    raw = {name: text for name, value in values.items() if (text := _as_text(value))}
    faults = [
        f"{name}: turnout.toml has a value of type {type(value).__name__}; write a text, an integer"
        " or a list of texts"
        for name, value in values.items()
        if _as_text(value) is None
    ]
    faults += setting_faults(raw)
    try:
        settings = Settings(raw=raw, **raw)
    except ValidationError as error:
        faults += [
            f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
    if faults:
        raise InvalidSettings("; ".join(faults))
    return settings


def _as_text(value: Any) -> str | None:
    """Write a value as the environment would have it; None where it has no such form."""
    match value:
        case str():
            return value
        case bool():
            return None
        case int():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
    return None


def _toml_values(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSettings(f"{path.name}: {error}") from None


def _dotenv_values(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    return {name: text for name, text in dotenv_values(path).items() if text}
