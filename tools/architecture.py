"""``python -m tools.architecture``: the layers and the tree of docs/architecture.md.

The layers come from import-linter's contract in pyproject.toml, the tree from the first sentence of
every module's docstring. ``--write`` puts both into the document; a test compares them with it.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "statewise"
DOCUMENT = ROOT / "docs" / "architecture.md"
WIDTH = 23  # of the column of names


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
            f"{indent + path.name:{WIDTH}}{summarize(path)}".rstrip()
            for path in sorted(folder.glob("*.py"))
        ]
    return "\n".join(lines)


def render(document: str) -> str:
    """The document with the first code block after each heading drawn anew."""
    for heading, drawing in (("## Layers", draw_layers()), ("## The tree", draw_tree())):
        before, found, after = document.partition(heading)
        if not found:
            raise SystemExit(f"{DOCUMENT.name} has no heading {heading!r}")
        block = re.compile(r"(?<=```\n).*?(?=\n```)", re.DOTALL)
        document = before + found + block.sub(lambda _, new=drawing: new, after, count=1)
    return document


def main() -> None:
    """Print both, or write them into the document."""
    parser = argparse.ArgumentParser(prog="python -m tools.architecture", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write them into the document")
    if parser.parse_args().write:
        DOCUMENT.write_text(render(DOCUMENT.read_text()))
    else:
        print(draw_layers(), draw_tree(), sep="\n\n")


if __name__ == "__main__":
    main()
