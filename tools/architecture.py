"""``python -m tools.architecture``: the layers and the trees of docs/architecture.md.

The layers come from import-linter's contract in pyproject.toml, the trees from the first sentence
in every file. ``--write`` puts them into the document; a test compares them with it.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "statewise"
NATIVE = ROOT / "native"
DOCUMENT = ROOT / "docs" / "architecture.md"
WIDTH = 22  # of the column of names


def is_module(path: Path) -> bool:
    """Whether this is a package or, without its suffix, a module."""
    return path.is_dir() or path.with_suffix(".py").is_file()


def draw_layers() -> str:
    """The layers from top to bottom, a line each; what shares a line is independent."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    lines = []
    for layer in layers:
        paths = [SOURCE / name for name in re.findall(r"\w+", layer)]
        names = [path.name + "/" * path.is_dir() for path in paths if is_module(path)]
        lines += [" | ".join(names)] * bool(names)
    return "\n".join(lines)


def summarize(path: Path) -> str:
    """The first sentence of a module's docstring, on one line and without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return first.partition(". ")[0].removesuffix(".")


def draw_tree() -> str:
    """Every file of the package with what it is, folder by folder."""
    lines = []
    folders = sorted({path.parent for path in SOURCE.rglob("*.py")})
    for folder in folders:
        indent = ""
        if folder != SOURCE:
            lines.append(f"{folder.relative_to(SOURCE)}/")
            indent = "  "
        lines += [
            f"{indent + path.name:{WIDTH}} {summarize(path)}".rstrip()
            for path in sorted(folder.glob("*.py"))
        ]
    return "\n".join(lines)


def summarize_native(path: Path) -> str:
    """The first sentence of a native file's opening comment; "" where it has none."""
    lines = path.read_text().splitlines()
    comment = [line[2:].strip() for line in takewhile(lambda line: line.startswith("//"), lines)]
    first = " ".join(takewhile(bool, comment))
    return first.partition(". ")[0].removesuffix(".")


def draw_native_tree() -> str:
    """Every native file with what it is; a file without a comment stands beside its header."""
    lines = []
    for header in sorted({path.with_suffix("") for path in NATIVE.iterdir() if is_native(path)}):
        paths = [header.with_suffix(suffix) for suffix in (".h", ".cpp")]
        named = [(path.name, summarize_native(path)) for path in paths if path.is_file()]
        if len(named) == 2 and not named[1][1]:
            named = [(f"{header.name}.h, .cpp", named[0][1])]
        lines += [f"{name:{WIDTH}} {summary}".rstrip() for name, summary in named]
    return "\n".join(lines)


def is_native(path: Path) -> bool:
    """Whether this is C++."""
    return path.suffix in (".h", ".cpp")


def render(document: str) -> str:
    """The document with the first code block after each heading drawn anew."""
    for heading, drawing in DRAWINGS.items():
        before, found, after = document.partition(heading)
        if not found:
            raise SystemExit(f"{DOCUMENT.name} has no heading {heading!r}")
        opening, _, rest = after.partition("```\n")
        _, _, closing = rest.partition("\n```")
        document = f"{before}{found}{opening}```\n{drawing()}\n```{closing}"
    return document


DRAWINGS = {
    "## Layers": draw_layers,
    "## Native kernels": draw_native_tree,
    "## The tree": draw_tree,
}


def main() -> None:
    """Print all of them, or write them into the document."""
    parser = argparse.ArgumentParser(prog="python -m tools.architecture", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write them into the document")
    if parser.parse_args().write:
        DOCUMENT.write_text(render(DOCUMENT.read_text()))
    else:
        print(*(draw() for draw in DRAWINGS.values()), sep="\n\n")


if __name__ == "__main__":
    main()
