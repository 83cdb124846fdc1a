"""Signatures of step calls: standard-webhooks, with several keys, valid for five minutes."""

import time
from collections.abc import Mapping, Sequence

from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from turnout.errors import Unauthorised


def verify(body: bytes, headers: Mapping[str, str], keys: Sequence[SecretStr]) -> None:
    """Accept a message that one of the keys has signed in the last five minutes.

    Unauthorised says what is missing, never what was expected. Replays inside the window change
    nothing: every operation is idempotent.
    """
    signature = check_headers(headers, keys)
    for key in keys:
        try:
            # The body is parsed later, where an error in it is named.
            Webhook(key.get_secret_value()).verify(body, signature, json_parse=False)
        except (WebhookVerificationError, ValueError):
            continue
        return
    raise Unauthorised(_WRONG)


def check_headers(headers: Mapping[str, str], keys: Sequence[SecretStr]) -> dict[str, str]:
    """Refuse by the headers alone what no body can make good; return those of the signature.

    Unauthorised without keys, where a header is missing, and where the time is too far from now.
    """
    if not keys:
        raise Unauthorised("this service has no TURNOUT_SIGNING_KEYS, so it takes no step calls")
    signature = {name: headers.get(name, "") for name in _HEADERS}
    missing = [name for name, value in signature.items() if not value]
    if missing:
        raise Unauthorised(f"the header {missing[0]} is missing")
    try:
        age = time.time() - float(signature["webhook-timestamp"])
    except ValueError:
        raise Unauthorised(_WRONG) from None
    if not abs(age) <= _TOLERANCE:  # not a number is refused, too
        raise Unauthorised(_WRONG)
    return signature


_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_TOLERANCE = 5 * 60 + 1
"""Seconds; the signature itself is checked to five minutes."""
_WRONG = "the signature is wrong or too old"
