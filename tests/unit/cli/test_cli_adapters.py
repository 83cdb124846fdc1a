"""Commands that adapters add are found by entry point, and imported only when they are called."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, entry_points
from typing import NoReturn

import pytest
import typer

from turnout.cli.command_table import DISTRIBUTIONS
from turnout.cli.extensions import GROUP, CliDesk, find_extension, load_extension
from turnout.cli.main import run

ADDED = sorted(each.name for each in entry_points(group=GROUP))


def turnout(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a process."""
    code = "from turnout.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


def test_help_lists_every_adapter_that_adds_commands() -> None:
    """By name, below our own."""
    listed = turnout("--help").stdout
    assert ADDED
    assert all(f" {name} " in listed for name in ADDED)


def test_help_imports_no_adapter() -> None:
    """What an adapter needs is paid for when its command is called."""
    code = (
        "import sys; from turnout.cli.main import run\n"
        "try: run(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith('turnout_') or m == 'pydantic'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("name", ADDED)
def test_an_adapters_commands_have_help_and_a_line_each(name: str) -> None:
    """`turnout <name> --help` is a command, or a group of them, like any other."""
    ran = turnout(name, "--help")
    assert (ran.returncode, f"{name} [OPTIONS]" in ran.stdout) == (0, True)


@pytest.mark.parametrize("name", ADDED)
def test_a_misspelt_adapter_is_answered_with_the_nearest(name: str) -> None:
    """As our own commands are."""
    ran = turnout(name[:-2] + name[-1])
    assert (ran.returncode, f"did you mean '{name}'" in ran.stderr) == (2, True)


def test_an_entry_point_that_gives_no_app_is_refused_by_name() -> None:
    """An adapter's mistake is one line, not a trace."""

    class Wrong:
        name = "wrong"

        def load(self) -> object:
            return lambda desk: None

    with pytest.raises(typer.Exit) as refused:
        load_extension(Wrong())  # type: ignore[arg-type]
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "agents", "https://", "https://a:x", "https://a b", "http://a\n"),
        *("https://u:p@a/path", "https://a/path?x=1", "https://a/#x", "https://@a", "https://a?"),
    ],
)
def test_a_service_has_one_kind_of_address_wherever_it_is_given(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is written to a file that is committed: the option is looked at as the setting is."""
    with pytest.raises(typer.Exit) as refused:
        CliDesk().service_url(url)
    assert refused.value.exit_code == 2
    monkeypatch.setenv("TURNOUT_SERVICE_URL", url)
    with pytest.raises(typer.Exit):
        CliDesk().service_url(None)
    said = capsys.readouterr().err
    assert "--service" in said
    assert "TURNOUT_SERVICE_URL" in said
    assert "u:p" not in said


def test_a_desk_without_an_address_says_where_it_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting is named."""
    monkeypatch.delenv("TURNOUT_SERVICE_URL", raising=False)
    with pytest.raises(typer.Exit):
        CliDesk().service_url(None)
    assert "TURNOUT_SERVICE_URL" in capsys.readouterr().err
    assert CliDesk().service_url("http://a/") == "http://a"


@pytest.mark.parametrize(
    ("name", "distribution"), [(name, owner) for name, (owner, _) in DISTRIBUTIONS.items()]
)
def test_a_command_that_is_not_installed_says_what_to_install(
    name: str,
    distribution: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, on stderr, with exit code 2."""
    monkeypatch.setattr("turnout.cli.extensions.distribution", _not_installed)
    with pytest.raises(SystemExit) as ended:
        run([name, "anything"])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert captured.err.startswith(
        f"turnout: {name} is not installed: in a checkout of Turnout,"
        f" python -m pip install ./src/{distribution}; "
    )
    assert captured.err.count("\n") == 1


def _not_installed(name: str) -> NoReturn:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(("name", "row"), DISTRIBUTIONS.items())
def test_a_command_of_this_project_is_where_the_table_says(name: str, row: tuple[str, str]) -> None:
    """Its owner's metadata alone is read to call it, and the table's line is its help."""
    owner, line = row
    (entry,) = entry_points(group=GROUP, name=name)
    assert entry.dist is not None
    assert entry.dist.name == owner
    assert find_extension(name) == entry
    assert f"{name} " in turnout("--help").stdout
    assert line.endswith(".")


def test_in_a_dual_run_new_runs_go_to_the_primary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dual` is a setting and no provider."""
    settings = {"PROVIDER": "dual", "PRIMARY": "local", "SHADOW": "memory"}
    for name, value in settings.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
    with pytest.raises(SystemExit):
        run(["provider", "show", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["ORCHESTRATOR_PROVIDER"], told["new_runs"]) == ("dual", "local")
