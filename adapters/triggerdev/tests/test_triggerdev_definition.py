"""The definition file, what the stand-in may import, and how `turnout dev` starts both."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import turnout_triggerdev
import turnout_triggerdev_double.standin
from turnout_dev.devserver import DevServer, DevSetup, StartsWorkers
from turnout_triggerdev.definition import definition_of
from turnout_triggerdev_double.standin.definition import (
    WrongDefinition,
    definition,
    read_definition,
)
from turnout_triggerdev_double.standin.settings import WrongSettings, settings

from turnout.errors import InvalidSettings
from turnout.model.tasks import app, task

OURS = ("turnout", "turnout_triggerdev")
FOLDER = Path(turnout_triggerdev_double.standin.__file__).parent
SCHEMA = json.loads(files(turnout_triggerdev).joinpath("definition.schema.json").read_text())
GOOD = {
    "protocol": 1,
    "definition": "a" * 64,
    "service": "http://127.0.0.1:8000",
    "tasks": [
        {"id": "one", "queue": "q", "concurrency": {"perKey": 1, "total": 5}, "maxAttempts": 2},
        {"id": "tick", "schedule": True, "ttl": "10m", "maxDuration": 60},
    ],
}
BAD = {
    "protocol": GOOD | {"protocol": 2},
    "definition": GOOD | {"definition": "abc"},
    "service": GOOD | {"service": "ftp://x"},
    "tasks": GOOD | {"tasks": []},
    "definition: has no field 'more'": GOOD | {"more": 1},
    "tasks[0]: has no field 'color'": GOOD | {"tasks": [{"id": "a", "color": "red"}]},
    "tasks[0].id": GOOD | {"tasks": [{"id": ""}]},
    "tasks[0].maxDuration": GOOD | {"tasks": [{"id": "a", "maxDuration": True}]},
    "tasks[0].queue": GOOD | {"tasks": [{"id": "a", "queue": "no spaces"}]},
    "tasks[0].concurrency.total": GOOD | {"tasks": [{"id": "a", "concurrency": {"total": 0}}]},
}


@task("report", on="report/wanted")
async def report(ctx: Any, payload: Any) -> None:
    """A task."""


def test_a_good_definition_is_read() -> None:
    """All fields arrive, and the schema agrees."""
    jsonschema.validate(GOOD, SCHEMA)
    read = definition(GOOD)
    assert [each.id for each in read.tasks] == ["one", "tick"]
    assert (read.tasks[0].per_key, read.tasks[0].total, read.tasks[0].max_attempts) == (1, 5, 2)
    assert read.tasks[1].schedule


@pytest.mark.parametrize("field", BAD)
def test_a_wrong_definition_names_its_field(field: str) -> None:
    """The reader refuses what the schema refuses, and says where."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(BAD[field], SCHEMA)
    with pytest.raises(WrongDefinition) as refused:
        definition(BAD[field])
    assert field.split(":", maxsplit=1)[0] in str(refused.value)


def test_two_tasks_with_one_id_are_refused() -> None:
    """An id names one task."""
    with pytest.raises(WrongDefinition, match="two have the id 'a'"):
        definition(GOOD | {"tasks": [{"id": "a"}, {"id": "a"}]})


def test_a_file_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    """The text names the file."""
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "missing.json"):
        with pytest.raises(WrongDefinition, match=name):
            read_definition(tmp_path / name)


def test_what_the_adapter_writes_is_what_the_worker_reads() -> None:
    """An app's definition fits the schema and has a task for ticks."""
    made = definition_of(app("demo", report), "http://127.0.0.1:8000/")
    jsonschema.validate(made, SCHEMA)
    read = definition(made)
    assert [each.id for each in read.tasks] == ["report", "turnout-tick", "turnout-probe"]
    assert read.service == "http://127.0.0.1:8000"


def test_the_stand_in_imports_nothing_of_turnout() -> None:
    """Neither in its source nor in a running process is there a module of ours but its own."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] in OURS for name in names), path
            assert not any(name.startswith("turnout_triggerdev_double.server") for name in names)
    code = (
        "import sys, turnout_triggerdev_double.standin.main;"
        f"print([name for name in sys.modules if name.partition('.')[0] in {OURS}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "[]"


def test_wrong_settings_are_told_all_at_once(tmp_path: Path) -> None:
    """The stand-in ends with 2 and names what is missing; no secret is shown."""
    argv = [
        sys.executable,
        "-m",
        "turnout_triggerdev_double.standin",
        "--definition",
        str(tmp_path / "x"),
    ]
    env = {"PATH": "/usr/bin", "TURNOUT_SIGNING_KEYS": "secret-value"}
    ended = subprocess.run(argv, capture_output=True, check=False, text=True, env=env)
    assert ended.returncode == 2
    for name in ("TRIGGER_API_URL", "TRIGGER_SECRET_KEY", "TURNOUT_SIGNING_KEYS"):
        assert name in ended.stderr
    assert "secret-value" not in ended.stderr


GIVEN = {
    "TRIGGER_API_URL": "http://127.0.0.1:1",
    "TRIGGER_SECRET_KEY": "tr_dev_x",
    "TURNOUT_SIGNING_KEYS": "whsec_" + "YWFh" * 8,
}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "nowhere",
        "http://",
        "http://x:y",
        "http://me:secret@service.example.org",
        "http://service.example.org/?secret",
        "http://service.example.org/#secret",
    ],
)
def test_an_address_that_cannot_be_the_services_is_refused_by_name(address: str) -> None:
    """Beforehand, and without the secret in it; in the definition too."""
    environ = {**GIVEN, "TURNOUT_SERVICE_URL": address}
    with pytest.raises(WrongSettings, match="TURNOUT_SERVICE_URL") as caught:
        settings(["--definition", "x"], environ)
    assert "secret" not in str(caught.value)
    with pytest.raises(WrongDefinition, match=r"^service: "):
        definition({**GOOD, "service": address})


def test_the_environments_address_goes_before_the_definitions() -> None:
    """As it does for the TypeScript worker; an empty one counts as none."""
    for given, read in (("https://a.example/", "https://a.example"), ("", None)):
        environ = {**GIVEN, "TURNOUT_SERVICE_URL": given}
        assert settings(["--definition", "x"], environ).service == read


def test_a_definition_nested_without_end_is_refused(tmp_path: Path) -> None:
    """It is no JSON that is read; nothing overflows."""
    path = tmp_path / "d.json"
    path.write_text("[" * 200_000)
    with pytest.raises(WrongDefinition, match="not JSON"):
        read_definition(path)


def described(folder: Path) -> tuple[DevServer, DevSetup]:
    """The description that the entry point names, and where it would run."""
    (found,) = [
        each for each in entry_points(group="turnout.devservers") if each.name == "triggerdev"
    ]
    setup = DevSetup(
        port=4321,
        data=folder,
        app=app("demo", report),
        service_url="http://127.0.0.1:8000",
        signing_key="whsec_x",
    )
    return found.load()(), setup


def test_a_real_server_gets_a_worker_and_nothing_else(tmp_path: Path) -> None:
    """The stand-in, or the vendor's CLI, which needs more of the environment; named all at once."""
    server, setup = described(tmp_path)
    assert isinstance(server, StartsWorkers)
    real = {"TRIGGER_API_URL": "https://x", "TRIGGER_SECRET_KEY": "k"}
    (standin,) = server.workers(setup, real)
    assert "turnout_triggerdev_double.standin" in standin.argv
    assert (standin.ready_url, standin.environ["TRIGGER_API_URL"]) == (None, "https://x")
    by_cli = replace(setup, real_worker=True)
    with pytest.raises(InvalidSettings, match="TRIGGER_ACCESS_TOKEN, TRIGGER_PROJECT_REF"):
        server.workers(by_cli, real)
    whole = {**real, "TRIGGER_ACCESS_TOKEN": "t", "TRIGGER_PROJECT_REF": "p"}
    (cli,) = server.workers(by_cli, whole)
    assert "turnout_triggerdev_double.nodeworker" in cli.argv


def test_the_entry_point_describes_both_processes(tmp_path: Path) -> None:
    """A server with its health address, then the stand-in with its keys; labelled as a double."""
    server, setup = described(tmp_path)
    first, second = server.processes(setup)
    assert (server.label, server.default_port) == ("double, not production", 3040)
    assert first.ready_url == "http://127.0.0.1:4321/double/health"
    assert second.environ["TURNOUT_SIGNING_KEYS"] == "whsec_x"
    assert server.environ(setup)["TRIGGER_API_URL"] == "http://127.0.0.1:4321"
    assert read_definition(tmp_path / "turnout.definition.json").tasks
    assert server.real({"TRIGGER_API_URL": "https://x"}) is None
    named = {"TRIGGER_API_URL": "https://x", "TRIGGER_SECRET_KEY": "k"}
    assert server.real({**named, "PATH": "/bin"}) == named
