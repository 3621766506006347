"""Selection in the routines of ops: the element of a line with a given rank, found without sorting.

Keys (see `radix`) are examined digit by digit, from the highest one on. A pass counts the keys with each digit, finds the digit of the
wanted rank, and keeps the keys with that digit, in order; a digit that all keys share is skipped. The remaining keys are equal in the end,
and the rank selects the one that a stable sort would put there. The first pass keeps a fraction of the keys, so the other passes are short;
at worst each examines all keys.

The element of the next rank is the next one of the equal keys or, after the last of them, the first of the least greater keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Routines, StridedView
from . import radix

__all__ = ["FEWEST", "FEWEST_FOR_WIDE", "is_way", "parted", "selected", "work"]

FEWEST, FEWEST_FOR_WIDE = 128, 3000
"""From these lengths on, selecting one element is faster than sorting, and wide digits are faster than narrow ones."""
MOST_RUNS = 5
"""Up to this number of ranks, each with its successor, selection is faster than a sort."""
INT64, INT32 = np.dtype(np.int64), np.dtype(np.int32)


def is_way(dtype: np.dtype[Any], n: int, ranks: Sequence[int]) -> bool:
    """Whether selection is used for these ranks of a line of ``n`` numbers."""
    return radix.has_digits(dtype, n, FEWEST) and 0 < len(runs_of(ranks)) <= MOST_RUNS


def runs_of(ranks: Sequence[int]) -> list[tuple[int, ...]]:
    """Ranks in pairs of successive ones, or alone."""
    found: list[tuple[int, ...]] = []
    for rank in sorted(set(ranks)):
        if found and found[-1] == (rank - 1,):
            found[-1] = (rank - 1, rank)
        else:
            found.append((rank,))
    return found


def work(n: int, ranks: Sequence[int]) -> int:
    """The approximate cost, in multiplications."""
    return radix.WORK * n * len(runs_of(ranks))


def selected(w: Routines, line: StridedView, target: StridedView, ranks: Sequence[int]) -> None:
    """``target[k]`` becomes the index of the element of rank ``ranks[k]``."""
    e, selection, runs = w.emitter, Selection(w, line), runs_of(ranks)
    begins, found = w.scratch((len(runs),), INT64), w.scratch((len(runs), 2), INT64)
    for k, run in enumerate(runs):
        begins[k] = e.constant(run[0], INT64)
    further = max(map(len, runs)) > 1

    def one(k: tuple[Any, ...]) -> None:
        for place, index in enumerate(selection.find(begins[k], further)):
            found[k[0], place] = index

    w.outlined(lambda: w.every((len(runs),), one))
    for k, rank in enumerate(ranks):
        run = next(j for j, run in enumerate(runs) if rank in run)
        target[k] = found[run, runs[run].index(rank)]


def parted(w: Routines, line: StridedView, target: StridedView, rank: int) -> None:
    """``target`` becomes the indices of the elements before the element of a rank, of those equal to it, and of those after it, each in
    order.
    """
    e, selection = w.emitter, Selection(w, line)
    none = e.constant(0, INT64)

    def bit(condition: Any) -> Any:
        return e.cast(condition, INT64)

    def write() -> None:
        selection.find(e.constant(rank, INT64), False)
        value = selection.keys[e.as_index(selection.rest[()])]
        before, until = w.variable(none), w.variable(none)

        def count(i: tuple[Any, ...]) -> None:
            key = selection.key(i[0])
            before[()] = e.math("add", before[()], bit(e.math("lt", key, value)))
            until[()] = e.math("add", until[()], bit(e.math("le", key, value)))

        w.every((selection.n,), count)
        less, equal, greater = w.variable(none), w.variable(before[()]), w.variable(until[()])

        def place(i: tuple[Any, ...]) -> None:
            key, behind = selection.key(i[0]), greater[()]
            is_less, is_greater = bit(e.math("lt", key, value)), bit(e.math("gt", key, value))
            is_equal = e.math("sub", e.constant(1, INT64), e.math("or", is_less, is_greater))
            at = behind  # by arithmetic: a select would be a mispredicted branch
            for cursor, here in ((less, is_less), (equal, is_equal)):
                at = e.math("add", at, e.math("mul", here, e.math("sub", cursor[()], behind)))
            target[e.as_index(at)] = e.as_scalar(i[0], INT64)
            for cursor, here in ((less, is_less), (equal, is_equal), (greater, is_greater)):
                cursor[()] = e.math("add", cursor[()], here)

        w.every((selection.n,), place)

    w.outlined(write)


class Selection:
    """A line, and memory for the remaining keys and their positions in it."""

    def __init__(self, w: Routines, line: StridedView):
        self.w, self.line, self.n = w, line, line.shape[0]
        self.type = radix.key_type(line.dtype)
        self.bits = line.view(self.type)
        self.size = 8 * self.type.itemsize
        self.width = radix.WIDE if self.n >= FEWEST_FOR_WIDE else radix.NARROW
        self.digits = 1 << self.width
        self.keys, self.numbers = w.scratch((self.n,), self.type), w.scratch((self.n,), INT32)
        self.counts = w.scratch((self.digits,), INT64)

    def key(self, i: Any) -> Any:
        """A key of the line."""
        return radix.key_of(self.w.emitter, self.line[i], self.bits[i])

    def find(self, rank: Any, further: bool) -> list[Any]:
        """The index of the element of a rank and, if ``further``, of the next rank. Its loops belong in a function of their own."""
        w, e = self.w, self.w.emitter
        none, one, all_ones = e.constant(0, INT64), e.constant(1, INT64), e.constant((1 << self.size) - 1, self.type)
        self.many, self.rest = w.variable(e.constant(self.n, INT64)), w.variable(rank)
        first = e.constant(self.size - self.width, self.type)
        self.one_pass(first, lambda do: w.every((self.n,), lambda i: do(i[0], self.key(i[0]), e.as_scalar(i[0], INT32))))

        def again(p: tuple[Any, ...]) -> None:
            shift = e.math("sub", e.constant(self.size - 2 * self.width, INT64), e.as_scalar(p[0] * self.width, INT64))
            shift = e.cast(e.math("maximum", shift, none), self.type)  # the last digit may share equal bits with the previous one
            unlike = w.variable(e.constant(0, self.type))
            start = self.keys[0]
            self.kept(lambda i, key, number: unlike.__setitem__((), e.math("or", unlike[()], e.math("xor", key, start))))
            differs = e.math("and", e.math("shr", unlike[()], shift), e.constant(self.digits - 1, self.type))
            w.when(e.math("gt", differs, e.constant(0, self.type)), lambda: self.one_pass(shift, self.kept))

        w.every((-(-self.size // self.width) - 1,), again)
        rest = self.rest[()]
        found = [e.cast(self.numbers[e.as_index(rest)], INT64)]
        if not further:
            return found
        value, following, behind = self.keys[e.as_index(rest)], e.math("add", rest, one), w.variable(none)
        equal = e.math("lt", following, self.many[()])
        w.when(equal, lambda: behind.__setitem__((), e.cast(self.numbers[e.as_index(following)], INT64)))

        def greater() -> None:
            least, place = w.variable(all_ones), w.variable(e.constant(self.n - 1, INT64))

            def lower(i: tuple[Any, ...]) -> None:
                key = self.key(i[0])
                least[()] = e.math("minimum", least[()], e.math("select", e.math("gt", key, value), all_ones, key))

            def reach(i: tuple[Any, ...]) -> None:
                here = e.math("eq", self.key(i[0]), least[()])
                place[()] = e.math("minimum", place[()], e.math("select", here, e.constant(self.n - 1, INT64), e.as_scalar(i[0], INT64)))

            w.every((self.n,), lower)
            w.every((self.n,), reach)
            behind[()] = place[()]

        w.when(e.math("not", equal), greater)
        return [*found, behind[()]]

    def kept(self, do: Callable[[Any, Any, Any], None]) -> None:
        """Run ``do`` for every remaining key: its index, the key, and its position in the line."""
        self.w.up_to(self.many[()], self.n, lambda i: do(i, self.keys[i], self.numbers[i]))

    def one_pass(self, shift: Any, every: Callable[[Callable[[Any, Any, Any], None]], None]) -> None:
        """Keep the keys that have the same digit as the wanted one."""
        w, e = self.w, self.w.emitter
        none, one = e.constant(0, INT64), e.constant(1, INT64)

        def digit(key: Any) -> Any:
            return e.math("and", e.math("shr", key, shift), e.constant(self.digits - 1, self.type))

        def count(i: Any, key: Any, number: Any) -> None:
            at = e.as_index(digit(key))
            self.counts[at] = e.math("add", self.counts[at], one)

        w.every((self.digits,), lambda d: self.counts.__setitem__(d, none))
        every(count)
        total, bucket, below = w.variable(none), w.variable(none), w.variable(none)

        def look(d: tuple[Any, ...]) -> None:
            before = total[()]
            passed = e.math("le", before, self.rest[()])  # the rank is in the last bucket that begins at or before it
            bucket[()] = e.math("select", passed, bucket[()], e.as_scalar(d[0], INT64))
            below[()] = e.math("select", passed, below[()], before)
            total[()] = e.math("add", before, self.counts[d])

        w.every((self.digits,), look)
        wanted, left = e.cast(bucket[()], self.type), w.variable(none)

        def keep(i: Any, key: Any, number: Any) -> None:
            at = e.as_index(left[()])
            self.keys[at], self.numbers[at] = key, number
            left[()] = e.math("add", left[()], e.cast(e.math("eq", digit(key), wanted), INT64))

        every(keep)
        self.many[()] = left[()]
        self.rest[()] = e.math("sub", self.rest[()], below[()])
