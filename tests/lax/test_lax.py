"""``cotan.lax``: the ops under JAX's names, eager and staged, strict about dtypes and shapes; equal to JAX where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cotan import lax
from cotan.core.array import Array
from cotan.core.errors import ArgumentError, CotanError, DtypeError, ShapeError

from ..numpy.running import assert_same, flat, staged

rng = np.random.default_rng(0)
x, y, positive = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.uniform(0.1, 0.9, (3, 4))
i, j = rng.integers(-9, 9, (3, 4)), rng.integers(1, 5, (3, 4)) * rng.choice([-1, 1], (3, 4))
c, z = x > 0, x + 1j * y
cube = rng.normal(size=(2, 3, 4))

CASES: list[tuple[Any, tuple[Any, ...]]] = [
    *[
        (lambda lax, a, name=name: getattr(lax, name)(a), (positive,))
        for name in [
            "abs",
            "acos",
            "asin",
            "asinh",
            "atan",
            "atanh",
            "bessel_i0e",
            "bessel_i1e",
            "cbrt",
            "ceil",
            "cos",
            "cosh",
            "digamma",
            "erf",
            "erf_inv",
            "erfc",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "is_finite",
            "lgamma",
            "log",
            "log1p",
            "logistic",
            "neg",
            "reciprocal",
            "round",
            "rsqrt",
            "sign",
            "sin",
            "sinh",
            "sqrt",
            "square",
            "stop_gradient",
            "tan",
            "tanh",
        ]
    ],
    *[
        (lambda lax, a, b, name=name: getattr(lax, name)(a, b), (positive, y))
        for name in [
            "add",
            "atan2",
            "div",
            "eq",
            "ge",
            "gt",
            "le",
            "lt",
            "max",
            "min",
            "mul",
            "ne",
            "nextafter",
            "pow",
            "rem",
            "sub",
            "complex",
        ]
    ],
    *[
        (lambda lax, a, b, name=name: getattr(lax, name)(a, b), (i, j))
        for name in ["add", "bitwise_and", "bitwise_or", "bitwise_xor", "div", "eq", "lt", "max", "min", "mul", "rem", "sub"]
    ],
    *[(lambda lax, a, name=name: getattr(lax, name)(a), (i,)) for name in ["bitwise_not", "population_count", "neg", "abs", "sign"]],
    *[
        (lambda lax, a, name=name: getattr(lax, name)(a, np.int64(2) * np.ones_like(a)), (i,))
        for name in ["shift_left", "shift_right_arithmetic", "shift_right_logical"]
    ],
    *[(lambda lax, a, name=name: getattr(lax, name)(a), (z,)) for name in ["real", "imag", "conj", "abs", "exp"]],
    (lambda lax, a: lax.acosh(a + 1.0), (positive,)),
    (lambda lax, a: lax.round(a * 10, 1), (np.array([0.05, 0.25, -0.15, 1.26]),)),
    (lambda lax, a: lax.round(a), (np.array([0.5, 1.5, -0.5, -2.5]),)),
    (lambda lax, a: lax.integer_pow(a, -3), (positive,)),
    (lambda lax, a, n: lax.pow(a, n), (positive, i)),
    (lambda lax, a, b: lax.igamma(a, b), (positive, positive + 1)),
    (lambda lax, a: lax.mul(2.0, a), (x,)),
    (lambda lax, p, a, b: lax.select(p, a, b), (c, x, y)),
    (lambda lax, p, a, b: lax.select_n(p, a, b), (c, x, y)),
    (lambda lax, p, a, b: lax.select_n(p, a, b, b * 2), (np.abs(i) % 3, x, y)),
    (lambda lax, a: lax.clamp(-0.5, a, 0.5), (x,)),
    (lambda lax, a: lax.convert_element_type(a, np.int32), (x * 5,)),
    (lambda lax, a: lax.convert_element_type(a, np.float32), (x,)),
    (lambda lax, a: lax.broadcast(a, (2, 5)), (x,)),
    (lambda lax, a: lax.broadcast_in_dim(a, (3, 2, 4), (0, 2)), (x,)),
    (lambda lax, a: lax.broadcast_to_rank(a, 3), (x,)),
    (lambda lax, a: lax.reshape(a, (2, 6)), (x,)),
    (lambda lax, a: lax.reshape(a, (12,), (1, 0)), (x,)),
    (lambda lax, a: lax.collapse(a, 1), (cube,)),
    (lambda lax, a: lax.collapse(a, 0, 2), (cube,)),
    (lambda lax, a: lax.squeeze(lax.expand_dims(a, (0, 2)), (2,)), (x,)),
    (lambda lax, a: lax.transpose(a, (2, 0, 1)), (cube,)),
    (lambda lax, a: lax.rev(a, (1,)), (x,)),
    (lambda lax, a, b: lax.concatenate([a, b], 1), (x, y)),
    (lambda lax, a: lax.pad(a, 1.5, [(1, 0, 2), (-1, 2, 0)]), (x,)),
    (lambda lax, a: lax.slice(a, (0, 1), (3, 4), (2, 1)), (x,)),
    (lambda lax, a: lax.slice_in_dim(a, 1, -1, 2, 1), (x,)),
    (lambda lax, a: lax.index_in_dim(a, -1, 1, False), (x,)),
    (lambda lax, a, k: lax.dynamic_slice(a, (k, 1), (2, 2)), (x, 5)),
    (lambda lax, a, k: lax.dynamic_slice_in_dim(a, k, 2, 1), (x, 1)),
    (lambda lax, a, k: lax.dynamic_index_in_dim(a, k, 1, False), (x, 2)),
    (lambda lax, a, b, k: lax.dynamic_update_slice(a, b, (k, 0)), (x, y[:2, :3], 1)),
    (lambda lax, a, b, k: lax.dynamic_update_slice_in_dim(a, b, k, 1), (x, y[:, :2], 9)),
    (lambda lax, a: lax.add(lax.broadcasted_iota(np.float64, (3, 4), 1), a), (x,)),
    (lambda lax, a: lax.add(lax.full((3, 4), 2.5), a), (x,)),
    (lambda lax, a: lax.full_like(a, 3), (x,)),
    (lambda lax, a, b: lax.dot(a, b), (x, y.T)),
    (lambda lax, a, b: lax.dot(a, b), (x[0], y[0])),
    (lambda lax, a, b: lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,)))), (cube, cube.transpose(0, 2, 1))),
    (lambda lax, a, b: lax.batch_matmul(a, b), (cube, cube.transpose(0, 2, 1))),
    *[(lambda lax, a, name=name: getattr(lax, name)(a, (1,)), (x,)) for name in ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"]],
    *[(lambda lax, a, name=name: getattr(lax, name)(a, (0, 1)), (c,)) for name in ["reduce_and", "reduce_or"]],
    *[
        (lambda lax, a, name=name: getattr(lax, name)(a, axis=1, reverse=True), (x,))
        for name in ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]
    ],
    (lambda lax, a: lax.argmax(a, 1, np.int64), (x,)),
    (lambda lax, a: lax.argmin(a, 0, np.int64), (x,)),
    (lambda lax, a: lax.sort(a), (x,)),
    (lambda lax, a, b: lax.sort_key_val(a, b), (x, y)),
    (lambda lax, a: lax.top_k(a, 2)[0], (np.array([1.0, 3.0, 2.0, 3.0]),)),
]


@pytest.mark.parametrize("k", range(len(CASES)))
def test_staged_equals_eager(k: int) -> None:
    function, args = CASES[k]
    eager = flat(function(lax, *args))
    for now, later in zip(eager, staged(lambda *xs: function(lax, *xs), *args), strict=True):
        assert type(now) is Array
        assert_same(later, now)


@pytest.mark.peers
@pytest.mark.parametrize("k", range(len(CASES)))
def test_equal_to_jax(k: int) -> None:
    import jax

    function, args = CASES[k]
    with jax.enable_x64(True):
        expected = [
            np.asarray(part) for part in flat(function(jax.lax, *[jax.numpy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]))
        ]
    for got, want in zip(flat(function(lax, *args)), expected, strict=True):
        assert_same(np.asarray(got), want, rtol=1e-6 if want.dtype == np.float32 else 1e-12)


def test_dtypes_must_agree() -> None:
    single = x.astype(np.float32)
    for run in (
        lambda: lax.add(x, single),
        lambda: lax.add(i, 2.0),
        lambda: lax.add(x, 1j),
        lambda: lax.sin(i),
        lambda: lax.concatenate([x, single], 0),
    ):
        with pytest.raises(DtypeError):
            run()
    assert lax.add(single, 2.0).dtype == np.float32
    assert staged(lambda a, b: lax.mul(a, b), single, 2.0)[0].dtype == np.float32


def test_shapes_must_agree() -> None:
    for run in (
        lambda: lax.add(x, x[0]),
        lambda: lax.reshape(x, (5,)),
        lambda: lax.dot(x, x),
        lambda: lax.broadcast_in_dim(x, (2, 4), (0, 1)),
    ):
        with pytest.raises(ShapeError):
            run()
    with pytest.raises(ArgumentError):
        lax.integer_pow(i, -1)
    with pytest.raises(CotanError):
        lax.reduce_sum(x, (2,))
