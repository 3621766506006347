"""Eigenvalues of small Hermitian matrices, many at a time: LAPACK's algorithm with one matrix in each lane of a vector.

`syevd` of a small matrix reduces it to a tridiagonal T = Q^H A Q by Householder reflections, and T to its eigenvalues by the implicit QL
method (Golub & Van Loan 2013, "Matrix computations", 8.3). Here each lane has a state of its own: it works on the rows l to m of an
unreduced part of T, which ends at row ``end``. A step that a lane does not take is a rotation by zero. Where LAPACK takes the QR method,
from the end of a part, the lane has the rows of T in reverse order. All choices are LAPACK's (since its version 3.10), so the vectors have
its signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Batch, DType, Index, Reader, Routines, StridedView, where
from .small import Entry
from .small_batch import UNROLLED, Kernel, Lane, decompose, reflector, total

__all__ = ["hermitian"]

SWEEPS = 30
"""The most sweeps for an eigenvalue, as in LAPACK."""
STATE = {
    "l": 0.0, "end": -1.0, "after": 0.0, "reverse": 0.0, "two": 0.0, "m": 0.0, "g": 0.0, "s": 0.0, "c": 0.0, "p": 0.0, "c2": 0.0, "s2": 0.0,
    "next_d": 0.0, "next_off": 0.0, "at_l": 0.0, "at_m": 0.0,
}  # fmt: skip
"""The numbers of a lane, and their first values: the rows of the part, where the next one begins, whether the rows are in reverse order,
whether two rows are left; the sweep in `steqr`'s names; the rotation of two rows, and their eigenvalues."""

SLOTS = {name: i for i, name in enumerate(STATE)}


def hermitian(
    w: Routines,
    a: Reader,
    lower: bool,
    values: StridedView,
    vectors: StridedView | None,
    one: Callable[[tuple[Any, ...]], StridedView],
) -> None:
    """The eigenvalues of a stack of Hermitian matrices, and the vectors if they are asked for; ``one(k)`` decomposes a matrix by LAPACK and
    gives the status.
    """
    n = a.shape[-1]

    def body(batch: Batch, a: Any, values: Any, *others: Any) -> None:
        *vectors, left = others
        k = Hermitian(w, batch, n, a.dtype, lower, bool(vectors))
        k.reduce(a, left)
        k.iterate(left)
        k.finish(values, *vectors)

    decompose(w, a, [values, *([] if vectors is None else [vectors])], body, one, (2 if vectors is None else 8) * n**3)


class Hermitian(Kernel):
    """The decomposition of a batch of Hermitian matrices."""

    def __init__(self, w: Routines, batch: Batch, n: int, dtype: DType, lower: bool, with_vectors: bool):
        super().__init__(w, batch, n, dtype)
        self.lower, self.with_vectors = lower, with_vectors
        self.d, self.off, self.v = self.reals(n), self.reals(n), batch.scratch((n, n), dtype)
        self.state, self.active, self.turned = self.reals(len(STATE)), self.reals(), self.reals()

    def place(self, i: Index, n: int) -> Index:
        """Where the i-th row of the reduction is among n. LAPACK reduces an upper triangle from its last row."""
        return i if self.lower else n - 1 - i

    # ---- A = Q T Q^H
    def reduce(self, a: Any, left: Any) -> None:
        n, batch = self.n, self.batch
        work, tau, x = (batch.scratch(shape, self.dtype) for shape in ((n, n), (n,), (n,)))
        reflections = n - 1 if self.is_complex else n - 2

        def whole() -> None:
            self.each(self.load, a, work, left)
            self.over(n, self.clear, work, left)
            for i in range(reflections):
                self.reflect(i, work, tau, x)
            self.each(self.tridiagonal, work)
            if self.with_vectors:
                self.over(n, self.unit, self.v)
                for i in range(reflections - 1, -1, -1):
                    self.accumulate(i, work, tau)

        if n <= UNROLLED:
            batch.each(whole)
        else:
            whole()

    def load(self, a: Lane, work: Lane, left: Lane) -> None:
        n = self.n
        biggest, sound = self.number(0), self.number(0)
        for i, j in [(i, j) for i, j in np.ndindex(n, n) if j <= i]:
            x = a[self.place(i, n), self.place(j, n)]
            x = x if i != j else self.of_real(self.real(x))
            biggest, sound = self.measured(x, biggest, sound)
            work[i, j] = x
            if i != j:
                work[j, i] = self.conj(x)
        fits = self.fits(biggest, sound)
        left[()] = where(fits, self.number(0), 1)

    def clear(self, i: Index, work: Lane, left: Lane) -> None:
        """Zeros in row i of a matrix that is left to LAPACK."""
        for j in range(self.n):
            work[i, j] = where(left[()].equals(0), work[i, j], 0)

    def reflect(self, i: int, work: Any, tau: Any, x: Any) -> None:
        """A step of LAPACK's `sytd2`: reflection i, whose v is put below the diagonal of column i."""
        rows = range(i + 1, self.n)

        def make(work: Lane, tau: Lane, off: Lane) -> None:
            beta, tau[i], scale = reflector(self, work[i + 1, i], [work[r, i] for r in rows[1:]])
            off[self.place(i, self.n - 1)] = beta
            work[i + 1, i] = self.number(1, self.dtype)
            for r in rows[1:]:
                work[r, i] = work[r, i] * scale

        def multiply(j: Index, work: Lane, tau: Lane, x: Lane) -> None:
            x[i + 1 + j] = tau[i] * total([(work[i + 1 + j, r], work[r, i]) for r in rows])

        def adjust(work: Lane, tau: Lane, x: Lane) -> None:
            alpha = -0.5 * (tau[i] * total([(self.conj(x[r]), work[r, i]) for r in rows]))
            for r in rows:
                x[r] = alpha.fused(work[r, i], x[r])

        def subtract(j: Index, work: Lane, x: Lane) -> None:
            v, y = -work[i + 1 + j, i], -x[i + 1 + j]
            for r in rows:
                work[i + 1 + j, r] = v.fused(self.conj(x[r]), y.fused(self.conj(work[r, i]), work[i + 1 + j, r]))

        self.each(make, work, tau, self.off)
        self.over(len(rows), multiply, work, tau, x)
        self.each(adjust, work, tau, x)
        self.over(len(rows), subtract, work, x)

    def tridiagonal(self, work: Lane) -> None:
        n = self.n

        def write(d: Lane, off: Lane) -> None:
            for i in range(n):
                d[self.place(i, n)] = self.real(work[i, i])
            if n > 1 and not self.is_complex:
                off[self.place(n - 2, n - 1)] = work[n - 1, n - 2]

        self.each(write, self.d, self.off)

    def accumulate(self, i: int, work: Any, tau: Any) -> None:
        """Q = H Q for reflection i."""
        rows, n = range(i + 1, self.n), self.n

        def column(j: Index, work: Lane, tau: Lane, v: Lane) -> None:
            at = self.place(i + 1 + j, n)
            sum_ = -(tau[i] * total([(self.conj(work[r, i]), v[self.place(r, n), at]) for r in rows]))
            for r in rows:
                v[self.place(r, n), at] = work[r, i].fused(sum_, v[self.place(r, n), at])

        self.over(len(rows), column, work, tau, self.v)

    # ---- T = Z diag(d) Z^T
    def iterate(self, left: Any) -> None:
        """The eigenvalues, in ``d``, and Q Z in ``v``."""
        n, batch, finished = self.n, self.batch, self.reals()

        def begin(state: Lane, active: Lane) -> None:
            for i, start in enumerate(STATE.values()):
                state[i] = self.number(start)
            active[()] = self.number(1)

        def last(d: Lane, off: Lane, state: Lane) -> None:
            d[0], off[0] = (state[SLOTS[name]] for name in ("next_d", "next_off"))

        def whole() -> None:
            self.each(self.begin_sweep, *arrays[:3])
            self.over(n - 1, self.rotate, *arrays)
            self.each(last, *arrays[:3])

        def sweep() -> None:
            if n <= UNROLLED:
                batch.each(whole)
            else:
                whole()

        def next_part() -> None:
            self.each(self.begin_part, *arrays[:3], finished, self.active, self.turned)
            if self.with_vectors:
                batch.where_any(self.turned, lambda: self.over(n, self.turn, self.v, self.turned))

        def step() -> None:
            self.each(self.deflate, *arrays[:3], finished)
            batch.where_any(finished, next_part)
            batch.where_any(self.active, sweep)

        arrays = (self.d, self.off, self.state, *([batch.parts(self.v)] if self.with_vectors else []))
        self.each(begin, self.state, self.active)
        if n > 1:
            batch.repeat(SWEEPS * n, self.active, step)
            self.each(lambda left, active: left.__setitem__((), where(active[()].equals(0), left[()], 1)), left, self.active)

    def negligible(self, d: Sequence[Entry], off: Sequence[Entry]) -> list[Entry]:
        """Whether an element beside the diagonal counts as zero."""
        info = np.finfo(self.part)
        square, safe = float(info.eps / 2) ** 2, float(info.tiny)
        return [x * x <= (square * abs(p)).fused(abs(q), safe) for x, p, q in zip(off, d, d[1:], strict=False)]

    def numbers(self, d: Lane, off: Lane) -> tuple[list[Entry], list[Entry]]:
        return [d[i] for i in range(self.n)], [off[i] for i in range(self.n - 1)]

    def store(self, d: Lane, off: Lane, state: Lane, found: dict[str, Entry], values: Sequence[Entry], beside: Sequence[Entry]) -> None:
        for i, x in enumerate(values):
            d[i] = x
        for i, x in enumerate(beside):
            off[i] = x
        for name, x in found.items():
            state[SLOTS[name]] = x

    def deflate(self, d: Lane, off: Lane, state: Lane, finished: Lane) -> None:
        """Leave out the first rows of the part that are finished."""
        l, end, two = (state[SLOTS[name]] for name in ("l", "end", "two"))
        small = self.negligible(*self.numbers(d, off))
        l = where(two > 0, l + 2, l)
        for i in range(self.n):
            here = l.equals(i) & (end >= i)
            l = where(here & (small[i] | end.equals(i)) if i < self.n - 1 else here, i + 1, l)
        state[SLOTS["l"]] = l
        finished[()] = where(l > end, self.number(1), 0)

    def begin_part(self, d: Lane, off: Lane, state: Lane, finished: Lane, active: Lane, turned: Lane) -> None:
        """Where a part is finished, begin the next one, with its rows in the order that `steqr` takes."""
        n, done = self.n, finished[()] > 0
        values, beside = self.numbers(d, off)
        l, end, after, reverse = (state[SLOTS[name]] for name in ("l", "end", "after", "reverse"))
        back = done & (reverse > 0)
        values, beside = ([where(back, y, x) for x, y in zip(xs, reversed(xs), strict=True)] for xs in (values, beside))
        small = self.negligible(values, beside)
        start, stop = after, self.number(n - 1)
        for i in range(n):
            start = where((start.equals(i) & small[i]) if i < n - 1 else start.equals(i), i + 1, start)
        for i in range(n - 2, -1, -1):
            stop = where((start <= i) & small[i], i, stop)
        beside = [where(done & stop.equals(i), 0, x) for i, x in enumerate(beside)]
        turn = done & (start < n) & (abs(self.chosen(values, stop)) < abs(self.chosen(values, start)))
        values, beside = ([where(turn, y, x) for x, y in zip(xs, reversed(xs), strict=True)] for xs in (values, beside))
        yes = self.number(1)
        found = {
            "l": where(done, where(turn, n - 1 - stop, start), l),
            "end": where(done, where(turn, n - 1 - start, stop), end),
            "after": where(done, stop + 1, after),
            "reverse": where(done, where(turn, yes, 0), reverse),
        }
        self.store(d, off, state, found, values, beside)
        turned[()] = where(turn ^ back, yes, 0)
        active[()] = where(done & (start >= n), 0, yes)

    def begin_sweep(self, d: Lane, off: Lane, state: Lane) -> None:
        """Find the last row m before a zero, and the shift; or the rotation, if there are two rows."""
        n = self.n
        values, beside = self.numbers(d, off)
        small = self.negligible(values, beside)
        l, end, reverse = (state[SLOTS[name]] for name in ("l", "end", "reverse"))
        m = end
        for i in range(n - 2, -1, -1):
            m = where((l <= i) & (end > i) & small[i], i, m)
        beside = [where(m.equals(i) & (end > i), 0, x) for i, x in enumerate(beside)]
        p, q, x, last = self.chosen(values, l), self.chosen(values, l + 1), self.chosen(beside, l), self.chosen(values, m)
        swapped = reverse > 0
        c2, s2, larger, lesser = two_by_two(where(swapped, q, p), x, where(swapped, p, q))
        g = (q - p) / (2 * x)
        r = g.fused(g, 1).math("sqrt").math("copysign", g)
        found = {
            "two": where(m.equals(l + 1), self.number(1), 0), "m": m,
            "g": last - p + x / (g + r), "s": self.number(1), "c": self.number(1), "p": self.number(0),
            "c2": c2, "s2": where(swapped, s2, -s2), "next_d": values[-1], "next_off": self.number(0),
            "at_l": where(swapped, lesser, larger), "at_m": where(swapped, larger, lesser),
        }  # fmt: skip
        self.store(d, off, state, found, [], beside)

    def chosen(self, xs: Sequence[Entry], place: Entry) -> Entry:
        """The number at a place, or another one if the place does not exist."""
        found = xs[-1]
        for i, x in enumerate(xs[:-1]):
            found = where(place.equals(i), x, found)
        return found

    def turn(self, row: Index, v: Lane, turned: Lane) -> None:
        """Reverse the columns in the lanes that are turned."""
        turn, xs = turned[()].differs(0), [v[row, j] for j in range(self.n)]
        for j, (x, y) in enumerate(zip(xs, reversed(xs), strict=True)):
            v[row, j] = where(turn, y, x)

    def rotate(self, k: Index, d: Lane, off: Lane, state: Lane, *v: Lane) -> None:
        """Step k of a sweep: the rotation of rows i and i + 1, i = n - 2 - k, in the lanes that have l <= i < m."""
        n, at = self.n, SLOTS
        i = n - 2 - k
        l, m, two, g, s, c, p, next_d, next_off = (state[at[name]] for name in ("l", "m", "two", "g", "s", "c", "p", "next_d", "next_off"))
        here, here_d, x = self.at(i), d[i], off[i]
        inside, pair, last = (l <= here) & (here < m), two > 0, l.equals(here)
        f, b = s * x, c * x
        square = g.fused(g, f * f)
        flat = square <= self.none
        root = where(flat, 1, square).math("sqrt")
        inverse = 1 / root
        c, s = where(flat, 1, abs(g) * inverse), where(flat, 0, where(g < 0, -f, f) * inverse)
        r = where(flat, g, where(g < 0, -root, root))
        top = next_d - p
        rest = (here_d - top).fused(s, 2 * c * b)
        p = s * rest
        g = c.fused(rest, -b)
        d[i + 1] = where(inside, where(pair, state[at["at_m"]], top + p), next_d)
        off[i + 1] = where(inside & ~pair & (here + 1 < m), r, next_off)
        ends = inside & last
        next_d, next_off = where(ends, where(pair, state[at["at_l"]], here_d - p), here_d), where(ends, where(pair, 0, g), x)
        for name, y in {"g": g, "s": s, "c": c, "p": p}.items():
            state[at[name]] = where(inside, y, state[at[name]])
        state[at["next_d"]], state[at["next_off"]] = next_d, next_off
        if v:
            c, s = where(inside, where(pair, state[at["c2"]], c), 1), where(inside, where(pair, state[at["s2"]], s), 0)
            for row, part in np.ndindex(n, 2 if self.is_complex else 1):
                x, y = v[0][row, i, part], v[0][row, i + 1, part]
                v[0][row, i + 1, part] = c.fused(y, s * x)
                v[0][row, i, part] = c.fused(x, -(s * y))

    # ---- ascending order
    def finish(self, values: Any, vectors: Any = None) -> None:
        """Order by selection, as LAPACK does: exchange each value with the first of the least of those from it on."""
        n, place = self.n, self.reals(self.n)

        def order(d: Lane, values: Lane, place: Lane) -> None:
            xs = [d[i] for i in range(n)]
            for i in range(n - 1):
                least, at = xs[i], self.number(i)
                for j in range(i + 1, n):
                    less = xs[j] < least
                    least, at = where(less, xs[j], least), where(less, j, at)
                xs[i + 1 :] = [where(at.equals(j), xs[i], xs[j]) for j in range(i + 1, n)]
                xs[i], place[i] = least, at
            for i, x in enumerate(xs):
                values[i] = x

        def exchange(row: Index, v: Lane, place: Lane, vectors: Lane) -> None:
            xs = [v[row, j] for j in range(n)]
            for i in range(n - 1):
                first, at = xs[i], place[i]
                for j in range(i + 1, n):
                    here = at.equals(j)
                    xs[i], xs[j] = where(here, xs[j], xs[i]), where(here, first, xs[j])
            for j, x in enumerate(xs):
                vectors[row, j] = x

        self.each(order, self.d, values, place)
        if vectors is not None:
            self.over(n, exchange, self.v, place, vectors)


def two_by_two(a: Entry, b: Entry, c: Entry) -> tuple[Entry, Entry, Entry, Entry]:
    """LAPACK's `laev2`: the rotation (cs, sn) that diagonalizes [[a, b], [b, c]], and the values, the larger in magnitude first."""
    sum_, gap, twice = a + c, a - c, b + b
    larger = abs(a) > abs(c)
    most, least = where(larger, a, c), where(larger, c, a)
    root = gap.fused(gap, twice * twice).math("sqrt")
    negative = sum_ < 0
    first = 0.5 * where(negative, sum_ - root, sum_ + root)
    second = where(sum_.equals(0), -0.5 * root, (most / first) * least - (b / first) * b)
    down = gap < 0
    cs = where(down, gap - root, gap + root)
    steep = abs(cs) > abs(twice)
    ratio = -where(steep, twice / cs, cs / twice)
    over = 1 / ratio.fused(ratio, 1).math("sqrt")
    c1, s1 = where(steep, ratio * over, over), where(steep, over, ratio * over)
    c1, s1 = where(twice.equals(0) & ~steep, 1, c1), where(twice.equals(0) & ~steep, 0, s1)
    same = ~(negative ^ down)
    return where(same, -s1, c1), where(same, c1, s1), first, second
