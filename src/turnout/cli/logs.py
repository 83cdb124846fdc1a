"""What a command logs, as lines for people: time, level, logger, message and fields."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from turnout.cli.printable import printable

LOGGERS = "turnout"
"""What the names of our loggers, and of those of adapters, begin with."""
LONGEST = 500
"""Characters of a field that are shown."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(r"secret|token|password|passwd|signature|authorization|(?:^|_)keys?$")
_SECRETS = (
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), r"\1:***@"),
    (re.compile(r"\b(whsec_|tr_[a-z]+_|signkey-[a-z]+-|[Bb]earer )[\w+/=.-]{4,}"), r"\1***"),
)
_PLAIN = re.compile(r"[\w.,:;/@+*()\[\]-]+")


class Lines(logging.Formatter):
    """Write a record as one line, with the traceback, if there is one, below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, message and fields; secrets are left out."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = f"{at.removesuffix('+00:00')}Z {record.levelname} {record.name}:"
        line = " ".join([head, _without_secrets(record.getMessage()), *_fields(record)])
        traces = [] if record.exc_info is None else [self.formatException(record.exc_info)]
        return printable("\n".join([line, *map(_without_secrets, traces)]))


def show_logs() -> None:
    """Have warnings and worse written on stderr, unless the app has set up logging by itself."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root.addHandler(handler)


def _fields(record: logging.LogRecord) -> Iterator[str]:
    """Write the extra fields of our own records; other libraries' fields are left out."""
    if record.name.partition(".")[0].partition("_")[0] != LOGGERS:
        return
    for name, value in vars(record).items():
        if name in _STANDARD or value is None:
            continue
        text = "***" if _SECRET_NAME.search(name) else _without_secrets(str(value))
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        yield f"{name}={text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)}"


def _without_secrets(text: str) -> str:
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text
