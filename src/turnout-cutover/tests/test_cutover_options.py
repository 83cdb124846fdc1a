"""What is kept of a change says who made it and why."""

import pytest
import typer
from turnout_cutover.commands import drain, inventory, move, rollback
from turnout_cutover.options import sign
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


def test_only_a_dry_run_needs_no_reason() -> None:
    """It leaves no row."""
    with pytest.raises(typer.BadParameter, match="say why"):
        sign("anna", None, None)
    assert sign("anna", None, None, dry_run=True).operator == "anna"
    assert sign("anna", "wave 1", "OPS-7").ticket == "OPS-7"
