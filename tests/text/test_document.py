"""The Python blocks of docs/text.md run from top to bottom."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_blocks_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "text.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out == "arry\n"
