"""A bucket keeps the promises of every artifact store, through each client."""

import asyncio
import itertools
import os
import secrets
from collections.abc import Iterator
from typing import ClassVar

import pytest
from turnout_s3.prefixed import PrefixedStore

from tests.probed_store import ProbedContract
from tests.servers import S3Server
from turnout.model.storage import ConditionSupport
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store

IGNORES_CONDITIONS = ConditionSupport(create=False, if_match=False)
_number = itertools.count()


class BucketContract(ProbedContract):
    """Each test has a prefix of its own in a bucket of the class's own."""

    client: ClassVar[str]
    server: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, request: pytest.FixtureRequest) -> Iterator[ArtifactStore]:
        server: S3Server = request.getfixturevalue(f"{cls.server}_server")
        settings = {**server.settings, "TURNOUT_ARTIFACTS_CLIENT": cls.client}
        store = open_store(f"s3://{server.make_bucket()}", settings)
        yield store
        asyncio.run(store.aclose())

    @pytest.fixture
    def store(self, bucket: ArtifactStore) -> ArtifactStore:
        return PrefixedStore(bucket, f"test-{next(_number)}")


class TestBoto3OnMoto(BucketContract):
    client, server = "boto3", "moto"


class TestBoto3OnRclone(BucketContract):
    client, server = "boto3", "rclone"
    abilities = IGNORES_CONDITIONS
    replaces_whole = False


class TestObstoreOnMoto(BucketContract):
    client, server = "obstore", "moto"


class TestObstoreOnRclone(BucketContract):
    client, server = "obstore", "rclone"
    abilities = IGNORES_CONDITIONS
    replaces_whole = False


if "TURNOUT_REAL_S3" in os.environ:

    @pytest.mark.real
    class TestRealBucket(ProbedContract):
        """A bucket that is given by the environment; each test has a prefix of its own in it."""

        @pytest.fixture
        def store(self) -> ArtifactStore:
            bucket = open_store(os.environ["TURNOUT_REAL_S3"], os.environ)
            return PrefixedStore(bucket, f"turnout-test-{secrets.token_hex(8)}")

else:

    @pytest.mark.real
    def test_a_real_bucket_keeps_the_promises() -> None:
        """Once here instead of once for every promise."""
        pytest.skip("TURNOUT_REAL_S3=s3://bucket/prefix (and AWS_…) names no real bucket")
