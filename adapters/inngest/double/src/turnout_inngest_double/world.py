"""Everything the server knows: applications, events and runs, found by what is asked of them."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from turnout_inngest_double.functions import Function, Trigger, parse_function
from turnout_inngest_double.matching import Matching
from turnout_inngest_double.state import App, Event, Run, Span, Wait
from turnout_inngest_double.store import Store

Payload = dict[str, Any]


class World:
    """State in memory, each change marked in the store. Ended runs beyond a bound are forgotten."""

    def __init__(self, store: Store, keep_runs: int) -> None:
        self._store = store
        self._keep = keep_runs
        self.matching = Matching()
        self.apps: dict[str, App] = {}
        self.functions: dict[str, Function] = {}
        self.events: dict[str, Event] = {}
        self.runs: dict[str, Run] = {}
        self.runs_of_event: defaultdict[str, list[str]] = defaultdict(list)
        self.triggers: defaultdict[str, list[tuple[str, Trigger]]] = defaultdict(list)
        self.waits: defaultdict[str, dict[tuple[str, str], Wait]] = defaultdict(dict)
        self.cancellable: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._cancel_names: dict[str, tuple[str, ...]] = {}
        self._ended: deque[str] = deque()
        self._event_order: deque[str] = deque()

    # -- applications -------------------------------------------------------------------------

    def save_app(self, app: App) -> None:
        """Replace the application's functions by those it has now."""
        before = self.apps.get(app.id)
        for slug, function in self.functions.items():
            if function.app == app.id and slug not in app.functions:
                self._archive(function)
        for slug in app.functions:
            self._store.forget("archived", slug)
        self.apps[app.id] = app
        self.functions.update(app.functions)
        self._index_triggers()
        if before is not None:
            app.created_at = before.created_at
        self.save_app_status(app)

    def _archive(self, function: Function) -> None:
        """It starts nothing any more, but its runs go on and are shown."""
        self.functions[function.slug] = replace(function, archived=True)
        doc = {"app": function.app, "raw": dict(function.raw)}
        self._store.mark("archived", function.slug, lambda: doc)

    def save_app_status(self, app: App) -> None:
        """Keep the app as it is; its functions are not looked at."""
        self.apps[app.id] = app
        self._store.mark("app", app.id, app.doc)

    def _index_triggers(self) -> None:
        self.triggers.clear()
        for app in self.apps.values():
            for function in app.functions.values():
                for trigger in function.triggers:
                    if trigger.event is not None:
                        self.triggers[trigger.event].append((function.slug, trigger))

    def live_functions(self) -> Iterator[Function]:
        """Every function that is registered now."""
        for app in self.apps.values():
            yield from app.functions.values()

    # -- events -------------------------------------------------------------------------------

    def add_event(self, event: Event) -> None:
        """Keep the event; the oldest are forgotten when there are too many."""
        self.events[event.internal_id] = event
        self._event_order.append(event.internal_id)
        self.save_event(event)
        while len(self._event_order) > 4 * self._keep:
            self._forget_oldest_event()

    def save_event(self, event: Event) -> None:
        """Note that the event has changed."""
        self._store.mark("event", event.internal_id, event.doc)

    def _forget_oldest_event(self) -> None:
        oldest = self._event_order.popleft()
        if any(not self.runs[run].ended for run in self.runs_of_event.get(oldest, ())):
            self._event_order.append(oldest)
            return
        self.events.pop(oldest, None)
        self._store.forget("event", oldest)

    def payload(self, event_id: str) -> Payload:
        """The event as the application gets it; empty when it is forgotten."""
        event = self.events.get(event_id)
        return {} if event is None else orjson.loads(event.payload)

    def event_of(self, run: Run) -> Payload:
        """The event that the run started with; empty when it is forgotten."""
        return self.payload(run.events[0])

    def function_of(self, run: Run) -> Function:
        """The run's function, also when it is registered no more."""
        return self.functions[run.function]

    def listens(self, name: str) -> bool:
        """Whether an event of that name would do anything."""
        return any(bool(index.get(name)) for index in (self.triggers, self.waits, self.cancellable))

    # -- runs ---------------------------------------------------------------------------------

    def add_run(self, run: Run) -> None:
        """Keep the run and find it by its events."""
        self.runs[run.id] = run
        for event in run.events:
            self.runs_of_event[event].append(run.id)
        self._index_run(run)
        self.save_run(run)

    def _index_run(self, run: Run) -> None:
        if run.ended:
            self._ended.append(run.id)
            return
        names = tuple(rule.event for rule in self.functions[run.function].cancels)
        self._cancel_names[run.id] = names
        for name in names:
            self.cancellable[name][run.id] = None
        for wait in run.waits.values():
            self._index_wait(run, wait)

    def _index_wait(self, run: Run, wait: Wait) -> None:
        if wait.event:
            self.waits[wait.event][run.id, wait.step] = wait

    def save_run(self, run: Run) -> None:
        """Note that the run has changed."""
        self._store.mark("run", run.id, run.doc)

    def save_span(self, run: Run, span: Span) -> None:
        """Note that the span has changed."""
        self._store.mark("span", f"{run.id}/{span.id}", span.doc)

    def forget_span(self, run: Run, span: Span) -> None:
        """Remove a span that the trace does not show."""
        run.spans.remove(span)
        self._store.forget("span", f"{run.id}/{span.id}")

    def remember(self, run: Run, step: str, memo: bytes) -> None:
        """Keep the step's result, which every further call of the function is given."""
        run.memos[step] = memo
        run.stack.append(step)
        run.planned.pop(step, None)
        if step in run.open:
            run.open.remove(step)
        self._store.mark("memo", f"{run.id}/{step}", lambda: orjson.Fragment(memo))

    def add_wait(self, run: Run, wait: Wait) -> None:
        """Let the run wait for this, too."""
        run.waits[wait.step] = wait
        self._index_wait(run, wait)

    def drop_wait(self, run: Run, step: str) -> Wait | None:
        """End the run's wait for the step, and give the wait."""
        wait = run.waits.pop(step, None)
        if wait is not None and wait.event:
            _drop(self.waits, wait.event, (run.id, step))
        return wait

    def retire(self, run: Run) -> None:
        """Forget the waits, jobs and memos of a run that has ended."""
        for name in self._cancel_names.pop(run.id, ()):
            _drop(self.cancellable, name, run.id)
        for step in list(run.waits):
            self.drop_wait(run, step)
        for step in run.memos:
            self._store.forget("memo", f"{run.id}/{step}")
        run.memos.clear()
        for part in (run.planned, run.open, run.gone_on):
            part.clear()
        run.jobs.clear()
        self._ended.append(run.id)
        self.save_run(run)
        while len(self._ended) > self._keep:
            self._forget_run(self._ended.popleft())

    def _forget_run(self, run_id: str) -> None:
        run = self.runs.pop(run_id)
        self._store.forget("run", run_id)
        for span in run.spans:
            self._store.forget("span", f"{run_id}/{span.id}")
        for event in run.events:
            run_ids = self.runs_of_event.get(event, [])
            if run_id in run_ids:
                run_ids.remove(run_id)
            if not run_ids:
                self.runs_of_event.pop(event, None)

    # -- after a restart ----------------------------------------------------------------------

    def load(self) -> None:
        """Read back what the store holds."""
        for doc in self._store.load("app"):
            app = App.load(doc)
            self.apps[app.id] = app
            self.functions.update(app.functions)
        for doc in self._store.load("archived"):
            function = parse_function(doc["app"], doc["raw"])
            self.functions.setdefault(function.slug, replace(function, archived=True))
        self._index_triggers()
        for doc in self._store.load("event"):
            event = Event.load(doc)
            self.events[event.internal_id] = event
            self._event_order.append(event.internal_id)
        runs = [Run.load(doc) for doc in self._store.load("run")]
        for run in sorted(runs, key=lambda run: run.ended_at or 0):
            self._load_run(run)
        self._load_parts()

    def _load_run(self, run: Run) -> None:
        self.runs[run.id] = run
        for event in run.events:
            self.runs_of_event[event].append(run.id)
        self._index_run(run)

    def _load_parts(self) -> None:
        for doc in self._store.load_keys("span"):
            run = self.runs.get(doc[0].partition("/")[0])
            if run is not None:
                run.spans.append(Span.load(orjson.loads(doc[1])))
        for run in self.runs.values():
            run.spans.sort(key=lambda span: (span.queued_at, span.started_at))
        for key, body in self._store.load_keys("memo"):
            run_id, _, step = key.partition("/")
            if run_id in self.runs:
                self.runs[run_id].memos[step] = bytes(body)


def _drop(index: dict[str, Any], name: str, key: Any) -> None:
    entries = index.get(name)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[name]


def batch_payloads(world: World, event_ids: Iterable[str]) -> list[bytes]:
    """The events' payloads as JSON; an event that is forgotten is left out."""
    events = (world.events.get(event_id) for event_id in event_ids)
    return [event.payload for event in events if event is not None]
