"""The order of queued runs and their slots, over many random histories."""

from hypothesis import given
from hypothesis import strategies as st
from turnout_triggerdev_double.server.lanes import Lane, Lanes

QUEUE_LIMIT, TOTAL = 2, 3
ADD, TAKE, RELEASE, DROP = "add", "take", "release", "drop"

steps = st.lists(
    st.tuples(st.sampled_from([ADD, ADD, TAKE, TAKE, RELEASE, DROP]), st.integers(0, 4)),
    max_size=80,
)


def slots(lane: Lane) -> list[tuple[tuple[object, ...], int | None]]:
    """Each key may hold two runs, all of them three."""
    return [(("all",), TOTAL), (("key", lane[1]), QUEUE_LIMIT)]


@given(steps)
def test_the_first_that_may_go_goes_and_no_limit_is_exceeded(
    history: list[tuple[str, int]],
) -> None:
    """Of all waiting runs whose slots are free the one with the smallest score is taken."""
    lanes = Lanes(slots)
    waiting: dict[str, tuple[int, int]] = {}
    held: dict[str, int] = {}
    dropped: set[str] = set()
    for number, (action, key) in enumerate(history):
        if action == ADD:
            run, score = f"r{number}", (number * 7 + key * 3) % 20
            lanes.add(("env", key), score, run, "ticket")
            waiting[run] = (score, key)
        elif action == TAKE:
            open_runs = {
                run: place
                for run, place in waiting.items()
                if len(held) < TOTAL and list(held.values()).count(place[1]) < QUEUE_LIMIT
            }
            taken = lanes.take("env", lambda run, _: run not in dropped)
            assert (taken is None) == (not open_runs)
            if taken is not None:
                best = min(score for score, _ in open_runs.values())
                assert waiting[taken][0] == best
                held[taken] = waiting.pop(taken)[1]
        elif action == RELEASE and held:
            run = sorted(held)[key % len(held)]
            lanes.release(run)
            del held[run]
        elif action == DROP and waiting:
            run = sorted(waiting)[key % len(waiting)]
            dropped.add(run)
            del waiting[run]
