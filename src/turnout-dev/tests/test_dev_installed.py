"""Offline servers are found by entry point; an adapter may have none."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import turnout_dev.command
from turnout_dev.installed import devserver, devservers, without_devserver
from turnout_dev.supervisor import free_port
from typer.testing import CliRunner

from turnout.cli.extensions import CliDesk

pytestmark = pytest.mark.usefixtures("made_up_adapters")

HELLO = """
from turnout import app, task

@task("count", on="text/received")
async def count(ctx, payload):
    return 1

words = app("words", count)
"""
PATIENCE = 60.0


def test_an_offline_server_is_found_by_its_providers_name() -> None:
    """One that is not installed is None, not an error."""
    server = devserver("acme")
    assert server is not None
    assert server.name == "acme"
    assert devserver("bolt") is None
    assert "acme" in devservers()


def test_providers_without_an_offline_server_are_named() -> None:
    """Those of the runtime itself need none."""
    assert without_devserver() == ["bolt"]


def test_where_there_is_no_offline_server_the_command_says_for_whom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 2, and the providers that lack one."""
    monkeypatch.setattr(turnout_dev.command, "devservers", dict)
    ran = CliRunner().invoke(turnout_dev.command.commands(CliDesk()), [])
    assert ran.exit_code == 2
    assert "no offline server is installed for bolt" in ran.stderr


def test_where_there_is_no_adapter_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 2, and how the distributions are named."""
    monkeypatch.setattr(turnout_dev.command, "devservers", dict)
    monkeypatch.setattr(turnout_dev.command, "without_devserver", list)
    ran = CliRunner().invoke(turnout_dev.command.commands(CliDesk()), [])
    assert ran.exit_code == 2
    assert "install one, like turnout-<provider>-double" in ran.stderr


def test_servers_start_and_a_provider_without_one_is_named(tmp_path: Path) -> None:
    """The settings of all that started are in the file; the other provider is on stderr."""
    (tmp_path / "hello.py").write_text(HELLO)
    exports = tmp_path / "dev.env"
    ports = [f"--{name}-port={free_port()}" for name in devservers()]
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("turnout"), "dev", "--app", "hello:words"),
                *("--env-file", exports, *ports),
            ],
            cwd=tmp_path,
            stderr=stderr,
        )
    try:
        until = time.monotonic() + PATIENCE
        while not exports.exists() or "ACME_URL" not in exports.read_text():
            assert process.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < until, "no settings in time"
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    lines = (tmp_path / "stderr").read_text().splitlines()
    assert "# acme: double, not production" in lines
    assert any(line.startswith("# bolt: no offline server is installed") for line in lines)


def test_a_first_signing_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    """A key of the settings wins; only the owner reads the file of the other."""
    key = turnout_dev.command._signing_key({}, tmp_path)
    assert turnout_dev.command._signing_key({}, tmp_path) == key
    assert (tmp_path / "signing-key").stat().st_mode & 0o077 == 0
    keys = {"TURNOUT_SIGNING_KEYS": " whsec_a , whsec_b"}
    assert turnout_dev.command._signing_key(keys, tmp_path) == "whsec_a"
