"""Text that is safe on a terminal: an error's message may quote what strangers sent."""

import json
import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # formats
    "\ud800-\udfff\U000e0000-\U000e007f]"  # surrogates and tags
)


def printable(text: str) -> str:
    """Write what steers a terminal, or hides or reorders text, as JSON's escapes.

    A JSON document stays the same document: such characters are within its strings only.
    """
    return _UNSAFE.sub(lambda unsafe: json.dumps(unsafe[0])[1:-1], text.replace("\r\n", "\n"))
