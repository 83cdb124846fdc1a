"""Checks of the replicas that are alive: that they agree, and that they are connected."""

import asyncio
from collections.abc import Sequence

from turnout.errors import TurnoutError
from turnout.model.providers import LinkState
from turnout.model.replicas import Replica
from turnout.service.clock import JUMP
from turnout.service.process import Turnout
from turnout.service.replicas import foreign_flag, living
from turnout_operator.doctor.check import CHECK_TIME, Check, Health


async def check_replicas(live: Turnout, start: str) -> Check:
    """Whether a replica is alive, and all have the same settings and code; start: what to run."""
    replicas = await living(live.store.replicas, live.clock)
    if not replicas:
        text = "no replica of the service is running"
        return Check(name="replicas", health=Health.WARN, text=text, fix=start)
    for setting in ("provider", "definition", "version"):
        values = {getattr(replica, setting) for replica in replicas}
        if len(values) > 1:
            return Check(
                name="replicas",
                health=Health.FAIL,
                text=f"{len(replicas)} replicas disagree on the {setting}:"
                f" {', '.join(sorted(values))}",
                fix="restart the replicas with the same settings and code",
            )
    text = f"{len(replicas)} alive, all agreed"
    flag = foreign_flag(replicas, live.selection.provider)
    if flag is not None:
        return Check(
            name="replicas",
            health=Health.WARN,
            text=f"{text} on {flag}; here new runs go by {live.selection.provider}",
            fix=f"set ORCHESTRATOR_PROVIDER={flag} where commands emit, or restart the replicas",
        )
    return Check(name="replicas", health=Health.OK, text=text)


async def check_clocks(live: Turnout) -> Sequence[Check]:
    """By how much each replica's machine is ahead of the run store's clock, or behind it."""
    try:
        replicas = await asyncio.wait_for(living(live.store.replicas, live.clock), CHECK_TIME)
    except (TurnoutError, TimeoutError):
        return []
    offsets = {
        replica.replica_id: replica.clock_ahead
        for replica in replicas
        if replica.clock_ahead is not None
    }
    if not offsets:
        return []
    text = "to the run store's: " + ", ".join(
        f"{replica_id} {offset / 1_000:+.1f} s" for replica_id, offset in offsets.items()
    )
    if all(abs(offset) <= JUMP for offset in offsets.values()):
        return [Check(name="clocks", health=Health.OK, text=text)]
    return [
        Check(
            name="clocks",
            health=Health.WARN,
            text=f"{text}; replicas go by the run store's",
            fix="set the clocks of these machines, and keep them set (NTP)",
        )
    ]


async def check_links(live: Turnout) -> Sequence[Check]:
    """Whether the living replicas are connected to the providers that they hold a socket to."""
    try:
        replicas = await asyncio.wait_for(living(live.store.replicas, live.clock), CHECK_TIME)
    except (TurnoutError, TimeoutError):
        return []
    names = sorted({name for replica in replicas for name in replica.links})
    return [_link(name, replicas) for name in names]


def _link(name: str, replicas: Sequence[Replica]) -> Check:
    links = [replica.links[name] for replica in replicas if name in replica.links]
    down = [link for link in links if link.state is not LinkState.CONNECTED]
    reconnections = sum(max(0, link.connections - 1) for link in links)
    text = f"{len(links) - len(down)} of {len(links)} replica(s) connected"
    text += f"; made anew {reconnections} time(s)" if reconnections else ""
    problem = next((link.problem for link in (*down, *links) if link.problem), "")
    text += f"; {'' if down else 'last '}problem: {problem}" if problem else ""
    if not down:
        return Check(name=f"link {name}", health=Health.OK, text=text)
    return Check(
        name=f"link {name}",
        health=Health.FAIL if len(down) == len(links) else Health.WARN,
        text=f"{text} ({', '.join(sorted({link.state.value for link in down}))})",
        fix=f"see that the replicas reach {name}'s gateway, and that it takes their keys; they try"
        " again by themselves",
    )
