"""What `scripts/mutants` is told to change is there, with the tests that should notice."""

import pytest

from scripts.mutation_settings import Settings, faults, read_settings, refuse_missing_paths

PRESENT = "scripts/mutation_settings.py"


def test_modules_tests_and_faults_are_there() -> None:
    """Each pattern has modules, and the text that a fault replaces is in its module once."""
    assert all(changes for _, changes, _ in faults(read_settings(), ""))


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("module", {"paths": [PRESENT, "src/gone/*.py"], "tests": [PRESENT]}),
        ("module", {"paths": [PRESENT], "tests": [PRESENT, "src/gone/*.py"]}),
        ("fault", {"path": "src/gone/*.py", "tests": [PRESENT]}),
        ("fault", {"path": PRESENT, "tests": ["src/gone/*.py"]}),
        ("equivalent", {"path": "src/gone/*.py"}),
    ],
    ids=["modules", "tests-of-modules", "fault", "tests-of-fault", "equivalent"],
)
def test_a_path_that_does_not_exist_is_refused_by_name(kind: str, entry: object) -> None:
    """The path alone, not those beside it."""
    with pytest.raises(FileNotFoundError, match=r"exist: src/gone/\*\.py$"):
        refuse_missing_paths(Settings(entries=({kind: [entry]},)))
