"""How the repository is laid out: short files, a true map of them, facts by number, one version."""

import re
import tomllib
from pathlib import Path

from tools.architecture import DOCUMENT, SOURCE, render, summarize

import statewise as sw

ROOT = Path(__file__).parent.parent
LONGEST = 350  # lines
CODE = {".py", ".pyi", ".cpp", ".h", ".js", ".css", ".html"}
EXEMPT = ("src/statewise/serve/", "tests/serve/")  # the server is to be divided, all of it at once
FACTS = ROOT / "docs" / "state-facts.md"


def test_no_file_is_too_long_to_read() -> None:
    lengths = {}
    for folder in ("src", "native", "tests", "tools", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in CODE and not name.startswith(EXEMPT):
                lengths[name] = len(path.read_text().splitlines())
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
    assert len(lengths) > 200


def test_the_layers_and_the_tree_are_those_of_the_code() -> None:
    document = DOCUMENT.read_text()
    assert render(document) == document, "run `make architecture`"


def test_every_module_says_what_it_is() -> None:
    assert [path for path in SOURCE.rglob("*.py") if not summarize(path)] == []


def facts_in(docstring: str) -> set[int]:
    """The numbers of the facts that a text cites: "Fact 1", "Facts 6 to 9 and 22"."""
    found: set[int] = set()
    for listed in re.findall(r"\b[Ff]acts? (\d+(?:(?:, | and | to )\d+)*)", docstring):
        found |= {int(number) for number in re.findall(r"\d+", listed)}
        for first, last in re.findall(r"(\d+) to (\d+)", listed):
            found |= set(range(int(first), int(last) + 1))
    return found


def test_citations_of_facts_are_read_as_people_read_them() -> None:
    assert facts_in("Fact 1: chunks. Facts 6 to 9 and 22: resets; fact 3.") == {
        1,
        3,
        6,
        7,
        8,
        9,
        22,
    }
    assert facts_in("An artefact 5, a fact, 2 facts.") == set()


def test_facts_and_the_tests_that_cite_them_agree() -> None:
    cited: dict[int, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__):
            for fact in facts_in(path.read_text()):
                cited.setdefault(fact, set()).add(path.relative_to(ROOT / "tests").as_posix())
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", FACTS.read_text(), re.MULTILINE)
    listed = {int(number): set(re.findall(r"`(.+?)`", tests)) for number, _, tests in rows}
    assert list(listed) == list(range(1, 23))
    assert listed == cited


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sw.__version__ == project["version"]
    assert not [path for path in SOURCE.rglob("*.py") if f'"{sw.__version__}"' in path.read_text()]
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text()


def test_what_cites_statewise_agrees_with_its_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    stated = [project["name"], project["license"], project["authors"][0]["name"]]
    for word in (*stated, *project["keywords"]):
        assert word in citation, word


def test_workflows_and_hooks_call_targets_of_make() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    callers = [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(callers) == 3
    for path in callers:
        text = path.read_text()
        called = re.findall(r"(?:run|entry): make ([\w -]+)$", text, re.MULTILINE)
        called += re.findall(r"target: \[([\w, -]+)\]", text)
        names = {name for words in called for name in re.split(r"[ ,]+", words)}
        assert names, path.name
        assert names <= targets, path.name


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", sw.__version__]


def test_the_list_of_mutants_is_true() -> None:
    listed = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text())
    for module, tests in listed["tests"].items():
        assert (ROOT / "src" / (module.replace(".", "/") + ".py")).is_file(), module
        assert all((ROOT / path).exists() for path in tests), module
    for kind in listed["equivalent"]:
        path = ROOT / "src" / (kind["module"].replace(".", "/") + ".py")
        code = re.sub(r"\s+", " ", path.read_text())
        assert kind["module"] in listed["tests"]
        assert kind["before"] in code, f"{kind['module']} no longer has: {kind['before']}"
        assert kind["reason"]
