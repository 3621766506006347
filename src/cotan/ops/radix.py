"""Radix sort in the routines of ops: numbers of 4 and 8 bytes, sorted by their digits from the lowest one on, stable in each pass.

A number becomes an unsigned key of the same order: integers have their sign inverted, negative floats every bit, and nan is the largest
key. A pass counts the digits of all keys, and moves every key to the next position of its digit. Sorted lines are left unchanged, and
digits that all keys share are skipped. Each pass is linear in the number of keys, so the sort pays for long lines.

A long line is divided into parts, which threads share. A pass counts the digits of each part, and the keys of a part follow the keys of
earlier parts with the same digit. So the order does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Routines, StridedView

__all__ = ["FEWEST", "FEWEST_IN_PARTS", "FEWEST_NUMBERED", "argsorted", "digit_bits", "has_digits", "key_of", "key_type", "sorted_", "work"]

FEWEST, FEWEST_NUMBERED, FEWEST_IN_PARTS, PARTS = 2000, 400, 1 << 15, 8
"""The least lengths for radix sort: of numbers; of numbers with their positions, where libraries are slower; in parts; and the number of
parts.
"""
NARROW, WIDE, FEWEST_FOR_WIDE = 8, 11, 1 << 14
"""Bits of a digit. More counters, hence fewer passes, pay for many keys of 4 bytes; passes over keys of 8 bytes are limited by memory."""
WORK = 60
"""The cost of a key in a pass, in multiplications."""
INT64, INT32 = np.dtype(np.int64), np.dtype(np.int32)


def has_digits(dtype: np.dtype[Any], n: int, fewest: int = FEWEST) -> bool:
    """Whether radix sort is used for a line of ``n`` numbers."""
    return dtype.kind in "iuf" and dtype.itemsize in (4, 8) and fewest <= n < 1 << 31


def digit_bits(n: int, t: np.dtype[Any]) -> int:
    """The bits of a digit for ``n`` keys."""
    return WIDE if n >= FEWEST_FOR_WIDE and t.itemsize == 4 else NARROW


def work(n: int) -> int:
    """The approximate cost of sorting ``n`` numbers, in multiplications."""
    return 4 * WORK * n


def key_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned dtype of the keys of numbers."""
    return np.dtype(f"u{dtype.itemsize}")


def key_of(e: Emitter, x: Any, bits: Any) -> Any:
    """The key of a number."""
    dtype, t = x.dtype, bits.dtype
    sign, ones, none = (e.constant(v, t) for v in (1 << (8 * t.itemsize - 1), (1 << (8 * t.itemsize)) - 1, 0))
    if dtype.kind == "u":
        return bits
    if dtype.kind == "i":
        return e.math("xor", bits, sign)
    bits = e.math("select", e.math("eq", bits, sign), bits, none)  # the two zeros are equal
    signed = np.dtype(f"i{t.itemsize}")  # no select by the sign, which would be mispredicted
    negative = e.cast(e.math("shr", e.cast(bits, signed), e.constant(8 * t.itemsize - 1, signed)), t)
    key = e.math("xor", bits, e.math("or", negative, sign))
    return e.math("select", e.math("isnan", x), key, ones)


def bits_of(e: Emitter, key: Any, dtype: np.dtype[Any]) -> Any:
    """The bits of the number of a key."""
    t = key.dtype
    sign, ones = (e.constant(v, t) for v in (1 << (8 * t.itemsize - 1), (1 << (8 * t.itemsize)) - 1))
    if dtype.kind == "u":
        return key
    if dtype.kind == "i":
        return e.math("xor", key, sign)
    return e.math("xor", key, e.math("select", e.math("ge", key, sign), ones, sign))


class Radix:
    """The keys of a line and, if ``numbered``, their positions in it: sorted in ``keys[where]`` and ``numbers[where]``."""

    def __init__(self, w: Routines, line: StridedView, *, numbered: bool):
        self.w, self.line, self.n = w, line, line.shape[0]
        t = key_type(line.dtype)
        self.bits = line.view(t)
        self.width = digit_bits(self.n, t)
        self.digits = 1 << self.width
        self.passes = -(-8 * t.itemsize // self.width)
        self.parts = PARTS if self.n >= FEWEST_IN_PARTS else 1
        self.keys = w.scratch((2, self.n), t)
        self.numbers = w.scratch((2, self.n), INT32) if numbered else None
        self.counts = w.scratch((self.parts, self.digits), INT64)
        self.falls, self.unlike = w.scratch((self.parts,), INT64), w.scratch((self.parts,), t)
        self.place = w.variable(w.emitter.constant(0, INT64))

    @property
    def where(self) -> Any:
        """Which of the two halves of memory holds the keys."""
        return self.w.emitter.as_index(self.place[()])

    def in_parts(self, body: Callable[[Any, Any, Callable[[Callable[[Any], None]], None]], None]) -> None:
        """``body(part, first, every)`` for each part: its number, its first key, and a function that runs an action for every key of it."""
        w, e, each = self.w, self.w.emitter, -(-self.n // self.parts)

        def one(k: tuple[Any, ...]) -> None:
            first = k[0] * each

            def every(do: Callable[[Any], None]) -> None:
                if self.parts == 1:
                    w.every((self.n,), lambda i: do(i[0]))
                else:
                    rest = e.math("sub", e.constant(self.n, INT64), e.as_scalar(first, INT64))
                    w.up_to(e.math("minimum", rest, e.constant(each, INT64)), each, lambda i: do(first + i))

            w.outlined(lambda: body(k[0], first, every))

        w.parallel_for((self.parts,), one, WORK * each)

    def sort(self) -> None:
        w, e = self.w, self.w.emitter
        none, one = e.constant(0, INT64), e.constant(1, INT64)

        def begin(part: Any, first: Any, every: Any) -> None:
            start = e.math("maximum", e.math("sub", e.as_scalar(first, INT64), one), none)
            start = e.as_index(start) if self.parts > 1 else 0
            before, falls = w.variable(key_of(e, self.line[start], self.bits[start])), w.variable(none)
            first_key, unlike = key_of(e, self.line[0], self.bits[0]), w.variable(e.constant(0, self.keys.dtype))

            def make(i: Any) -> None:
                key = key_of(e, self.line[i], self.bits[i])
                self.keys[0, i] = key
                if self.numbers is not None:
                    self.numbers[0, i] = e.as_scalar(i, INT32)
                falls[()] = e.math("add", falls[()], e.cast(e.math("lt", key, before[()]), INT64))
                before[()] = key
                unlike[()] = e.math("or", unlike[()], e.math("xor", key, first_key))

            every(make)
            self.falls[part], self.unlike[part] = falls[()], unlike[()]

        self.in_parts(begin)
        self.place[()] = none
        falls, unlike = self.falls[0], self.unlike[0]
        for k in range(1, self.parts):
            falls, unlike = e.math("add", falls, self.falls[k]), e.math("or", unlike, self.unlike[k])

        def step(p: tuple[Any, ...]) -> None:
            shift = e.as_scalar(p[0] * self.width, self.keys.dtype)
            differs = e.math("and", e.math("shr", unlike, shift), e.constant(self.digits - 1, unlike.dtype))
            w.when(e.math("gt", differs, e.constant(0, unlike.dtype)), lambda: self.one_pass(shift))

        w.when(e.math("gt", falls, none), lambda: w.every((self.passes,), step))

    def one_pass(self, shift: Any) -> None:
        """Move the keys to the positions of their digits."""
        w, e = self.w, self.w.emitter
        none, one, source = e.constant(0, INT64), e.constant(1, INT64), self.where

        def count(part: Any, first: Any, every: Any) -> None:
            w.every((self.digits,), lambda d: self.counts.__setitem__((part, *d), none))

            def add(i: Any) -> None:
                at = (part, self.digit(self.keys[source, i], shift))
                self.counts[at] = e.math("add", self.counts[at], one)

            every(add)

        def begin() -> None:
            total = w.variable(none)

            def step(d: tuple[Any, ...]) -> None:
                for part in range(self.parts):
                    many = self.counts[part, d[0]]
                    self.counts[part, d[0]] = total[()]
                    total[()] = e.math("add", total[()], many)

            w.every((self.digits,), step)

        def place(part: Any, i: Any, target: Any) -> None:
            key = self.keys[source, i]
            digit = self.digit(key, shift)
            at = self.counts[part, digit]
            self.counts[part, digit] = e.math("add", at, one)
            self.keys[target, e.as_index(at)] = key
            if self.numbers is not None:
                self.numbers[target, e.as_index(at)] = self.numbers[source, i]

        self.in_parts(count)
        w.outlined(begin)
        other = e.math("sub", one, self.place[()])
        target = e.as_index(other)
        self.in_parts(lambda part, first, every: every(lambda i: place(part, i, target)))
        self.place[()] = other

    def digit(self, key: Any, shift: Any) -> Any:
        e = self.w.emitter
        return e.as_index(e.math("and", e.math("shr", key, shift), e.constant(self.digits - 1, key.dtype)))


def sorted_(w: Routines, line: StridedView, target: StridedView) -> None:
    """The numbers of a line in ascending order; zeros lose their signs, nans their bits."""
    radix = Radix(w, line, numbered=False)
    bits = target.view(key_type(target.dtype))
    radix.sort()
    where = radix.where
    radix.in_parts(lambda part, first, every: every(lambda i: bits.__setitem__(i, bits_of(w.emitter, radix.keys[where, i], target.dtype))))


def argsorted(w: Routines, line: StridedView, target: StridedView) -> None:
    """The indices that sort a line."""
    radix = Radix(w, line, numbered=True)
    numbers = radix.numbers
    assert numbers is not None
    radix.sort()
    where = radix.where
    radix.in_parts(lambda part, first, every: every(lambda i: target.__setitem__(i, numbers[where, i])))
