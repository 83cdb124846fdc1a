"""Work that fails is logged, and tried again later."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from turnout.errors import TurnoutError

log = logging.getLogger(__name__)


@contextmanager
def logged(action: str, subject: str) -> Iterator[None]:
    """Log an error, with the action and its subject, and go on."""
    try:
        yield
    except TurnoutError as error:
        log.warning(
            "an action failed; tried again later",
            extra={"action": action, "subject": subject, "error": str(error)},
        )
    except Exception:
        # The outermost edge: one piece of work may fail in any way, the loop around it may not.
        log.exception(
            "an action failed unexpectedly; tried again later",
            extra={"action": action, "subject": subject},
        )
