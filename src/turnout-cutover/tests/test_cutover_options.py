"""What is kept of a change says who made it and why."""

import getpass
import socket
from pathlib import Path

import pytest
import typer
from turnout_cutover.commands import drain, inventory, move, rollback, status
from turnout_cutover.options import DECLARED, declared_file, reason_text, sign
from typer.testing import CliRunner


@pytest.mark.parametrize("blank", ["", " \t"])
@pytest.mark.parametrize(
    ("commands", "arguments"),
    [
        (move.commands, ("order", "--to", "new", "--reason")),
        (move.commands, ("order", "--to", "new", "--reason", "wave 1", "--override")),
        (rollback.commands, ("--all", "--reason")),
        (drain.commands, ("acme", "--close")),
        (inventory.commands, ("--from-store",)),
    ],
    ids=["move", "override", "rollback", "drain", "inventory"],
)
def test_a_blank_reason_is_refused(
    commands: typer.Typer, arguments: tuple[str, ...], blank: str
) -> None:
    """Whatever the reason is for; nothing is opened."""
    result = CliRunner().invoke(commands, [*arguments, blank])
    assert result.exit_code == 2
    assert "blank" in result.output


def test_a_declared_file_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    """Only the file that is looked for without being named may be missing."""
    missing = tmp_path / "turnout.mvoe.toml"
    result = CliRunner().invoke(status.commands, ["--file", str(missing)])
    assert (result.exit_code, "there is no file" in result.output) == (2, True)
    assert declared_file(DECLARED) == DECLARED
    missing.touch()
    assert declared_file(missing) == missing


def test_a_signature_can_be_stored_whatever_is_typed() -> None:
    """A shell passes bytes on that are no UTF-8."""
    signature = sign("an\udcffna", "wave\0 1", "OPS\udcff")
    assert (signature.operator, signature.reason, signature.ticket) == (
        "an\ufffdna",
        "wave\ufffd 1",
        "OPS\ufffd",
    )
    assert reason_text("night\udcff") == "night\ufffd"


def test_a_user_without_a_name_can_change_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a user id that no file names."""

    def getuser() -> str:
        raise KeyError("getpwuid(): uid not found: 1000730000")

    monkeypatch.setattr(getpass, "getuser", getuser)
    assert sign(None, "wave 1", None).operator == f"an operator@{socket.gethostname()}"


def test_only_a_dry_run_needs_no_reason() -> None:
    """It leaves no row."""
    with pytest.raises(typer.BadParameter, match="say why"):
        sign("anna", None, None)
    assert sign("anna", None, None, dry_run=True).operator == "anna"
    assert sign("anna", "wave 1", "OPS-7").ticket == "OPS-7"
