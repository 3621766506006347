"""How everything here is measured, and how it is shown.

A figure is the median over many short rounds; with `--fastest` it is the shortest, for a machine that does other work too. In each round
every contestant runs in turn, a batch of calls each, so that whatever else the machine does at the moment hits all of them alike; what can
be trusted is therefore the ratio within a row. Batches are sized once so that one takes about a millisecond. A batch of few
calls begins with one that is not timed: others may have taken seconds, and memory that is not used is taken away. One with several
threads begins when all threads are at rest (OpenBLAS's go on looking for work for 120 ms, on processors that it needs). The garbage
collector is off while a batch is timed, as in the standard library's `timeit`.

Everybody may use all processors, except where a column says one thread: hand-written C has one, and so does the column of cotan beside it.

A table's cell is a time in seconds (or a memory in bytes), or a word that says why there is none. No time is shown of an answer that
differs from the others': `checked` compares them first.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

# Before JAX is imported: double precision, as everywhere in cotan, on the processor.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What an earlier run has left on disk would make a compilation look free.
os.environ.setdefault("COTAN_CACHE", "0")

NOT_INSTALLED = "not installed"
NOT_APPLICABLE = "-"
TOO_SLOW = "too slow"
DISAGREES, FAILS = "disagrees", "fails"

# The columns of most tables.
OURS, OURS_ALONE = "cotan.jit", "cotan.jit, 1 thread"
JAX, TORCH, AUTOGRAD, NUMBA = "jax.jit", "torch, eager", "autograd", "Numba"
NUMPY, C, PRODUCTS = "NumPy", "C, 1 thread", "its products"
LIMITS = (NUMPY, NUMBA, C, PRODUCTS)
"""Columns that are no peers, for they differentiate nothing: what a library could reach at best."""
TOLERANCES = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-5}

BATCH_SECONDS = 1e-3
# What takes this long once needs no batches and no further warming up.
SLOW_SECONDS = 0.1
# How long threads are looked at (a system counts their time in ticks of some ms), how much of it they may take at rest, and how often.
REST_SECONDS, REST_SHARE, REST_LOOKS = 0.01, 0.2, 30
# How long a contestant is looked at that may let other threads work; one of which more calls make a batch hardly does.
THREADS_SECONDS, LONG_BATCH = 0.03, 20

Cell = float | str
Contestant = Callable[[], object] | str


class Budget:
    """How long a comparison may take, against what it asks for, and which of its rounds counts; the command line sets both."""

    share = 1.0
    counts: Callable[[Sequence[float]], float] = statistics.median


@dataclass(frozen=True)
class Alone:
    """A contestant of cotan's that is timed with one thread."""

    function: Callable[[], object]

    def __call__(self) -> object:
        return self.function()

    @contextmanager
    def around(self) -> Generator[None]:
        """One thread of compiled code, in this process."""
        from cotan.engines.native.runtime import thread_pool  # noqa: PLC0415 - a benchmark of imports uses this module too

        with thread_pool.limited(1):
            yield


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
    around = function.around() if isinstance(function, Alone) else nullcontext()
    call = function.function if isinstance(function, Alone) else function
    enabled = gc.isenabled()
    gc.disable()
    try:
        with around:
            started = time.perf_counter()
            for _ in repeat:
                call()
            return (time.perf_counter() - started) / calls
    finally:
        if enabled:
            gc.enable()


def has_threads(function: Callable[[], object]) -> bool:
    """Whether a contestant lets other threads work."""
    rest()
    started, every, own = time.perf_counter(), time.process_time(), time.thread_time()
    while (elapsed := time.perf_counter() - started) < THREADS_SECONDS:
        batch_time(function, 1)
    return time.process_time() - every - (time.thread_time() - own) > REST_SHARE * elapsed


def rest() -> None:
    """Wait until no thread of this process works."""
    for _ in range(REST_LOOKS):
        before = time.process_time()
        time.sleep(REST_SECONDS)
        if time.process_time() - before < REST_SHARE * REST_SECONDS:
            return


def batch_size(function: Callable[[], object]) -> int:
    """How many calls make a batch; the calls before the one that is timed for it compile, fill caches and page in memory."""
    if batch_time(function, 1) > SLOW_SECONDS and batch_time(function, 1) > SLOW_SECONDS:  # the first call may compile
        return 1
    function()
    calls = 1
    for _ in range(3):  # alone, a short call takes longer than among others
        calls = max(1, int(BATCH_SECONDS / max(batch_time(function, calls), 1e-9)))
    return calls


def compare(contestants: Mapping[str, Contestant], seconds: float = 2.0, rounds: int = 200) -> dict[str, Cell]:
    """Seconds per call of each contestant, measured in turn until the rounds or (after three of them) the seconds are used up."""
    runnable = {name: function for name, function in contestants.items() if not isinstance(function, str)}
    sizes = {name: batch_size(function) for name, function in runnable.items()}
    several = {name: sizes[name] <= LONG_BATCH and has_threads(function) for name, function in runnable.items()}
    samples: dict[str, list[float]] = {name: [] for name in runnable}
    deadline = time.monotonic() + seconds * Budget.share
    for done in range(rounds):
        if done >= 3 and time.monotonic() > deadline:
            break
        for name, function in runnable.items():
            if several[name]:
                rest()
            if sizes[name] <= LONG_BATCH and (not samples[name] or samples[name][-1] < SLOW_SECONDS):
                batch_time(function, 1)
            samples[name].append(batch_time(function, sizes[name]))
    return {name: Budget.counts(samples[name]) if name in samples else str(contestants[name]) for name in contestants}


def checked(contestants: dict[str, Contestant]) -> dict[str, Contestant]:
    """The contestants whose first answers agree with most of the others', and for the rest the word that takes their place."""
    kept, answers = dict(contestants), dict[str, list[np.ndarray]]()
    for name, function in contestants.items():
        if isinstance(function, str) or name == PRODUCTS:
            continue
        try:
            answers[name] = leaves(function())
        except Exception as error:  # whatever goes wrong in one library, the others still have their times
            kept[name] = f"{FAILS}: {type(error).__name__}"
    for name, answer in answers.items():
        friends = sum(agree(answer, other) for other in answers.values())
        if 2 * friends <= len(answers):
            kept[name] = DISAGREES
    return kept


def agree(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Whether answers are the same up to rounding."""
    if len(one) != len(other) or any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return False
    pairs = [(a, b, TOLERANCES.get(np.result_type(a, b), 0.0)) for a, b in zip(one, other, strict=True)]
    pairs = [(a * 1.0, b * 1.0, tolerance) for a, b, tolerance in pairs]  # truth values cannot be subtracted
    return all(np.max(np.abs(a - b), initial=0.0) <= tolerance * (np.max(np.abs(b), initial=0.0) or 1.0) for a, b, tolerance in pairs)


def leaves(answer: Any) -> list[np.ndarray]:
    """The arrays of an answer that is one array or a sequence of such answers."""
    return [leaf for part in answer for leaf in leaves(part)] if isinstance(answer, tuple | list) else [np.asarray(answer)]


def timed(label: str, contestants: dict[str, Contestant], target: str, seconds: float = 2.0) -> Row:
    """A row of contestants that agree; beside C stands cotan with one thread."""
    ours = contestants.get(OURS)
    if (C in contestants or OURS_ALONE in contestants) and callable(ours):
        contestants = {OURS: ours, OURS_ALONE: Alone(ours), **{name: one for name, one in contestants.items() if name != OURS}}
    return Row(label, compare(checked(contestants), seconds), target)


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
        """The contestants: cotan, its peers, the limits; each kind in the order in which they first appear."""
        names = dict.fromkeys(name for row in self.rows for name in row.cells)
        return sorted(names, key=lambda name: (not is_ours(name), name in LIMITS))


UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "MB": 1e6}
"""Seconds, or bytes."""


def is_ours(column: str) -> bool:
    """Whether a column is cotan's."""
    return column.startswith("cotan")


def ratio_to_best_peer(row: Row) -> float | None:
    """Our time over the best peer's; the limits are no peers."""
    ours = [cell for name, cell in row.cells.items() if is_ours(name) and isinstance(cell, float)]
    peers = [cell for name, cell in row.cells.items() if not is_ours(name) and name not in LIMITS and isinstance(cell, float)]
    return min(ours) / min(peers) if ours and peers and min(peers) > 0.0 else None


def ratio_to_limit(row: Row, limit: str) -> float | None:
    """Our time over a limit's, with one thread over C's."""
    ours = row.cells.get(OURS_ALONE if limit == C else next((name for name in row.cells if is_ours(name)), ""))
    bound = row.cells.get(limit)
    return ours / bound if isinstance(ours, float) and isinstance(bound, float) else None


def ratios(table: Table) -> dict[str, list[float | None]]:
    """The columns of ratios that the table can have, a ratio or None for each row."""
    columns = {"cotan / best peer": [ratio_to_best_peer(row) for row in table.rows]}
    for limit in LIMITS:
        columns["1 thread / C" if limit == C else f"cotan / {limit}"] = [ratio_to_limit(row, limit) for row in table.rows]
    return {name: column for name, column in columns.items() if any(ratio is not None for ratio in column)}


def render(table: Table) -> str:
    """The table as text."""
    others = ratios(table)
    lines = [[table.title, *(f"{column} [{table.unit}]" for column in table.columns), *others, "target"]]
    for position, row in enumerate(table.rows):
        figures = [render_cell(row.cells.get(column, NOT_APPLICABLE), table.unit) for column in table.columns]
        shown = [NOT_APPLICABLE if column[position] is None else f"{column[position]:.3g}" for column in others.values()]
        lines.append([row.label, *figures, *shown, row.target])
    return align(lines)


def render_cell(cell: Cell, unit: str) -> str:
    """A figure with three significant digits, or the word that stands for it."""
    return cell if isinstance(cell, str) else f"{cell / UNITS[unit]:#.3g}".rstrip(".")


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left and the others to the right, with a rule under the header."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    text: list[str] = []
    for line in lines:
        figures = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        text.append("  ".join([line[0].ljust(widths[0]), *figures]))
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
