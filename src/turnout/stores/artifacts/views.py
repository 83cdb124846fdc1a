"""A narrower view of a store: it writes only where that is allowed."""

from collections.abc import Callable

from turnout.errors import WrongUse
from turnout.model.keys import RUNS, check_key, is_shadow_id
from turnout.model.storage import PutMode
from turnout.ports.artifact_store import ArtifactStore


class GuardedStore:
    """A store that reads everything, and writes and removes only what a rule allows."""

    def __init__(
        self, store: ArtifactStore, may_write: Callable[[str], bool], *, rule: str
    ) -> None:
        self._store = store
        self._may_write = may_write
        self._rule = rule
        self.get = store.get
        self.get_many = store.get_many
        self.head = store.head
        self.pages = store.pages
        self.folders = store.folders
        self.aclose = store.aclose

    def __repr__(self) -> str:
        return f"{self._store!r}, {self._rule}"

    @property
    def looks_first(self) -> bool:
        """Whether a look replaces the conditions of a put."""
        return self._store.looks_first

    async def put(self, key: str, body: bytes, *, mode: PutMode = "create") -> str:
        """Write a body; `WrongUse` where the rule forbids it, before the store is asked."""
        self._check(key)
        return await self._store.put(key, body, mode=mode)

    async def delete(self, key: str) -> None:
        """Remove an object, where the rule allows it."""
        self._check(key)
        await self._store.delete(key)

    def _check(self, key: str) -> None:
        if not self._may_write(check_key(key)):
            raise WrongUse(f"{key}: {self._rule}")


def only_shadows(store: ArtifactStore) -> ArtifactStore:
    """Return a view of a store that writes only shadows' artifacts."""
    return GuardedStore(
        store, _of_a_shadow, rule="a shadow writes only below runs/<run id>-dryrun/"
    )


def only_primaries(store: ArtifactStore) -> ArtifactStore:
    """Return a view of a store that never writes shadows' artifacts."""
    rule = "a primary writes nothing below runs/<run id>-dryrun/"
    return GuardedStore(store, lambda key: not _of_a_shadow(key), rule=rule)


def _of_a_shadow(key: str) -> bool:
    folder, _, path = key.partition("/")
    run_id, slash, _ = path.partition("/")
    return folder == RUNS and bool(slash) and is_shadow_id(run_id)
