"""What must be true of a run store and of the effects, whatever was killed: read past Turnout."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.faults_rows import rows

Effect = Mapping[str, Any]


def torn(url: str) -> list[str]:
    """What an emit or a tick left in part: nothing, at any moment."""
    runs = {row[0] for row in rows(url, "SELECT run_id FROM {runs}")}
    faults = [
        f"run {run_id} has no {table}"
        for table in ("deliveries", "transitions")
        for run_id in runs - {row[0] for row in rows(url, f"SELECT run_id FROM {{{table}}}")}
    ]
    for kind, query in (
        ("key", "SELECT run_id FROM {keys}"),
        ("slot", "SELECT run_id FROM {slots}"),
        ("invoke", "SELECT child FROM {steps} WHERE child IS NOT NULL"),
    ):
        faults += [f"a {kind} without its run" for (each,) in rows(url, query) if each not in runs]
    orphans = "SELECT run_id FROM {runs} WHERE event_id NOT IN (SELECT event_id FROM {events})"
    faults += [f"run {run_id} without its event" for (run_id,) in rows(url, orphans)]
    both = Counter(row[0] for row in rows(url, "SELECT event_id FROM {runs} WHERE key LIKE 'go%'"))
    faults += [
        f"event {event} started {many} of its 2" for event, many in both.items() if many != 2
    ]
    orders = len(rows(url, "SELECT id FROM orders"))
    ordered = len(rows(url, "SELECT run_id FROM {runs} WHERE task = 'ordered'"))
    if orders != ordered:
        faults.append(f"{orders} rows of the client's transaction, {ordered} runs")
    return faults


def effects_of(path: Path) -> list[Effect]:
    """Read what bodies wrote; the last line may have been cut off by a kill."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def ended(url: str) -> list[str]:
    """What has not come to its one end."""
    faults = [
        f"run {run_id} of {task} is {state}"
        for run_id, task, state in rows(url, "SELECT run_id, task, state FROM {runs}")
        if state != {"sleeper": "cancelled", "failing": "failed"}.get(task, "completed")
    ]
    ends = Counter(
        row[0]
        for row in rows(
            url, "SELECT run_id FROM {transitions} WHERE state NOT IN ('queued', 'running')"
        )
    )
    faults += [f"run {run_id} ended {many} times" for run_id, many in ends.items() if many != 1]
    for table in ("waits", "line"):
        faults += [f"{table} left: {row}" for row in rows(url, f"SELECT run_id FROM {{{table}}}")]
    leased = rows(url, "SELECT run_id, step FROM {attempts} WHERE leased = 1")
    return faults + [f"still claimed: {row}" for row in leased]


def doubled(url: str) -> list[str]:
    """What there is twice: runs of a key, of a step, of a slot; commits of a step."""
    keyed = "SELECT task, key FROM {runs} WHERE key IS NOT NULL"
    children = "SELECT parent_run_id, parent_step FROM {runs} WHERE parent_run_id IS NOT NULL"
    told = "SELECT caused_by, name FROM {events} WHERE caused_by IS NOT NULL"
    committed = "SELECT run_id, step FROM {attempts} WHERE state = 'completed'"
    started = "SELECT run_id, state FROM {transitions} WHERE state = 'running'"
    return [
        f"{many} of {what}: {query}"
        for query in (keyed, children, told, committed, started)
        for what, many in Counter(map(tuple, rows(url, query))).items()
        if many > 1
    ]


def repeated(url: str, effects: Sequence[Effect]) -> list[str]:
    """Bodies that ran without a claim of their own, or after their step was committed."""
    tried: dict[str, dict[int, str]] = defaultdict(dict)
    for run_id, step, number, state in rows(
        url, "SELECT run_id, step, number, state FROM {attempts}"
    ):
        tried[f"{run_id}/{step}"][number] = state
    begun = Counter((each["step"], each["attempt"]) for each in effects if each["what"] == "begin")
    faults = [f"{what} began {many} times" for what, many in begun.items() if many > 1]
    for step, number in begun:
        states = tried.get(step, {})
        if number not in states:
            faults.append(f"{step} ran attempt {number}, which nobody claimed")
        if any(states[each] == "completed" for each in states if each < number):
            faults.append(f"{step} ran attempt {number} after it had been committed")
    settled = {
        f"{run_id}/{step}"
        for run_id, step in rows(url, "SELECT run_id, step FROM {steps} WHERE kind = 'step'")
    }
    uncommitted = [step for step in settled if "completed" not in tried[step].values()]
    return faults + [f"{step} has no committed attempt" for step in uncommitted]


def overlapping(effects: Sequence[Effect], limits: Mapping[str, int]) -> list[str]:
    """Lanes in which more was at work at once than their limit.

    A dead process's steps have ended; its runs hold their places.
    """
    at_work: dict[str, dict[str, int]] = defaultdict(dict)
    last: dict[int, int] = {}
    for each in effects:
        last[each["pid"]] = each["at"]
    faults = []
    for each in sorted((each for each in effects if "lane" in each), key=lambda each: each["at"]):
        lane, who = each["lane"], _who(each)
        here = at_work[lane]
        if each["what"] == "end":
            here.pop(who, None)
            continue
        here[who] = each["pid"]
        kind = lane.partition(":")[0]
        alive = [pid for pid in here.values() if kind == "run" or last[pid] >= each["at"]]
        if len(alive) > limits[kind]:
            faults.append(f"{lane}: {sorted(here)} at once")
    return faults


def _who(effect: Effect) -> str:
    """Who holds the place in the lane: the run, or its step."""
    step: str = effect["step"]
    return step.rpartition("/")[0] if effect["lane"].startswith("run:") else step


def unwritten(url: str, artifacts: Path) -> list[str]:
    """Runs whose artifacts are not all there."""
    return [
        f"run {run_id} has no {name}"
        for (run_id,) in rows(url, "SELECT run_id FROM {runs}")
        for name in ("status.json", "manifest.json")
        if not (artifacts / "runs" / run_id / name).is_file()
    ]
