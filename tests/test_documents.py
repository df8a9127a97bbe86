"""Every example and every Python block of the README runs, and links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def run(script: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # tests run side by side
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) > 4
    (tmp_path / "tour.py").write_text("\n".join(blocks))
    printed = run(tmp_path / "tour.py", tmp_path)
    written = [line for line in printed.splitlines() if line.startswith("the wise ")]
    assert len(written) == 3
    ends = ("looks for a friend.", "sings to the moon.", "sleeps in the barn.")
    assert sum(line.endswith(ends) for line in written) >= 2, written
    assert (tmp_path / "forecaster" / "state.safetensors").exists()


EXAMPLES = set((ROOT / "examples").glob("*.py"))
EXAMPLES.remove(ROOT / "examples" / "triton_client.py")  # runs beside the server's tests


@pytest.mark.parametrize("example", sorted(EXAMPLES), ids=lambda p: p.stem)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    assert run(example, tmp_path)


def test_the_founding_question_is_answered(tmp_path: Path) -> None:
    answers = run(ROOT / "examples" / "is_the_state_reset.py", tmp_path).splitlines()
    assert [line.split()[-1] for line in answers] == ["True", "False", "True", "[3]", "True"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!http)([^)#]+)", prose):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
