"""A batch in pieces: the same results, with the intermediates of one piece in memory at a time.

A transformation that pushes many examples or basis vectors through a program holds all its intermediates for all of them. With ``chunk``
it takes at most that many at once. Pieces are consecutive, all of one size but for the last, and their results are put one after the
other: no result depends on how the batch was cut, beyond the rounding of products of matrices. On values the pieces are taken in a loop of
Python; where they are traced they are the steps of one `Scan`, so that the Program has one copy of what is done to a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from ..control.scan import Scan
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.staging import stage_flat
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..core.types import ArrayType
from ..ops.families import spread
from ..ops.movement import concatenate, reshape, slice_

__all__ = ["CHUNK_BUDGET", "Chunk", "Rows", "bytes_of", "check_chunk", "chunk_size", "cut", "in_pieces", "looped", "pieces", "whole_pieces"]

Chunk = int | Literal["auto"] | None
"""At most how many at once; "auto": as many as `CHUNK_BUDGET` holds; None: all."""

CHUNK_BUDGET = 1 << 26
"""Bytes (64 MiB) that the estimated intermediates of one piece may take under ``chunk="auto"``; a piece of one may take more."""


def check_chunk(transformation: str, chunk: Any) -> None:
    """Refuse a ``chunk`` that is not a positive int, "auto" or None."""
    if chunk is None or (isinstance(chunk, str) and chunk == "auto"):
        return
    do = 'give the largest number to process at once (1 or more), "auto", or None for all at once.'
    if isinstance(chunk, bool | np.bool_) or not isinstance(chunk, int | np.integer | str):
        raise teach(ArgumentTypeError, f"{transformation}: chunk must be an int, not {chunk!r:.80}.", do=do)
    if isinstance(chunk, str) or chunk < 1:
        raise teach(ArgumentError, f"{transformation}: chunk={chunk!r:.80}.", do=do)


def bytes_of(types: Iterable[ArrayType]) -> int:
    """The bytes of one array of each type."""
    return sum(t.nbytes for t in types)


def chunk_size(chunk: Chunk, total: int, each: int) -> int:
    """How many of ``total`` to process at once, where one takes about ``each`` bytes; at least 1."""
    if chunk is None:
        return max(1, total)
    wanted = CHUNK_BUDGET // max(1, each) if isinstance(chunk, str) else int(chunk)
    return max(1, min(total, wanted))


def pieces(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """The bounds of consecutive pieces of ``size``; the last may be smaller."""
    for low in range(start, stop, size):
        yield low, min(low + size, stop)


def whole_pieces(total: int, step: int) -> int:
    """How many pieces of ``step`` are taken in a loop of the Program: none on values, where Python loops."""
    count = total // step
    return 0 if current_trace() is EVAL or count < 2 else count


def looped(run: Callable[..., Sequence[Any]], xs: Sequence[Any], count: int, verb: str) -> list[Any]:
    """The results of ``run(*[x[k] for x in xs])`` for k up to ``count``, stacked: one `Scan`."""
    types = [type_of(x).unbatched for x in xs]
    body, captured = stage_flat(run, types, verb=verb, name="piece")
    return list(Scan(body, len(captured), 0, count)(*captured, *xs))


def in_pieces(run: Callable[[Any, int], Sequence[Any]], total: int, step: int, verb: str) -> list[Any]:
    """``run(low, rows)`` for consecutive pieces of ``total`` rows, its results put one after the other. In a loop ``low`` is traced."""
    if step >= total:
        return list(run(0, total))
    count = whole_pieces(total, step)
    found: list[Any] = []
    if count:
        stacked = looped(lambda low: run(low, step), [step * np.arange(count)], count, verb)
        found = [reshape(y, (count * step, *type_of(y).shape[2:])) for y in stacked]
        if count * step == total:
            return found
    collected: list[Rows] = [Rows(total) for _ in found]
    for rows, y in zip(collected, found, strict=True):
        rows.append(y, count * step)
    for low, high in pieces(count * step, total, step):
        outs = run(low, high - low)
        collected = collected or [Rows(total) for _ in outs]
        for rows, y in zip(collected, outs, strict=True):
            rows.append(y, high - low)
    return [rows.result()[0] for rows in collected]


def cut(x: Any, low: int, high: int) -> Any:
    """``x[low:high]``."""
    shape = type_of(x).shape
    return slice_(x, (low, *[0] * (len(shape) - 1)), (high, *shape[1:]))


class Rows:
    """Collects one result of consecutive pieces of ``total`` rows.

    Arrays go straight into the result, so that no piece outlives its turn; traced pieces are joined at the end. A result that is the same
    for all rows stays one value, as long as every piece agrees.
    """

    __slots__ = ("buffer", "filled", "parts", "shared", "total", "waiting")

    def __init__(self, total: int):
        self.total, self.filled, self.waiting = total, 0, 0
        self.buffer: Any = None
        self.shared: Any = None
        self.parts: list[Any] = []

    def append(self, y: Any, count: int, batched: bool = True) -> None:
        """Add the result of the next ``count`` rows: an array with these rows, or one value for all of them if not ``batched``."""
        if not batched and self.buffer is None and not self.parts:
            self.shared, self.waiting = y, self.waiting + count
            return
        if self.waiting:
            missing, self.waiting = self.waiting, 0
            self.put(spread(self.shared, missing), missing)
        self.put(y if batched else spread(y, count), count)

    def put(self, y: Any, count: int) -> None:
        if self.parts or type(y) is Tracer:
            if self.filled and not self.parts:
                self.parts.append(self.buffer[: self.filled])
            self.parts.append(y)
            return
        if self.buffer is None:
            self.buffer = np.empty((self.total, *y.shape[1:]), y.dtype)
        self.buffer[self.filled : self.filled + count] = y
        self.filled += count

    def result(self) -> tuple[Any, bool]:
        """The rows (or the value that all share), and whether they are rows."""
        if self.parts:
            return (self.parts[0] if len(self.parts) == 1 else concatenate(self.parts, 0)), True
        return (self.shared, False) if self.buffer is None else (self.buffer, True)
