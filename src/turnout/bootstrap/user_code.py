"""Importing what a user names as `module:attribute`: the app, or a vendor's client."""

import importlib
import sys
from pathlib import Path
from traceback import extract_tb
from typing import Any

from turnout.bootstrap.settings_faults import app_faults
from turnout.errors import InvalidSettings, TurnoutError
from turnout.model.tasks import App


def load_app(name: str | None) -> App:
    """Import the app that `module:attribute` names, from the working folder or installed."""
    if name is None:
        raise InvalidSettings("name the app: --app module:attribute, or TURNOUT_APP")
    app = load_attribute("app", name)
    if not isinstance(app, App) and ":" not in name:
        app = _only_app(name) or app
    if not isinstance(app, App):
        named = name if ":" in name else f"{name}:app"
        raise InvalidSettings(
            f"{named!r} is of type {type(app).__name__}, not a turnout.App;"
            " name the app as module:attribute"
        )
    return app


def _only_app(module: str) -> App | None:
    """Return the app of a module whose `app` is something else, like Turnout's own function."""
    apps = {id(value): value for value in vars(sys.modules[module]).values() if type(value) is App}
    return next(iter(apps.values())) if len(apps) == 1 else None


def load_attribute(role: str, name: str) -> Any:
    """Import what `module:attribute` names; without an attribute, the one that `role` names.

    InvalidSettings names the file and line where the import failed, in one line.
    """
    for fault in app_faults(name):
        raise InvalidSettings(f"the {role} {fault}")
    module, _, attribute = name.partition(":")
    sys.path[:0] = [] if str(Path.cwd()) in sys.path else [str(Path.cwd())]
    try:
        return getattr(importlib.import_module(module), attribute or role)
    except TurnoutError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a team's module may raise anything
        raise InvalidSettings(
            f"the {role} {name!r} cannot be loaded: {_explanation(error, module)}"
        ) from None


def _explanation(error: BaseException, module: str) -> str:
    """Say in one line what an import raised, and in which file and line."""
    missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
    if missing:
        return f"{error}; looked in {Path.cwd()} and among what is installed"
    if isinstance(error, AttributeError) and error.obj is sys.modules.get(module):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}{place}"
