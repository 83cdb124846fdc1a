"""Sketches: a script is parsed only where its text allows a finding, and no finding is lost."""

import pytest
from turnout_audit import prepare, syntax
from turnout_audit.load import load, names, parse
from turnout_audit.scan import Scanner
from turnout_audit.sketch import ExpressionMatches, compiled, sketch

HEAD = 'ruleset = "acme"\nversion = "1"\ntitle = "Acme"\nmarkers = ["acme"]\n'
RULE = '[[rule]]\nid = "r"\nwhy = "w"\nlevel = "warn"\nscope = "code"\n[[rule.match]]\n'


def found(match: str, code: str, path: str = "a.ts") -> int:
    """How many findings a match has in a script."""
    scanner = Scanner(parse(f"{HEAD}{RULE}{match}\n", source="x"))
    return len(scanner.scan(path, code).findings)


@pytest.mark.parametrize(
    ("match", "code"),
    [
        ('member = "*.ctx.attempt.id"', "p.ctx.attempt.id"),
        ('member = "ctx.attempt.id"', "(ctx as any).attempt!.id"),
        ('member = "ctx.attempt.id"', "(ctx satisfies { a: 1 })?.attempt.id"),
        ('member = "ctx.attempt.id"', "ctx\n  // why\n  .attempt /* so */ .id"),
        ('member = "ctx.attempt.id"', "ctx['attempt'].id"),
        ('call = "*.send"\nwords = "acme"', "acme\n  .to('x')\n  .send(1)"),
        ('call = "Acme().send"', "new Acme({ id: 'send' }).send()"),
        ('call = "*acme*.send"', "myacmeclient.send()"),
        ('call = "acme.send"\nkey = "queue"\nvalue = "^\\\\{"', "acme.send({ queue: { a: 1 } })"),
        (
            'call = "acme.send"\nkey = "queue"\nvalue = "^\\\\{"',
            "acme.send({ 'queue' /* x */:\n {} })",
        ),
        ('call = "acme.send"\nkey = "a*"\nvalue = "^`"', "acme.send({ abc: `x` })"),
        ('call = "acme.send"\nkey = "run"\nvalue = "^(async )?run"', "acme.send({ run() {} })"),
        ('call = "acme.send"\nwithin = "Promise.all"', "Promise.all([acme.send()])"),
        ('call = "acme.send"\nwithin = "loop"', "for (;;) acme.send()"),
        ('call = "default"\nfrom = "acme"', "import x from 'acme'; x()"),
        ('call = "a.b"\nfrom = "acme*"', "import { a as q } from 'acme/x'; const { b } = q; b()"),
        ('import = "*/acme"', 'import x from "../acme"'),
        ('import = "acme"\nnames = "S*"', 'import { Send } from "acme"'),
    ],
)
def test_what_is_written_oddly_is_still_parsed(match: str, code: str) -> None:
    """Wrappers, comments, quotes, aliases and line ends do not hide a finding from the sketch."""
    assert found(match, code) == 1


@pytest.mark.parametrize(
    ("match", "code"),
    [
        ('import = "acme"', "// acme is gone\nconst a = 1;"),
        ('call = "*.send"\nkey = "queue"\nvalue = "^\\\\{"', "a.send({ queue: 'x' })"),
        ('member = "ctx.attempt.id"', "const ctx = { attempt: 1 }; f(ctx, id);"),
        ('call = "a.b"\nfrom = "acme"', "import { a } from './acme'; a.b()"),
    ],
)
def test_a_script_that_cannot_hold_a_finding_is_not_parsed(
    match: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mention of the vendor alone costs no syntax tree."""

    def refuse(text: str, *_: object) -> syntax.SyntaxTree:
        raise AssertionError(text)

    monkeypatch.setattr("turnout_audit.syntax.parse", refuse)
    assert found(match, code) == 0


@pytest.mark.parametrize("name", names())
def test_no_example_is_lost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without sketches, the rules' examples give the same findings."""
    rules = load(name)
    sketched = Scanner(rules)
    monkeypatch.setattr(prepare, "sketch", lambda *_, **__: ())
    plain = Scanner(rules)
    for rule in rules.rules:
        for example in rule.example:
            path = example.path or f"a.{'py' if example.language == 'python' else 'tsx'}"
            told = [each.scan(path, example.code, anywhere=True) for each in (sketched, plain)]
            assert told[0].findings == told[1].findings, example.code


def test_expressions_are_shared_and_told_once() -> None:
    """Many rules ask for the same module; its expression is compiled, and searched for, once."""
    match = load("triggerdev-v4").rule("triggerdev-v4.metadata-save").match[0]
    known: dict[str, object] = {}
    first = compiled(sketch(match, quoted=True), known)
    assert compiled(sketch(match, quoted=True), known) == first
    assert len(known) == len(first)
    held = ExpressionMatches('import { metadata } from "@trigger.dev/sdk";\nmetadata.save();')
    assert held.all_in(first)
    assert len(held.results) == len(first)
