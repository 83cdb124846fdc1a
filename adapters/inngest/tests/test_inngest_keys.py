"""Keys in self-hosted mode: signed both ways, rotated without loss, never shown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import inngest_tasks
import pytest
from inngest_stage import Stage, ended, start, until
from turnout_inngest.caller import InngestCaller
from turnout_inngest.keys import Accepted, KeyRing, bearer, key_notices

import turnout
from turnout import Turnout
from turnout.errors import ProviderRefused
from turnout.model.status import RunStatus

OLD, NEW = "ab" * 16, "cd" * 16


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage in self-hosted mode."""
    made = Stage(tmp_path)
    made.options = (*made.options, *server_keys(OLD))
    return made


def server_keys(signing: str, *events: str) -> tuple[str, ...]:
    """The server's options: it has one signing key at a time, and any number of event keys."""
    named = events or ("first",)
    return ("--signing-key", signing, *(part for each in named for part in ("--event-key", each)))


def keyed(
    stage: Stage, signing: str, *, event: str = "first", fallback: str = ""
) -> dict[str, str]:
    """The service's settings."""
    found = {
        "INNGEST_DEV": "0",
        "INNGEST_BASE_URL": stage.url,
        "INNGEST_SIGNING_KEY": f"signkey-prod-{signing}",
        "INNGEST_EVENT_KEY": event,
    }
    return found | ({"INNGEST_SIGNING_KEY_FALLBACK": fallback} if fallback else {})


@contextlib.asynccontextmanager
async def emitting(live: Turnout) -> AsyncIterator[list[str]]:
    """Go on emitting while keys change; the ids of the runs."""
    run_ids: list[str] = []

    async def on_and_on() -> None:
        while True:
            run_ids.append(await start(live, "do/plain"))
            await asyncio.sleep(0.15)

    going = asyncio.create_task(on_and_on())
    try:
        yield run_ids
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def test_a_rotation_loses_nothing(stage: Stage) -> None:
    """Old; then new with the old as fallback, before and after the server's change; then new."""
    settings = (
        keyed(stage, OLD),
        keyed(stage, NEW, fallback=OLD),
        keyed(stage, NEW),
    )
    run_ids: list[str] = []
    async with stage.server():
        async with stage.service(inngest_tasks.everything, **settings[0]) as live:
            run_ids.append(await _done(live))
            asleep = await start(live, "do/asleep")
        async with stage.service(inngest_tasks.everything, **settings[1]) as live:
            run_ids.append(await _done(live))
            async with emitting(live) as more:
                await until(lambda: _some(more, 2))
                await stage.kill_server()
                stage.options = (*stage.options[:3], *server_keys(NEW))
                await stage.start_server()
                await until(lambda: _some(more, 6))
            run_ids += [*more, await _done(live)]
        async with stage.service(inngest_tasks.everything, **settings[2]) as live:
            run_ids.append(await _done(live))
            for run_id in (asleep, *run_ids):
                report = await ended(live, run_id)
                assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
                assert all(len(tries) == 1 for tries in report.journal.attempts.values())


async def test_event_keys_rotate_at_the_server(stage: Stage) -> None:
    """It takes several, so the new one is added there, then used here, then the old one goes."""
    stage.options = (*stage.options[:3], *server_keys(OLD, "first", "second"))
    async with stage.server():
        for event in ("first", "second"):
            given = keyed(stage, OLD, event=event)
            async with stage.service(inngest_tasks.everything, **given) as live:
                await _done(live)


async def test_where_a_rotation_stands(stage: Stage) -> None:
    """The doctor's notices name the next thing to do, at every point of it."""
    async with stage.server():
        for given, told in (
            (keyed(stage, OLD), ""),
            (keyed(stage, NEW, fallback=OLD), "being rotated"),
            (keyed(stage, OLD, fallback=NEW), "still set"),
            (keyed(stage, NEW), "accepts neither"),
            (keyed(stage, OLD, event="wrong"), "INNGEST_EVENT_KEY"),
        ):
            live = turnout.open_turnout(inngest_tasks.everything, {**stage.environ, **given})
            caller = live.callers["inngest"]
            assert isinstance(caller, InngestCaller)
            texts = [each.text for each in await caller.notices(_nothing_known)]
            about_keys = [text for text in texts if "key" in text.lower() and "is open" not in text]
            assert any(told in text for text in about_keys) if told else not about_keys
            assert not any(OLD in text or NEW in text for text in texts)
            await live.close()


async def test_a_stranger_cannot_register(stage: Stage) -> None:
    """Neither without a signature, nor with a wrong or an old one; and nothing is run."""
    async with stage.server(), stage.service(inngest_tasks.everything, **keyed(stage, OLD)):
        address = f"{stage.environ['TURNOUT_SERVICE_URL']}/turnout/inngest/functions"
        stale = "t=1700000000&s=" + "0" * 64
        async with httpx.AsyncClient() as stranger:
            for headers in ({}, {"x-inngest-signature": stale}, {"x-inngest-signature": "x"}):
                for method in ("PUT", "POST", "GET"):
                    answer = await stranger.request(
                        method, address, params={"fnId": "stage-plain"}, headers=headers
                    )
                    assert answer.status_code == 401, (method, headers, answer.text)


async def test_a_wrong_key_is_named(stage: Stage) -> None:
    """The setting, never the key."""
    given = keyed(stage, NEW)
    async with stage.server():
        live = turnout.open_turnout(inngest_tasks.everything, {**stage.environ, **given})
        with pytest.raises(ProviderRefused, match="INNGEST_SIGNING_KEY") as raised:
            await live.callers["inngest"].defined()
        assert NEW not in str(raised.value)
        await live.close()


@pytest.mark.parametrize("key", [OLD, f"signkey-test-{OLD}", f"signkey-prod-{OLD.upper()}"])
def test_a_key_is_shown_as_its_digest(key: str) -> None:
    """With and without the prefix that names an environment."""
    assert bearer(key) == bearer(OLD)
    assert OLD not in bearer(key)


def test_every_state_of_a_rotation_is_told() -> None:
    """A server that does not answer says nothing of keys."""
    for signing in (*Accepted, None):
        for fallback in (*Accepted, None):
            ring = KeyRing(signing=signing, fallback=fallback, event=Accepted.YES)
            told = list(key_notices(ring))
            assert len(told) <= 1
            if Accepted.UNKNOWN in (signing, fallback) or signing is None:
                assert not told


async def _nothing_known(_run_id: str) -> bool:
    return False


async def _done(live: Turnout) -> str:
    run_id = await start(live, "do/plain")
    report = await ended(live, run_id)
    assert report.journal.run.state is RunStatus.COMPLETED
    return run_id


async def _some(run_ids: list[str], count: int) -> bool | None:
    return len(run_ids) >= count or None
