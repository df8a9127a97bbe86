"""``statewise doctor``: what is installed, which kernels run, on what."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from typing import Any

from rich.console import Console
from rich.table import Table

import statewise
from statewise import kernels

PACKAGES = (
    "numpy", "safetensors", "array-api-compat", "torch", "narwhals", "pandas", "polars",
    "utilsforecast", "matplotlib", "joblib",
)  # fmt: skip


def run(as_json: bool) -> None:
    """The command."""
    found = examine()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    own = found["kernels"]
    if own["available"]:
        said = f"native, {own['isa']} (this machine runs {', '.join(own['isas'])})"
    else:
        said = f"none: the reference equations run instead ({own['reason']})"
    table.add_row("statewise", found["statewise"])
    table.add_row("kernels", said)
    table.add_row("threads", f"{own['threads']} of {found['cores']} cores")
    table.add_row("devices", ", ".join(found["devices"]) or "cpu (torch is not installed)")
    table.add_row("python", found["python"])
    for name, version in found["packages"].items():
        table.add_row(name, version or "not installed")
    console.print(table)


def examine() -> dict[str, Any]:
    """Versions, kernels, threads and devices, as plain values."""
    return {
        "statewise": statewise.__version__,
        "kernels": kernels.describe(),
        "cores": os.cpu_count(),
        "devices": _devices(),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    """What torch computes on, none where it is not installed."""
    try:
        import torch
    except ImportError:
        return []
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda]
