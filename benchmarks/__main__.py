"""Run the tables (all, or those named), print each as it is ready, and write them to `benchmarks/results` as JSON and as a plot. Each has a
process of its own: threads that a library has started for one table do not slow the next.

The word `quick` stands for some tables with a quarter of the rounds, in under three minutes. The exit code is 1 if an answer was wrong or
missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from benchmarks import (
    adbench,
    branches,
    compiling,
    eager,
    factorizations,
    functions,
    fusion,
    importing,
    indexing,
    jitted,
    learning,
    limits,
    loops,
    memory,
    operations,
    ratios,
    sizes,
    staging,
    structured,
    threads,
)
from benchmarks.harness import DISAGREES, FAILS, UNITS, Budget, Table, is_ours, optional, render
from benchmarks.harness import ratios as ratios_of

RESULTS = Path(__file__).resolve().parent / "results"
TABLES: dict[str, Callable[[], Table]] = {
    "limits": limits.table,
    "importing": importing.table,
    "eager": eager.table,
    "jitted": jitted.table,
    "staging": staging.table,
    "fusion": fusion.table,
    "functions": functions.table,
    "loops": loops.table,
    "branches": branches.table,
    "indexing": indexing.table,
    "adbench": adbench.table,
    "learning": learning.table,
    "operations": operations.table,
    "factorizations": factorizations.table,
    "structured": structured.table,
    "threads": threads.table,
    "memory": memory.table,
    "ratios": ratios.table,
    "sizes": sizes.table,
    "compiling": compiling.table,
}
QUICK = ("limits", "eager", "jitted", "fusion", "loops", "adbench", "learning", "threads")
QUICK_SHARE = 0.25
THREADS = ("COTAN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "XLA_FLAGS")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    versions: dict[str, str] = {}
    for package in ("cotan", "numpy", "scipy", "jax", "autograd", "torch", "numba"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    processors = str(limits.processors())
    return {"python": platform.python_version(), "system": platform.platform(), "processors": processors, **allowed_threads(), **versions}


def allowed_threads() -> dict[str, str]:
    """How many threads each library may use: all processors, unless the environment says otherwise."""
    from cotan.engines.native.runtime import thread_pool as pool  # noqa: PLC0415 - only here is a module of cotan's needed

    torch, numba = optional("torch"), optional("numba")
    named = {name: os.environ[name] for name in THREADS if name in os.environ}
    counts = {"threads of cotan": str(pool.count())}
    if torch:
        counts["threads of torch"] = str(torch.get_num_threads())
    if numba:
        counts["threads of numba"] = str(numba.get_num_threads())
    return {**named, **counts, "threads of C": "1", "rounds": "the fastest" if Budget.counts is min else "the median"}


def plot(table: Table, path: Path) -> None:
    """A line per row with a mark per contestant, on a logarithmic axis, where equal distances are equal ratios."""
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.3 * len(table.rows)), layout="constrained")
    for position, column in enumerate(table.columns):
        bars = [(index, row.cells.get(column)) for index, row in enumerate(table.rows)]
        known = [(index, cell / UNITS[table.unit]) for index, cell in bars if isinstance(cell, float)]
        marker, colour = ("D", "black") if is_ours(column) else ("o", f"C{position}")
        axes.plot([value for _, value in known], [index for index, _ in known], marker, label=column, color=colour)
    axes.set(xscale="log", xlabel=table.unit, title=table.title)
    axes.set_yticks(range(len(table.rows)), [row.label for row in table.rows])
    axes.grid(axis="both", color="0.9")
    axes.set_axisbelow(True)
    axes.margins(x=0.1, y=0.1)
    axes.invert_yaxis()
    if axes.has_data():
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="table", help=f"any of: {', '.join(TABLES)} (all, if none is named), or quick")
    parser.add_argument(
        "--fastest", action="store_true", help="show the fastest round instead of the median one: the machine does other work"
    )
    parser.add_argument("--share", type=float, default=1.0, help="the part of the rounds that are taken")
    arguments = parser.parse_args()
    names, share = arguments.names or list(TABLES), arguments.share
    if names == ["quick"]:
        names, share = list(QUICK), QUICK_SHARE
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table is called {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if len(names) > 1:
        options = [f"--share={share}", *["--fastest"] * arguments.fastest]
        codes = [subprocess.run([sys.executable, "-m", "benchmarks", name, *options], check=False).returncode for name in names]
        return max(codes, key=abs)
    Budget.share = share
    if arguments.fastest:
        Budget.counts = min
    return run(names[0])


def run(name: str) -> int:
    """Run a table in this process. 1 if an answer in it was wrong or missing."""
    RESULTS.mkdir(exist_ok=True)
    started = time.monotonic()
    table = TABLES[name]()
    print(f"\n{render(table)}", flush=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **asdict(table), "ratios": ratios_of(table)}, indent=2) + "\n")
    plot(table, RESULTS / f"{name}.png")
    print(f"({time.monotonic() - started:.0f} s; written to benchmarks/results/{name}.json and .png)", flush=True)
    return int(any(isinstance(cell, str) and cell.startswith((DISAGREES, FAILS)) for row in table.rows for cell in row.cells.values()))


if __name__ == "__main__":
    sys.exit(main())
