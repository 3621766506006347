"""Run the tables (all, or those named), print each as it is ready, and write them to `benchmarks/results` as JSON and as a plot."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from benchmarks import eager, importing, jitted, staging
from benchmarks.harness import SECONDS_PER_UNIT, Table, is_ours, render

RESULTS = Path(__file__).resolve().parent / "results"
TABLES: dict[str, Callable[[], Table]] = {
    "importing": importing.table,
    "eager": eager.table,
    "jitted": jitted.table,
    "staging": staging.table,
}


def machine() -> dict[str, str]:
    """What the figures depend on."""
    versions: dict[str, str] = {}
    for package in ("cotan", "numpy", "scipy", "jax", "autograd", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"python": platform.python_version(), "system": platform.platform(), "processors": str(os.cpu_count()), **versions}


def plot(table: Table, path: Path) -> None:
    """Times as bars on a logarithmic axis, a group per row."""
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.22 * len(table.rows) * (len(table.columns) + 1)), layout="constrained")
    height = 1.0 / (len(table.columns) + 1)
    for position, column in enumerate(table.columns):
        bars = [(index, row.cells.get(column)) for index, row in enumerate(table.rows)]
        known = [(index, cell / SECONDS_PER_UNIT[table.unit]) for index, cell in bars if isinstance(cell, float)]
        colour = "black" if is_ours(column) else "0.75" if column == "NumPy" else f"C{position}"
        axes.barh([index + position * height for index, _ in known], [value for _, value in known], height, label=column, color=colour)
    axes.set(xscale="log", xlabel=table.unit, title=table.title)
    axes.set_yticks(range(len(table.rows)), [row.label for row in table.rows])
    axes.invert_yaxis()
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="table", help=f"any of: {', '.join(TABLES)} (all, if none is named)")
    names = parser.parse_args().names or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table is called {', '.join(unknown)}; there are {', '.join(TABLES)}")
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        started = time.monotonic()
        table = TABLES[name]()
        print(f"\n{render(table)}", flush=True)
        (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **asdict(table)}, indent=2) + "\n")
        plot(table, RESULTS / f"{name}.png")
        print(f"({time.monotonic() - started:.0f} s; written to benchmarks/results/{name}.json and .png)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
