"""The promises of a run store about events: emits, keys, and dead letters."""

import asyncio
from dataclasses import replace

import pytest

from turnout.errors import InvalidRunId, UnknownRun, WrongUse
from turnout.model.events import DeadLetter
from turnout.model.labels import NO_LABELS, Labels
from turnout.model.policies import Retries
from turnout.model.runs import RunFilter, Transition
from turnout.model.status import DeliveryState, RunOrigin, RunStatus, TransitionCause
from turnout.ports.run_store import RunStore
from turnout_testing.conformance.run_store_values import T0, emission, ended, new_run

LABELS = Labels(tags=("vip", "é☃"), user_id="u1", metadata=b'{"a":[1]}')


class EventsContract:
    """Emits: events, runs, keys."""

    async def test_an_emitted_run_reads_back_as_it_was_given(self, store: RunStore) -> None:
        """Every field of a run survives, the absent ones too."""
        bare = new_run("r1")
        full = new_run(
            "r2",
            key="k",
            shadow="other",
            limit_key='"a"',
            definition="d",
            code_version="c",
            deadline_at=T0 + 5,
            due_at=T0 + 1,
            payload='{"ä":"☃"}'.encode(),
            parent_run_id="r1",
            parent_step="call",
            labels=LABELS,
            origin=RunOrigin.RETRY,
            retry_of="r1",
            retries=Retries(max_attempts=7, min_delay="1m", max_delay=90, factor=1.5, jitter=0.1),
        )
        await store.events.emit([emission(bare), emission(full)])
        runs = [(await store.journals.load(run_id)).run for run_id in ("r1", "r2")]
        full = full._replace(
            retries=replace(full.retries or Retries(), min_delay="60000ms", max_delay="90000ms")
        )
        assert [run._replace(emit_seq=0) for run in runs] == [bare, full]
        assert runs[0].emit_seq < runs[1].emit_seq

    async def test_a_delivery_that_is_to_be_sent_has_the_tags(self, store: RunStore) -> None:
        """Also of a run whose payload is too large to come with it, and of one sent before."""
        large = b'"' + b"x" * 100_000 + b'"'
        tagged = [new_run("r1", labels=LABELS), new_run("r2", labels=LABELS, payload=large)]
        await store.events.emit([emission(run) for run in (*tagged, new_run("r3"))])
        taken = await store.due.take_deliveries(T0, limit=9, hold=1)
        assert {delivery.run_id: delivery.tags for delivery in taken} == {
            "r1": LABELS.tags,
            "r2": LABELS.tags,
            "r3": (),
        }
        assert [delivery.run_id for delivery in taken if delivery.run is None] == ["r2"]
        await store.deliveries.redeliver("r1", 1, "local", T0)
        (again,) = [
            delivery
            for delivery in await store.due.take_deliveries(T0 + 1, limit=9, hold=1)
            if delivery.run_id == "r1" and delivery.number == 2
        ]
        assert again.tags == LABELS.tags

    async def test_an_emit_tells_the_runs_that_it_started(self, store: RunStore) -> None:
        """One event starts every task subscribed to it, and names their runs at once."""
        (emitted,) = await store.events.emit([emission(new_run("r1", "a"), new_run("r2", "b"))])
        assert emitted.event_id == "e-r1"
        assert [(ref.run_id, ref.task, ref.duplicate) for ref in emitted.runs] == [
            ("r1", "a", False),
            ("r2", "b", False),
        ]

    async def test_a_new_run_is_queued_with_a_pending_delivery(self, store: RunStore) -> None:
        """A run begins queued, and its first delivery is pending at its due time."""
        await store.events.emit([emission(new_run(due_at=T0 + 50))])
        (queued,) = await store.journals.transitions("r1")
        assert queued == Transition(
            state=RunStatus.QUEUED, at=T0, cause=TransitionCause.EMIT, actor="e-r1"
        )
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.number, delivery.state, delivery.due_at) == (
            1,
            DeliveryState.PENDING,
            T0 + 50,
        )
        assert delivery.key == "r1.1"

    async def test_a_key_starts_one_run_per_task_for_ever(self, store: RunStore) -> None:
        """A second emit with a key gives the first run, even after that has ended."""
        await store.events.emit([emission(new_run("r1", key="k"))])
        await ended(store, "r1")
        (emitted,) = await store.events.emit([emission(new_run("r2", key="k"))])
        assert [(ref.run_id, ref.duplicate) for ref in emitted.runs] == [("r1", True)]
        assert emitted.event_id == "e-r1"
        with pytest.raises(UnknownRun):
            await store.journals.load("r2")

    async def test_a_key_belongs_to_its_task(self, store: RunStore) -> None:
        """Two tasks may use one key, each once."""
        await store.events.emit([emission(new_run("r1", "a", key="k"))])
        second = emission(new_run("r2", "a", key="k"), new_run("r3", "b", key="k"))
        (emitted,) = await store.events.emit([second])
        assert [(ref.run_id, ref.duplicate) for ref in emitted.runs] == [
            ("r1", True),
            ("r3", False),
        ]

    async def test_many_emits_with_one_key_at_once_start_one_run(self, store: RunStore) -> None:
        """Whoever comes first, all are emitted the same run."""
        emits = [store.events.emit([emission(new_run(f"r{at}", key="k"))]) for at in range(20)]
        refs = [emitted.runs[0] for (emitted,) in await asyncio.gather(*emits)]
        assert len({ref.run_id for ref in refs}) == 1
        assert sorted(ref.duplicate for ref in refs) == [False] + [True] * 19
        assert len(await store.runs.find(RunFilter())) == 1

    async def test_an_emission_that_is_repeated_changes_nothing(self, store: RunStore) -> None:
        """A caller that could not tell whether an emit was committed sends it again."""
        first = emission(new_run("r1"))
        await store.events.emit([first])
        run = await ended(store, "r1")
        (emitted,) = await store.events.emit([first])
        assert [(ref.run_id, ref.duplicate) for ref in emitted.runs] == [("r1", True)]
        assert (await store.journals.load("r1")).run == run
        assert len(await store.deliveries.read("r1")) == 1

    async def test_a_run_id_is_not_taken_over_by_another_task(self, store: RunStore) -> None:
        """A caller's own run id names one run of one task; nothing of the emit stays."""
        await store.events.emit([emission(new_run("r1", "a"))])
        with pytest.raises(InvalidRunId, match="'a'"):
            await store.events.emit([emission(new_run("r2", "c")), emission(new_run("r1", "b"))])
        with pytest.raises(UnknownRun):
            await store.journals.load("r2")

    async def test_one_emit_that_fails_leaves_its_neighbours(self, store: RunStore) -> None:
        """Operations that are committed together fail apart."""
        await store.events.emit([emission(new_run("taken", "a"))])
        calls = [
            store.events.emit([emission(new_run("taken" if at % 7 == 3 else f"r{at}", "b"))])
            for at in range(30)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        failed = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, InvalidRunId)]
        assert failed == [3, 10, 17, 24]
        assert len(await store.runs.find(RunFilter(task="b"))) == 26

    async def test_the_order_of_emit_grows(self, store: RunStore) -> None:
        """Each emit that is awaited comes after the ones before it."""
        for at in range(5):
            await store.events.emit([emission(new_run(f"r{at}"))])
        runs = await store.runs.find(RunFilter())
        assert [run.run_id for run in runs] == ["r4", "r3", "r2", "r1", "r0"]
        assert sorted(run.emit_seq for run in runs) == [run.emit_seq for run in reversed(runs)]

    async def test_a_connection_of_no_known_kind_is_refused(self, store: RunStore) -> None:
        """The refusal names what was given and what can be."""
        with pytest.raises(WrongUse, match=r"builtins\.str.*AsyncSession.*psycopg"):
            await store.events.emit([emission(new_run())], connection="sqlite://")

    async def test_dead_letters_are_kept_until_they_are_emitted(self, store: RunStore) -> None:
        """The oldest first; one that is refused twice is one letter, also after its emit."""
        letters = [
            DeadLetter(
                letter_id=f"l{place}",
                name="go",
                payload=b'{"n":1}',
                key="k" if place else None,
                due_at=T0 + 9 if place else None,
                error="invalid_payload: payload.n",
                refused_at=T0 - place,
                labels=LABELS if place else NO_LABELS,
            )
            for place in range(2)
        ]
        for letter in (*letters, *letters):
            await store.dead_letters.put(letter)
        assert await store.dead_letters.read(limit=9) == letters[::-1]
        await store.dead_letters.settle("l1", "e1")
        await store.dead_letters.put(letters[1])
        assert await store.dead_letters.read(limit=9) == letters[:1]
        assert await store.dead_letters.count() == 1

    async def test_a_dead_letter_may_be_dropped_with_a_reason(self, store: RunStore) -> None:
        """It is kept no more, also when its event comes again; the reason stays. Once."""
        letter = DeadLetter(
            letter_id="l1",
            name="go",
            payload=b"{}",
            key="k",
            due_at=None,
            error="invalid_payload: payload.n",
            refused_at=T0,
        )
        await store.dead_letters.put(letter)
        assert await store.dead_letters.drop(["l1", "nobody"], "a test") == ["l1"]
        assert await store.dead_letters.drop(["l1"], "again") == []
        await store.dead_letters.put(letter)
        assert (await store.dead_letters.read(limit=9), await store.dead_letters.count()) == ([], 0)
        assert await store.dead_letters.read(limit=9, dropped=True) == [
            replace(letter, dropped="a test")
        ]
