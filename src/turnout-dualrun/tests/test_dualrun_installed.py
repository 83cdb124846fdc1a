"""A dual run is made by what is installed for it."""

import subprocess
import sys
from importlib.metadata import EntryPoints

import pytest

from turnout import app, open_turnout
from turnout.bootstrap import live
from turnout.errors import InvalidSettings

DUAL = {
    "ORCHESTRATOR_PROVIDER": "dual",
    "ORCHESTRATOR_PRIMARY": "local",
    "ORCHESTRATOR_SHADOW": "memory",
    "TURNOUT_DATABASE_URL": "sqlite://",
    "TURNOUT_ARTIFACTS": "none",
}


def test_a_dual_run_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the service is opened, before anything is started."""
    monkeypatch.setattr(live, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(InvalidSettings, match=r"pip install 'turnout\[dualrun\]'"):
        open_turnout(app("shop"), DUAL)


@pytest.mark.parametrize(("settings", "imported"), [(DUAL, True), ({}, False)])
def test_only_a_dual_run_imports_it(settings: dict[str, str], *, imported: bool) -> None:
    """A service that does not move pays nothing for it."""
    code = (
        "import sys; from turnout import app, open_turnout\n"
        "settings = {'TURNOUT_DATABASE_URL': 'sqlite://', 'TURNOUT_ARTIFACTS': 'none'}\n"
        f"open_turnout(app('shop'), settings | {settings!r})\n"
        "print('turnout_dualrun' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{imported}\n"
