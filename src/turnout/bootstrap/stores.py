"""Opening the run stores and artifact stores that the settings name."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from turnout.errors import InvalidSettings
from turnout.model.tasks import App
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.run_store import RunStore
from turnout.ports.signals import Signals
from turnout.service.settings import Settings
from turnout.stores import sql
from turnout.stores.private_files import make_folder
from turnout.stores.sql import open_run_store, shadow_url

MadeDue: TypeAlias = Callable[[], None]

MEMORY = "sqlite://"
"""The URL of a run store that lives as long as the process."""


def open_primary_store(
    settings: Settings, app: App | None = None, made_due: MadeDue = lambda: None
) -> RunStore:
    """Open the run store of the runs whose results count.

    app: claims the store; InvalidSettings where the store belongs to another app.
    made_due: called, in any thread, after each commit that made something due for the pump.
    """
    if settings.provider == "memory":
        return open_run_store(MEMORY, made_due=made_due)
    url = settings.database_url.get_secret_value()
    return _open(url, "TURNOUT_DATABASE_URL", settings, app, made_due)


def open_shadow_store(settings: Settings, app: App, made_due: MadeDue) -> RunStore:
    """Open the shadows' run store: as set, else a file or a schema beside the primary's."""
    if settings.shadow_database_url is not None:
        url = settings.shadow_database_url.get_secret_value()
        return _open(url, "TURNOUT_SHADOW_DATABASE_URL", settings, app, made_due)
    beside = shadow_url(settings.database_url.get_secret_value())
    return _open(beside, "TURNOUT_DATABASE_URL", settings, app, made_due)


def _open(
    url: str, setting: str, settings: Settings, app: App | None, made_due: MadeDue
) -> RunStore:
    url = _with_folder(url, setting)
    name = None if app is None else app.name
    return open_run_store(url, app=name, environment=settings.environment, made_due=made_due)


def open_signals(settings: Settings) -> Signals:
    """Open the signals between the processes that share the run store."""
    direct = settings.database_direct_url
    url = MEMORY if settings.provider == "memory" else settings.database_url.get_secret_value()
    return sql.open_signals(url, None if direct is None else direct.get_secret_value())


def open_artifacts(
    settings: Settings, guard: Callable[[ArtifactStore], ArtifactStore]
) -> ArtifactStore | None:
    """Open the artifact store behind a guard that limits what may be written.

    None where the settings say that no artifacts are written.
    """
    if settings.artifacts is None:
        return None
    from turnout.stores.artifacts import open_store

    try:
        return guard(open_store(settings.artifacts, settings.raw))
    except InvalidSettings as error:
        message = str(error)
        named = "TURNOUT_ARTIFACTS" in message
        raise InvalidSettings(message if named else f"TURNOUT_ARTIFACTS: {message}") from None


def _with_folder(url: str, setting: str) -> str:
    """Make the folder of a database file."""
    if url.startswith("sqlite:///"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            make_folder(folder)
        except OSError as error:
            raise InvalidSettings(f"{setting}: {folder}: {error.strerror}") from None
    return url
