"""What happens to work that fails: it is logged, and tried again later."""

import logging

from turnout.errors import FailureLog

log = logging.getLogger(__name__)


def logged(action: str, subject: str) -> FailureLog:
    """Log what goes wrong, with the action and what it was done to, and go on."""
    message = "an action failed; tried again later"
    return FailureLog(log, message, action=action, subject=subject)
