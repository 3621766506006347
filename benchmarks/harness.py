"""How everything here is measured, and how it is shown.

A figure is the median over many short rounds. In each round every contestant runs in turn, a batch of calls each, so that whatever else the
machine does at the moment hits all of them alike; what can be trusted is therefore the ratio within a row. Batches are sized once so that
one takes about a millisecond. The garbage collector is off while a batch is timed, as in the standard library's `timeit`.

A table's cell is a time in seconds, or a word that says why there is none.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

# Before JAX is imported: double precision, as everywhere in cotan, on the processor.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

NOT_INSTALLED = "not installed"
NOT_APPLICABLE = "-"
BATCH_SECONDS = 1e-3
# What takes this long once needs no batches and no further warming up.
SLOW_SECONDS = 0.1

Cell = float | str
Contestant = Callable[[], object] | str


def optional(name: str) -> ModuleType | None:
    """A peer's module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def contestant(make: Callable[..., Callable[[], object]], *modules: ModuleType | None) -> Contestant:
    """What `make` builds from a peer's modules, or the word for its absence."""
    return NOT_INSTALLED if any(module is None for module in modules) else make(*modules)


def batch_time(function: Callable[[], object], calls: int) -> float:
    """Seconds per call over a batch."""
    repeat = range(calls)
    enabled = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        for _ in repeat:
            function()
        return (time.perf_counter() - started) / calls
    finally:
        if enabled:
            gc.enable()


def batch_size(function: Callable[[], object]) -> int:
    """How many calls make a batch; the calls before the one that is timed for it compile, fill caches and page in memory."""
    if batch_time(function, 1) > SLOW_SECONDS:
        return 1
    function()
    return max(1, int(BATCH_SECONDS / max(batch_time(function, 1), 1e-9)))


def compare(contestants: Mapping[str, Contestant], seconds: float = 2.0, rounds: int = 200) -> dict[str, Cell]:
    """Median seconds per call of each contestant, measured in turn until the rounds or (after three of them) the seconds are used up."""
    runnable = {name: function for name, function in contestants.items() if not isinstance(function, str)}
    sizes = {name: batch_size(function) for name, function in runnable.items()}
    samples: dict[str, list[float]] = {name: [] for name in runnable}
    deadline = time.monotonic() + seconds
    for done in range(rounds):
        if done >= 3 and time.monotonic() > deadline:
            break
        for name, function in runnable.items():
            samples[name].append(batch_time(function, sizes[name]))
    return {name: statistics.median(samples[name]) if name in samples else str(contestants[name]) for name in contestants}


@dataclass
class Row:
    """One comparison: what is timed, the time of each contestant, and what cotan aims for, in words."""

    label: str
    cells: dict[str, Cell]
    target: str = ""


@dataclass
class Table:
    """Comparisons that share their columns. `unit` is that of the printed figures; the JSON holds seconds."""

    name: str
    title: str
    unit: str
    rows: list[Row] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The contestants, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row.cells))


SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def is_ours(column: str) -> bool:
    """Whether a column is cotan's."""
    return column.startswith("cotan")


def ratio_to_best_peer(row: Row) -> float | None:
    """Our time over the best peer's; NumPy, which differentiates nothing, is no peer but the limit."""
    ours = [cell for name, cell in row.cells.items() if is_ours(name) and isinstance(cell, float)]
    peers = [cell for name, cell in row.cells.items() if not is_ours(name) and name != "NumPy" and isinstance(cell, float)]
    return min(ours) / min(peers) if ours and peers else None


def render(table: Table) -> str:
    """The table as text."""
    header = [table.title, *(f"{column} [{table.unit}]" for column in table.columns), "cotan / best peer", "target"]
    lines = [header]
    for row in table.rows:
        ratio = ratio_to_best_peer(row)
        figures = [render_cell(row.cells.get(column, NOT_APPLICABLE), table.unit) for column in table.columns]
        lines.append([row.label, *figures, NOT_APPLICABLE if ratio is None else f"{ratio:.3g}", row.target])
    return align(lines)


def render_cell(cell: Cell, unit: str) -> str:
    """A figure with three significant digits, or the word that stands for it."""
    return cell if isinstance(cell, str) else f"{cell / SECONDS_PER_UNIT[unit]:#.3g}".rstrip(".")


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left and the others to the right, with a rule under the header."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    text: list[str] = []
    for line in lines:
        figures = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        text.append("  ".join([line[0].ljust(widths[0]), *figures]))
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
