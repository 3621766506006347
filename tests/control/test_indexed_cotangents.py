"""The gradient of indexing costs as much as the indexing: cotangents of parts of an array are added in place, in one array."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.lax import fori_loop, scan, while_loop
from cotan.ops.indexing import Gather, Scatter
from cotan.ops.movement import AddSlice, Pad

N = 50
X = np.linspace(0.1, 2.0, N)


@pytest.fixture
def arrays_made(monkeypatch):
    """How often an op makes a whole array for a part, by name; changes in place do not count."""
    made: dict[str, int] = {}
    for cls in (Scatter, AddSlice, Pad):

        def counting(self, *operands, cls=cls, impl=cls.impl):
            made[cls.__name__] = made.get(cls.__name__, 0) + 1
            return impl(self, *operands)

        monkeypatch.setattr(cls, "impl", counting)
    return made


def by_elements(x):
    total = 0.0
    for i in range(N - 1):
        total = total + x[i] * x[i + 1]
    return total


def by_slices(x):
    total = 0.0
    for i in range(0, N - 4, 2):
        total = total + cnp.sum(x[i : i + 3] * x[i + 4 : i + 1 : -1]) + x[-1]
    return total


def by_index_arrays(x):
    total = 0.0
    for i in range(N - 1):
        total = total + cnp.sum(x[np.array([i, i + 1])] ** 2)
    return total


def in_a_fori_loop(x):
    return fori_loop(0, N - 1, lambda i, s: s + x[i] * x[i + 1], 0.0)


def in_a_while_loop(x):
    return while_loop(lambda s: s[0] < N - 1, lambda s: (s[0] + 1, s[1] + x[s[0]] * x[s[0] + 1]), (0, 0.0))[1]


LOOPS = [by_elements, by_slices, by_index_arrays, in_a_fori_loop, in_a_while_loop]


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("jit", [False, True])
def test_few_whole_arrays_are_made(f, jit, arrays_made):
    g = cotan.jit(cotan.grad(f)) if jit else cotan.grad(f)
    found = g(cnp.asarray(X))
    assert sum(arrays_made.values()) <= 4, arrays_made
    step = 1e-6
    expected = [(float(f(cnp.asarray(X + step * e))) - float(f(cnp.asarray(X - step * e)))) / (2 * step) for e in np.eye(N)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_every_mode_is_right(f):
    x = cnp.asarray(X)
    expected = cotan.jacfwd(cotan.jacfwd(f))(x)
    for way in (
        cotan.jacrev(cotan.grad(f)),
        cotan.jacfwd(cotan.grad(f)),
        cotan.jit(cotan.jacrev(cotan.grad(f))),
        lambda x: cotan.vmap(cotan.hessian(f))(cnp.stack([x, x]))[1],
        cotan.jacrev(cotan.jit(cotan.grad(f))),
    ):
        np.testing.assert_allclose(way(x), expected, atol=1e-12)


def test_a_jitted_loop_fills_an_array_in_place(arrays_made):
    def filled(x):
        return fori_loop(0, N, lambda i, a: a.at[i].set(x[i] ** 2).at[N - 1 - i].add(x[i]), cnp.zeros(N))

    x = cnp.asarray(X)
    expected = filled(x)
    arrays_made.clear()
    np.testing.assert_allclose(cotan.jit(filled, engine="numpy")(x), expected)
    assert arrays_made["Scatter"] == 1, "the first carry is the caller's"
    arrays_made.clear()
    found = cotan.jit(cotan.grad(lambda x: cnp.sum(filled(x) ** 2)))(x)
    assert sum(arrays_made.values()) <= 6
    np.testing.assert_allclose(found, cotan.jacfwd(lambda x: cnp.sum(filled(x) ** 2))(x))


def test_nothing_that_somebody_else_has_is_changed():
    x = cnp.asarray(X)

    def f(a):
        b = a.at[0].set(5.0)
        c = a.at[1].set(6.0)
        return a, b, c, b.at[2].set(7.0), b

    a, b, c, d, b2 = cotan.jit(f)(x)
    np.testing.assert_array_equal(x, X)
    assert (a[0], b[0], c[0], d[0], b2[2]) == (X[0], 5.0, X[0], 5.0, X[2])

    def twice(a):  # the carry holds one array in two places
        return scan(lambda s, i: ((s[0].at[i].set(-1.0), s[0]), (s[0], s[1])), (a, a), np.arange(3))

    (p, q), (ps, qs) = cotan.jit(twice)(x)
    np.testing.assert_array_equal(p[:4], [-1.0, -1.0, -1.0, X[3]])
    np.testing.assert_array_equal(q[:4], [-1.0, -1.0, X[2], X[3]])
    np.testing.assert_array_equal(ps[2], q)
    np.testing.assert_array_equal(qs[2][:3], [-1.0, X[1], X[2]])

    def through_a_view(a):
        return scan(lambda s, i: (s.at[i].set(-1.0), cnp.reshape(s, (5, 10))), a, np.arange(3))

    last, views = cotan.jit(through_a_view)(x)
    assert (views[0].ravel()[:3] == X[:3]).all()
    assert (last[:3] == -1).all()


def test_a_cotangent_that_also_goes_elsewhere_is_not_changed():
    def f(x):
        y = x * 1.0
        return cnp.sum(y) + y[0] * 3.0 + cnp.sum(cnp.sin(y) * 2.0) + y[0] * y[1] + cnp.sum(y[2:5])

    g = cotan.grad(f)(cnp.asarray(X))
    np.testing.assert_allclose(g, cotan.jacfwd(f)(cnp.asarray(X)))
    _, pull = cotan.vjp(lambda x: (x, x[0], x[1:3]), cnp.asarray(X))
    bars = (np.ones(N), np.float64(2.0), np.ones(2))
    first = pull(bars)[0].copy()
    np.testing.assert_array_equal(pull(bars)[0], first)
    assert (bars[0] == 1).all()


def test_gathers_declare_what_adds_to_their_part():
    op, rest = Gather("fill").transpose_update(np.ones(2), None, np.array([0, 1]))
    assert op.update is not None
    assert len(rest) == 2
