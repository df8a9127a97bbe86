"""The blocks of docs/forecasting.md run, one after the other."""

import re
from pathlib import Path

from statewise.cli.app import build_command
from statewise.cli.messages import find_options

TEXT = (Path(__file__).parents[2] / "docs" / "forecasting.md").read_text()


def test_the_blocks_run(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile("\n".join(blocks), "forecasting.md", "exec"), {"__name__": "forecasting"})
    printed = capsys.readouterr().out
    assert "season=7; 2 series, 180 steps read)" in printed
    assert "statewise-hi-95" in printed
    assert "cutoff" in printed


def test_every_option_that_is_named_exists() -> None:
    known = find_options(build_command(), ["forecast"]).values()
    assert set(re.findall(r"--[a-z][a-z-]*", TEXT)) <= set(known)
