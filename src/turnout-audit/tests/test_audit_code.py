"""Syntax trees: what is an import, a call, an option; and what only looks like one."""

import pytest
from turnout_audit.load import parse
from turnout_audit.scan import Scanner

HEAD = 'ruleset = "acme"\nversion = "1"\ntitle = "Acme"\nmarkers = ["acme"]\n'


def found(
    match: str, code: str, path: str = "a.ts", scope: str = '["code", "config"]'
) -> list[str]:
    """What a match finds: `line:text`."""
    rule = f'[[rule]]\nid = "r"\nwhy = "w"\nlevel = "warn"\nscope = {scope}\n[[rule.match]]\n'
    scan = Scanner(parse(HEAD + rule + match + "\n", source="test")).scan(path, code)
    assert scan.problems == ()
    assert all(code[f.start : f.end] == f.matched for f in scan.findings)
    return [f"{finding.line}:{finding.matched}" for finding in scan.findings]


IMPORT = 'import = ["acme", "acme/*", "acme.*"]'


@pytest.mark.parametrize(
    "code",
    [
        'import { a } from "acme";',
        "import acme from 'acme/next';",
        'import * as x from "acme";',
        'import "acme";',
        'import type { T } from "acme";',
        'import { type T } from "acme";',
        'export { a } from "acme";',
        'export * from "acme/x";',
        'const x = await import("acme");',
        'const x = require("acme");',
        'const { a } = require("acme").b;',
        'import x = require("acme");',
        'jest.mock("acme");',
        'vi.mock("acme", () => ({}));',
        "const x = import(`acme`);",
    ],
)
def test_every_way_to_import_in_typescript_is_found(code: str) -> None:
    """Static, dynamic, require, type-only, re-export, mocked."""
    for path in ("a.ts", "a.tsx", "a.js", "a.mjs", "a.vue"):
        text = f"<script>\n{code}\n</script>" if path == "a.vue" else code
        assert len(found(IMPORT, text, path)) == 1, path


@pytest.mark.parametrize(
    "code",
    [
        "import acme",
        "import acme.sub as s",
        "from acme import x",
        "from acme.sub import (y as z,)",
        "import importlib\nimportlib.import_module('acme')",
        "try:\n    import acme\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    from acme import T",
        "import os, acme",
    ],
)
def test_every_way_to_import_in_python_is_found(code: str) -> None:
    """Both forms, aliases, dynamic, guarded."""
    assert len(found(IMPORT, code, "a.py")) == 1


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("const acme = 1; acme.send();", "a.ts"),
        ('// import x from "acme"', "a.ts"),
        ("const s = 'import x from \"acme\"';", "a.ts"),
        ('import x from "acme-tools";', "a.ts"),
        ('import x from "./acme";', "a.ts"),
        ('fetch("https://acme.dev/acme");', "a.ts"),
        ('const t = `import "acme"`;', "a.ts"),
        ("acme = 1  # import acme", "a.py"),
        ('"""import acme"""', "a.py"),
        ("import acmebolt\nfrom .acme import x", "a.py"),
    ],
)
def test_what_looks_like_an_import_is_none(code: str, path: str) -> None:
    """Variables, comments, strings, templates, addresses, longer names."""
    assert found(IMPORT, code, path) == []


CALL = 'call = ["stream.put", "Client", "Client().send", "default"]\nfrom = ["acme", "acme/*"]'


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('import { stream } from "acme";\nstream.put(1);', ["2:stream.put"]),
        ('import { stream as s } from "acme";\ns.put(1); s?.put(2);', ["2:s.put", "2:s?.put"]),
        ('import * as a from "acme";\na.stream.put(1);', ["2:a.stream.put"]),
        ('import { Client as C } from "acme";\nconst q = new C();\nq.send();', ["2:C", "3:q.send"]),
        ('const { stream } = require("acme");\nstream.put();', ["2:stream.put"]),
        ('const a = await import("acme/x");\na.stream.put();', ["2:a.stream.put"]),
        ('import x from "acme";\nx();', ["2:x"]),
        ('import { stream } from "acme";\nconst { put } = stream;\nput();', ["3:put"]),
        (
            'import { Client } from "acme";\nnew Client().send();',
            ["2:new Client().send", "2:Client"],
        ),
    ],
)
def test_calls_are_known_by_what_their_names_stand_for(code: str, names: list[str]) -> None:
    """Aliases, namespaces, destructuring, and variables that hold a client."""
    assert sorted(found(CALL, code)) == sorted(names)


@pytest.mark.parametrize(
    "code",
    [
        'import { stream } from "other";\nstream.put(1);',
        "const stream = {}; stream.put(1);",
        'import { stream } from "acme";\nother.stream.put(1); stream.putAll();',
        'import { stream } from "acme";\n// stream.put()',
    ],
)
def test_a_call_of_the_same_name_from_elsewhere_is_none(code: str) -> None:
    """A name proves nothing without its import."""
    assert found(CALL, code) == []


def test_python_calls_are_resolved() -> None:
    """Modules, dotted modules, aliases, instances."""
    code = (
        "import acme\nimport acme.x as y\nfrom acme import Client as C, stream\n"
        "c = acme.Client()\nc.send()\nd = C(); d.send()\nstream.put(1)\ny.stream.put(2)\n"
        "class Client: ...\n"
    )
    match = CALL.replace('"acme/*"', '"acme.*"')
    assert found(match, code, "a.py") == [
        *("4:acme.Client", "5:c.send", "6:C", "6:d.send", "7:stream.put", "8:y.stream.put"),
    ]


TASK = 'call = ["task", "*.task"]\n'


@pytest.mark.parametrize(
    ("more", "code", "names"),
    [
        ('key = "queue.limit"', "task({ id: 1, queue: { limit: 2 } })", ["1:limit"]),
        ('key = "queue.limit"', "task({ limit: 1 }); other({ queue: { limit: 2 } })", []),
        ('key = "on*"', "task({ onStart() {}, onDone: f, 'onX': 1 })", None),
        (
            'key = "on*"\nmin_params = 2',
            "task({ onStart: async (p, { ctx }) => {} })",
            ["1:onStart"],
        ),
        ('key = "on*"\nmin_params = 2', "task({ onStart: async ({ p, ctx }) => {} })", []),
        ('key = "on*"\nmin_params = 2', "task({ onStart(p, c) {} })", ["1:onStart"]),
        ('key = "a"\nvalue = "^[0-9]"', "task({ a: 1 }); task({ a: x })", ["1:a"]),
        ('missing = "mode"', "task({})", ["1:task"]),
        ('missing = "mode"', "task({ mode: 1 })", []),
        ('missing = "mode"', "task({ ...rest }); task(options)", []),
        ("min_args = 2", "task(1); task(1, 2 /* three */)", ["1:task"]),
        ("max_args = 1", "task(1); task(1, 2)", ["1:task"]),
        ('within = "loop"', "task(); while (x) { task(); }", ["1:task"]),
        ('within = "Promise.all"', "task(); Promise.all([task()]).then(task())", ["1:task"]),
    ],
)
def test_options_narrow_a_call(more: str, code: str, names: list[str] | None) -> None:
    """Keys, values, parameters, arguments, surroundings; what cannot be read is not found."""
    expected = ["1:onStart", "1:onDone", "1:onX"] if names is None else names
    assert found(TASK + more, code) == expected


def test_python_keywords_are_options() -> None:
    """Keywords, and keywords of nested calls."""
    code = "task(id=1, queue=Queue(limit=2), *rest)\ntask({'queue': {'limit': 1}})"
    assert found(TASK + 'key = "queue.limit"', code, "a.py") == ["1:limit", "2:limit"]


def test_members_and_decorators() -> None:
    """Names that are read, and decorators."""
    assert found('member = "ctx.attempt.id"', "log(ctx.attempt.id, ctx.attempt.no)") == [
        "1:ctx.attempt.id"
    ]
    code = (
        "import acme\nc = acme.Client()\n@c.task(id=1)\ndef f(): ...\n@other.task\ndef g(): ...\n"
    )
    match = 'decorator = "Client().task"\nfrom = "acme"'
    assert found(match, code, "a.py") == ["3:c.task"]


def test_an_ast_grep_rule_is_taken_as_table_or_yaml() -> None:
    """Both forms, with a metavariable's place."""
    code = "foo(bar); baz(bar);"
    assert found('ast = { pattern = "foo($A)" }\ncapture = "A"', code) == ["1:bar"]
    assert found("ast = '''\npattern: foo($A)\n'''", code) == ["1:foo(bar)"]


def test_text_can_be_asked_for_in_code_strings_or_comments() -> None:
    """`where` tells them apart by the syntax tree."""
    code = 'acme(); // acme\nconst s = "acme";'
    assert found('text = "acme"\nwhere = "code"', code) == ["1:acme"]
    assert found('text = "acme"\nwhere = "string"', code) == ["2:acme"]
    assert len(found('text = "acme"', code)) == 3


@pytest.mark.parametrize(
    ("path", "code", "lines"),
    [
        (".env", "ACME_KEY=1\n# ACME_KEY=2\nMY_ACME_KEY=3\n", [1]),
        ("Dockerfile", "ENV ACME_KEY=1\n# ACME_KEY\n", [1]),
        ("ci.yml", "env:\n  ACME_KEY: ${{ secrets.ACME_KEY }} # ACME_KEY\n", [2, 2]),
        ("a.ts", 'process.env.ACME_KEY; process.env["ACME_KEY"]; x("ACME_KEY!")', [1, 1]),
        ("a.ts", "const { ACME_KEY } = process.env; // ACME_KEY", [1]),
        (
            "a.py",
            'os.environ["ACME_KEY"]\nos.getenv("ACME_KEY", "")\nprint("set ACME_KEY")\n',
            [1, 2],
        ),
    ],
)
def test_environment_variables_set_or_read(path: str, code: str, lines: list[int]) -> None:
    """Not in comments, not as a part of another name, not in a message."""
    assert [int(f.split(":")[0]) for f in found('env = "ACME_*"', code, path)] == lines


@pytest.mark.parametrize(
    ("path", "code", "names"),
    [
        ("a.json", '{"aa": {"bb": [{"cc": 1}]}, "cc": 2}', ["1:cc"]),
        ("a.json", '{"aa": {"bb": {"cc": 1}}}', []),
        ("a.yaml", "aa:\n  bb:\n    - cc: 1\n  cc: 2\n", ["3:cc"]),
        ("b.toml", '[aa]\nbb = "x"\ncc = 1\n', []),
    ],
)
def test_configuration_keys_by_their_path(path: str, code: str, names: list[str]) -> None:
    """JSON, YAML, TOML."""
    assert found('config_key = "aa.bb[].cc"', code, path) == names


def test_toml_tables_and_inline_tables() -> None:
    """A key's path runs through its table."""
    code = '[aa.bb]\ncc = 1\n[aa]\nbb = { cc = 2 }\n"cc" = """\ncc = 3\n"""\n'.replace(
        "[aa]", "[xx.aa]"
    )
    assert found('config_key = "*aa.bb.cc"', code, "a.toml") == ["2:cc", "4:cc"]


@pytest.mark.parametrize(
    ("path", "code", "names"),
    [
        ("package.json", '{"dependencies": {"acme": "^3.1.0"}, "name": "acme"}', ["1:acme"]),
        ("package.json", '{"dependencies": {"acme": "^4.0.0", "acme-x": "1"}}', []),
        ("package.json", '{"dependencies": {"queue": "npm:acme@3.0.0"}}', ["1:acme"]),
        ("package.json", '{"scripts": {"acme": "3"}}', []),
        ("requirements.txt", "acme==3.2\n# acme==3\nacme-x==1\n", ["1:acme"]),
        ("pyproject.toml", '[project]\ndependencies = [\n "Acme>=3,<4",\n]\n', ["3:Acme"]),
        ("pyproject.toml", '[tool.poetry.dependencies]\nacme = "^3"\n', ["2:acme"]),
        ("pnpm-workspace.yaml", "catalog:\n  acme: ^3.0.0\n", ["2:acme"]),
        ("yarn.lock", 'acme@^3.0.0:\n  version "3.0.1"\n', ["1:acme"]),
        (
            "package-lock.json",
            '{\n "node_modules/acme": {\n  "version": "3.0.1"\n }\n}',
            ["2:acme"],
        ),
        ("pnpm-lock.yaml", "packages:\n  acme@3.0.1:\n    x: 1\n", ["2:acme"]),
        ("uv.lock", '[[package]]\nname = "acme"\nversion = "3.0.1"\n', ["2:acme"]),
        ("other.json", '{"dependencies": {"acme": "3"}}', []),
    ],
)
def test_dependencies_below_a_version(path: str, code: str, names: list[str]) -> None:
    """Manifests and lock files of both worlds."""
    assert found('manifest = "acme"\nbelow = "4"', code, path) == names


def test_mixed_versions_name_the_older_ones() -> None:
    """One manifest asks for different versions of one family."""
    code = '{"dependencies": {"@acme/a": "4.1.0", "@acme/b": "4.0.0", "@acme/c": "4.1.0"}}'
    assert found('manifest = "@acme/*"\nmixed = true', code, "package.json") == ["1:@acme/b"]


def test_files_are_found_by_their_names() -> None:
    """A route's own path is a trace."""
    assert found('path = "**/api/acme/**"', "export {}", "src/api/acme/route.ts") == ["1:"]
    assert found('path = "**/api/acme/**"', "export {}", "src/api/acme.ts") == []


def test_a_finding_that_is_allowed_is_counted_not_told() -> None:
    """A comment on the line or above, for all rules or one."""
    rule = '[[rule]]\nid = "r"\nwhy = "w"\nlevel = "warn"\nscope = "code"\n'
    scanner = Scanner(parse(f"{HEAD}{rule}[[rule.match]]\n{IMPORT}\n", source="x"))
    code = (
        'import "acme"; // turnout-audit: allow\n'
        "\n"
        "// turnout-audit: allow r\n"
        'import "acme";\n'
        'import "acme"; // turnout-audit: allow other\n'
    )
    scan = scanner.scan("a.ts", code)
    assert [finding.line for finding in scan.findings] == [5]
    assert [(each.line, each.reason) for each in scan.exempted] == [(1, "allowed"), (4, "allowed")]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("a.ts", 'const = = ;\nimport { from "acme\n(('),
        ("package.json", '{"acme": '),
        ("a.yaml", "acme: ["),
    ],
)
def test_what_does_not_parse_is_named(path: str, code: str) -> None:
    """A word that could not be placed is never dropped silently."""
    rule = '[[rule]]\nid = "r"\nwhy = "w"\nlevel = "warn"\nscope = ["code", "config"]\n'
    matches = f'[[rule.match]]\n{IMPORT}\n[[rule.match]]\nconfig_key = "acme"\n'
    scan = Scanner(parse(HEAD + rule + matches, source="x")).scan(path, code)
    assert [problem.path for problem in scan.problems] == [path]
