"""The composition root: environment, files and entry points become live objects.

Only here are concrete stores and adapters known; below it everything is passed in.
"""

from turnout.bootstrap.live import Turnout, load_app, open_turnout
from turnout.bootstrap.settings import Settings, read_settings

__all__ = ["Settings", "Turnout", "load_app", "open_turnout", "read_settings"]
