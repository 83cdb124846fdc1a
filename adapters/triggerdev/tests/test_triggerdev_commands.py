"""`turnout triggerdev …`, as processes; and what the wheel carries for them."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from turnout_triggerdev.definition import FILE, definition_of, stale, write_definition
from turnout_triggerdev.project import files, template
from turnout_triggerdev_double.nodeworker import NoNode, check_node, surroundings
from turnout_triggerdev_double.standin.definition import definition

from turnout.model.tasks import app, task

ADAPTER = Path(__file__).parents[1]
CODE = '''
from turnout.model.tasks import app, task

@task("report.daily", on="report/wanted")
async def report(ctx, payload):
    """A task."""

@task("more", on="more/wanted")
async def more(ctx, payload):
    """Another."""

service = app("mine", report{more})
'''


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A team's folder, with an app."""
    (tmp_path / "mine.py").write_text(CODE.replace("{more}", ""))
    return tmp_path


def turnout(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, run in a folder."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    env = {**kept, "TURNOUT_APP": "mine:service", "TURNOUT_SERVICE_URL": "http://a:1", **environ}
    argv = [sys.executable, "-c", "from turnout.cli.main import run; run()", "triggerdev", *words]
    return subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def built(folder: Path) -> Any:
    """The definition in the worker's folder."""
    return json.loads((folder / "trigger-worker" / "turnout.definition.json").read_text())


def test_init_copies_the_worker_with_the_apps_definition(team: Path) -> None:
    """Every file of the source arrives, the project's ref and the app's tasks are in it."""
    ran = turnout(team, "init", "--json", TRIGGER_PROJECT_REF="proj_abc")
    assert ran.returncode == 0, ran.stderr
    there = set(files(team / "trigger-worker"))
    assert there == set(files(template()))
    assert '"proj_abc"' in (team / "trigger-worker" / "trigger.config.ts").read_text()
    tasks = [each["id"] for each in built(team)["tasks"]]
    assert tasks == ["report.daily", "turnout-tick", "turnout-probe"]
    assert json.loads(ran.stdout)["definition"] == built(team)["definition"]


def test_init_keeps_what_a_team_has_changed(team: Path) -> None:
    """The worker is theirs; only --force writes over it."""
    turnout(team, "init")
    config = team / "trigger-worker" / "trigger.config.ts"
    config.write_text("// ours\n")
    kept = json.loads(turnout(team, "init", "--json").stdout)
    assert (kept["kept"], config.read_text()) == (["trigger.config.ts"], "// ours\n")
    turnout(team, "init", "--force")
    assert "defineConfig" in config.read_text()


def test_build_follows_the_app_and_check_only_looks(team: Path) -> None:
    """A changed app makes the file stale; building it again makes it current."""
    turnout(team, "init")
    assert turnout(team, "build", "--check").returncode == 0
    (team / "mine.py").write_text(CODE.replace("{more}", ", more"))
    stale = turnout(team, "build", "--check")
    assert (stale.returncode, "definition" in stale.stdout) == (1, True)
    assert len(built(team)["tasks"]) == 3
    assert turnout(team, "build").returncode == 0
    assert turnout(team, "build", "--check").returncode == 0
    assert len(built(team)["tasks"]) == 4


BROKEN = {
    "half": (b"{", "not JSON"),
    "a list": (b"[1]", "no object"),
    "no text": (b"\xff", "not UTF-8"),
    "a merge": (b"<<<<<<< HEAD\n{}\n", "not JSON"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "empty": (b"{}", "no digest"),
    "a digest that is none": (b'{"service": "http://a:1", "definition": [1]}', "no digest"),
    "large": (b" " * (4 * 1024 * 1024 + 1), "larger than"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_definition_file_that_cannot_be_read_is_not_current(tmp_path: Path, name: str) -> None:
    """What is wrong is told, so that the check, the deployment and the doctor all tell it."""

    @task("one", on="x")
    async def one(ctx: Any, payload: Any) -> None:
        """A task."""

    content, told = BROKEN[name]
    path = tmp_path / FILE
    assert stale(tmp_path, app("mine", one)) is None
    path.write_bytes(content)
    found = stale(tmp_path, app("mine", one))
    assert found is not None
    assert found.startswith(str(path))
    assert told in found
    assert len(found) < 300
    write_definition(tmp_path, app("mine", one), "http://a:1")
    assert stale(tmp_path, app("mine", one)) is None


def test_check_fails_on_a_broken_file_and_build_says_that_it_wrote_it(team: Path) -> None:
    """A conflict that nobody resolved does not pass CI."""
    turnout(team, "init")
    (team / "trigger-worker" / FILE).write_text("[1]")
    checked = turnout(team, "build", "--check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["current"]) == (1, False)
    assert json.loads(turnout(team, "build", "--json").stdout)["changed"] is True
    assert turnout(team, "build", "--check").returncode == 0


def test_init_again_keeps_no_file_that_only_init_has_changed(team: Path) -> None:
    """The project's ref is init's own change; each file is counted once."""
    ran = turnout(team, "init", "d d/w", TRIGGER_PROJECT_REF="proj_abc123")
    count = len(set(files(team / "d d/w")))
    assert ran.stdout.startswith(f"{count} files written to d d/w\n")
    assert "next: cd 'd d/w' && npm ci" in ran.stdout
    again = turnout(team, "init", "d d/w", TRIGGER_PROJECT_REF="proj_abc123")
    assert again.stdout.startswith("0 files written")
    assert "kept" not in again.stdout
    turnout(team, "init", "d d/w", "--force")
    assert '"proj_abc123"' in (team / "d d/w" / "trigger.config.ts").read_text()


def test_a_wrong_ref_writes_nothing(team: Path) -> None:
    """It is looked at before the first file."""
    for ref in ("proj_", "p", "proj_a\n"):
        assert turnout(team, "init", TRIGGER_PROJECT_REF=ref).returncode == 2
        assert not (team / "trigger-worker").exists()


def test_wrong_use_is_one_line_that_says_what_to_do(team: Path) -> None:
    """No worker, no app, no address, a wrong ref: exit 2."""
    for words, environ, told in [
        (("build",), {}, "turnout triggerdev init"),
        (("init",), {"TURNOUT_APP": "nothing:here"}, "nothing"),
        (("init",), {"TURNOUT_SERVICE_URL": ""}, "TURNOUT_SERVICE_URL"),
        (("init",), {"TRIGGER_PROJECT_REF": '"; evil'}, "TRIGGER_PROJECT_REF"),
    ]:
        ran = turnout(team, *words, **environ)
        assert (ran.returncode, told in ran.stderr) == (2, True), ran


def test_the_wheel_carries_the_source_and_nothing_that_npm_left(tmp_path: Path) -> None:
    """`init` works from an installed package; an editable one reads the checkout."""
    (made,) = WheelBuilder(str(ADAPTER)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(made).namelist()
    folder = "turnout_triggerdev/worker/"
    carried = {Path(each.removeprefix(folder)) for each in names if each.startswith(folder)}
    assert carried == set(files(ADAPTER / "worker"))
    assert Path("src/trigger/tasks.ts") in carried


def test_the_lock_file_names_no_registry() -> None:
    """Packages are pinned by digest; where they come from is each machine's own affair."""
    lock = json.loads((ADAPTER / "worker" / "package-lock.json").read_text())
    packages = [each for name, each in lock["packages"].items() if name]
    assert all("integrity" in each for each in packages)
    assert not any("resolved" in each for each in packages)


def test_the_sources_own_definition_is_a_good_one() -> None:
    """The file that stands in until a team builds its own."""
    example = json.loads((ADAPTER / "worker" / "turnout.definition.json").read_text())
    assert definition(example).tasks


def test_queues_have_names_that_the_vendor_takes() -> None:
    """A task's id may have a full stop, a queue's name may not."""

    @task("a.b_c-" + "x" * 94, on="x")
    async def long(ctx: Any, payload: Any) -> None:
        """A task."""

    made = definition_of(app("demo", long), "http://127.0.0.1:8000")
    assert definition(made).tasks[0].queue == "turnout/a-b_c-" + "x" * 94


def test_without_node_the_real_worker_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what is missing."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NoNode, match=r"Node\.js"):
        check_node()


def test_the_real_worker_reads_no_login_of_this_machine(tmp_path: Path) -> None:
    """Its home is a folder of its own."""
    made = surroundings(tmp_path, {"HOME": "/home/me", "TRIGGER_API_URL": "http://x"})
    assert made["HOME"].startswith(str(tmp_path))
    assert made["XDG_CONFIG_HOME"].startswith(str(tmp_path))
