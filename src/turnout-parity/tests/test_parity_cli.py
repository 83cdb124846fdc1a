"""`turnout parity check`: parse, one call, print."""

import json
from pathlib import Path
from typing import Any

import pytest
from turnout_parity.command import app
from typer.testing import CliRunner


def run(*arguments: str) -> Any:
    """Call the command."""
    return CliRunner().invoke(app, ["check", *arguments])


async def test_exit_codes_are_those_of_the_verdict(shelf: Any, run_spec: Any) -> None:
    """0 PASS, 1 FAIL, 2 wrong use."""
    await _in_thread(lambda: _expect(run("--store", str(shelf.root)), 2))
    shelf.pair("a")
    await _in_thread(lambda: _expect(run("--store", str(shelf.root)), 0))
    shelf.put(run_spec("b"))
    await _in_thread(lambda: _expect(run("--store", str(shelf.root)), 1))


async def test_json_is_one_object_on_stdout(shelf: Any) -> None:
    """Progress and warnings are not on stdout."""
    shelf.pair("a")
    result = await _in_thread(lambda: run("--store", str(shelf.root), "--json"))
    assert json.loads(result.stdout)["matched"] == 1


async def test_reports_are_written_where_asked(shelf: Any, tmp_path: Path) -> None:
    """A page and a JUnit file beside the table."""
    shelf.pair("a")
    page, xml = tmp_path / "r.html", tmp_path / "r.xml"
    await _in_thread(
        lambda: run("--store", str(shelf.root), "--html", str(page), "--junit", str(xml))
    )
    assert "PASS" in page.read_text()
    assert "testsuite" in xml.read_text()


async def test_without_a_store_the_settings_name_it(
    shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`TURNOUT_ARTIFACTS` is where runs are recorded anyway."""
    shelf.pair("a")
    monkeypatch.chdir(shelf.root)
    monkeypatch.setenv("TURNOUT_ARTIFACTS", str(shelf.root))
    await _in_thread(lambda: _expect(run(), 0))
    monkeypatch.setenv("TURNOUT_ARTIFACTS", "none")
    await _in_thread(lambda: _expect(run(), 2))


async def test_own_documents_are_compared(shelf: Any) -> None:
    """By glob, with the twin's name as given."""
    shelf.write("out/a.json", b"1")
    shelf.write("out/new-a.json", b"2")
    result = await _in_thread(
        lambda: run(
            *("--store", str(shelf.root), "--json"),
            *("--documents", "out/{run}.json", "--twin", "new-{run}"),
        )
    )
    (found,) = json.loads(result.stdout)["differences"]
    assert (found["primary"], found["shadow"], found["pointer"]) == (1, 2, "")


async def test_a_pipe_gets_plain_text(shelf: Any) -> None:
    """Without colours, and a row is a line."""
    run_id = "r-" + "x" * 100
    shelf.pair(run_id, shadow={"result": 1})
    result = await _in_thread(lambda: run("--store", str(shelf.root)))
    assert "\x1b" not in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if run_id in line]
    assert "status.json#/result" in row


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--store", "/nowhere/at/all"], "no such folder"),
        (["--store", "gopher://x"], "--store: 'gopher' is not supported"),
        (["--store", "{root}", "--ignore", "/nowhere.toml"], "cannot read the ignores"),
        (["--store", "{root}", "--documents", "x"], "--documents"),
        (["--store", "{root}", "--redact", "("], "--redact"),
        (["--store", "{root}", "--html", "/nowhere/r.html"], "nowhere"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_to_do(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    """On stderr, by name, without a traceback."""
    result = run(*(each.replace("{root}", str(tmp_path)) for each in arguments))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("/nowhere").exists()


def _expect(result: Any, code: int) -> None:
    assert result.exit_code == code, result.output


async def _in_thread(call: Any) -> Any:
    """Leave the event loop: the command runs one of its own."""
    import asyncio

    return await asyncio.to_thread(call)
