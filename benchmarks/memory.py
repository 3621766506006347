"""The memory of reverse mode: how much more a process has held at most than without the loop's steps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import JAX, NOT_INSTALLED, OURS, Cell, Row, Table, optional

STEPS, NUMBERS = 1000, 100_000
# The segments of a loop in JAX, where nesting is by hand: as many as steps in each, nearly.
SEGMENTS = 25
PEAK = "from benchmarks.memory import report; report({library!r}, {steps}, {checkpoint})"


def in_cotan(steps: int, checkpoint: bool) -> Callable[[Any], Any]:
    """The gradient of the sum of squares of where the steps lead."""

    def total(x: Any) -> Any:
        return cnp.sum(cotan.lax.scan(lambda c, _: (cnp.sin(c) * 1.01, None), x, None, length=steps, checkpoint=checkpoint)[0] ** 2)

    return cotan.jit(cotan.grad(total))


def in_jax(steps: int, checkpoint: bool) -> Callable[[Any], Any]:
    """The same; with checkpoints a loop of loops whose inner one is done again."""
    jax: Any = optional("jax")

    def step(c: Any, _: Any) -> tuple[Any, None]:
        return jax.numpy.sin(c) * 1.01, None

    def segment(c: Any, _: Any) -> tuple[Any, None]:
        return jax.lax.scan(step, c, None, length=max(1, steps // SEGMENTS))[0], None

    def total(x: Any) -> Any:
        outer, length = (jax.checkpoint(segment), min(steps, SEGMENTS)) if checkpoint else (step, steps)
        return jax.numpy.sum(jax.lax.scan(outer, x, None, length=length)[0] ** 2)

    function = jax.jit(jax.grad(total))
    return lambda x: jax.block_until_ready(function(x))


def report(library: str, steps: int, checkpoint: bool) -> None:
    """Print the most memory that this process has held after two calls, in bytes."""
    function = (in_cotan if library == OURS else in_jax)(steps, checkpoint)
    x = np.linspace(0.1, 0.9, NUMBERS)
    for _ in range(2):
        function(x)
    print(most_held())


def most_held() -> float:
    """The most memory that this process has held. On Linux `getrusage` would count that of its parent too."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024.0 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource  # noqa: PLC0415 - not on every system

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak(library: str, steps: int, checkpoint: bool) -> float:
    """What `report` prints in a fresh process."""
    command = [sys.executable, "-c", PEAK.format(library=library, steps=steps, checkpoint=checkpoint)]
    here = Path(__file__).resolve().parents[1]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here, env={**os.environ, "COTAN_CACHE": "0"})
    if process.returncode:
        raise RuntimeError(f"memory of {library}: {process.stderr}")
    return float(process.stdout.splitlines()[-1])


def row(label: str, checkpoint: bool, target: str) -> Row:
    """What the steps add to the memory of one step."""
    cells: dict[str, Cell] = {JAX: NOT_INSTALLED}
    for library in (OURS, *([JAX] if optional("jax") else [])):
        cells[library] = peak(library, STEPS, checkpoint) - peak(library, 1, checkpoint)
    return Row(label, {OURS: cells[OURS], JAX: cells[JAX]}, target)


def table() -> Table:
    """With everything kept, and with checkpoints."""
    if sys.platform == "win32":
        return Table("memory", "memory of reverse mode: not measured on this system", "MB")
    rows = [
        row(f"{STEPS:,} steps of {NUMBERS:,} doubles", False, "800 MB, one stack of carries"),
        row(f"{STEPS:,} steps of {NUMBERS:,} doubles, checkpoints", True, "under 100 MB"),
    ]
    return Table("memory", "extra memory of a compiled gradient through a loop", "MB", rows)
