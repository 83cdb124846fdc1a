"""Files that the audit wrote itself: they name the vendor, but are not counted as traces."""

import json
import os
from collections.abc import Iterable
from typing import Any

_BASELINE = frozenset({"version", "ruleset", "files"})
_REPORT = frozenset({"version", "ruleset", "findings", "problems", "exempted", "summary"})
_SUFFIXES = (".json", ".sarif")


class NamedFiles:
    """The files that a command line names for its baseline and its report."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.places = {os.path.realpath(path) for path in paths}
        self.names = {os.path.basename(place) for place in self.places}  # noqa: PTH119 -- as text

    def holds(self, path: str) -> bool:
        """Say whether a path is one of them, however it is written."""
        return path.rpartition("/")[2] in self.names and os.path.realpath(path) in self.places


def is_ours(path: str, text: str) -> bool:
    """Whether a file is a baseline, a JSON report or a SARIF report of the audit, by its form.

    The form must fit in every part, so that nothing else is left out by chance.
    """
    if not path.lower().endswith(_SUFFIXES) or not text.startswith("{"):
        return False
    if '"ruleset"' not in text and '"turnout audit"' not in text:
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return _is_baseline(document) or _is_report(document) or _is_sarif(document)


def _is_baseline(document: dict[str, Any]) -> bool:
    from turnout_audit import baseline

    if document.keys() != _BASELINE or not isinstance(document["ruleset"], str):
        return False
    try:
        accepted = baseline.parsed(document)
    except ValueError:
        return False
    return all(baseline.is_digest(digest) for _, _, digest in accepted.entries)


def _is_report(document: dict[str, Any]) -> bool:
    if document.keys() - {"unclassified"} != _REPORT or not isinstance(document["ruleset"], dict):
        return False
    lists = (document["findings"], document["problems"], document["exempted"])
    return document["ruleset"].keys() == {"name", "version", "title"} and all(
        isinstance(rows, list) for rows in lists
    )


def _is_sarif(document: dict[str, Any]) -> bool:
    runs = document.get("runs")
    if document.keys() != {"$schema", "version", "runs"} or not isinstance(runs, list):
        return False
    try:
        names = {run["tool"]["driver"]["name"] for run in runs}
        kinds = {run["automationDetails"]["id"].partition("/")[0] for run in runs}
    except (KeyError, TypeError, AttributeError):
        return False
    return names == {"turnout audit"} and kinds == {"turnout-audit"}
