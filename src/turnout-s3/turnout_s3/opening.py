"""Opens the bucket that `s3://bucket/prefix` and the settings name."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from turnout.errors import InvalidSettings
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts.threaded import Blocking, ThreadedStore
from turnout_s3.conditions import ConditionalBucket
from turnout_s3.prefixed import PrefixedStore
from turnout_s3.settings import S3Settings, s3_settings

CLIENTS = ("boto3", "obstore")


def bucket(url: str, settings: Mapping[str, str]) -> Callable[[], ArtifactStore]:
    """Read `s3://bucket/prefix` and its settings; the entry point `s3` names this function.

    `settings` are the environment's: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (or `…_S3`), and
    `TURNOUT_ARTIFACTS_CLIENT` (`boto3` or `obstore`; else obstore where it is installed).
    `InvalidSettings` says all that is wrong. A bucket is not made.
    """
    address = s3_settings(url, settings)
    client = settings.get("TURNOUT_ARTIFACTS_CLIENT", "")
    if client and client not in CLIENTS:
        raise InvalidSettings(
            f"TURNOUT_ARTIFACTS_CLIENT: {client[:20]!r} is not one of {', '.join(CLIENTS)}"
        )

    def opened() -> ArtifactStore:
        store = ThreadedStore(ConditionalBucket(_bucket_class(client)(address)))
        return PrefixedStore(store, address.prefix) if address.prefix else store

    return opened


def _bucket_class(client: str) -> Callable[[S3Settings], Blocking]:
    """Return the class of the named client, else of the faster one that is installed."""
    installed = find_spec("obstore") is not None
    if client == "boto3" or not (client or installed):
        from turnout_s3.boto3_bucket import Boto3Bucket

        return Boto3Bucket
    if not installed:
        raise InvalidSettings(
            "TURNOUT_ARTIFACTS_CLIENT: pip install 'turnout[obstore]',"
            " or './src/turnout-s3[obstore]' in a checkout"
        )
    from turnout_s3.obstore_bucket import ObstoreBucket

    return ObstoreBucket
