"""Paths that only the double has: its health, and turning its clock."""

from starlette.responses import Response

from turnout_triggerdev_double.server.clock import FrozenClock, OffsetClock
from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer


def health(call: ApiCall) -> Response:
    """`GET /double/health`: it is up, and it is a double."""
    return answer({"ok": True, "label": "double, not production", "now": iso(call.world.now())})


def worker(call: ApiCall) -> Response:
    """`GET /double/worker`: is a worker registered and connected; 503 until one is."""
    world = call.world
    ready = [env for env in world.current if world.connected.get(env, 0) > 0]
    return answer({"environments": ready}, status=200 if ready else 503)


def turn_clock(call: ApiCall) -> Response:
    """`POST /double/clock {"advanceMs": n}`: time passes, and what became due happens."""
    step = call.fields().get("advanceMs")
    clock = call.world.clock
    if not isinstance(step, int) or step < 0:
        raise refused(400, 'Validation error: Expected a number, 0 or more, at "advanceMs"')
    assert isinstance(clock, OffsetClock | FrozenClock)
    clock.turn(step)
    call.world.alarms.turned()
    return answer({"now": iso(call.world.now())})
