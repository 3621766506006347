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

from benchmarks import adbench, compiling, eager, fusion, importing, jitted, learning, loops, staging
from benchmarks.harness import SECONDS_PER_UNIT, Table, is_ours, render

RESULTS = Path(__file__).resolve().parent / "results"
TABLES: dict[str, Callable[[], Table]] = {
    "importing": importing.table,
    "eager": eager.table,
    "jitted": jitted.table,
    "staging": staging.table,
    "fusion": fusion.table,
    "loops": loops.table,
    "adbench": adbench.table,
    "learning": learning.table,
    "compiling": compiling.table,
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
    """A line per row with a mark per contestant, on a logarithmic axis, where equal distances are equal ratios."""
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.3 * len(table.rows)), layout="constrained")
    for position, column in enumerate(table.columns):
        bars = [(index, row.cells.get(column)) for index, row in enumerate(table.rows)]
        known = [(index, cell / SECONDS_PER_UNIT[table.unit]) for index, cell in bars if isinstance(cell, float)]
        marker, colour = ("D", "black") if is_ours(column) else ("o", f"C{position}")
        axes.plot([value for _, value in known], [index for index, _ in known], marker, label=column, color=colour)
    axes.set(xscale="log", xlabel=table.unit, title=table.title)
    axes.set_yticks(range(len(table.rows)), [row.label for row in table.rows])
    axes.grid(axis="both", color="0.9")
    axes.set_axisbelow(True)
    axes.margins(x=0.1, y=0.1)
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
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
