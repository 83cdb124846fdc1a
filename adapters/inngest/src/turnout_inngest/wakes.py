"""The events that wake parked vendor runs.

The server compares an event with every wait of its name. Under one name, a thousand parked runs
make each wake cost a thousand comparisons. So the waits are spread over many names.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

from turnout.model.runs import Wake

NAMES: Final = 1_024
OLD_NAME: Final = "turnout/wake"
"""What runs wait for that were parked by the release before; to be removed with the next one."""


def wake_name(run_id: str) -> str:
    """Name the event that a run waits for; always the same, because the server records waits."""
    digest = int.from_bytes(sha256(run_id.encode()).digest()[:2], "big")
    return f"{OLD_NAME}.{digest % NAMES:04}"


def wake_events(wakes: Iterable[Wake]) -> list[dict[str, Any]]:
    """List the events that send wakes; one that is sent again goes under the old name, too."""
    return [
        {"name": name, "data": {"run_id": wake.run_id, "seq": wake.seq}}
        for wake in wakes
        for name in (wake_name(wake.run_id), *((OLD_NAME,) if wake.sent else ()))
    ]
