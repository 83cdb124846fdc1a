"""Opens the artifact store that `TURNOUT_ARTIFACTS` names."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from turnout.errors import InvalidSettings
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts.folder import Folder
from turnout.stores.artifacts.threaded import ThreadedStore
from turnout.stores.artifacts.views import PrefixedStore

if TYPE_CHECKING:
    from turnout.stores.artifacts.s3_settings import S3Settings
    from turnout.stores.artifacts.threaded import Blocking


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
    from turnout.stores.artifacts.conditions import ConditionalBucket
    from turnout.stores.artifacts.s3_settings import s3_settings

    address = s3_settings(url, settings)
    bucket = _bucket_class(settings.get("TURNOUT_ARTIFACTS_CLIENT", ""))
    store = ThreadedStore(ConditionalBucket(bucket(address)))
    return PrefixedStore(store, address.prefix) if address.prefix else store


def _bucket_class(name: str) -> "Callable[[S3Settings], Blocking]":
    """Return the class of the named client, else of the fastest client that is installed."""
    installed = [client for client in ("obstore", "boto3") if find_spec(client)]
    if name and name not in {"obstore", "boto3"}:
        raise InvalidSettings(
            f"TURNOUT_ARTIFACTS_CLIENT: {name[:20]!r} is not one of boto3, obstore"
        )
    if not installed or (name and name not in installed):
        extra = "obstore" if name == "obstore" else "s3"
        raise InvalidSettings(
            f"TURNOUT_ARTIFACTS: for s3://, pip install 'turnout[{extra}]', "
            f"or '.[{extra}]' in a checkout"
        )
    if (name or installed[0]) == "obstore":
        from turnout.stores.artifacts.obstore_bucket import ObstoreBucket

        return ObstoreBucket
    from turnout.stores.artifacts.boto3_bucket import Boto3Bucket

    return Boto3Bucket
