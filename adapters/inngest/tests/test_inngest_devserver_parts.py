"""The offline server's small parts: expressions, crons, slots, ids, signatures."""

import string
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from turnout_inngest.cel import InvalidExpression
from turnout_inngest_double import crons, expressions, ids, outcome, signing
from turnout_inngest_double.app_reader import read_app
from turnout_inngest_double.capacity import Capacity, ConcurrencySlot, Waiting
from turnout_inngest_double.errors import InvalidFunction, RefusedBySync
from turnout_inngest_double.functions import parse_function
from turnout_inngest_double.http_client import Reply

EVENT: dict[str, Any] = {
    "name": "a",
    "data": {"n": 3, "s": "text", "b": True, "list": [1, 2], "o": {"k": None}, "id": 7},
}
NEW: dict[str, Any] = {"data": {"id": 7, "other": "7"}}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("event.data.n == 3", True),
        ("event.data.n == 3.0", True),
        ("event.data.n == '3'", False),
        ("event.data.b == 1", False),
        ("event.data['s'].startsWith('te') && size(event.data.list) == 2", True),
        ("2 in event.data.list || false", True),
        ("event.data.absent == null", True),
        ("event.data.absent == async.data.absent", False),
        ("event.data.absent != async.data.absent", True),
        ("event.data.o.k == null", True),
        ("has(event.data.o.k) && !has(event.data.o.z)", True),
        ("event.data.id == async.data.id", True),
        ("event.data.id == async.data.other", False),
        ("event.data.n > 'x'", False),
        ("event.data.absent > 1 || event.data.n * 2 >= 6", True),
        ("event.data.n / 2 == 1 && -7 / 2 == -3 && 7 % 4 == 3", True),
        ("event.data.b ? event.data.n < 4 : false", True),
        ('event.data.s + "!" == "text!"', True),
        ("string(event.data.n) == '3' && int('4') == 4 && double('1.5') == 1.5", True),
        ("event.data.list[1] == 2 && event.data.list[9] == null", True),
    ],
)
def test_conditions_mean_what_cel_says(text: str, holds: bool) -> None:
    """Strict types, null-safe members; absent equals null and nothing else."""
    assert expressions.matches(text, {"event": EVENT, "async": NEW}) is holds


@pytest.mark.parametrize(
    "text",
    [
        "event.data.list.all(x, x > 1)",
        "event.data.s.matches('a+')",
        "timestamp(event.ts) > 1",
        "other.data == 1",
        "event.data.n ==",
        "event.data..n",
        "(" * 200 + "1" + ")" * 200,
        "'open",
        "{'a': 1}",
        "x" * 3_000,
        "1 == 1 extra",
    ],
)
def test_what_is_not_of_the_subset_is_refused(text: str) -> None:
    """Refused when it is registered, not when it runs."""
    with pytest.raises(InvalidExpression):
        expressions.check(text)


@example("20000000000000000000")
@given(st.text(alphabet=string.printable, max_size=60))
def test_no_text_breaks_the_expressions(text: str) -> None:
    """Whatever comes is an expression or an InvalidExpression, and evaluates to a verdict."""
    try:
        expressions.check(text)
    except InvalidExpression:
        return
    assert expressions.matches(text, {"event": EVENT, "async": NEW}) in {True, False}
    assert isinstance(expressions.key_of(text, {"event": EVENT}), str)


@pytest.mark.parametrize(
    "cron",
    ["@daily", "* * * * * *", "0 0 * * 7", "0 0 L * *", "TZ=No/Where * * * * *", "61 * * * *", ""],
)
def test_crons_that_the_vendor_refuses_are_refused(cron: str) -> None:
    """Five fields, no macros, no 7 for Sunday, known zones; in the real server's words."""
    with pytest.raises(InvalidFunction) as caught:
        crons.check(cron)
    assert str(caught.value) == f"'{cron}' isn't a valid cron schedule"


def test_crons_that_the_vendor_takes_are_taken() -> None:
    """A question mark is a star, and a step may be longer than its field."""
    for cron in ("? * * * *", "*/61 * * * *", "TZ=Europe/Berlin 0 9 * * MON-FRI"):
        crons.check(cron)


def test_crons_follow_their_zone_over_a_clock_change() -> None:
    """09:30 in Paris is 08:30 UTC in winter and 07:30 in summer."""
    winter = ids.parse_moment("2026-01-15T00:00:00Z")
    summer = ids.parse_moment("2026-07-15T00:00:00Z")
    cron = "CRON_TZ=Europe/Paris 30 9 * * MON-FRI"
    assert ids.iso(crons.next_time(cron, winter)) == "2026-01-15T08:30:00.000Z"
    assert ids.iso(crons.next_time(cron, summer)) == "2026-07-15T07:30:00.000Z"


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=0, max_size=2, unique=True), max_size=12),
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
    st.randoms(use_true_random=False),
)
def test_capacity_never_exceeds_and_never_forgets(
    wanted: list[list[int]], limits: list[int], random: Any
) -> None:
    """However requests and releases interleave: within every limit, and all get their turn."""
    capacity = Capacity()
    slots_of: tuple[ConcurrencySlot, ...] = tuple(enumerate(limits))
    inside: list[tuple[ConcurrencySlot, ...]] = []
    went: Counter[int] = Counter()

    def go(number: int, slots: tuple[ConcurrencySlot, ...]) -> bool:
        went[number] += 1
        inside.append(slots)
        held = Counter(key for each in inside for key, _ in each)
        assert all(count <= dict(slots_of)[key] for key, count in held.items())
        return True

    for number, keys in enumerate(wanted):
        slots = tuple((key, limits[key]) for key in keys)
        capacity.request(Waiting(slots=slots, go=partial(go, number, slots)))
        if inside and random.random() < 0.5:
            capacity.release(inside.pop(random.randrange(len(inside))))
    while inside:
        capacity.release(inside.pop(random.randrange(len(inside))))
    assert went == Counter(range(len(wanted)))


def test_ids_of_a_seed_are_the_seeds() -> None:
    """The same seed gives the same ids; nonsense gives none."""
    seed = "1795202033665,AAAAAAAAAAAAAA=="
    assert ids.seeded_ulids(seed, 2) == ids.seeded_ulids(seed, 2)
    assert len(set(ids.seeded_ulids(seed, 3) or [])) == 3
    assert ids.seeded_ulids("x", 1) is None
    assert ids.seeded_ulids("-5,AAAA", 1) is None


@given(st.integers(0, 2**48 - 1))
def test_ulids_sort_by_their_moment(ms: int) -> None:
    """26 characters, ordered by time."""
    assert len(ids.ulid(ms)) == 26
    assert ids.ulid(ms, 5) <= ids.ulid(ms, 6)


@pytest.mark.parametrize(
    ("text", "ms"), [("1s", 1_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("500ms", 500)]
)
def test_durations_are_read(text: str, ms: int) -> None:
    """Go's units, and days and weeks."""
    assert ids.parse_duration(text) == ms
    with pytest.raises(ValueError, match="duration"):
        ids.parse_duration(f"{text}!")


def test_a_reply_is_signed_or_not() -> None:
    """The signature covers body and time, and needs the key."""
    key, body = "ab" * 16, b'{"a":1}'
    header = signing.request_signature(key, body, 1_700_000_000_000)
    assert signing.is_signed(key, body, header)
    assert signing.is_signed(f"signkey-prod-{key}", body, header)
    assert not signing.is_signed(key, b"{}", header)
    assert not signing.is_signed("cd" * 16, body, header)
    assert not signing.is_signed(key, body, "t=x&s=")


@pytest.mark.parametrize("status", [200, 204, 301, 401, 404, 500, 502])
def test_an_answer_that_is_not_the_sdks_fails_the_attempt(status: int) -> None:
    """A proxy's page is never taken for a result."""
    found = outcome.read(Reply(status=status, headers={}, body=b"<html>"))
    assert isinstance(found, outcome.Failed)
    assert not found.no_retry


@given(st.binary(max_size=80), st.sampled_from([200, 201, 206, 500]))
def test_no_body_breaks_the_reading(body: bytes, status: int) -> None:
    """Whatever an application answers is an outcome."""
    headers = {"x-inngest-sdk": "inngest-py:v0", "x-inngest-req-version": "x"}
    outcome.read(Reply(status=status, headers=headers, body=body))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"batchEvents": {"maxSize": 2}, "debounce": {"period": "1s"}}, "cannot be combined"),
        ({"singleton": {"mode": "queue"}}, "skip or cancel"),
        ({"timeouts": {"finish": "soon"}}, "duration"),
        ({"steps": {}}, "malformed"),
        ({"magic": 1}, "does not know magic"),
    ],
)
def test_a_function_that_cannot_be_honoured_is_refused(config: dict[str, Any], why: str) -> None:
    """By the function's id and the reason."""
    step = {"id": "step", "runtime": {"type": "http", "url": "http://x"}}
    raw = {"id": "a-f", "triggers": [{"event": "e"}], "steps": {"step": step}, **config}
    with pytest.raises(RefusedBySync, match=why) as caught:
        parse_function("a", raw)
    assert "a-f" in str(caught.value)


CRON = "* * * * *"


@pytest.mark.parametrize(
    ("config", "reasons"),
    [
        (
            {"triggers": [{"cron": "61 * * * *"}, {"event": ""}]},
            [
                "'61 * * * *' isn't a valid cron schedule",
                "An event trigger must specify an event name",
            ],
        ),
        (
            {"triggers": [{"cron": CRON}, {"cron": CRON}]},
            [f"duplicate trigger cron: {CRON}", f"duplicate cron expression: {CRON}"],
        ),
        ({"triggers": [{"event": "a"}, {"event": "a"}]}, ["duplicate trigger event: a"]),
        ({"triggers": [{}]}, ["A trigger must supply an event name or a cron schedule"]),
        (
            {"triggers": [{"event": "x" * 256}]},
            ["event name is too long. maximum length is 255 characters"],
        ),
        (
            {"triggers": [{"event": f"e{n}"} for n in range(11)]},
            ["This function exceeds the max number of triggers: 10"],
        ),
        (
            {"cancel": [{"event": f"e{n}"} for n in range(6)]},
            ["This function exceeds the max number of cancellation events: 5"],
        ),
        (
            {"concurrency": [{"limit": 1}] * 3},
            ["There are more concurrency limits specified than the allowed max of: 2"],
        ),
        (
            {"concurrency": [{"limit": 1, "scope": "env"}]},
            ["A concurrency key must be specified for Env scoped limits"],
        ),
        (
            {"batchEvents": {"maxSize": 2}, "cancel": [{"event": "x"}]},
            ["Batching and cancellation are mutually exclusive"],
        ),
    ],
)
def test_what_the_real_server_refuses_is_refused_in_its_words(
    config: dict[str, Any], reasons: list[str]
) -> None:
    """All reasons at once, as they were read on a real server."""
    step = {"id": "step", "runtime": {"type": "http", "url": "http://x"}}
    raw = {"id": "a-f", "triggers": [{"event": "e"}], "steps": {"step": step}, **config}
    with pytest.raises(RefusedBySync) as caught:
        read_app({"appname": "a", "functions": [raw]}, "", 0)
    assert str(caught.value) == " * ".join([f"{len(reasons)} errors occurred:", *reasons])


def test_a_function_without_triggers_is_taken() -> None:
    """It can only be invoked."""
    step = {"id": "step", "runtime": {"type": "http", "url": "http://x"}}
    assert parse_function("a", {"id": "a-f", "steps": {"step": step}}).triggers == ()
