"""Loops that index arrays: programs of the kind that Numba's users write, one number at a time, and loops that update a part of a large
array in place.

Each of the first is timed beside the same loops by Numba, and its gradient beside JAX's and its own value. Minimum and maximum are NumPy's,
with nan, in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import cotan
from benchmarks import handwritten
from benchmarks.harness import JAX, NUMBA, OURS, Contestant, Row, Table, contestant, optional, timed
from benchmarks.loops import Names

VALUE = "1.3x of Numba"
GRADIENT = "4x its value"
UPDATE = "1.5x of JAX"


def ours() -> Names:
    """cotan, with its loops."""
    return Names(cotan.numpy, loops=cotan.lax)


def theirs(jax: Any) -> Names:
    """JAX, likewise."""
    return Names(jax.numpy, loops=jax.lax)


# ---- programs ----------------------------------------------------------------------------------------------------------------------
def each(xp: Any, n: int, step: Callable[[Any, Any], Any], start: Any, first: int = 0) -> Any:
    """A loop to ``n``."""
    return xp.loops.fori_loop(first, n, step, start)


def each_pair(xp: Any, n: int, m: int, step: Callable[[Any, Any, Any], Any], start: Any, first: int = 0) -> Any:
    """Two loops, one in the other."""
    return each(xp, n, lambda i, c: each(xp, m, lambda j, c: step(i, j, c), c, first), start, first)


def total(xp: Any, a: Any) -> Any:
    """The sum of a matrix."""
    n, m = a.shape
    return each_pair(xp, n, m, lambda i, j, s: s + a[i, j], 0.0)


def bubble_sort(xp: Any, x: Any) -> Any:
    """The numbers in order."""
    n = x.shape[0]

    def exchange(j: Any, x: Any) -> Any:
        a, b = x[j], x[j + 1]
        return x.at[j].set(xp.minimum(a, b)).at[j + 1].set(xp.maximum(a, b))

    return each(xp, n - 1, lambda i, x: each(xp, n - 1, exchange, x), x)


def histogram(xp: Any, x: Any) -> Any:
    """The sums of the numbers in ten bins."""
    return each(xp, x.shape[0], lambda i, h: h.at[(x[i] * 10).astype(int)].add(x[i]), xp.zeros(10))


def edit_distance(xp: Any, a: Any, b: Any, costs: Any) -> Any:
    """The Levenshtein distance with costs of insertion, deletion and replacement."""
    n, m = a.shape[0], b.shape[0]
    table = xp.zeros((n + 1, m + 1)).at[:, 0].set(xp.arange(n + 1.0)).at[0, :].set(xp.arange(m + 1.0))

    def cell(i: Any, j: Any, d: Any) -> Any:
        replaced = d[i, j] + xp.where(a[i] == b[j], 0.0, costs[2])
        return d.at[i + 1, j + 1].set(xp.minimum(xp.minimum(d[i, j + 1] + costs[0], d[i + 1, j] + costs[1]), replaced))

    return each_pair(xp, n, m, cell, table)[n, m]


def moving_average(xp: Any, x: Any) -> Any:
    """The exponential moving average."""
    return each(xp, x.shape[0], lambda i, y: y.at[i].set(y[i - 1] * 0.9 + x[i]), x, 1)


def product(xp: Any, a: Any, b: Any) -> Any:
    """The product of two matrices."""
    n, k, m = a.shape[0], a.shape[1], b.shape[1]

    def cell(i: Any, j: Any, c: Any) -> Any:
        return c.at[i, j].set(each(xp, k, lambda l, s: s + a[i, l] * b[l, j], 0.0))

    return each_pair(xp, n, m, cell, xp.zeros((n, m)))


def gauss_seidel(xp: Any, u: Any) -> Any:
    """Five sweeps of Gauss and Seidel over a grid."""
    n, m = u.shape

    def cell(i: Any, j: Any, u: Any) -> Any:
        return u.at[i, j].set(0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1]))

    return each(xp, 5, lambda k, u: each_pair(xp, n - 1, m - 1, cell, u, 1), u)


def time_warping(xp: Any, a: Any, b: Any) -> Any:
    """The distance of two series by dynamic time warping."""
    n, m = a.shape[0], b.shape[0]

    def cell(i: Any, j: Any, d: Any) -> Any:
        return d.at[i + 1, j + 1].set((a[i] - b[j]) ** 2 + xp.minimum(xp.minimum(d[i, j + 1], d[i + 1, j]), d[i, j]))

    return each_pair(xp, n, m, cell, xp.full((n + 1, m + 1), 1e9).at[0, 0].set(0.0))[n, m]


def walk(xp: Any, x: Any) -> Any:
    """A sum along a chain of indices."""

    def step(k: Any, state: Any) -> Any:
        i, s = state
        following = (i * 7 + 3) % x.shape[0]
        return following, s + x[following] * xp.cos(x[i])

    return each(xp, 20000, step, (0, 0.0))[1]


def substitution(xp: Any, a: Any, b: Any) -> Any:
    """The solution of a lower triangular system."""

    def row(i: Any, x: Any) -> Any:
        return x.at[i].set((b[i] - each(xp, i, lambda j, s: s + a[i, j] * x[j], 0.0)) / a[i, i])

    return each(xp, b.shape[0], row, xp.zeros(b.shape[0]))


# ---- by hand -----------------------------------------------------------------------------------------------------------------------
def total_by_hand(a: Any) -> Any:
    """`total` by hand."""
    s = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            s += a[i, j]
    return s


def bubble_sort_by_hand(x: Any) -> Any:
    """`bubble_sort` by hand."""
    x, n = x.copy(), len(x)
    for _ in range(n - 1):
        for j in range(n - 1):
            a, b = x[j], x[j + 1]
            x[j], x[j + 1] = np.minimum(a, b), np.maximum(a, b)
    return x


def histogram_by_hand(x: Any) -> Any:
    """`histogram` by hand."""
    h = np.zeros(10)
    for i in range(len(x)):
        h[int(x[i] * 10)] += x[i]
    return h


def edit_distance_by_hand(a: Any, b: Any, costs: Any) -> Any:
    """`edit_distance` by hand."""
    n, m = len(a), len(b)
    d = np.zeros((n + 1, m + 1))
    d[:, 0], d[0, :] = np.arange(n + 1), np.arange(m + 1)
    for i in range(n):
        for j in range(m):
            replaced = d[i, j] + (0.0 if a[i] == b[j] else costs[2])
            d[i + 1, j + 1] = np.minimum(np.minimum(d[i, j + 1] + costs[0], d[i + 1, j] + costs[1]), replaced)
    return d[n, m]


def moving_average_by_hand(x: Any) -> Any:
    """`moving_average` by hand."""
    y = x.copy()
    for i in range(1, len(x)):
        y[i] = y[i - 1] * 0.9 + x[i]
    return y


def product_by_hand(a: Any, b: Any) -> Any:
    """`product` by hand."""
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[k, j]
            c[i, j] = s
    return c


def gauss_seidel_by_hand(u: Any) -> Any:
    """`gauss_seidel` by hand."""
    u = u.copy()
    for _ in range(5):
        for i in range(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])
    return u


def time_warping_by_hand(a: Any, b: Any) -> Any:
    """`time_warping` by hand."""
    n, m = len(a), len(b)
    d = np.full((n + 1, m + 1), 1e9)
    d[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            d[i + 1, j + 1] = (a[i] - b[j]) ** 2 + np.minimum(np.minimum(d[i, j + 1], d[i + 1, j]), d[i, j])
    return d[n, m]


def walk_by_hand(x: Any) -> Any:
    """`walk` by hand."""
    i, s = 0, 0.0
    for _ in range(20000):
        following = (i * 7 + 3) % len(x)
        s += x[following] * np.cos(x[i])
        i = following
    return s


def substitution_by_hand(a: Any, b: Any) -> Any:
    """`substitution` by hand."""
    x = np.zeros(len(b))
    for i in range(len(b)):
        s = 0.0
        for j in range(i):
            s += a[i, j] * x[j]
        x[i] = (b[i] - s) / a[i, i]
    return x


BY_HAND: dict[str, Callable[..., Any]] = {
    "total": total_by_hand,
    "bubble_sort": bubble_sort_by_hand,
    "histogram": histogram_by_hand,
    "edit_distance": edit_distance_by_hand,
    "moving_average": moving_average_by_hand,
    "product": product_by_hand,
    "gauss_seidel": gauss_seidel_by_hand,
    "time_warping": time_warping_by_hand,
    "walk": walk_by_hand,
    "substitution": substitution_by_hand,
}
"""The same loops for Numba, by the name of the program."""


# ---- rows --------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Program:
    """A program, ``f(xp, *arguments)``."""

    f: Callable[..., Any]
    arguments: Sequence[np.ndarray]

    def compiled(self, of: Callable[[Any, Callable[..., Any]], Callable[..., Any]]) -> dict[str, Contestant]:
        """What ``of(library, f)`` gives, compiled by cotan and by JAX."""
        function = cotan.jit(of(cotan, partial(self.f, ours())))

        def in_jax(jax: Any) -> Callable[[], Any]:
            function = jax.jit(of(jax, partial(self.f, theirs(jax))))
            given = [jax.numpy.asarray(argument) for argument in self.arguments]
            return lambda: jax.block_until_ready(function(*given))

        return {OURS: lambda: function(*self.arguments), JAX: contestant(in_jax, optional("jax"))}

    def rows(self) -> list[Row]:
        """The value; and, unless it is a loop whose length JAX cannot differentiate, the gradient of the sum of squares."""
        name = self.f.__name__.replace("_", " ")
        by_hand = {NUMBA: handwritten.in_numba(lambda numba: numba.njit(BY_HAND[self.f.__name__]), self.arguments)}
        value = self.compiled(lambda library, f: f)

        def gradient(library: Any, f: Callable[..., Any]) -> Callable[..., Any]:
            numpy = cotan.numpy if library is cotan else library.numpy
            return library.grad(lambda *x: numpy.sum(f(*x) ** 2), argnums=len(self.arguments) - 1)

        found = self.compiled(gradient)
        if self.f is substitution:
            del found[JAX]
        return [timed(f"{name}, value", {**value, **by_hand}, VALUE), timed(f"{name}, gradient", found, GRADIENT)]


def programs() -> list[Program]:
    """The programs with their arguments, in float64."""
    rng = np.random.default_rng(0)
    letters = rng.integers(0, 4, (2, 200)).astype(float)
    lower = np.tril(rng.random((200, 200))) + 200 * np.eye(200)
    return [
        Program(total, [rng.random((300, 300))]),
        Program(bubble_sort, [rng.random(200)]),
        Program(histogram, [rng.random(20000)]),
        Program(edit_distance, [*letters, np.ones(3)]),
        Program(moving_average, [rng.random(20000)]),
        Program(product, [rng.random((60, 60)), rng.random((60, 60))]),
        Program(gauss_seidel, [rng.random((80, 80))]),
        Program(time_warping, [rng.random(150), rng.random(150)]),
        Program(walk, [rng.random(1000)]),
        Program(substitution, [lower, rng.random(200)]),
    ]


UPDATES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a column": lambda xp, i, b: b.at[:, i % 7].set(1.0 * i),
    "a block": lambda xp, i, b: xp.loops.dynamic_update_slice(b, xp.full((2, 3), 0.1) * i, (i % 7, i % 5)),
    "two rows": lambda xp, i, b: b.at[i % 7].set(1.0 * i).at[i % 5].set(2.0 * i),
    "two cells exchanged": lambda xp, i, b: b.at[i % 7, 0].set(b[i % 5, 0]).at[i % 5, 0].set(b[i % 7, 0]),
    "a row of the last": lambda xp, i, b: b.at[i % 9].set(xp.sin(b[(i - 1) % 9]) + 1.0),
    "in a branch": lambda xp, i, b: xp.loops.cond(i % 2 == 0, lambda b: b.at[i % 7].set(1.0), lambda b: b, b),
    "in an inner loop": lambda xp, i, b: xp.loops.fori_loop(0, 4, lambda j, b: b.at[j, i % 5].add(1.0 * i), b),
    "nothing": lambda xp, i, b: b,
}
"""Steps of a loop that carries a large array."""


def updates() -> list[Row]:
    """500 steps that change a part of a million numbers."""
    b = np.random.default_rng(0).random((1000, 1000))

    def loop(step: Callable[[Any, Any, Any], Any], xp: Any, b: Any) -> Any:
        return xp.loops.fori_loop(0, 500, partial(step, xp), b)

    return [
        timed(f"500 updates: {name}", Program(partial(loop, step), [b]).compiled(lambda library, f: f), UPDATE)
        for name, step in UPDATES.items()
    ]


def buffers() -> list[Row]:
    """The gradient of loops that fill a buffer."""
    x = np.random.default_rng(0).random((8000, 4))

    def filled(step: Callable[[Any, Any, Any, Any], Any], xp: Any, x: Any) -> Any:
        start = xp.zeros(x.shape).at[0].set(x[0])
        return xp.sum(xp.loops.fori_loop(1, len(x), lambda i, b: step(xp, i, b, x), start) ** 2)

    steps: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
        "of the last row": lambda xp, i, b, x: b.at[i].set(xp.sin(b[i - 1]) + x[i]),
        "of an earlier row": lambda xp, i, b, x: b.at[i].set(xp.sin(b[i // 2]) + x[i]),
        "added to": lambda xp, i, b, x: b.at[i // 2].add(xp.sin(x[i])),
    }
    return [
        timed(f"8000 rows {name}, gradient", Program(partial(filled, step), [x]).compiled(lambda library, f: library.grad(f)), UPDATE)
        for name, step in steps.items()
    ]


def table() -> Table:
    """The programs, the updates, and the gradients of buffers."""
    rows = [row for program in programs() for row in program.rows()]
    return Table("indexing", "loops that index arrays", "us", [*rows, *updates(), *buffers()])
