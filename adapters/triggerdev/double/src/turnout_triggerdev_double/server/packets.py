"""Large payloads and outputs: kept apart, under a name, and read and written at URLs."""

import hashlib
import hmac

from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import OfflineWorld

STORED = "application/store"
"""The type of a payload or an output that is only the name of a packet."""
OFFLOADED_FROM = 512 * 1024
"""Bytes of a payload from which the server itself makes a packet of it."""


def address(world: OfflineWorld, env: Environment, name: str) -> str:
    """The URL at which anyone who knows it may read or write the packet."""
    return f"{world.project.url}/packets/{seal(env, name)}/{name}"


def seal(env: Environment, name: str) -> str:
    """What the URL of a packet proves by."""
    return hmac.new(env.key.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]


def offloaded(world: OfflineWorld, env: Environment, name: str, text: str, kind: str) -> bool:
    """Make a packet of a text that is too large; False if it is not."""
    body = text.encode()
    if kind == STORED or len(body) < OFFLOADED_FROM:
        return False
    world.store.put_packet(f"{env.id}/{name}", body, kind)
    return True
