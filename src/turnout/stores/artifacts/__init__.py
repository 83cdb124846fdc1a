"""Artifact stores: a folder, S3 through boto3, S3 through obstore."""

from turnout.stores.artifacts.opening import open_store

__all__ = ["open_store"]
