"""Keys are safe and step ids can be read back from them."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidRunId, WrongUse
from turnout.model.keys import (
    MANIFEST,
    STATUS,
    check_prefix,
    encode_step_id,
    is_shadow_id,
    run_folder,
    step_path,
    valid_key,
    valid_run_id,
    value_path,
)

_STEP_FILE: Final = re.compile(r"(\d{4,9})-([A-Za-z0-9._=-]*)\.json")

step_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(step_ids, st.integers(0, 99_999))
def test_every_step_has_a_safe_key(step_id: str, index: int) -> None:
    """Whatever the step is called, its key is one; a short id can be read back."""
    assert valid_key(run_folder("r1") + step_path(index, step_id))
    assert all(len(part) <= 255 for part in step_path(index, step_id).split("/"))
    decoded = decode_step_path(step_path(index, step_id))
    short = len(encode_step_id(step_id)) <= 200 and "==" not in encode_step_id(step_id)
    assert decoded == (index, step_id if short else None)


@given(step_ids, step_ids)
def test_two_steps_never_share_a_name(a: str, b: str) -> None:
    """The name is as telling as the id."""
    assert (encode_step_id(a) == encode_step_id(b)) == (a == b)


def test_keys_are_as_documented() -> None:
    """The folder convention, with the shadow's beside the primary's."""
    assert run_folder("r1") + STATUS == "runs/r1/status.json"
    assert run_folder("r1-dryrun") + MANIFEST == "runs/r1-dryrun/manifest.json"
    assert run_folder("r1") + step_path(7, "load-sources") == "runs/r1/steps/0007-load-sources.json"
    assert run_folder("r1") + step_path(7, "a b/ö=") == "runs/r1/steps/0007-a=20b=2F=C3=B6=3D.json"
    assert run_folder("r1") + value_path("ab" * 32) == f"runs/r1/values/{'ab' * 32}.json"


@pytest.mark.parametrize(
    "name", ["", "x.json", "12-a.json", "0001-a", "0001-a=.json", "0001-=FF.json", "0001-=zz.json"]
)
def test_what_is_no_step_is_not_read_as_one(name: str) -> None:
    """A foreign file among the steps is not taken for a step."""
    assert decode_step_path(f"steps/{name}") is None


@pytest.mark.parametrize(
    "run_id",
    ["", "..", "a..b", "../a", "a/b", "a-dryrun", "-a", ".a", "a b", "ä", "a" * 129, "a\n", "a\0"],
)
def test_an_unsafe_run_id_has_no_key(run_id: str) -> None:
    """One safe path segment that no shadow could have."""
    assert not valid_run_id(run_id)
    if run_id != "a-dryrun":
        with pytest.raises(InvalidRunId):
            run_folder(run_id) + STATUS


@pytest.mark.parametrize("run_id", ["a", "0", "a.b-c_d=e", "a" * 128, "-dryrun"[1:], "a-dryrunx"])
def test_a_safe_run_id_has_a_shadow(run_id: str) -> None:
    """The longest one, too."""
    assert valid_run_id(run_id)
    assert is_shadow_id(f"{run_id}-dryrun")
    assert valid_key(run_folder(f"{run_id}-dryrun") + STATUS)


def test_a_shadow_has_no_shadow() -> None:
    """`-dryrun` comes once."""
    assert not is_shadow_id("a-dryrun-dryrun")
    with pytest.raises(InvalidRunId):
        run_folder("a-dryrun-dryrun") + STATUS


@pytest.mark.parametrize("prefix", ["", "a", "a/", "runs/r1-", "runs/.", "a/b/", "a b/ö:"])
def test_the_start_of_a_key_is_a_prefix(prefix: str) -> None:
    """It may end anywhere."""
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "/a", "a//", "../", "a/../b", "~tmp/", "a/./", "x" * 901])
def test_what_leads_out_is_no_prefix(prefix: str) -> None:
    """Nothing that starts no key."""
    with pytest.raises(WrongUse):
        check_prefix(prefix)


def decode_step_path(path: str) -> tuple[int, str | None] | None:
    """Read the index and the step id of `<nnnn>-<step_id>.json`; None where it is no such name.

    The id is None where it was too long to be kept in the name; the document has it.
    """
    match = _STEP_FILE.fullmatch(path.removeprefix("steps/"))
    if match is None:
        return None
    if "==" in match[2]:
        return int(match[1]), None
    try:
        encoded = match[2].encode("ascii")
        raw = re.sub(rb"=([0-9A-F]{2})", lambda escape: bytes.fromhex(escape[1].decode()), encoded)
        index, step_id = int(match[1]), raw.decode()
    except ValueError:
        return None
    same = step_path(index, step_id) == f"steps/{match[0]}"
    return (index, step_id) if same else None
