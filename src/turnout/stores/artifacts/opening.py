"""From `TURNOUT_ARTIFACTS` to a live store."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from turnout.errors import InvalidSettings
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts.folder import Folder
from turnout.stores.artifacts.threaded import Blocking, ThreadedStore
from turnout.stores.artifacts.within import Below

if TYPE_CHECKING:
    from turnout.stores.artifacts.s3_settings import S3Settings


def open_store(url: str, settings: Mapping[str, str] | None = None) -> ArtifactStore:
    """Open a folder (a path, or `file://…`) or a bucket (`s3://bucket/prefix`).

    `settings` are the environment's: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (or `…_S3`), and
    `TURNOUT_ARTIFACTS_CLIENT` (`boto3` or `obstore`; else obstore where it is installed).
    A folder is made by its first write; a bucket is not. `InvalidSettings` says what is wrong.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _folder(url)
    if scheme == "file":
        return _folder(unquote(urlsplit(url).path))
    if scheme == "s3":
        return _bucket(url, settings or {})
    raise InvalidSettings(
        f"TURNOUT_ARTIFACTS: {scheme[:20]!r} is not supported; give a folder or s3://bucket/prefix"
    )


def _folder(path: str) -> ArtifactStore:
    if not path:
        raise InvalidSettings("TURNOUT_ARTIFACTS: is empty; give a folder or s3://bucket/prefix")
    return ThreadedStore(Folder(Path(path).expanduser().absolute()))


def _bucket(url: str, settings: Mapping[str, str]) -> ArtifactStore:
    from turnout.stores.artifacts.s3_settings import s3_settings

    where = s3_settings(url, settings)
    store = ThreadedStore(_client(settings.get("TURNOUT_ARTIFACTS_CLIENT", ""))(where))
    return Below(store, where.prefix) if where.prefix else store


def _client(wanted: str) -> "Callable[[S3Settings], Blocking]":
    """The class of the client that is wanted, or of the better one that is installed."""
    installed = [name for name in ("obstore", "boto3") if find_spec(name)]
    if wanted and wanted not in {"obstore", "boto3"}:
        raise InvalidSettings(
            f"TURNOUT_ARTIFACTS_CLIENT: {wanted[:20]!r} is not one of boto3, obstore"
        )
    if not installed or (wanted and wanted not in installed):
        extra = "obstore" if wanted == "obstore" else "s3"
        raise InvalidSettings(
            f"TURNOUT_ARTIFACTS: for s3://, pip install 'turnout[{extra}]', "
            f"or '.[{extra}]' in a checkout"
        )
    if (wanted or installed[0]) == "obstore":
        from turnout.stores.artifacts.obstore import Obstore

        return Obstore
    from turnout.stores.artifacts.s3 import S3

    return S3
