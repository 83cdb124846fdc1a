"""What a command prints of other people's text."""

import json
import logging

import pytest

from turnout.cli.logs import Lines
from turnout.cli.output import print_json, show, table
from turnout.cli.printable import printable

HOSTILE = "\x1b[2J \x1b]8;;x\x07 \x9b2J \u202e \u2066 \x00 \x7f \U000e0041 \ud800 \r \u2028"


def test_what_steers_a_terminal_is_escaped() -> None:
    """Nothing but text, tabs and line feeds is left, and each escape tells what was there."""
    shown = printable(HOSTILE)
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == HOSTILE


def test_text_of_any_language_stays() -> None:
    """Letters, wide spaces, joined emoji, line breaks."""
    text = "Привіт, 세계\t日本\u3000語\u00a0é 👩\u200d💻\nend"
    assert printable(text) == text
    assert printable("a\r\nb") == "a\nb"


@pytest.mark.parametrize("as_json", [True, False])
def test_pages_and_json_are_escaped(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """A document stays the same document."""
    hostile = HOSTILE.replace("\ud800", "")
    rows = [("error", hostile)]
    show({"error": hostile}, as_json=as_json, page=lambda: [table("run", ("", ""), rows)])
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    print_json({"error": hostile})
    assert json.loads(capsys.readouterr().out) == {"error": hostile}


def test_logs_are_escaped() -> None:
    """The message, the fields and the traceback."""
    try:
        raise ValueError(HOSTILE)  # noqa: TRY301 - its traceback is what is written
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord("turnout.x", logging.ERROR, "f", 1, HOSTILE, None, trace)
    record.error = HOSTILE
    assert Lines().format(record).replace("\n", "").isprintable()
