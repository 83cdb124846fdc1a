"""Explanations by DeepDiff of how two values differ: for people, never for the verdict.

`json_diff` decides, strictly by type and order, and names every place. DeepDiff says what probably
happened: it matches the items of reordered lists by their likeness, so that one inserted
item does not look like a change of all that follow it, and shows changed texts line by line.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from turnout.model.canonical import pointer_of
from turnout_parity.redaction import Redaction
from turnout_parity.report import Explanation

if TYPE_CHECKING:
    from deepdiff import DeepDiff
    from deepdiff.model import DiffLevel

EXPLAINED_LIMIT: Final = 50
"""Values explained in one check: an explanation costs a hundred times the comparison."""

BYTES_LIMIT: Final = 16_384
LINE_LIMIT: Final = 40
LINE_LENGTH: Final = 200
MATCHED_ITEMS_LIMIT: Final = 25
"""Items of a list that are matched by likeness; the effort grows with their square."""

REORDERED: Final = "the same items in another order"

_PHRASES: Final = {
    "values_changed": ("{} value changed", "{} values changed"),
    "type_changes": ("{} type changed", "{} types changed"),
    "dictionary_item_added": ("{} field added", "{} fields added"),
    "dictionary_item_removed": ("{} field removed", "{} fields removed"),
    "iterable_item_added": ("{} item added", "{} items added"),
    "iterable_item_removed": ("{} item removed", "{} items removed"),
    "iterable_item_moved": ("{} item moved", "{} items moved"),
    "repetition_change": ("{} item repeated more or less often",) * 2,
}
"""DeepDiff's kinds of change, in the order of a summary."""

_TYPES: Final = {
    "NoneType": "null",
    "bool": "boolean",
    "dict": "object",
    "float": "number with a point",
    "int": "integer",
    "list": "array",
    "str": "string",
}


@dataclass(slots=True)
class Explainer:
    """Explains the first differing values of a check."""

    redaction: Redaction = field(default_factory=Redaction)
    remaining: int = EXPLAINED_LIMIT

    def __call__(self, primary: Any, shadow: Any) -> Explanation | None:
        """Say how two values differ; None where it would cost too much or add nothing."""
        if self.remaining <= 0 or not explainable(primary, shadow):
            return None
        # Imported here: the import takes a third of a second, and most checks need none of it.
        from deepdiff import DeepDiff

        self.remaining -= 1
        # Redacted first: an explanation repeats the values that differ.
        sides = self.redaction.value(primary), self.redaction.value(shadow)
        diff = DeepDiff(
            *sides,
            ignore_order=True,
            report_repetition=True,
            threshold_to_diff_deeper=0,
            verbose_level=2,
            ignore_order_func=_few_items,
        )
        if diff:
            return _explanation(diff)
        reordered = DeepDiff(*sides)
        return Explanation(summary=REORDERED, lines=[]) if reordered else None


def explainable(primary: Any, shadow: Any) -> bool:
    """Whether both are objects, or both arrays, and of moderate size."""
    if type(primary) is not type(shadow) or not isinstance(primary, dict | list):
        return False
    return max(len(orjson.dumps(primary)), len(orjson.dumps(shadow))) <= BYTES_LIMIT


def _few_items(level: "DiffLevel") -> bool:
    return all(
        not isinstance(value, list) or len(value) <= MATCHED_ITEMS_LIMIT
        for value in (level.t1, level.t2)
    )


def _explanation(diff: "DeepDiff") -> Explanation:
    levels = [(kind, level) for kind in _PHRASES for level in diff.tree.get(kind, ())]
    counts = Counter(kind for kind, _ in levels)
    phrases = [_PHRASES[kind][count > 1].format(count) for kind, count in counts.items()]
    lines = [line for kind, level in levels for line in _lines(kind, level)]
    if len(lines) > LINE_LIMIT:
        lines[LINE_LIMIT:] = [f"… {len(lines) - LINE_LIMIT} more lines"]
    return Explanation(summary=", ".join(phrases), lines=lines)


def _lines(kind: str, level: "DiffLevel") -> Iterator[str]:
    """Describe one change; one of a text of several lines by a unified diff below it."""
    place = pointer_of(tuple(level.path(output_format="list"))) or "the whole"
    text_diff = level.additional.get("diff")
    match kind:
        case "values_changed" if text_diff:
            yield f"{place}: the text changed"
            yield from (f"  {_cut(line)}" for line in text_diff.splitlines()[2:])
        case "values_changed":
            yield f"{place}: {_json(level.t1)} became {_json(level.t2)}"
        case "type_changes":
            types = [_TYPES.get(type(value).__name__, "value") for value in (level.t1, level.t2)]
            values = f"{_json(level.t1)} became {_json(level.t2)}"
            yield f"{place}: {values}: {types[0]} became {types[1]}"
        case "dictionary_item_added" | "iterable_item_added":
            yield f"{place}: only the shadow has {_json(level.t2)}"
        case "dictionary_item_removed" | "iterable_item_removed":
            yield f"{place}: only the primary has {_json(level.t1)}"
        case _:
            yield f"{place}: {_json(level.t1)}"


def _json(value: Any) -> str:
    return _cut(orjson.dumps(value, default=repr).decode())


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 1]}…"
