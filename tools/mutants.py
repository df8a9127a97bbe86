"""``python -m tools.mutants``: do the tests notice small faults in the code?

Cosmic Ray's operators make faulty copies of the modules that ``mutants.toml`` lists (a ``<`` that
becomes ``<=``, a 1 that becomes a 2). Each copy runs the tests that the list names for it, in a
process forked from one that has imported the slow libraries. A fault is caught when a test fails or
takes too long. Faults in texts and annotations are left out, and so are those that
``mutants.toml`` lists as equivalent, kinds or single ones, each with its reason.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import fnmatch
import os
import random
import re
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
LIST = ROOT / "tools" / "mutants.toml"
Fault = tuple[str, str, str]
SURVIVED, NO_TESTS = 0, 5  # exit statuses of pytest; every other one is a fault that was noticed


@dataclass(frozen=True)
class Mutant:
    """A copy of a module with one fault.

    Arguments:
        module: its dotted name.
        before, after: the lines that differ, as they are and as they become, spaces collapsed.
        source: the whole faulty copy.
    """

    module: str
    before: str
    after: str
    source: str

    @property
    def fault(self) -> Fault:
        """The module and what changes in it, as `mutants.toml` names it."""
        return self.module, self.before, self.after


def path_of(module: str) -> Path:
    """The file of a module."""
    return SOURCE / (module.replace(".", "/") + ".py")


class _Bare(ast.NodeTransformer):
    """A module without texts and annotations."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.annotation = ast.Constant("")
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)


@cache
def without_texts(source: str) -> str:
    """The source with every text and annotation taken out."""
    return ast.unparse(_Bare().visit(ast.parse(source)))


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """The lines that differ between two sources, spaces collapsed."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    sides = [" ".join(line[2:] for line in lines if line.startswith(sign)) for sign in "-+"]
    old, new = (re.sub(r"\s+", " ", side).strip() for side in sides)
    return old, new


def list_places(module: str, operators: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Where these operators can plant a fault: the module, the operator and the occurrence."""
    tree = get_ast(path_of(module).read_text())
    for name in operators:
        operator = get_operator(name)()
        places = sum(len(list(operator.mutation_positions(n))) for n in ast_nodes(tree))
        yield from ((module, name, occurrence) for occurrence in range(places))


def plant(module: str, operator: str, occurrence: int) -> Mutant | None:
    """The module with this fault; None where only a text or an annotation changes."""
    source = path_of(module).read_text()
    mutated = mutate_code(source, get_operator(operator)(), occurrence)
    try:
        if mutated is None or without_texts(mutated) == without_texts(source):
            return None
    except SyntaxError:
        return None
    return Mutant(module, *changed_lines(source, mutated), mutated)


def draw_mutants(modules: Iterable[str], seed: int, listed: dict[str, Any]) -> Iterator[Mutant]:
    """Different mutants of the modules in the seed's order, without what the list leaves out."""
    operators = [
        name
        for name in operator_names()
        if not any(fnmatch.fnmatch(name, pattern) for pattern in listed["left_out"])
    ]
    equivalent = {(e["module"], e["before"], e["after"]) for e in listed.get("equivalent", [])}
    places = [place for module in modules for place in list_places(module, operators)]
    random.Random(seed).shuffle(places)
    print(f"{len(places)} places for a fault", flush=True)
    seen: set[str] = set()
    for place in places:
        mutant = plant(*place)
        if mutant is None or mutant.source in seen or mutant.fault in equivalent:
            continue
        seen.add(mutant.source)
        yield mutant


class _Finder(MetaPathFinder):
    """Imports the faulty copy under the module's name."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.mutant.module:
            return None
        spec = spec_from_file_location(name, path_of(name))
        assert spec is not None
        assert spec.loader is not None
        spec.loader.get_code = lambda _: compile(  # type: ignore[attr-defined]
            self.mutant.source, str(path_of(name)), "exec"
        )
        return spec


def run_tests(tests: list[str], mutant: Mutant | None, output: Path) -> int:
    """Run tests in this process, with the mutant in its module's place; pytest's exit status."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    import pytest

    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def fork(tests: list[str], mutant: Mutant | None, output: Path) -> int:
    """Start `run_tests` in a process of its own; its number."""
    process = os.fork()
    if process == 0:
        os.setsid()
        status = 3
        try:
            status = run_tests(tests, mutant, output)
        finally:
            os._exit(status)
    return process


def preload() -> None:
    """Import what is slow to import once, before any process is forked; never statewise itself."""
    import array_api_compat.torch  # noqa: F401
    import hypothesis  # noqa: F401
    import pandas  # noqa: F401
    import safetensors.torch  # noqa: F401
    import selenium.webdriver  # noqa: F401
    import torch

    torch.set_num_threads(1)
    assert not any(name.partition(".")[0] == "statewise" for name in sys.modules)


@dataclass
class Workers:
    """Runs tests on mutants, a few at a time.

    Arguments:
        jobs: how many at once.
        folder: where the tests' output goes.
    """

    jobs: int
    folder: Path

    def run(
        self, work: list[tuple[Mutant | None, list[str], float]]
    ) -> Iterator[tuple[int, int | None, float]]:
        """For each piece of work as it ends: its number, pytest's exit status (None where the
        time, the last of the three, was up) and the seconds it took.
        """
        waiting = list(enumerate(work))[::-1]
        running: dict[int, tuple[int, float]] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                index, (mutant, tests, _) = waiting.pop()
                process = fork(tests, mutant, self.folder / f"{index}.txt")
                running[process] = index, time.monotonic()
            time.sleep(0.02)
            for process, (index, began) in list(running.items()):
                took = time.monotonic() - began
                ended, status = os.waitpid(process, os.WNOHANG)
                if not ended and took > work[index][2]:
                    os.killpg(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                    del running[process]
                    yield index, None, took
                elif ended:
                    del running[process]
                    yield index, os.waitstatus_to_exitcode(status), took


def time_limits(workers: Workers, suites: dict[str, list[str]]) -> dict[str, float]:
    """How long each suite of tests may take: five times as long as it takes without a fault."""
    modules = sorted(suites)
    limits = {}
    for index, status, took in workers.run([(None, suites[module], 1200.0) for module in modules]):
        module = modules[index]
        if status != SURVIVED:
            print((workers.folder / f"{index}.txt").read_text()[-3000:])
            raise SystemExit(f"the tests of {module} fail without any fault in it")
        print(f"  {module:32} {took:5.1f} s without a fault", flush=True)
        limits[module] = 10 + 5 * took
    return limits


def main() -> None:
    """Run a sample of the mutants, and print how many were caught and which were not."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", default=["*"], help="patterns of module names")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="how many tests run at once")
    parser.add_argument("--show", action="store_true", help="list the mutants and run nothing")
    given = parser.parse_args()
    os.nice(10)
    os.environ |= {"OMP_NUM_THREADS": "1", "CI": "1"}
    os.chdir(ROOT)
    sys.path.insert(0, str(SOURCE))
    listed = tomllib.loads(LIST.read_text())
    suites: dict[str, list[str]] = {
        module: tests
        for module, tests in listed["tests"].items()
        if any(fnmatch.fnmatch(module, f"statewise.{pattern}") for pattern in given.modules)
    }
    drawn = list(islice(draw_mutants(suites, given.seed, listed), given.sample))
    if given.show:
        for mutant in drawn:
            print(describe(mutant))
        return
    preload()
    folder = ROOT / "build" / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    workers = Workers(given.jobs, folder)
    limits = time_limits(workers, {m: suites[m] for m in sorted({m.module for m in drawn})})
    report(drawn, workers.run([(m, suites[m.module], limits[m.module]) for m in drawn]))


def describe(mutant: Mutant) -> str:
    """What a mutant changes, for people."""
    return f"{mutant.module}\n  - {mutant.before}\n  + {mutant.after}"


def report(drawn: list[Mutant], results: Iterator[tuple[int, int | None, float]]) -> None:
    """Print each survivor as it is found, and a table by module at the end."""
    total, caught = Counter(m.module for m in drawn), Counter[str]()
    for index, status, _ in results:
        mutant = drawn[index]
        if status == NO_TESTS:
            raise SystemExit(f"no test was run for {mutant.module}; see {LIST.name}")
        if status != SURVIVED:
            caught[mutant.module] += 1
        else:
            print(
                f"not caught: {mutant.module}\n  - {mutant.before}\n  + {mutant.after}", flush=True
            )
    for module in sorted(total):
        print(f"  {module:32} {caught[module]:3} of {total[module]:3}")
    share = caught.total() / total.total()
    print(f"{caught.total()} of {total.total()} mutants caught, {share:.1%}")


if __name__ == "__main__":
    main()
