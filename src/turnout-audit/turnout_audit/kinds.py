"""What kind of text a file holds, judged by its name alone."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from turnout_audit.model import Scope
from turnout_audit.ruleset import Language

LOCKS = frozenset(
    [
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "poetry.lock",
        "uv.lock",
        "pdm.lock",
        "pipfile.lock",
        "deno.lock",
        "pixi.lock",
        "bun.lockb",
        "pylock.toml",
        "cargo.lock",
        "composer.lock",
        "gemfile.lock",
        "go.sum",
        "gradle.lockfile",
        "mix.lock",
        "packages.lock.json",
    ]
)
_SUFFIXES: Mapping[Language, str] = MappingProxyType(
    {
        "python": "py pyi",
        "typescript": "ts mts cts",
        "tsx": "tsx",
        "javascript": "js jsx mjs cjs",
        "shell": "sh bash zsh fish ksh",
        "json": "json jsonc json5 webmanifest",
        "yaml": "yml yaml",
        "toml": "toml",
        "env": "env",
        "dockerfile": "dockerfile containerfile",
        "ini": "ini cfg conf properties editorconfig npmrc",
        "lock": "lock",
        "markdown": "md mdx markdown mdc",
        "text": "rst txt adoc asciidoc org",
    }
)
_BY_SUFFIX: Mapping[str, Language] = MappingProxyType(
    {suffix: language for language, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
)
_SCOPES: Mapping[Language, Scope] = MappingProxyType(
    {
        **dict.fromkeys(("json", "yaml", "toml", "env", "dockerfile", "ini", "lock"), "config"),
        **dict.fromkeys(("markdown", "text"), "docs"),
    }
)
_FENCES: Mapping[str, Language] = MappingProxyType(
    {
        "py": "python",
        "python": "python",
        "python3": "python",
        "pycon": "python",
        "ts": "typescript",
        "mts": "typescript",
        "typescript": "typescript",
        "tsx": "tsx",
        "mdx-module": "tsx",
        "js": "javascript",
        "jsx": "javascript",
        "mjs": "javascript",
        "javascript": "javascript",
        "sh": "shell",
        "bash": "shell",
        "zsh": "shell",
        "shell": "shell",
        "console": "shell",
        "json": "json",
        "jsonc": "json",
        "json5": "json",
        "yaml": "yaml",
        "yml": "yaml",
        "toml": "toml",
        "env": "env",
        "dotenv": "env",
        "ini": "ini",
        "dockerfile": "dockerfile",
        "docker": "dockerfile",
    }
)
_INTERPRETERS = re.compile(
    r"#![^\n]*?\b(?:(?P<python>python[\d.]*)|(?P<javascript>node|bun|deno|tsx|ts-node|zx)"
    r"|(?P<shell>(?:ba|z|k|da|fi)?sh))\b"
)
"""The first line of a script says what reads it."""
COMPONENTS = frozenset({".vue", ".svelte", ".astro"})
"""Files whose scripts stand between tags."""


def classify(path: str) -> tuple[Scope, Language]:
    """Return a file's scope and language; an unknown file is code in plain text."""
    name = path.rpartition("/")[2].lower()
    language = "ini" if is_requirements(path) else _by_name(name)
    if language is None:
        language = _BY_SUFFIX.get(name.rpartition(".")[2]) if "." in name else None
    if language is None:
        return "code", "text"
    return scope_of(language), language


def of_text(path: str, text: str) -> tuple[Scope, Language]:
    """Return a file's scope and language; a script without a suffix says it in its first line."""
    scope, language = classify(path)
    script = None
    if (scope, language) == ("code", "text") and text.startswith("#!"):
        script = _INTERPRETERS.match(text)
    if script is None or script.lastgroup is None:
        return scope, language
    return "code", _BY_SUFFIX[{"python": "py", "javascript": "ts"}.get(script.lastgroup, "sh")]


def is_requirements(path: str) -> bool:
    """Say whether a file lists packages for pip: by its own name, or by its folder's."""
    above, _, name = path.lower().rpartition("/")
    if not name.endswith((".txt", ".in")):
        return False
    listed = name.startswith(("requirements", "constraints"))
    listed = listed or name.endswith(("requirements.txt", "requirements.in"))
    return listed or above.rpartition("/")[2] in ("requirements", "constraints")


def is_component(path: str) -> bool:
    """Say whether a file's scripts stand between tags."""
    return path[path.rfind(".") :].lower() in COMPONENTS


def scope_of(language: Language) -> Scope:
    """Return the scope of a language."""
    return _SCOPES.get(language, "code")


def of_fence(tag: str) -> Language | None:
    """Return the language of a Markdown fence by the word after its backticks."""
    return _FENCES.get(tag.lower())


def _by_name(name: str) -> Language | None:
    if name in LOCKS or (name.startswith("pylock.") and name.endswith(".toml")):
        return "lock"
    if name.startswith(("dockerfile", "containerfile")):
        return "dockerfile"
    if name == ".env" or name.startswith(".env.") or name.endswith((".env.example", ".envrc")):
        return "env"
    if name in ("makefile", "gnumakefile", "justfile", "procfile"):
        return "shell"
    if name == "pipfile":
        return "toml"
    return "json" if name in (".babelrc", ".eslintrc", ".prettierrc") else None
