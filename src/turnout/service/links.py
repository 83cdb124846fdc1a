"""The connections that this process holds to providers itself."""

from collections.abc import Mapping

from turnout.model.providers import LinkStatus
from turnout.ports.caller import DurableCaller, Links


def link_states(callers: Mapping[str, DurableCaller]) -> Mapping[str, LinkStatus]:
    """Return the state of each caller's connection, by provider; callers without one are absent."""
    states = {name: caller.link() for name, caller in callers.items() if isinstance(caller, Links)}
    return {name: state for name, state in states.items() if state is not None}
