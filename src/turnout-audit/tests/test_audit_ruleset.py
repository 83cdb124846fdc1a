"""The rule file: what loads, and how faults are named."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.errors import InvalidInput
from turnout_audit.literals import words_of
from turnout_audit.load import RULES, load, names, parse
from turnout_audit.words import Index, Needs, needs

DOCUMENT = Path(__file__).parents[3] / "migration_docs" / "audit.md"
HEAD = 'ruleset = "acme"\nversion = "1"\ntitle = "Acme"\nmarkers = ["acme"]\n'
RULE = '[[rule]]\nid = "one"\nwhy = "w"\nlevel = "warn"\nscope = "code"\n'


def sample() -> str:
    """The sample in the documentation."""
    found = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_the_documented_sample_loads() -> None:
    """The documentation's sample is a rule file."""
    found = parse(sample(), source="sample")
    assert [rule.id for rule in found.rules] == ["import-sdk"]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('level = "error"', 'level = "loud"', "rule 'import-sdk': level"),
        ("import = [", "impord = [", "a match holds exactly one of"),
        ('why = "The', 'wyh = "The', "rule 'import-sdk': why"),
        ('scope = "code" ', 'scope = "coed" ', "rule 'import-sdk': scope"),
        ('title = "Traces of Acme Queue"', "", "title"),
        ('kind = "module" ', "kind = 7 ", "fix.kind"),
        ('kind = "module" ', 'kind = "magic" ', "there is no fixer 'magic'; known: banner"),
        ("expect = []", 'expect = ["x"]', "example 2: expect"),
    ],
)
def test_a_fault_is_named_with_its_file_rule_and_field(old: str, new: str, named: str) -> None:
    """Whoever writes a rule file is told where it is wrong."""
    text = sample()
    assert old in text
    with pytest.raises(InvalidInput) as raised:
        parse(text.replace(old, new), source="team.toml")
    assert "team.toml" in str(raised.value)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    "match",
    [
        'text = "a(b"',
        'text = ".*"',
        'text = "(?=look)ahead"',
        'call = "x.send"\nvalue = "1"',
        'call = "x.send"\nkey = "a"\nvalue = "["',
        'prose = "acme"',
        'import = "*"',
        'text = "acme"\ncall = "acme"',
        'manifest = "acme"\nbelow = "four"',
    ],
)
def test_a_match_that_cannot_work_is_refused(match: str) -> None:
    """Expressions compile, words can be derived, options have a key, prose is of documents."""
    with pytest.raises(InvalidInput, match="rule 'one'"):
        parse(f"{HEAD}{RULE}[[rule.match]]\n{match}\n", source="x")


def test_one_id_twice_is_refused() -> None:
    """A rule's id names one rule."""
    rule = f'{RULE}match = {{ text = "acme" }}\n'
    with pytest.raises(InvalidInput, match="there twice"):
        parse(f"{HEAD}{rule}{rule}", source="x")


def test_an_unknown_rule_set_names_the_known_ones() -> None:
    """The error says what there is."""
    with pytest.raises(InvalidInput, match=names()[0]):
        load("nope")


def test_a_rule_file_that_is_not_there_is_named_as_a_file() -> None:
    """A path was given, so no path is asked for."""
    with pytest.raises(InvalidInput, match=r"^no such rule file: \./rules\.toml; "):
        load("./rules.toml")


@pytest.mark.parametrize("name", sorted(path.stem for path in RULES.glob("*.toml")))
def test_every_rule_set_that_ships_passes_the_examination(name: str) -> None:
    """What `load` believes of a rule set that ships is what an examination finds."""
    text = (RULES / f"{name}.toml").read_text(encoding="utf-8")
    assert parse(text, source=name) == load(name)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("expect = [1]", "expect = [true]", "example 1: expect item 1: should be a valid integer"),
        ("safe = true", 'safe = "yes"', "fix.safe: should be a valid boolean"),
        (
            'import = ["@acme/sdk"',
            'import = [7, "@acme/sdk"',
            "match 1: import item 1: should be a valid str",
        ),
        ("import = [", "wrods = []\nimport = [", "match 1: wrods: is not known here"),
        ("import = [", "improt = [", "demand, ast; this one holds improt"),
        ("phases = [0, 1]", 'phases = [0, "b"]', "rule 'import-sdk': phases item 2: should be"),
        ('markers = ["acme", "acme queue"]', "markers = []", "markers: should not be empty"),
        ('language = "typescript"', 'note = "x"', "example 1: give language or path"),
        ('ruleset = "acme"', 'ruleset = "Acme!"', "ruleset: String should match"),
    ],
)
def test_a_fault_says_what_should_be_there(old: str, new: str, named: str) -> None:
    """The place in the file, and what is expected there."""
    text = sample()
    assert old in text
    with pytest.raises(InvalidInput) as raised:
        parse(text.replace(old, new, 1), source="team.toml")
    assert named in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    """Whoever writes a rule file is not sent back fault by fault."""
    text = sample().replace('level = "error"', "level = 3").replace("safe = true", "safe = 1")
    with pytest.raises(InvalidInput) as raised:
        parse(text, source="team.toml")
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize("name", sorted(path.stem for path in RULES.glob("*.toml")))
def test_every_rule_set_that_ships_needs_words(name: str) -> None:
    """No rule opens every file: each match but a path, or a demand on some files, has words."""
    for rule in load(name).rules:
        for match in rule.match:
            found = needs(match)
            assert found is not None
            assert found.sets or hasattr(match, "path") or (hasattr(match, "demand") and rule.files)


@given(st.from_regex(r"(acme|bolt)(\.send)?\(|queue[A-Z]{2}x+|(?i:Lift)off", fullmatch=True))
def test_whatever_an_expression_matches_holds_one_of_its_words(text: str) -> None:
    """The text search drops no file that the expression would have matched."""
    words = words_of(r"(acme|bolt)(\.send)?\(|queue[A-Z]{2}x+|(?i:Lift)off")
    assert words
    assert Needs(sets=(words,)).met_by(Index(words).present(text))


@pytest.mark.parametrize(
    "expression",
    [r"\w+", "a?", "(x|)", "[ab][cd]", r"\bA\b|foo", "(?:abc)*", "x{0,3}"],
)
def test_an_expression_without_a_sure_word_has_none(expression: str) -> None:
    """An optional word proves nothing."""
    assert words_of(expression) == frozenset()


PIECES = [
    *("a", "b", "acme", "bolt", r"\.", r"\b", r"\w", "[ab]", "[x]", r"\n", "^", "$", ".", "-", " "),
    *("(", "(?:", "(?i:", "(?P<n>", ")", "|", "*", "+", "?", "{2}", "{0,3}", "(?!acme)", r"\x61"),
]


@settings(max_examples=200, deadline=None)
@given(expression=st.lists(st.sampled_from(PIECES), max_size=9).map("".join), data=st.data())
def test_words_of_any_expression_are_in_all_its_matches(
    expression: str, data: st.DataObject
) -> None:
    """However its groups, alternatives and repeats are put together."""
    try:
        pattern = re.compile(expression)
    except re.error:
        return
    words = words_of(expression)
    text = data.draw(st.from_regex(pattern, alphabet="abcemolt.-x \n"))
    match = pattern.search(text)
    if words and match:
        assert any(word in match[0].lower() for word in words)
