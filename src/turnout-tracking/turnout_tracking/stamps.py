"""Stamps: what a delivery carries to its vendor, so that it can be proved later whose it is.

A stamp names the run store, and has an HMAC over run, delivery, task and store. Keys of
TURNOUT_SIGNING_KEYS make and check it, so a stamp outlives a rotation as long as its key is listed.
"""

import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from turnout.model.canonical import canonical_bytes
from turnout.service.settings import KEY_PREFIX

PURPOSE: Final = "turnout-delivery"
"""Keeps a stamp from being taken for anything else that is signed with the same key."""


class Stamper:
    """Makes and checks the stamps of an app's deliveries."""

    def __init__(self, keys: Sequence[str]) -> None:
        """keys: as TURNOUT_SIGNING_KEYS has them; the first one makes stamps, any one checks."""
        self._keys = [b64decode(key.removeprefix(KEY_PREFIX)) for key in keys]

    def stamp(self, run_id: str, number: int, task: str, store_id: str) -> Mapping[str, str]:
        """Make the stamp of a delivery; without a key it proves nothing."""
        proofs = self._proofs(run_id, number, task, store_id)
        return {"store": store_id} | ({"proof": proofs[0]} if proofs else {})

    def proves(self, carried: Mapping[str, Any]) -> bool:
        """Whether what a delivery carried was made with one of our keys."""
        names = ("run_id", "delivery", "task", "store", "proof")
        run_id, number, task, store_id, proof = (carried.get(name) for name in names)
        texts = (run_id, task, store_id, proof)
        if not all(isinstance(text, str) for text in texts) or type(number) is not int:
            return False
        proofs = self._proofs(str(run_id), number, str(task), str(store_id))
        # Compared as bytes: a proof that is not ASCII is only wrong.
        return any(
            hmac.compare_digest(expected.encode(), str(proof).encode()) for expected in proofs
        )

    def _proofs(self, run_id: str, number: int, task: str, store_id: str) -> list[str]:
        text = canonical_bytes([PURPOSE, run_id, number, task, store_id])
        digests = (hmac.digest(key, text, "sha256") for key in self._keys)
        return [urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests]
