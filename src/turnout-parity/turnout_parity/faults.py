"""Faults: documents that are missing or invalid."""

from dataclasses import dataclass
from typing import Literal

SideName = Literal["primary", "shadow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one document of one side."""

    side: SideName
    artifact: str
    pointer: str = ""
    message: str
    missing: bool = False


def missing(side: SideName, artifact: str) -> Fault:
    """Describe a document that is not there."""
    return Fault(side=side, artifact=artifact, message="is not there", missing=True)


def invalid(side: SideName, artifact: str, error: Exception) -> Fault:
    """Describe a document that is invalid."""
    pointer = getattr(error, "pointer", "")
    return Fault(side=side, artifact=artifact, pointer=pointer, message=str(error))


def unlisted(side: SideName, artifact: str) -> Fault:
    """Describe a document that its run's manifest does not list."""
    message = "is there, and the manifest does not list it"
    return Fault(side=side, artifact=artifact, message=message)
