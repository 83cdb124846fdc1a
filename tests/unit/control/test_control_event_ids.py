"""Ids of events are in order."""

from turnout.control.event_ids import OrderedIds


def test_ids_of_one_millisecond_keep_their_order() -> None:
    """Also when the clock stands still or steps back, and each is an id of its own."""
    ids = OrderedIds()
    made = [ids.new(now) for now in (5, 5, 5, 4, 4, 6) for _ in range(50)]
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {26}
