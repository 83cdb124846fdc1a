"""Settings: everything that is wrong is named, by the setting's name, at once."""

import base64
from pathlib import Path

import pytest

from turnout import Settings, open_turnout, read_settings
from turnout.bootstrap.adapters import EMBEDDED, installed
from turnout.bootstrap.settings_faults import SETTINGS
from turnout.bootstrap.user_code import load_app
from turnout.errors import InvalidSettings
from turnout.model.tasks import App


def _key(size: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * size).decode()


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    """One error names each setting that is wrong, and holds no secret."""
    wrong = {
        "ORCHESTRATOR_PROVIDER": "nope",
        "TURNOUT_DATABASE_URL": "mysql://root:hunter2@db/x",
        "TURNOUT_SHADOW_DATABASE_URL": "hunter2",
        "TURNOUT_ARTIFACTS": "ftp://host/x",
        "TURNOUT_SIGNING_KEYS": f"{_key(32)},{_key(8)},hunter2,whsec_hunter2!",
        "TURNOUT_APP": "hello.py",
        "TURNOUT_SERVICE_URL": "agents",
        "TURNOUT_LEASE": "soon",
        "TURNOUT_DUAL_LAGG": "1s",
    }
    with pytest.raises(InvalidSettings) as raised:
        read_settings(wrong, folder=tmp_path)
    told = str(raised.value)
    assert [name for name in wrong if name not in told] == []
    for word in ("key 2 holds 8 bytes", "key 3 does not begin", "key 4 is not base64"):
        assert word in told
    assert "did you mean TURNOUT_DUAL_LAG?" in told
    assert "hello:attribute" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("TURNOUT_DATABSE_URL", True),
        ("TURNOUT_COLOUR", True),
        ("ORCHESTRATOR_PROVIDR", True),
        ("ORCHESTRATOR_REGION", False),
        ("TURNOUT_SERVICE_HOST", False),
        ("TURNOUT_PORT_8000_TCP_ADDR", False),
        *((f"TURNOUT_{each.upper()}_URL", False) for each in installed() if each not in EMBEDDED),
    ],
)
def test_only_names_that_look_like_ours_are_refused(
    name: str, refused: bool, tmp_path: Path
) -> None:
    """A misspelt name is an error; what a cluster injects, and others' names, are not."""
    if refused:
        with pytest.raises(InvalidSettings, match=name):
            read_settings({name: "x"}, folder=tmp_path)
    else:
        read_settings({name: "x"}, folder=tmp_path)


def test_every_setting_that_is_read_is_known() -> None:
    """A new field's name is not refused as unknown."""
    assert {str(each.alias) for each in Settings.model_fields.values() if each.alias} <= set(
        SETTINGS
    )


def test_types_of_toml_are_honoured(tmp_path: Path) -> None:
    """A text, an integer and a list of texts mean what the environment would say."""
    (tmp_path / "turnout.toml").write_text(
        'TURNOUT_ARTIFACTS = "none"\nTURNOUT_LEASE = "20s"\nVENDOR_DEV = 1\n'
        f'TURNOUT_SIGNING_KEYS = ["{_key(24)}", "{_key(32)}"]\n'
    )
    read = read_settings({}, folder=tmp_path)
    assert (read.artifacts, read.lease, len(read.signing_keys)) == (None, 20_000, 2)
    assert read.raw["VENDOR_DEV"] == "1"


def test_types_of_toml_that_no_setting_has_are_refused_by_name(tmp_path: Path) -> None:
    """A false is no folder named False; all such values are named at once, and none is shown."""
    (tmp_path / "turnout.toml").write_text(
        "TURNOUT_ARTIFACTS = false\nTURNOUT_LEASE = 1.5\nTURNOUT_DUAL_LAG = 2026-01-01\n"
        'TURNOUT_EVENTS_TOKEN = ["hunter2", 7]\n[VENDOR]\nkey = "hunter2"\n'
    )
    with pytest.raises(InvalidSettings) as raised:
        read_settings({}, folder=tmp_path)
    message = str(raised.value)
    names = ("TURNOUT_ARTIFACTS", "TURNOUT_LEASE", "TURNOUT_DUAL_LAG", "TURNOUT_EVENTS_TOKEN")
    assert [name for name in (*names, "VENDOR") if f"{name}: turnout.toml has" not in message] == []
    assert "hunter2" not in message


def test_the_environment_wins_over_dotenv_which_wins_over_toml(tmp_path: Path) -> None:
    """The same name in all three is the environment's; an empty value counts as unset."""
    (tmp_path / "turnout.toml").write_text('TURNOUT_LEASE = "2s"\nTURNOUT_DUAL_LAG = "2s"\n')
    (tmp_path / ".env").write_text("TURNOUT_LEASE=3s\nTURNOUT_SILENCE=3s\nTURNOUT_APP=\n")
    read = read_settings({"TURNOUT_SILENCE": "4s"}, folder=tmp_path)
    assert (read.dual_lag, read.lease, read.silence, read.app) == (2_000, 3_000, 4_000, None)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_keys_of_24_to_64_bytes_are_taken(size: int, tmp_path: Path) -> None:
    """The length is that of the bytes, not of their spelling."""
    keys = read_settings({"TURNOUT_SIGNING_KEYS": _key(size)}, folder=tmp_path).signing_keys
    assert [each.get_secret_value() for each in keys] == [_key(size)]


@pytest.mark.usefixtures("made_up_adapters")
def test_the_faults_of_both_adapters_of_a_dual_run_are_told_together(tmp_path: Path) -> None:
    """What either side lacks is in one error."""
    environ = {
        "ORCHESTRATOR_PROVIDER": "dual",
        "ORCHESTRATOR_PRIMARY": "acme",
        "ORCHESTRATOR_SHADOW": "bolt",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/a.db",
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
    }
    with pytest.raises(InvalidSettings) as raised:
        open_turnout(App(name="a", tasks=()), environ)
    assert "ACME_URL" in str(raised.value)
    assert "BOLT_URL" in str(raised.value)


def test_a_database_file_where_none_can_be_names_the_setting(tmp_path: Path) -> None:
    """A folder that cannot be made is the setting's fault."""
    (tmp_path / "file").touch()
    environ = {"TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/file/below/x.db"}
    with pytest.raises(InvalidSettings, match="TURNOUT_DATABASE_URL"):
        open_turnout(App(name="a", tasks=()), environ)


APPS = {
    "syntax_fault": ("x = (\n", ("SyntaxError", "syntax_fault.py, line 1")),
    "name_fault": ("\nabsent\n", ("NameError", "name_fault.py, line 2")),
    "value_fault": ("\n\nint('x')\n", ("ValueError", "value_fault.py, line 3")),
    "exits": ("raise SystemExit('bye')\n", ("SystemExit: bye", "exits.py, line 1")),
    "imports_fault": ("import no_such_thing\n", ("no_such_thing", "imports_fault.py, line 1")),
    "attribute_fault": ("import os\nos.nope\n", ("AttributeError", "attribute_fault.py, line 2")),
    "lacks_it": ("", ("has no attribute 'app'",)),
}


@pytest.mark.parametrize("module", APPS)
def test_an_app_that_cannot_be_imported_is_one_line(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the module raises, the file and line are named."""
    code, words = APPS[module]
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidSettings) as raised:
        load_app(f"{module}:app")
    told = str(raised.value)
    assert [word for word in words if word not in told] == [], told
    assert "\n" not in told


def test_a_missing_module_names_the_folder_that_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most often the command is run in another folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSettings, match=str(tmp_path)):
        load_app("no_such_module_here:app")


def test_a_module_alone_means_its_attribute_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at is named, where it is no app."""
    (tmp_path / "only_imports_app.py").write_text("from turnout import app\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidSettings, match=r"'only_imports_app:app' .* module:attribute"):
        load_app("only_imports_app")


def test_a_module_alone_means_its_only_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `app` is Turnout's function, the app that the module has made with it is meant."""
    lines = ["from turnout import app", "words = app('words')", "again = words"]
    (tmp_path / "has_one_app.py").write_text("\n".join(lines))
    (tmp_path / "has_two_apps.py").write_text("\n".join([*lines, "more = app('more')"]))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_app("has_one_app").name == "words"
    with pytest.raises(InvalidSettings, match="of type function"):
        load_app("has_two_apps")


@pytest.mark.parametrize("name", ["hello.py", "./hello.py:words", "a b:c", ":x"])
def test_an_apps_name_is_module_and_attribute(name: str) -> None:
    """A file's name is answered with the module's."""
    with pytest.raises(InvalidSettings, match=r"write \w+:\w+"):
        load_app(name)
