"""Write a hostile tree, audit it, and compare with a plain search: it ends, and nothing is silent.

    python scripts/hostile_tree.py RULESET [--megabytes 1100] [--files 50000] [--keep FOLDER]

The tree holds hits on one line in files of many kinds, nesting 200,000 deep, openings that are
never closed, odd names, pipes, sockets, links that lead in circles, folders in folders, and many
small files; the hits are the rule set's name. The audit must name every file that `grep -i` names,
and exit with 1. With `--git` the tree is a repository.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUFFIXES = ("ts", "py", "json", "yaml", "toml", "md", "mdx", "sql", "env", "vue", "html", "txt")
PIECES: Mapping[str, str] = {
    "words": "WORD ",
    "calls": 'import { Client } from "WORD"; WORD.send({});',
    "pairs": '{"WORD": "WORD"}, ',
    "lines": "WORD: x\n",
    "addresses": "https://api.WORD.com/v1/",
    "markup": "<!-- WORD <script> `",
}
"""What files consist of, with the vendor's word in place of WORD."""
NAMES = (
    *(
        b"new\nline.ts",
        b"caf\xe9.ts",
        b"-rf.ts",
        b" blank .ts",
        b"\x1b[31mred.ts",
        b"x" * 250 + b".ts",
    ),
    *("\u202eevil.ts".encode(), b"semi;colon.ts", b"back\\slash.ts", b"*?[glob].ts", b"tab\t.md"),
)
DEPTH = 200_000


def main() -> int:
    """Write, audit, compare; returns 1 where something was silent or went wrong."""
    options = _options()
    scratch = Path(tempfile.mkdtemp(prefix="turnout-hostile-"))
    tree = Path(options.keep or scratch / "tree")
    try:
        write(tree, options.ruleset, megabytes=options.megabytes, files=options.files)
        if options.git:
            subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
        return _judged(tree, options.ruleset)
    finally:
        shutil.rmtree(scratch)


def write(tree: Path, word: str, *, megabytes: float, files: int, depth: int = DEPTH) -> None:
    """Write the tree."""
    tree.mkdir(parents=True)
    total = int(megabytes * 1e6)
    shapes = [(suffix, name) for suffix in SUFFIXES for name in PIECES]
    for number, (suffix, name) in enumerate(shapes):
        size = total * (1 + number % 5) // (3 * len(shapes))
        piece = PIECES[name].replace("WORD", word)
        (tree / f"{name}.{suffix}").write_text(piece * (size // len(piece)))
    _write_nested(tree, word, depth)
    _write_odd_names(tree, word)
    _write_specials(tree, word)
    for number in range(files):
        folder = tree / "small" / str(number % 97)
        folder.mkdir(parents=True, exist_ok=True)
        text = f'import "{word}";\n' if number % 20 == 0 else "export const nothing = 1;\n"
        (folder / f"{number}.ts").write_text(text)


def _write_nested(tree: Path, word: str, depth: int) -> None:
    for suffix in SUFFIXES:
        deep = f'{{"{word}": ' + "[" * depth + "]" * depth + "}"
        (tree / f"deep.{suffix}").write_text(deep)
        (tree / f"open.{suffix}").write_text(f"import {word}\n" + "<!-- /* (" * (depth // 9))
    folder = tree
    for _ in range(200):
        folder /= "d"
        folder.mkdir()
    (folder / "deep.ts").write_text(f'import "{word}";\n')


def _write_odd_names(tree: Path, word: str) -> None:
    for name in NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(tree), name))).write_text(f'import "{word}";\n')  # noqa: PTH118 -- bytes


def _write_specials(tree: Path, word: str) -> None:
    os.mkfifo(tree / f"{word}.fifo.ts")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tree / "s.ts"))
    (tree / "loop.ts").symlink_to("loop.ts")
    (tree / "circle").symlink_to(".")
    (tree / "dangling.ts").symlink_to("nowhere")
    (tree / "endless.ts").symlink_to("/dev/zero")


def silent(tree: Path, word: str, report: Mapping[str, Any]) -> list[str]:
    """Name what a plain search finds and the report does not, neither itself nor its folder."""
    lists = ("findings", "problems", "exempted", "unclassified")
    named = {row["path"] for name in lists for row in report[name]}
    above = tuple(f"{row['path']}/" for row in report["problems"])
    hits = set(_hits(tree, word)) - named
    return sorted(path for path in hits if not path.startswith(above))


def _hits(tree: Path, word: str) -> Iterator[str]:
    command = ["grep", "-rilZ", "--devices=skip", "--exclude-dir=.git", word, "."]
    names = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=False).stdout
    return (os.fsdecode(name).removeprefix("./") for name in names.split(b"\0") if name)


def _judged(tree: Path, ruleset: str) -> int:
    start = time.perf_counter()
    command = [str(Path(sys.executable).with_name("turnout-audit")), ruleset, ".", "--json"]
    done = subprocess.run(command, cwd=tree, capture_output=True, check=False)
    wall = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    missing = silent(tree, ruleset, report)
    print(
        f"{wall:.0f} s wall, {usage.ru_utime + usage.ru_stime:.0f} s of the processor, peak "
        f"{usage.ru_maxrss / 1024:.0f} MB; exit {done.returncode}; {len(missing)} files silent"
    )
    print(report["summary"])
    reasons = sorted({problem["reason"] for problem in report["problems"]})
    print(*(f"  {reason}" for reason in reasons), sep="\n")
    print(done.stderr.decode(errors="replace"), *map(ascii, missing[:20]), sep="\n")
    return int(bool(missing) or done.returncode != 1 or b"Traceback" in done.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ruleset", help="its name is the vendor's word")
    parser.add_argument("--megabytes", type=float, default=1100)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--keep", help="write the tree into this folder, and leave it there")
    parser.add_argument("--git", action="store_true", help="make it a repository")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
