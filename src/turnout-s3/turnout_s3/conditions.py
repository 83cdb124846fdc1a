"""Puts under a condition, on buckets that decide it, put it off, or refuse to know it.

Stores that speak S3 differ here more than elsewhere. A conflict (409) says that another write is in
progress: it decides nothing, so the object is looked for, and the put is tried again. A store that
refuses a condition as such gets a look and then a put without one: of two writers at the same
moment both write, and the later body stays.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from turnout.errors import ArtifactMissing
from turnout.model.canonical import MAX_BYTES
from turnout.model.storage import IfMatch, PutMode
from turnout.stores.artifacts.threaded import Blocking, translated
from turnout_s3.errors import Busy, ConditionRefused, changed, exists

_logger: Final = logging.getLogger(__name__)

PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before a busy object is tried again, each lengthened at random by up to as much."""


class ConditionalBucket:
    """A bucket whose puts keep their condition as well as the store allows."""

    def __init__(self, bucket: Blocking, pause: Callable[[float], None] = time.sleep) -> None:
        self._bucket = bucket
        self._pause = pause
        self.looks_first = False
        self.threads, self.batch, self.prefetch = bucket.threads, bucket.batch, bucket.prefetch
        self.errors = bucket.errors
        self.translated = bucket.translated
        self.get = bucket.get
        self.head = bucket.head
        self.pages = bucket.pages
        self.folders = bucket.folders
        self.delete = bucket.delete
        self.close = bucket.close

    def __repr__(self) -> str:
        return repr(self._bucket)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write an object; one that is busy is tried again for about 5 s."""
        for pause in PAUSES:
            try:
                return self._put(key, body, mode)
            except Busy:
                self._check(key, mode)
            self._pause(pause * (1 + random.random()))  # noqa: S311 - it spreads writers
        return self._put(key, body, mode)

    def _put(self, key: str, body: bytes, mode: PutMode) -> str:
        if mode == "overwrite" or not self.looks_first:
            try:
                return self._put_once(key, body, mode)
            except ConditionRefused as error:
                refusal = str(error)
        self._check(key, mode)
        etag = self._put_once(key, body, "overwrite")
        if not self.looks_first:
            self.looks_first = True
            _logger.warning(
                "the artifact store refuses conditional writes (%s): Turnout looks for an object"
                " before it writes one, and two writers at the same moment both write",
                refusal,
                extra={"action": "artifact_store_looks_first"},
            )
        return etag

    def _put_once(self, key: str, body: bytes, mode: PutMode) -> str:
        return translated(self._bucket, key, lambda: self._bucket.put(key, body, mode), mode)

    def _check(self, key: str, mode: PutMode) -> None:
        """Raise what a store that knows conditions would answer now."""
        if mode == "overwrite":
            return
        etag = self._etag(key)
        if isinstance(mode, IfMatch):
            if etag != mode.etag:
                raise changed(key, mode)
        elif etag is not None:
            raise exists(key)

    def _etag(self, key: str) -> str | None:
        """Return the ETag of an object; None where there is none."""
        try:
            entry = translated(self._bucket, key, lambda: self._bucket.head(key))
            if entry.etag is not None:
                return entry.etag
            return translated(self._bucket, key, lambda: self._bucket.get(key, MAX_BYTES)).etag
        except ArtifactMissing:
            return None
