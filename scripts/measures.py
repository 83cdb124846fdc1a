"""How large, how plain and how repetitive the code is: one row for each installed folder.

Tests and generated code are left out. A triple is the median, the ninth decile and the maximum.
"""

import argparse
import ast
import io
import json
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "src/*-*", "adapters/*", "adapters/*/double", "adapters/*/server")
WINDOW = 6
"""Lines in a row that must be the same to count as a duplicate."""

PRONOUNS = """
    anybody anyone anything each everybody everyone everything he her hers herself him himself his
    it its itself me mine myself nobody none nothing one ones oneself ours ourselves she somebody
    someone something that their theirs them themselves these they this those us we what whatever
    which whichever who whoever whom whose you your yours yourself
"""
DETERMINERS = """
    all another any both either enough every few fewer less least many more most much neither other
    others own rest several some such
"""
PARTICIPLES = """
    asked been begun brought called caught chosen come done drawn felt found given gone got gotten
    had handed heard held kept known laid left lent let looked made meant met noted owed
    said seen sent shown stood taken thought told tried understood used wanted went won written
"""
ADVERBS = """
    again ago ahead alike already also alone apart away else elsewhere ever here how instead just
    maybe meanwhile never onward only otherwise quite rather so still then there therefore thus
    together too when where why yet
"""
VAGUE = frozenset(f"{PRONOUNS} {DETERMINERS} {PARTICIPLES} {ADVERBS}".split())
"""Words that name nothing: whoever searches for one finds everything."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Triple = tuple[int, int, int]
"""The median, the ninth decile and the maximum."""


@dataclass(frozen=True)
class Module:
    """One file of Python."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """What it says."""
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> Sequence[str]:
        """Its lines, without the space around them."""
        return [line.strip() for line in self.text.splitlines()]

    @cached_property
    def comments(self) -> Sequence[str]:
        """Its comments, instructions to tools included."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [token.string for token in tokens if token.type == tokenize.COMMENT]

    @property
    def ignores(self) -> int:
        """How often it silences a tool."""
        return sum("noqa" in comment or "type: ignore" in comment for comment in self.comments)

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """All that is in it."""
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> Sequence[Function]:
        """Its functions and methods, nested ones included."""
        return [node for node in self.nodes if isinstance(node, Function)]


@dataclass(frozen=True)
class Measures:
    """What is measured of one installed folder."""

    name: str
    lines: int
    module: Triple
    """Lines."""
    function: Triple
    """Lines."""
    arguments: Triple
    complexity: Triple
    """Ways through a function, as McCabe counts them."""
    protocols: int
    ignores: float
    """Comments that silence a tool, in a thousand lines."""
    broad: int
    """`except` of `Exception`, `BaseException` or everything, that does not raise again."""
    documented: float
    """Per cent of modules, and of public classes and functions at any depth, with a docstring."""
    typed: float
    """Per cent of functions with a declared result."""
    comments: float
    """Comments for people, in a hundred lines."""
    vague: float
    """Per cent of bound names that are a pronoun, a determiner or the like."""
    duplicates: int
    """Blocks of lines that stand a second time in the folder."""


def folders(root: Path = ROOT) -> Iterator[tuple[str, Path, Sequence[Path]]]:
    """Give each installed folder of a checkout: its name, its place, its import packages."""
    for pattern in FOLDERS:
        for path in sorted(root.glob(f"{pattern}/pyproject.toml")):
            settings = tomllib.loads(path.read_text())
            packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
            yield settings["project"]["name"], path.parent, [path.parent / p for p in packages]


def modules(packages: Iterable[Path]) -> list[Module]:
    """Read all Python of some packages."""
    paths = sorted(path for package in packages for path in package.rglob("*.py"))
    return [Module(path, path.read_text()) for path in paths]


def measure(name: str, code: Sequence[Module]) -> Measures:
    """Measure an installed folder."""
    lines = sum(len(module.lines) for module in code)
    functions = [function for module in code for function in module.functions]
    public = [documented for module in code for documented in _documented(module.tree)]
    bound = [name for module in code for node in module.nodes for name in _bound(node)]
    ignores = sum(module.ignores for module in code)
    comments = sum(len(module.comments) for module in code) - ignores
    return Measures(
        name=name,
        lines=lines,
        module=_triple(len(module.lines) for module in code),
        function=_triple(_length(function) for function in functions),
        arguments=_triple(len(_arguments(function)) for function in functions),
        complexity=_triple(_complexity(function) for function in functions),
        protocols=sum(_is_protocol(node) for module in code for node in module.nodes),
        ignores=1000 * ignores / max(lines, 1),
        broad=sum(len(broad_excepts(module)) for module in code),
        documented=_percent(sum(public), len(public)),
        typed=_percent(sum(bool(function.returns) for function in functions), len(functions)),
        comments=_percent(comments, lines),
        vague=_percent(sum(is_vague(name) for name in bound), len(bound)),
        duplicates=duplicates(code),
    )


def is_vague(name: str) -> bool:
    """Whether all words of a name are pronouns, determiners or the like."""
    words = [word for word in name.lower().split("_") if word]
    magic = name.startswith("__") and name.endswith("__")
    return bool(words) and not magic and all(word in VAGUE for word in words)


def vague_names(code: Iterable[Module]) -> Counter[str]:
    """Count the vague names that are bound: variables, parameters, fields, functions, classes."""
    return Counter(
        name for module in code for node in module.nodes for name in _bound(node) if is_vague(name)
    )


def broad_excepts(module: Module) -> list[int]:
    """Give the lines that catch whatever is raised, and go on."""
    return [
        node.lineno
        for node in module.nodes
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises(node)
    ]


def undocumented(module: Module) -> int:
    """Count what is public in a module and has no docstring."""
    return sum(not documented for documented in _documented(module.tree))


def duplicates(code: Iterable[Module]) -> int:
    """Count blocks of at least `WINDOW` lines that stand a second time.

    Blank lines, comments, imports and brackets alone are not looked at.
    """
    places: Counter[tuple[str, ...]] = Counter()
    blocks = 0
    for module in code:
        lines = [line for line in module.lines if _weighs(line)]
        repeated_before = False
        for start in range(len(lines) - WINDOW + 1):
            window = tuple(lines[start : start + WINDOW])
            repeated = places[window] > 0
            blocks += repeated and not repeated_before
            repeated_before = repeated
            places[window] += 1
    return blocks


def shared_class_names(code: Iterable[Module]) -> Mapping[str, int]:
    """Give the public class names that several modules use, most used first."""
    users: dict[str, set[Path]] = defaultdict(set)
    for module in code:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                users[node.name].add(module.path)
    counts = {name: len(paths) for name, paths in users.items() if len(paths) > 1}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _weighs(line: str) -> bool:
    return len(line) > 1 and not line.startswith(("#", "import ", "from ", '"""', ")", "]", "}"))


def _triple(values: Iterable[int]) -> Triple:
    ordered = sorted(values) or [0]
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.9)], ordered[-1]


def _percent(part: int, whole: int) -> float:
    return 100 * part / max(whole, 1)


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _arguments(function: Function) -> list[ast.arg]:
    arguments = function.args
    ordinary = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument for argument in ordinary if argument.arg not in {"self", "cls"}]


def _complexity(function: Function) -> int:
    ways = 1
    for node in ast.walk(function):
        match node:
            case ast.BoolOp(values=values):
                ways += len(values) - 1
            case ast.comprehension(ifs=conditions):
                ways += 1 + len(conditions)
            case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While():
                ways += 1
            case ast.ExceptHandler() | ast.match_case():
                ways += 1
    return ways


def _is_protocol(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        "Protocol" in ast.unparse(base) for base in node.bases
    )


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(kind) for kind in caught.elts)
    return caught is None or (
        isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}
    )


def _raises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler ends by raising: it cleans up or translates, and catches nothing."""
    return isinstance(handler.body[-1], ast.Raise)


def _documented(tree: ast.Module) -> Iterator[bool]:
    """Tell of a module, and of its public names at any depth, whether each has a docstring."""
    for node in ast.walk(tree):
        match node:
            case ast.Module(body=[_, *_]):
                yield ast.get_docstring(node) is not None
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                if not name.startswith("_"):
                    yield ast.get_docstring(node) is not None
            case ast.AsyncFunctionDef(name=name) if not name.startswith("_"):
                yield ast.get_docstring(node) is not None


def _bound(node: ast.AST) -> Iterator[str]:
    """Give the names that a statement or an expression binds."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.arg(arg=name) if name not in {"self", "cls"}:
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name


def report(root: Path) -> tuple[list[Measures], Mapping[str, int]]:
    """Measure every installed folder of a checkout, and list the class names they share."""
    rows, everything = [], []
    for name, _, packages in folders(root):
        code = modules(packages)
        everything += code
        rows.append(measure(name, code))
    return rows, shared_class_names(everything)


def _line(row: Measures) -> str:
    triples = "".join(
        f"{'/'.join(map(str, triple)):>13}"
        for triple in (row.module, row.function, row.arguments, row.complexity)
    )
    return (
        f"{row.name:<26}{row.lines:>7,}{triples}{row.protocols:>6}{row.ignores:>9.1f}"
        f"{row.broad:>6}{row.documented:>6.0f}%{row.typed:>6.0f}%{row.comments:>9.1f}"
        f"{row.vague:>7.2f}%{row.duplicates:>6}"
    )


HEAD = (
    f"{'':<26}{'lines':>7}{'module':>13}{'function':>13}{'arguments':>13}{'complexity':>13}"
    f"{'port':>6}{'ignores':>9}{'broad':>6}{'docs':>7}{'typed':>7}{'comments':>9}{'vague':>8}"
    f"{'twice':>6}"
)


def main() -> None:
    """Print the measures of a checkout, or with a folder its vague names and broad excepts."""
    parser = argparse.ArgumentParser(prog="scripts/measure", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("folders", type=Path, nargs="*", help="list what is found in these instead")
    options = parser.parse_args()
    if options.folders:
        _list_findings(modules(options.folders))
        return
    rows, names = report(options.root)
    if options.json:
        print(json.dumps({"folders": [vars(row) for row in rows], "class_names": names}))
        return
    print(HEAD)
    for row in rows:
        print(_line(row))
    print(f"class names used more than once: {len(names)}", end="")
    print(":", ", ".join(f"{name} {count}" for name, count in list(names.items())[:12]))


def _list_findings(code: Sequence[Module]) -> None:
    for name, count in vague_names(code).most_common():
        print(f"vague: {name} {count}")
    for module in code:
        for line in broad_excepts(module):
            print(f"broad: {module.path}:{line}")
        if missing := undocumented(module):
            print(f"undocumented: {module.path}: {missing}")


if __name__ == "__main__":
    main()
