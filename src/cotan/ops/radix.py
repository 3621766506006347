"""Radix sort in the routines of ops: numbers of 4 and 8 bytes by their digits, the lowest first, each time keeping the order of equals.

A number becomes an unsigned key in the same order: of integers the sign is turned round, of negative floats every bit, and nan is the
largest key. A pass counts how many keys are below each digit's, and moves every key to the next place of its digit. What is in order
already is left as it is. Each pass is linear in the number of keys, so that this is for many of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.emitting import Block, Emitter, Routines

__all__ = ["FEWEST", "argsorted", "has_digits", "sorted_"]

FEWEST = 2000
DIGITS = 256
INT64, INT32 = np.dtype(np.int64), np.dtype(np.int32)


def has_digits(dtype: np.dtype[Any], n: int) -> bool:
    """Whether radix sort is the way for a line of so many numbers."""
    return dtype.kind in "iuf" and dtype.itemsize in (4, 8) and FEWEST <= n < 1 << 31


def key_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
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
    key = e.math("xor", bits, e.math("select", e.math("ge", bits, sign), sign, ones))
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
    """The keys of a line, sorted in ``keys[0]``; with ``numbered``, their numbers in the line in ``numbers[0]``."""

    def __init__(self, w: Routines, line: Block, *, numbered: bool):
        self.w, self.line, self.n = w, line, line.shape[0]
        t = key_type(line.dtype)
        self.bits = line.viewed(t)
        self.passes = t.itemsize
        self.keys = w.scratch((2, self.n), t)
        self.numbers = w.scratch((2, self.n), INT32) if numbered else None
        self.counts = w.scratch((self.passes, DIGITS), INT64)

    def sort(self) -> None:
        """In loops that belong into a function of their own."""
        w, e = self.w, self.w.emitter
        none = e.constant(0, INT64)
        w.every((self.passes, DIGITS), lambda i: self.counts.__setitem__(i, none))
        before, falls = w.variable(e.constant(0, self.keys.dtype)), w.variable(none)

        def count(i: tuple[Any, ...]) -> None:
            key = key_of(e, self.line[i], self.bits[i])
            self.keys[0, i[0]] = key
            if self.numbers is not None:
                self.numbers[0, i[0]] = e.as_scalar(i[0], INT32)
            falls[()] = e.math("add", falls[()], e.cast(e.math("lt", key, before[()]), INT64))
            before[()] = key
            for k in range(self.passes):
                at = (k, self.digit(key, e.constant(8 * k, key.dtype)))
                self.counts[at] = e.math("add", self.counts[at], e.constant(1, INT64))

        w.every((self.n,), count)
        w.when(e.math("gt", falls[()], none), lambda: w.every((self.passes,), self.move))

    def digit(self, key: Any, shift: Any) -> Any:
        e = self.w.emitter
        return e.as_index(e.math("and", e.math("shr", key, shift), e.constant(DIGITS - 1, key.dtype)))

    def move(self, k: tuple[Any, ...]) -> None:
        """One pass."""
        w, e, (p,) = self.w, self.w.emitter, k
        source, target, total = p % 2, (p + 1) % 2, w.variable(e.constant(0, INT64))
        shift = e.as_scalar(p * 8, self.keys.dtype)

        def begin(d: tuple[Any, ...]) -> None:
            many = self.counts[p, d[0]]
            self.counts[p, d[0]] = total[()]
            total[()] = e.math("add", total[()], many)

        def place(i: tuple[Any, ...]) -> None:
            key = self.keys[source, i[0]]
            digit = self.digit(key, shift)
            at = self.counts[p, digit]
            self.counts[p, digit] = e.math("add", at, e.constant(1, INT64))
            self.keys[target, e.as_index(at)] = key
            if self.numbers is not None:
                self.numbers[target, e.as_index(at)] = self.numbers[source, i[0]]

        w.every((DIGITS,), begin)
        w.every((self.n,), place)


def sorted_(w: Routines, line: Block, target: Block) -> None:
    """The numbers of a line in ascending order; zeros lose their signs, nans their bits."""
    radix = Radix(w, line, numbered=False)
    bits = target.viewed(key_type(target.dtype))

    def write() -> None:
        radix.sort()
        w.every((radix.n,), lambda i: bits.__setitem__(i, bits_of(w.emitter, radix.keys[0, i[0]], target.dtype)))

    w.apart(write)


def argsorted(w: Routines, line: Block, target: Block) -> None:
    """The indices that sort a line."""
    radix = Radix(w, line, numbered=True)
    numbers = radix.numbers
    assert numbers is not None

    def write() -> None:
        radix.sort()
        w.every((radix.n,), lambda i: target.__setitem__(i, numbers[0, i[0]]))

    w.apart(write)
