"""What follows from a task's policies alone: the delays of its retries."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.model.policies import Retries

SEEDS = [f"run-{number}/step" for number in range(200)]


def test_without_jitter_delays_grow_by_the_factor_up_to_the_longest() -> None:
    """The n-th delay is the first times the factor, n - 1 times."""
    retries = Retries(min_delay="1s", max_delay="10s", factor=3)
    delays = [retries.delay(failed, seed="s") for failed in range(1, 6)]
    assert delays == [1_000, 3_000, 9_000, 10_000, 10_000]


def test_jitter_spreads_delays_over_the_whole_part() -> None:
    """Runs that failed together are not tried again together."""
    retries = Retries(min_delay="10s", max_delay="60s", jitter=0.5)
    delays = {retries.delay(1, seed=seed) for seed in SEEDS}
    assert len(delays) > len(SEEDS) * 0.9
    assert min(delays) < 10_500
    assert max(delays) > 14_500


@given(st.text(), st.integers(1, 1_000), st.floats(0, 1))
def test_a_delay_with_jitter_is_repeatable_and_within_its_part(
    seed: str, failed: int, jitter: float
) -> None:
    """Never shorter than without jitter; the same wherever the run is replayed."""
    plain = Retries(max_delay="20s").delay(failed, seed=seed)
    retries = Retries(max_delay="20s", jitter=jitter)
    assert plain <= retries.delay(failed, seed=seed) <= round(plain * (1 + jitter))
    assert retries.delay(failed, seed=seed) == retries.delay(failed, seed=seed)


def test_each_failure_of_a_run_draws_anew() -> None:
    """The draw depends on the attempt, too: two runs do not stay side by side."""
    retries = Retries(min_delay="10s", max_delay="10s", jitter=1)
    assert len({retries.delay(failed, seed="one/step") for failed in range(1, 20)}) > 15
