"""What `scripts/measure` prints stays within what a reader can take in."""

import pytest

from scripts.measures import Measures, folders, measure, modules, vague_names
from tests.architecture.distributions import ROOT

MOST_VAGUE = 1.0
"""Per cent of bound names that may be pronouns, determiners and the like."""
MOST_BROAD = 10
"""Places, in all folders together, that may catch whatever is raised, and go on."""
FEWEST_DOCUMENTED = 95.0
"""Per cent of public names that have a docstring."""
LARGEST_RUNTIME = 22_500
"""Lines of Python that the runtime may have; what some services run alone plugs in."""


@pytest.fixture(scope="module")
def rows() -> dict[str, Measures]:
    """Measure each installed folder."""
    return {name: measure(name, modules(packages)) for name, _, packages in folders(ROOT)}


def test_names_say_what_they_name(rows: dict[str, Measures]) -> None:
    """A name that is a pronoun or a participle cannot be searched for."""
    packages = {name: paths for name, _, paths in folders(ROOT)}
    too_vague = {
        name: vague_names(modules(packages[name])).most_common(5)
        for name, row in rows.items()
        if row.vague >= MOST_VAGUE
    }
    assert too_vague == {}


def test_what_is_caught_is_named(rows: dict[str, Measures]) -> None:
    """Only an outermost edge catches whatever is raised."""
    assert sum(row.broad for row in rows.values()) <= MOST_BROAD


def test_what_is_public_is_documented(rows: dict[str, Measures]) -> None:
    """A docstring gives the promise."""
    undocumented = {
        name: round(row.documented, 1)
        for name, row in rows.items()
        if row.documented < FEWEST_DOCUMENTED
    }
    assert undocumented == {}


def test_the_runtime_is_small(rows: dict[str, Measures]) -> None:
    """What a service runs, and nothing else."""
    assert rows["turnout"].lines < LARGEST_RUNTIME
