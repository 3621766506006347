"""The time of `import`, each in a fresh process: engines, SciPy's heavy parts and llvmlite should come in at first use only.

All are imported from bytecode, as they are where they have been imported before: the first round writes what is not there, whatever the
environment says about that.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.harness import NOT_INSTALLED, Budget, Cell, Row, Table

MODULES = {"cotan": "cotan", "NumPy": "numpy", "JAX": "jax", "autograd": "autograd", "torch": "torch"}
ROUNDS = 7
TIMED_IMPORT = "import time; started = time.perf_counter(); import {module}; print(time.perf_counter() - started)"


def import_seconds(module: str) -> float | None:
    """The time that a fresh process needs to import a module, or None where it is not installed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", TIMED_IMPORT.format(module=module)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if process.returncode and "ModuleNotFoundError" not in process.stderr:
        raise RuntimeError(process.stderr)
    return None if process.returncode else float(process.stdout)


def table() -> Table:
    """Rounds in which every module is imported in turn; the first round only warms the disk cache."""
    samples: dict[str, list[float | None]] = {name: [] for name in MODULES}
    for _ in range(ROUNDS + 1):
        for name, module in MODULES.items():
            if None not in samples[name]:
                samples[name].append(import_seconds(module))
    cells: dict[str, Cell] = {}
    for name, times in samples.items():
        known = [seconds for seconds in times[1:] if seconds is not None]
        cells[name] = Budget.counts(known) if known else NOT_INSTALLED
    return Table("importing", "import", "ms", [Row("import", cells, target="under 250 ms")])
