"""Tests whether a store honours the conditions of a put, or ignores them silently."""

import secrets

from turnout.errors import ArtifactChanged, ArtifactExists
from turnout.model.storage import ConditionSupport, IfMatch, PutMode
from turnout.ports.artifact_store import ArtifactStore

FOLDER = "turnout-probe/"


async def probe(store: ArtifactStore) -> ConditionSupport:
    """Write one small object a few times, and remove it.

    Raises what the store raises where it cannot be reached or written at all.
    """
    key = f"{FOLDER}{secrets.token_hex(8)}.json"
    first = await store.put(key, b'{"probe":1}', mode="overwrite")
    try:
        create = not await _accepted(store, key, b'{"probe":2}', "create")
        await store.put(key, b'{"probe":3}', mode="overwrite")
        if_match = not await _accepted(store, key, b'{"probe":4}', IfMatch(first))
    finally:
        await store.delete(key)
    return ConditionSupport(create=create, if_match=if_match, looks_first=store.looks_first)


async def _accepted(store: ArtifactStore, key: str, body: bytes, mode: PutMode) -> bool:
    try:
        await store.put(key, body, mode=mode)
    except (ArtifactExists, ArtifactChanged):
        return False
    return True
