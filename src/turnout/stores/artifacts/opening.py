"""Opens the artifact store that `TURNOUT_ARTIFACTS` names."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from turnout.errors import InvalidSettings
from turnout.ports.artifact_store import ArtifactScheme, ArtifactStore
from turnout.stores.artifacts.folder import Folder
from turnout.stores.artifacts.threaded import ThreadedStore

GROUP = "turnout.artifact_stores"
"""The group of entry points; the name is the scheme of a URL, the value an `ArtifactScheme`."""


def open_store(url: str, settings: Mapping[str, str] | None = None) -> ArtifactStore:
    """Open a folder (a path, or `file://…`), or what an installed scheme makes of the URL.

    `settings` are the environment's. A folder is made by its first write. `InvalidSettings` says
    what is wrong.
    """
    return store_opener(url, settings or {})()


def store_opener(url: str, settings: Mapping[str, str]) -> Callable[[], ArtifactStore]:
    """Read the URL and its settings, and open nothing yet; `InvalidSettings` names every fault."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return lambda: _folder(url)
    if scheme == "file":
        return lambda: _folder(unquote(urlsplit(url).path))
    for entry in entry_points(group=GROUP, name=scheme):
        plugin: ArtifactScheme = entry.load()
        return plugin(url, settings)
    if scheme == "s3":
        return _refuse_bucket
    raise InvalidSettings(
        f"TURNOUT_ARTIFACTS: {scheme[:20]!r} is not supported; give a folder or s3://bucket/prefix"
    )


def _folder(path: str) -> ArtifactStore:
    if not path:
        raise InvalidSettings("TURNOUT_ARTIFACTS: is empty; give a folder or s3://bucket/prefix")
    return ThreadedStore(Folder(Path(path).expanduser().absolute()))


def _refuse_bucket() -> NoReturn:
    raise InvalidSettings(
        "TURNOUT_ARTIFACTS: for s3://, pip install 'turnout[s3]', or ./src/turnout-s3 in a checkout"
    )
