"""A check of the service's own paths: who may call which."""

from collections.abc import Sequence

from turnout.model.providers import Guard
from turnout.ports.caller import Guards
from turnout.service.process import Turnout
from turnout_operator.doctor.check import Check, Health


def check_guards(live: Turnout) -> Check:
    """Say who may call what; a warning where strangers may start runs."""
    guards = [*_of_the_service(live), *_of_callers(live)]
    text = "; ".join(f"{guard.path}: {guard.callers}" for guard in guards)
    fix = next((guard.fix for guard in guards if guard.open), "")
    health = Health.WARN if any(guard.open for guard in guards) else Health.OK
    return Check(name="who may call", health=health, text=text, fix=fix)


def _of_the_service(live: Turnout) -> Sequence[Guard]:
    keys, token = len(live.settings.signing_keys), live.settings.events_token
    signed = f"calls that are signed with one of {keys} key(s) of TURNOUT_SIGNING_KEYS"
    readers = "readers with TURNOUT_EVENTS_TOKEN"
    return [
        Guard(path="/turnout/v1/step", callers=signed if keys else "nobody"),
        Guard(path="/turnout/runs/{run_id}/events", callers=readers if token else "nobody"),
        Guard(path="/turnout/health and /turnout/v1/openapi.json", callers="everyone"),
    ]


def _of_callers(live: Turnout) -> Sequence[Guard]:
    callers = [caller for caller in live.callers.values() if isinstance(caller, Guards)]
    return [guard for caller in callers for guard in caller.guards()]
