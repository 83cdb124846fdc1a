"""Where two JSON documents differ: type-strict, keyed, bounded, as JSON Pointers.

Absent is not null, `true` is not `1`, `1` is not `1.0`. Lists of objects that carry a key are
aligned by it, others by index after their common head and tail. Nothing here recurses, so a
deeply nested document costs memory and never the stack.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

KEYS: Final = ("step_id", "step", "id", "key", "name", "number")
"""Fields by which a list of objects is aligned, the first that every object carries wins."""

DEPTH_LIMIT: Final = 200
"""Deeper than this a subtree is compared as a whole."""


class _Absent:
    """The type of ABSENT, which stands for a value that is not there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonChange:
    """One place where two documents differ.

    `pointer` is an RFC 6901 JSON Pointer that holds in the primary's document where the value
    exists there, and in the shadow's otherwise. A side without the value is `ABSENT`.
    """

    pointer: str
    primary: Any
    shadow: Any
    reordered: bool = False
    """The same keyed objects in another order; both values are the lists of keys."""

    def below(self, pointer: str) -> "JsonChange":
        """The same change in a document that holds these two under `pointer`."""
        return replace(self, pointer=pointer + self.pointer)


_Pairs = Iterator[tuple[str, Any, Any]]


def differences(
    primary: Any, shadow: Any, *, keys: Sequence[str] = KEYS, limit: int = 1000
) -> list[JsonChange]:
    """Compare two parsed JSON documents; at most `limit` changes, in document order."""
    changes: list[JsonChange] = []
    # Iterators, not lists: places that are never compared take no memory.
    waiting: list[_Pairs] = [iter([("", primary, shadow)])]
    while waiting and len(changes) < limit:
        following = next(waiting[-1], None)
        if following is None:
            waiting.pop()
        else:
            pointer, a, b = following
            waiting.append(_compare(pointer, a, b, keys, changes))
    return changes[:limit]


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal in type and value, at any depth."""
    waiting = [(a, b)]
    while waiting:
        value, twin = waiting.pop()
        if type(value) is not type(twin):
            return False
        if isinstance(value, dict):
            if value.keys() != twin.keys():
                return False
            waiting.extend((inner, twin[name]) for name, inner in value.items())
        elif isinstance(value, list):
            if len(value) != len(twin):
                return False
            waiting.extend(zip(value, twin, strict=True))
        elif value != twin or (value == 0 and str(value) != str(twin)):  # -0.0 is not 0.0
            return False
    return True


def escape(name: str) -> str:
    """Write one name of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def resolve(document: Any, pointer: str) -> Any:
    """Find what a JSON Pointer names, or `ABSENT`."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping):
            document = document.get(name, ABSENT)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return ABSENT
    return document


def _compare(
    pointer: str, a: Any, b: Any, keys: Sequence[str], changes: list[JsonChange]
) -> _Pairs:
    if a is b:
        return
    if type(a) is type(b) and pointer.count("/") < DEPTH_LIMIT:
        if isinstance(a, dict):
            yield from _objects(pointer, a, b)
            return
        if isinstance(a, list):
            yield from _lists(pointer, a, b, keys, changes)
            return
    if not same(a, b):
        changes.append(JsonChange(pointer=pointer, primary=a, shadow=b))


def _objects(pointer: str, a: dict[str, Any], b: dict[str, Any]) -> _Pairs:
    for name in sorted(a.keys() | b.keys()):
        yield f"{pointer}/{escape(name)}", a.get(name, ABSENT), b.get(name, ABSENT)


def _lists(
    pointer: str, a: list[Any], b: list[Any], keys: Sequence[str], changes: list[JsonChange]
) -> _Pairs:
    key = _key_of(a, b, keys)
    if key is None:
        yield from _by_index(pointer, a, b)
        return
    items = {item[key]: (index, item) for index, item in enumerate(a)}
    twins = {item[key]: (index, item) for index, item in enumerate(b)}
    order = [name for name in items if name in twins]
    twin_order = [name for name in twins if name in items]
    if order != twin_order:
        changes.append(
            JsonChange(pointer=pointer, primary=order, shadow=twin_order, reordered=True)
        )
    for name, (index, item) in items.items():
        yield f"{pointer}/{index}", item, twins[name][1] if name in twins else ABSENT
    for name, (index, item) in twins.items():
        if name not in items:
            yield f"{pointer}/{index}", ABSENT, item


def _by_index(pointer: str, a: list[Any], b: list[Any]) -> _Pairs:
    shorter = min(len(a), len(b))
    head = 0
    while head < shorter and same(a[head], b[head]):
        head += 1
    tail = 0
    while len(a) != len(b) and tail < shorter - head and same(a[-1 - tail], b[-1 - tail]):
        tail += 1
    for index in range(head, max(len(a), len(b)) - tail):
        item = a[index] if index < len(a) - tail else ABSENT
        twin = b[index] if index < len(b) - tail else ABSENT
        yield f"{pointer}/{index}", item, twin


def _key_of(a: list[Any], b: list[Any], keys: Sequence[str]) -> str | None:
    """Name the field that identifies every object of both lists and has a value in common."""
    if not a or not b:
        return None
    for key in keys:
        identities = _identities(key, a)
        if identities and identities & _identities(key, b):
            return key
    return None


def _identities(key: str, items: list[Any]) -> set[str | int]:
    """Collect the values of one field; none at all where it does not identify every item."""
    identities: set[str | int] = set()
    for item in items:
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, str | int) or isinstance(value, bool) or value in identities:
            return set()
        identities.add(value)
    return identities
