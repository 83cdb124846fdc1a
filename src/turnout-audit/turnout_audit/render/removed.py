"""The report of a project that was imported without a vendor: as text, and as JSON."""

from dataclasses import asdict
from typing import Any

from turnout_audit.removal.proof import Proof
from turnout_audit.render.text import plain, plural

MAX_PROBLEMS = 20
"""Failures that the text names."""


def document(proof: Proof) -> dict[str, Any]:
    """Return the report for JSON."""
    return {"version": 1, "removed": not (proof.requests or proof.problems), **asdict(proof)}


def text(proof: Proof) -> str:
    """Return the report for people, with what decides in its last line."""
    lines = [f"left out: {plain(', '.join(proof.left_out)) or 'nothing: no manifest lists it'}"]
    lines += [f"imported: {plain(', '.join(proof.imported)) or 'nothing'}"]
    for request in proof.requests:
        place = f"{request.path}:{request.line}" if request.line else request.path
        lines.append(f"{plain(place)}: asks for {plain(request.wanted)}")
    for problem in proof.problems[:MAX_PROBLEMS]:
        lines.append(f"failed: {plain(problem)}")
    if len(proof.problems) > MAX_PROBLEMS:
        lines.append(f"and {len(proof.problems) - MAX_PROBLEMS} more failures (--json lists them)")
    return "\n".join([*lines, _verdict(proof)]) + "\n"


def _verdict(proof: Proof) -> str:
    if proof.requests:
        count = len(proof.requests)
        return f"not removed: the vendor is asked for in {count} {plural(count, 'place')}"
    if proof.problems:
        return "could not tell: the imports failed for another reason"
    return "removed: everything was imported without the vendor"
