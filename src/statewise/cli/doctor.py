"""``statewise doctor``: what is installed, which kernels run, on what."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import statewise
from statewise import kernels

REQUIRED = ("numpy", "safetensors", "array-api-compat", "typer", "rich")

OPTIONAL = {
    "train": ("torch",),
    "forecast": ("narwhals", "pandas", "pyarrow", "utilsforecast", "joblib", "matplotlib"),
    "inspect": ("plotly", "scikit-learn"),
    "notebook": ("anywidget",),
    "serve": (
        "fastapi", "uvicorn", "uvloop", "httptools", "websockets", "msgspec", "httpx",
        "prometheus-client",
    ),
    "redis": ("redis",),
    "keras": ("keras", "h5py"),
    "onnx": ("onnx", "onnxruntime"),
    "jax": ("jax", "flax"),
    None: ("polars",),
}  # fmt: skip
"""Optional packages by the extra that installs them; None where no extra does."""


def run(as_json: bool) -> None:
    """The command."""
    found = examine()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    own = found["kernels"]
    if own["available"]:
        kind = f"native, {own['isa']} (this machine runs {', '.join(own['isas'])})"
    else:
        kind = f"none: the reference equations run instead ({own['reason']})"
    table.add_row("statewise", found["statewise"])
    table.add_row("kernels", kind)
    table.add_row("threads", f"{own['threads']} of {found['cores']} cores")
    table.add_row("devices", ", ".join(found["devices"]) or "cpu (torch is not installed)")
    table.add_row("python", found["python"])
    for name, version in found["packages"].items():
        table.add_row(name, escape(version or f"not installed: {advise(name)}"))
    console.print(table)


def examine() -> dict[str, Any]:
    """Collect versions, kernels, threads and devices as plain values."""
    packages = [*REQUIRED, *(name for names in OPTIONAL.values() for name in names)]
    return {
        "statewise": statewise.__version__,
        "kernels": kernels.describe(),
        "cores": os.cpu_count(),
        "devices": _find_devices(),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": {name: _find_version(name) for name in packages},
        "extras": {name: extra for extra, names in OPTIONAL.items() for name in names},
    }


def advise(package: str) -> str:
    """Say how to install a package."""
    extra = next((extra for extra, names in OPTIONAL.items() if package in names), None)
    return f"pip install '{f'statewise[{extra}]' if extra else package}'"


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_devices() -> list[str]:
    """Name what torch computes on; nothing where it is not installed."""
    try:
        import torch
    except ImportError:
        return []
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda]
