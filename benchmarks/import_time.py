"""What `import statewise` costs, in fresh processes: ``python benchmarks/import_time.py``."""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 15
CODE = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, "torch" in sys.modules)
"""


def seconds(module: str) -> tuple[float, bool]:
    """The time to import a module in a fresh process, and whether torch came along."""
    code = CODE.format(module=module)
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(printed[0]), printed[1] == "True"


def main() -> None:
    modules = ("numpy", "statewise", "statewise.forecast", "torch")
    runs: dict[str, list[tuple[float, bool]]] = {name: [] for name in modules}
    for _ in range(RUNS):
        for name in modules:
            runs[name].append(seconds(name))
    print(f"{'import':<22}{'median s':>10}{'min s':>10}   torch imported")
    for name, found in runs.items():
        times = [time for time, _ in found]
        torch = found[0][1]
        print(f"{name:<22}{statistics.median(times):>10.3f}{min(times):>10.3f}   {torch}")


if __name__ == "__main__":
    main()
