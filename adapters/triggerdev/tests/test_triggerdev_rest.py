"""The adapter's calls: what it asks of a server, and what it makes of the answers.

The server is the double in this process, or a few lines that answer nonsense. Time is the
double's: whoever waits turns its clock.
"""

import asyncio
import json
import sys
import threading
import zoneinfo
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from turnout_triggerdev.api import AT_ONCE
from turnout_triggerdev.caller import LISTED_IN, TriggerdevCaller
from turnout_triggerdev.settings import read_settings
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF

from turnout.errors import (
    InvalidSettings,
    LaptopSetting,
    ProviderRefused,
    ProviderUnavailable,
    TurnoutError,
    UnmappedStatus,
)
from turnout.model.runs import Wake
from turnout.model.schedules import Schedule
from turnout.model.status import DeliveryState, RunStatus

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_peer import (
    RUNS_IN,
    TASKS,
    Oracle,
    ServersTime,
    StandingTime,
    calling,
    delivery,
    rig,
)

# Deliveries


async def test_one_and_many_are_delivered_once_however_often(served_with: Any) -> None:
    """A delivery's key makes its vendor run once; a batch holds at most 500 (contract: 1)."""
    async with rig(served_with) as (server, caller):
        one = await caller.deliver([delivery(0)])
        assert (await caller.deliver([delivery(0)])) == one
        many = [delivery(number) for number in range(1_200)]
        for _ in range(2):
            answers = await caller.deliver(many)
            assert [each.key for each in answers] == [each.key for each in many]
            assert not any(each.error for each in answers)
            await server.turn(RUNS_IN)
        assert len(server.world.runs) == 1_200
        assert max(each.run_count for each in server.world.batches.values()) == 500
        payload = json.loads(server.world.runs[one[0].provider_run_id].payload)
        assert payload == {"run_id": "r0", "delivery": 1, "task": "work", "protocol": 1}


async def test_a_vendors_key_that_has_expired_makes_a_vendor_run_with_the_same_delivery(
    served_with: Any,
) -> None:
    """The vendor forgets keys after 30 days; the payload still names the one delivery.

    Only the first vendor run may claim that; another one is told `superseded`.
    """
    async with rig(served_with) as (server, caller):
        (first,) = await caller.deliver([delivery(0)])
        await server.turn(31 * 86_400)
        (second,) = await caller.deliver([delivery(0)])
        assert first.provider_run_id != second.provider_run_id
        kept = {run.payload for run in server.world.runs.values()}
        assert len(kept) == 1


@pytest.mark.parametrize("token", [True, False])
async def test_a_task_that_nobody_registered_is_refused_and_nothing_is_sent(
    served_with: Any, *, token: bool
) -> None:
    """The vendor would accept it and leave it in PENDING_VERSION for ever (contract: 0.8, 9.7)."""
    more = {"TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN, "TRIGGER_PROJECT_REF": PROJECT_REF}
    async with served_with() as server:
        await server.register(*TASKS)
        clock = ServersTime(server.world)
        async with calling(server.url, clock, **(more if token else {})) as caller:
            known, unknown = await caller.deliver([delivery(0), delivery(1, task="nobodys")])
            assert known.provider_run_id is not None
            assert isinstance(unknown.error, ProviderUnavailable)
            assert "no worker that knows 'nobodys'" in str(unknown.error)
            assert [run.task for run in server.world.runs.values()] == ["work"]
            await server.register(*TASKS, {"id": "nobodys"}, contentHash="next")
            (answer,) = await caller.deliver([delivery(1, task="nobodys")])
            assert answer.error is None


async def test_a_task_that_a_deployment_took_away_is_refused_soon(served_with: Any) -> None:
    """What was read of the registered tasks is believed for half a minute."""
    async with rig(served_with) as (server, caller):
        assert (await caller.deliver([delivery(0)]))[0].error is None
        await server.register({"id": "other"}, contentHash="next")
        await server.turn(31)
        (answer,) = await caller.deliver([delivery(1)])
        assert isinstance(answer.error, ProviderUnavailable)


# Rate limits


async def test_ten_thousand_deliveries_pass_a_narrow_limit_and_none_is_lost(
    served_with: Any,
) -> None:
    """A limited server is asked again when its limit is reset, and not before."""
    async with rig(served_with, limit="4/2/10") as (server, caller):
        answers = []
        for start in range(0, 10_000, 500):
            page = [delivery(number) for number in range(start, start + 500)]
            answers += await caller.deliver(page)
        await server.turn(RUNS_IN)
        assert not any(each.error for each in answers)
        assert len({run.idempotency_key for run in server.world.runs.values()}) == 10_000


async def test_a_limited_server_is_never_spun_on(served_with: Any) -> None:
    """Of one key's calls only those already under way are refused, once for each reset."""
    async with rig(served_with, limit="20/20/10") as (server, caller):
        refused = _count_refusals(caller)
        began = server.world.now()
        found = await asyncio.gather(*(caller.deliver([delivery(number)]) for number in range(300)))
        assert not any(each.error for (each,) in found)
        assert len(server.world.runs) == 300
        resets = (server.world.now() - began) / 10_000
        assert resets >= 12
        assert refused() <= resets * AT_ONCE


def _count_refusals(caller: TriggerdevCaller) -> Any:
    seen: list[int] = []

    async def note(response: Any) -> None:
        seen.append(response.status_code)

    caller._api._http.event_hooks = {"response": [note]}
    return lambda: seen.count(429)


async def test_whoever_must_wait_too_long_is_told_when_to_come_again(listening: Any) -> None:
    """A long pause is the caller's to make: the error carries it."""
    body = {"title": "Rate Limit Exceeded", "status": 429, "secondsUntilReset": 45.5}
    oracle = Oracle(JSONResponse(body, 429, media_type="application/problem+json"))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        for _ in range(2):
            with pytest.raises(ProviderUnavailable) as raised:
                await caller.defined()
            assert raised.value.retry_after is not None
            assert 45 <= raised.value.retry_after.total_seconds() <= 46
    assert len(oracle.asked) == 1


async def test_the_last_allowed_answer_is_heeded_before_the_first_refusal(listening: Any) -> None:
    """`x-ratelimit-remaining: 0` holds the next request until `x-ratelimit-reset`."""
    clock = StandingTime()
    spent = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7000"}
    oracle = Oracle(JSONResponse({"data": [], "pagination": {}}, headers=spent))
    async with listening(oracle.app()) as url, calling(url, clock) as caller:
        await caller.armed()
        assert clock.now() == 0
        await caller.armed()
        assert clock.now() == 7_000


# Answers of every kind

SHOULD = "x-should-retry"
PROBLEM = {"code": "x", "path": ["page"], "message": "m"}


@pytest.mark.parametrize(
    ("answer", "error", "word"),
    [
        (JSONResponse({"error": "Invalid API key"}, 401), ProviderRefused, "Invalid API key"),
        (JSONResponse({"error": "no"}, 503), ProviderUnavailable, "503"),
        (JSONResponse({"error": "no"}, 500, {SHOULD: "false"}), ProviderRefused, "500"),
        (JSONResponse({"error": "soon"}, 422, {SHOULD: "true"}), ProviderUnavailable, "soon"),
        (Response("<html>", 404, media_type="text/html"), ProviderRefused, "TRIGGER_API_URL"),
        (Response("<html>", 200, media_type="text/html"), ProviderRefused, "TRIGGER_API_URL"),
        (Response(status_code=302, headers={"location": "/login"}), ProviderRefused, "302"),
        (JSONResponse(["a", "list"]), ProviderUnavailable, "not an object"),
        (JSONResponse({"data": "no list"}), ProviderUnavailable, "data"),
        (JSONResponse({"data": [1]}), ProviderUnavailable, "data"),
        (JSONResponse({"data": [], "pagination": 3}), ProviderUnavailable, "pagination"),
        (
            JSONResponse({"data": [], "pagination": {"totalPages": 10**9}}),
            ProviderUnavailable,
            "pagination",
        ),
        (JSONResponse({"error": "E", "details": [PROBLEM]}, 400), ProviderRefused, "page: m"),
    ],
)
async def test_every_wrong_answer_is_a_clear_error(
    listening: Any, answer: Response, error: type[TurnoutError], word: str
) -> None:
    """The error says what was wrong, and its class whether to try again."""
    oracle = Oracle(answer)
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        with pytest.raises(error, match=word):
            await caller.armed()


SCHEDULE = {
    "id": "sched_1",
    "deduplicationKey": "turnout:dev:shop:s1",
    "generator": {"expression": "0 9 * * *"},
    "active": True,
}


@pytest.mark.parametrize("lost", ["id", "generator", "active"])
async def test_a_schedule_without_a_field_names_the_field(listening: Any, lost: str) -> None:
    """What an answer must have and lacks is named; it is no KeyError."""
    told = {name: value for name, value in SCHEDULE.items() if name != lost}
    oracle = Oracle(JSONResponse({"data": [told], "pagination": {"totalPages": 1}}))
    name = "expression" if lost == "generator" else lost
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        with pytest.raises(ProviderUnavailable, match=name):
            await caller.armed()


@pytest.mark.parametrize(
    ("told", "error", "word"),
    [
        ({}, ProviderUnavailable, "status"),
        ({"status": 7}, ProviderUnavailable, "status"),
        ({"status": "HIBERNATING"}, UnmappedStatus, "HIBERNATING"),
        ({"status": "QUEUED", "attemptCount": "many"}, ProviderUnavailable, "attemptCount"),
    ],
)
async def test_a_run_of_an_unknown_shape_is_a_clear_error(
    listening: Any, told: dict[str, Any], error: type[TurnoutError], word: str
) -> None:
    """A status that the table lacks is never guessed."""
    oracle = Oracle(JSONResponse(told))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        with pytest.raises(error, match=word):
            await caller.look(delivery(0, provider_run_id="run_1"))


@pytest.mark.parametrize("word", ["EXPIRED", "TIMED_OUT"])
async def test_the_word_decides_whatever_the_flags_say(listening: Any, word: str) -> None:
    """All flags are false for these two, and yet the run has ended (contract: 9.2)."""
    flags = dict.fromkeys(("isCompleted", "isFailed", "isCancelled", "isExecuting"), False)
    oracle = Oracle(JSONResponse({"id": "run_1", "status": word, **flags}))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        seen = await caller.look(delivery(0, provider_run_id="run_1"))
    assert (seen.state, seen.word, seen.ended_at) == (RunStatus.TIMED_OUT, word, None)
    assert oracle.asked[0][2]["x-trigger-api-version"] == "2025-07-16"


async def test_a_run_that_is_not_there_yet_is_asked_for_again(listening: Any) -> None:
    """A 404 with `x-should-retry` may be early; one that stays is the truth."""
    early = JSONResponse({"error": "Run not found"}, 404, {SHOULD: "true"})
    oracle = Oracle(early, JSONResponse({"status": "QUEUED"}))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        seen = await caller.look(delivery(0, provider_run_id="run_1"))
        assert seen.word == "QUEUED"
    oracle = Oracle(early)
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        seen = await caller.look(delivery(0, provider_run_id="run_1"))
        assert (seen.state, len(oracle.asked)) == (None, 3)


# status and cancel


async def test_what_the_platform_says_is_kept_as_evidence(served_with: Any) -> None:
    """Its word, version, attempts and times; no payload and no output."""
    async with rig(served_with) as (server, caller):
        (sent,) = await caller.deliver([delivery(0)])
        begun = await server.begin()
        await server.complete(begun, output='"secret"', outputType="application/json")
        seen = await caller.look(delivery(0, provider_run_id=sent.provider_run_id))
        assert (seen.state, seen.attempts) == (RunStatus.COMPLETED, 1)
        assert seen.evidence["version"] == "20261120.1"
        assert "turnout:r0.1" in seen.evidence["tags"]
        assert "secret" not in json.dumps(dict(seen.evidence))


async def test_a_run_whose_id_is_unknown_is_found_by_its_tag(served_with: Any) -> None:
    """A batch does not tell its runs' ids; until the list has it, it counts as queued."""
    async with rig(served_with) as (server, caller):
        now = server.world.now()
        await caller.deliver([delivery(number) for number in range(9)])
        await server.turn(RUNS_IN)
        sent = delivery(3, state=DeliveryState.SENT, sent_at=now)
        assert (await caller.look(sent)).word == "QUEUED"
        lost = delivery(77, state=DeliveryState.SENT, sent_at=now)
        assert (await caller.look(lost)).state is RunStatus.QUEUED
        assert await caller.stop(lost) is False
        await server.turn(LISTED_IN / 1_000)
        assert (await caller.look(lost)).state is None
        assert await caller.stop(lost) is True


async def test_runs_of_long_ids_are_not_taken_for_each_other(served_with: Any) -> None:
    """A tag is shorter than an id and a number may be; what is left out still counts."""
    async with rig(served_with) as (server, caller):
        one, other = (delivery(0, run_id="r" * 125 + end) for end in ("-a", "-b"))
        await caller.deliver([one])
        await server.turn(RUNS_IN)
        now = server.world.now()
        assert (await caller.look(replace(one, sent_at=now))).word == "QUEUED"
        assert await caller.stop(replace(other, state=DeliveryState.PENDING))
        assert await caller.stop(replace(one, number=2, state=DeliveryState.PENDING))
        assert (await caller.look(replace(one, sent_at=now))).word == "QUEUED"


async def test_a_cancel_is_confirmed_and_hits_no_neighbour(served_with: Any) -> None:
    """Queued: at once. Executing: when the vendor says so. Ended: as it was."""
    async with rig(served_with) as (server, caller):
        first, second = await caller.deliver([delivery(0), delivery(1)])
        assert await caller.stop(delivery(0, provider_run_id=first.provider_run_id))
        seen = await caller.look(delivery(0, provider_run_id=first.provider_run_id))
        assert (seen.state, seen.ended_at) == (RunStatus.CANCELLED, None)
        begun = await server.begin()
        assert await caller.stop(delivery(1, provider_run_id=second.provider_run_id))
        assert (await server.complete(begun))["attemptStatus"] == "RUN_FINISHED"
        assert await caller.stop(delivery(1, provider_run_id=second.provider_run_id))
        assert await caller.stop(delivery(5, provider_run_id="run_unknown"))


async def test_one_wake_that_fails_lets_the_others_through(served_with: Any) -> None:
    """Wakes are hints: those that can be given are given, then the failure is told."""
    async with rig(served_with) as (server, caller):
        body = {"idempotencyKey": "k"}
        token = (await server.api.post("/api/v1/waitpoints/tokens", body))["id"]
        parked = [delivery(0, token="waitpoint_nope"), delivery(1, token=token)]
        await caller.wake([Wake(run_id="r", seq=1, due_at=0, delivery=each) for each in parked])
        assert server.world.waitpoints[token].status == "COMPLETED"


# schedules and environments

DAILY = Schedule(id="daily", cron="30 7 * * *", zone="Europe/Berlin", task="work")


async def test_schedules_are_exact_paused_removed_and_read_back(served_with: Any) -> None:
    """Imperative, without a window, in their zone; what stands is not sent again."""
    async with rig(served_with) as (server, caller):
        await caller.arm([DAILY])
        (kept,) = server.world.schedules.values()
        assert (kept.type, kept.window, kept.timezone) == ("IMPERATIVE", "0m", "Europe/Berlin")
        assert (kept.deduplication_key, kept.external_id) == ("turnout:dev:shop:daily", "daily")
        (armed,) = await caller.armed()
        assert (armed.id, armed.cron, armed.zone, armed.active) == (
            *("daily", "30 7 * * *", "Europe/Berlin"),
            True,
        )
        before = kept.id
        await caller.arm([replace(DAILY, paused=True)])
        assert [each.active for each in await caller.armed()] == [False]
        await caller.arm([replace(DAILY, zone="UTC")])
        (armed,) = await caller.armed()
        assert (armed.provider_id, armed.zone, armed.active) == (before, "UTC", True)
        await caller.arm([])
        assert server.world.schedules == {}


async def test_another_apps_schedules_are_left_alone(served_with: Any) -> None:
    """A key is the project's, so it carries environment and app (contract: 0.7)."""
    async with rig(served_with) as (server, caller):
        foreign = {"task": "turnout-tick", "cron": "* * * * *", "deduplicationKey": "turnout:x:s"}
        await server.api.post("/api/v1/schedules", foreign)
        await caller.arm([DAILY])
        await caller.arm([])
        assert [each.deduplication_key for each in server.world.schedules.values()] == [
            "turnout:x:s"
        ]


async def test_a_zone_is_asked_for_by_the_name_that_the_server_has(served_with: Any) -> None:
    """A real server refuses Europe/Kyiv and has Europe/Kiev: the same zone, told back as ours."""
    async with rig(served_with) as (server, caller):
        kyiv = replace(DAILY, zone="Europe/Kyiv")
        await caller.arm([kyiv])
        (kept,) = server.world.schedules.values()
        assert kept.timezone == "Europe/Kiev"
        assert [each.zone for each in await caller.armed()] == ["Europe/Kyiv"]
        kept.last_tick = 1
        await caller.arm([kyiv])
        assert [each.last_tick for each in server.world.schedules.values()] == [1]


async def test_zones_are_compared_beside_the_loop_and_found_in_one_walk(
    served_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of files are read for it: runs are served meanwhile, and deliveries are on time."""
    zones, walked = zoneinfo.available_timezones, []

    def walk() -> set[str]:
        walked.append(threading.current_thread())
        return zones()

    async with rig(served_with) as (server, caller):
        monkeypatch.setattr(zoneinfo, "available_timezones", walk)
        for _ in range(2):
            await caller.arm([replace(DAILY, zone="Asia/Kolkata")])
        (kept,) = server.world.schedules.values()
    assert kept.timezone == "Asia/Calcutta"
    assert len(walked) == 1
    assert walked[0] is not threading.main_thread()


@pytest.mark.parametrize("slug", ["dev", "stg", "prod"])
async def test_every_environment_is_asked_by_the_name_it_has_there(
    served_with: Any, slug: str
) -> None:
    """The path of a worker says `staging` where all others say `stg` (a real server: 400)."""
    more = {"TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN, "TRIGGER_PROJECT_REF": PROJECT_REF}
    async with served_with() as server:
        key = {"TRIGGER_SECRET_KEY": KEYS[slug]}
        async with calling(server.url, ServersTime(server.world), **more, **key) as caller:
            assert await caller.defined() == []


async def test_a_preview_branch_goes_with_every_request(listening: Any) -> None:
    """`x-trigger-branch` names it, and a schedule's key does."""
    more = {"TRIGGER_SECRET_KEY": "tr_preview_x", "TRIGGER_PREVIEW_BRANCH": "fix-1"}
    key = "turnout:preview/fix-1:shop:s1"
    found = {"data": [{**SCHEDULE, "deduplicationKey": key}, SCHEDULE], "pagination": {}}
    oracle = Oracle(JSONResponse(found))
    async with listening(oracle.app()) as url, calling(url, StandingTime(), **more) as caller:
        assert [each.id for each in await caller.armed()] == ["s1"]
    assert {headers["x-trigger-branch"] for _, _, headers in oracle.asked} == {"fix-1"}


async def test_a_self_hosted_origin_may_have_a_path(listening: Any) -> None:
    """A server behind a proxy's path is asked there."""
    oracle = Oracle(JSONResponse({"data": [], "pagination": {}}))
    async with listening(oracle.app()) as url, calling(f"{url}/td/", StandingTime()) as caller:
        await caller.armed()
    assert oracle.asked[0][1] == "/td/api/v1/schedules"


async def test_a_server_that_is_away_is_told_by_its_address(port: int) -> None:
    """Which of several servers it is, and what went wrong on the way, in one line of the log."""
    async with calling(f"http://127.0.0.1:{port}/td/", StandingTime()) as caller:
        with pytest.raises(
            ProviderUnavailable, match=rf"^triggerdev at http://127.0.0.1:{port}/td does not answer"
        ) as raised:
            await caller.armed()
    assert raised.value.__cause__ is None  # a registration would log its traceback


@pytest.mark.parametrize(
    "given",
    [
        {"TRIGGER_SECRET_KEY": "tr_dev_x"},
        {"TRIGGER_SECRET_KEY": "unnamed"},
        {"TRIGGER_SECRET_KEY": "tr_prod_x", "TRIGGER_ENVIRONMENT": "dev"},
    ],
)
def test_the_development_environment_is_refused_in_production(given: dict[str, str]) -> None:
    """It is also what a key stands for that names none; every other environment is taken."""
    assert read_settings(given).environment == "dev"
    with pytest.raises(LaptopSetting, match="TRIGGER_ENVIRONMENT and TRIGGER_SECRET_KEY"):
        read_settings(given, deployed=True)
    assert read_settings({"TRIGGER_SECRET_KEY": "tr_stg_x"}, deployed=True).environment == "stg"
    with pytest.raises(InvalidSettings) as raised:
        read_settings({}, deployed=True)
    assert not isinstance(raised.value, LaptopSetting)  # it is installed, and not set up


WRONG = [
    ({}, "TRIGGER_SECRET_KEY is not set"),
    ({"TRIGGER_API_URL": "ftp://x"}, "http"),
    ({"TRIGGER_API_URL": "https://user:word@x"}, "more than an origin"),
    ({"TRIGGER_ENVIRONMENT": "production"}, "dev, stg, prod, preview"),
    ({"TRIGGER_ACCESS_TOKEN": "tr_dev_x"}, "tr_pat_"),
    ({"TRIGGER_SECRET_KEY": "tr_preview_x"}, "TRIGGER_PREVIEW_BRANCH is not set"),
    ({"TRIGGER_SECRET_KEY": "tr_prod_x", "TRIGGER_PREVIEW_BRANCH": "b"}, "prod has no branches"),
]


@pytest.mark.parametrize(("given", "word"), WRONG)
def test_wrong_settings_are_named(given: dict[str, str], word: str) -> None:
    """Before anything is asked; no secret is shown."""
    with pytest.raises(InvalidSettings, match=word) as raised:
        read_settings(given)
    assert "word@" not in str(raised.value)


async def test_the_dashboard_shows_a_runs_tags(served_with: Any) -> None:
    """After the adapter's own, as many as the vendor takes; alone and in a batch."""
    tags = tuple(f"customer-{number}" for number in range(10))
    async with rig(served_with) as (server, caller):
        (alone,) = await caller.deliver([delivery(0, tags=tags)])
        await caller.deliver([delivery(number, tags=("vip",)) for number in range(1, 9)])
        await server.turn(RUNS_IN)
        (shown,) = [run for run in server.world.runs.values() if run.id == alone.provider_run_id]
        assert set(shown.tags) == {"turnout:r0.1", "task:work", "run:r0", *tags[:7]}
        batched = [set(run.tags) for run in server.world.runs.values() if run is not shown]
        assert sorted(batched, key=sorted) == [
            {f"turnout:r{number}.1", "task:work", f"run:r{number}", "vip"} for number in range(1, 9)
        ]
