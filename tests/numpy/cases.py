"""Calls of the functions of the surface that are not ufuncs: ``f(xp, *operands)`` with ``xp`` NumPy or cotan.numpy.

Each is run with NumPy, eagerly, and staged; those in `DIFFERENTIABLE` are also tested against finite differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arguments import METHODS

rng = np.random.default_rng(7)
line, other = rng.normal(size=5), rng.normal(size=5)
table, square = rng.normal(size=(3, 4)), rng.normal(size=(3, 3))
cube, stacks = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 3))
complexes = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
integers, small, bytes_ = rng.integers(-4, 5, (3, 4)), rng.integers(0, 9, (3, 4)).astype(np.int8), rng.integers(0, 200, 6).astype(np.uint8)
halves, singles = table.astype(np.float16), table.astype(np.float32)
truth = table > 0
gaps = np.where(rng.random((3, 4)) < 0.3, np.nan, table)
positive = np.abs(table) + 0.5
NAN, INF = np.nan, np.inf
special = np.array([NAN, INF, -INF, 0.5, -2.0])
definite = square @ square.T + 3 * np.eye(3)
Case = tuple[Callable[..., Any], tuple[Any, ...]]

REDUCED = (table, cube, complexes, integers, small, bytes_, halves, singles, truth)
REDUCTIONS: list[Case] = []
for x in REDUCED:
    calls: list[tuple[str, dict[str, Any]]] = []
    for name in ("sum", "prod", "mean", "var", "std", "all", "any", "count_nonzero"):
        calls += [(name, {}), (name, {"axis": -1, "keepdims": True})]
    for name in ("max", "min", "cumsum", "cumprod", "argmax", "argmin", "sort", "argsort"):
        calls.append((name, {"axis": 0}))
    for name in ("ptp", "median") if x.dtype.kind not in "bc" else ():
        calls += [(name, {}), (name, {"axis": -1})]
    REDUCTIONS += [(lambda xp, x, name=name, kwargs=kwargs: getattr(xp, name)(x, **kwargs), (x,)) for name, kwargs in calls]

NARROW = ("f2", "f4", "c8", "i1", "u1", "?", "f8", "i8")
singular = np.array([[1.0, 2.0], [2.0, 4.0]])
CASES: dict[str, list[Case]] = {
    "dtypes": [
        *[
            (function, (np.array(1, dtype),))
            for dtype in NARROW
            for function in (
                lambda xp, x: (xp.array([1, x]), xp.asarray([1.5, x]), xp.array([[True, x], [x, x]]), xp.array([1j, x]), xp.stack([2, x])),
                lambda xp, x: (xp.clip(truth, 0, x), xp.clip(truth, x, 2), xp.clip(small, x, 2), xp.clip(halves, 0.5, x)),
            )
        ],
        *[
            (function, (np.array([1, 0], dtype),))
            for dtype in NARROW
            for function in (
                lambda xp, x: (xp.concatenate([x, 2], axis=None), xp.concatenate([1.5, x, 1], axis=None), xp.concatenate([x, [1.5]])),
                lambda xp, x: (xp.append(x, 2), xp.append(x, [1.5]), xp.hstack([x, 2])),
                lambda xp, x: (x**1, x**2, x**3, x**2.0, x**True, x ** np.int64(2), 2**x, xp.power(x, 2), xp.square(x)),
                lambda xp, x: (x.conj(), x.conjugate(), xp.conj(x)),
                lambda xp, x: (xp.clip(x, 2, np.float32(3)), xp.clip(x, None, 2), xp.clip(x, 0, 1)),
            )
        ],
        *[(lambda xp, x, dtype=dtype: xp.cov(x, dtype=dtype), (np.zeros((0, 3), "f4"),)) for dtype in (None, "f2", "f4", "c16")],
        (lambda xp, x: xp.corrcoef(x), (np.zeros((0, 3), "f4"),)),
        *[
            (lambda xp, x, w: (xp.cov(x, aweights=w), xp.cov(x[0], aweights=w, fweights=[1, 2, 3])), (singles[:, :3], w))
            for w in (positive[0, :3].astype("f2"), positive[0, :3].astype("f4"), np.array([1, 2, 3], "i1"))
        ],
        *[
            (lambda xp, *xs: xp.linalg.multi_dot(xs), tuple(((k + 1) * square).astype(dtype) for k, dtype in enumerate(kinds)))
            for kinds in (("f2", "i1", "f8"), ("f8", "f2", "f2"), ("f4", "f4", "c16"), ("i1", "u1", "f4"), ("?", "i1", "f8"))
        ],
    ],
    "corners": [
        *[
            (lambda xp, x, order=order: xp.linalg.norm(x, ord=order), (np.ones(shape),))
            for order in (2, 1, np.inf, "fro", "nuc")
            for shape in ((0, 3), (0, 0))
        ],
        *[
            (lambda xp, x, p=p: xp.linalg.cond(x, p), (x,))
            for p in (None, 1, -1, np.inf, "fro", 2, -2)
            for x in (singular, 0 * singular, np.stack([singular, np.eye(2) + singular, 0 * singular]), singular.astype("f4"))
        ],
        *[(lambda xp, x: xp.linalg.pinv(x), (np.ones((0, 3), dtype),)) for dtype in ("f2", "f4", "i8", "c8")],
        (lambda xp, x, y: xp.lexsort([x, y]), (np.float64(2.0), np.float64(1.0))),
        (lambda xp, x: xp.lexsort([x]), (np.float64(2.0),)),
        *[
            (lambda xp, m, x, n=n: (xp.where(m, x, n), xp.where(m, n, x)), (truth, small.astype(dtype)))
            for n in (300, -1, 3)
            for dtype in ("u1", "i1", "i2", "f2")
        ],
        *[(lambda xp, x, i=i: xp.take(x, i), (line,)) for i in ([0.0, 1.7], 2.0, (1,), [], [True], np.float64(1.0))],
        *[
            (lambda xp, x, y=y: (xp.isclose(x, y), xp.allclose(x, y)), (np.array([1.0, INF, 2.0], dtype),))
            for y in (2**40, -(2**40), 1e300, 1, np.float64(2.0**40), np.array([2.0**40, INF, 2.0]))
            for dtype in ("f2", "f4", "f8")
        ],
        *[(lambda xp, x, y=y: (x == y, x != y, y == x, x[0] == y), (line,)) for y in (None, "a", b"a")],
    ],
    "reductions": [
        *REDUCTIONS,
        (lambda xp, x: xp.sum(x, axis=(0, 2)), (cube,)),
        (lambda xp, x: xp.sum(x, axis=1, initial=2.0), (cube,)),
        (lambda xp, x, w: xp.sum(x, axis=1, where=w), (table, truth)),
        (lambda xp, x, w: xp.prod(x, where=w), (table, truth)),
        (lambda xp, x, w: xp.mean(x, axis=0, where=w), (table, truth)),
        (lambda xp, x, w: xp.var(x, where=w), (table, truth)),
        (lambda xp, x, w: xp.max(x, axis=0, where=w, initial=-9.0), (table, truth)),
        (lambda xp, x, w: xp.any(x, axis=0, where=w), (truth, truth)),
        (lambda xp, x: xp.max(x, initial=0.25, axis=1), (table,)),
        (lambda xp, x: xp.max(x), (complexes,)),
        (lambda xp, x: xp.min(x, axis=(0, 1)), (complexes,)),
        (lambda xp, x: xp.sum(x, dtype=np.float32), (integers,)),
        (lambda xp, x: xp.var(x, ddof=1, axis=0), (table,)),
        (lambda xp, x: xp.std(x, correction=1, axis=(0, 1)), (table,)),
        (lambda xp, x: xp.cumsum(x), (table,)),
        (lambda xp, x: xp.cumprod(x, axis=1), (table,)),
        (lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True), (table,)),
        (lambda xp, x: xp.cumulative_prod(x), (line,)),
        (lambda xp, x: xp.argmax(x), (table,)),
        (lambda xp, x: xp.argmin(x, axis=1, keepdims=True), (table,)),
        (lambda xp, x: xp.average(x), (table,)),
        (lambda xp, x, w: xp.average(x, axis=1, weights=w), (table, np.arange(1.0, 5))),
        (lambda xp, x, w: xp.average(x, weights=w, returned=True), (table, positive)),
        (lambda xp, x, w: xp.average(x, weights=w, axis=0), (integers, np.arange(1, 4))),
        (lambda xp, x: xp.diff(x), (table,)),
        (lambda xp, x: xp.diff(x, 2, axis=0), (table,)),
        (lambda xp, x: xp.diff(x, prepend=0.0, append=1.0), (table,)),
        (lambda xp, x: xp.diff(x), (truth,)),
        (lambda xp, x: xp.ediff1d(x, to_end=1.0, to_begin=[0.5, 0.25]), (line,)),
        (lambda xp, x: xp.gradient(x), (line,)),
        (lambda xp, x: xp.gradient(x, 0.5, axis=1), (table,)),
        (lambda xp, x, t: xp.gradient(x, t), (line, np.array([0.0, 1.0, 1.5, 3.0, 3.25]))),
        (lambda xp, x: xp.gradient(x), (table,)),
        (lambda xp, x, t: xp.trapezoid(x, t), (line, np.array([0.0, 1.0, 1.5, 3.0, 3.25]))),
        (lambda xp, x: xp.trapezoid(x, dx=0.1, axis=0), (table,)),
    ],
    "statistics": [
        (lambda xp, x: xp.median(x, axis=(0, 2), keepdims=True), (cube,)),
        (lambda xp, x: xp.median(x, axis=0), (gaps,)),
        (lambda xp, x: xp.quantile(x, 0.3), (table,)),
        (lambda xp, x: xp.quantile(x, [0.0, 0.25, 0.7, 1.0], axis=1), (table,)),
        (lambda xp, x, q: xp.quantile(x, q, axis=0, keepdims=True), (table, np.array([[0.1, 0.9]]))),
        (lambda xp, x: xp.quantile(x, 0.4, axis=1), (gaps,)),
        (lambda xp, x: xp.quantile(x, 0.4), (integers,)),
        (lambda xp, x: xp.quantile(x, 0.4), (singles,)),
        *[
            (lambda xp, x, m=m: xp.quantile(x, [0.15, 0.5, 0.8], axis=0, method=m), (rng.normal(size=(7, 2)),))
            for m in (
                "lower",
                "higher",
                "nearest",
                "midpoint",
                "hazen",
                "weibull",
                "median_unbiased",
                "normal_unbiased",
                "interpolated_inverted_cdf",
            )
        ],
        *[
            (lambda xp, x, q, name=name, m=m: getattr(xp, name)(x, q, method=m), (np.array(x, dtype), q * whole))
            for name, whole in (("quantile", 1), ("nanquantile", 1), ("percentile", 100), ("nanpercentile", 100))
            for m in METHODS
            for x, dtype, q in (
                ([0.725, 2.0, 3.4], "f8", np.array([0.0, 1e-300, 0.1, 1 / 3, 0.5, 2 / 3, 0.9, 1 - 1e-16, 1.0])),
                ([1.0, INF, 2.0, -1.0, -INF], "f4", np.array([0.0, 1e-9, 0.2, 0.5, 0.7, 1 - 1e-9, 1.0])),
                ([INF, 1.0, INF], "f8", np.array([0, 1])),
                ([3, 1, 2], "u1", np.array([0, 1])),
            )
        ],
        (lambda xp, x: xp.percentile(x, [10, 50.5], axis=1), (table,)),
        *[
            (lambda xp, x, name=name: getattr(xp, name)(x, axis=1), (gaps,))
            for name in (
                "nansum",
                "nanprod",
                "nanmean",
                "nanvar",
                "nanstd",
                "nanmax",
                "nanmin",
                "nancumsum",
                "nancumprod",
                "nanmedian",
                "nanargmax",
                "nanargmin",
            )
        ],
        (lambda xp, x: xp.nansum(x), (integers,)),
        (lambda xp, x: xp.nanvar(x, ddof=1), (gaps,)),
        (lambda xp, x: xp.nanquantile(x, [0.2, 0.9], axis=1), (gaps,)),
        (lambda xp, x: xp.nanpercentile(x, 30.0), (gaps,)),
        (lambda xp, x: xp.cov(x), (table,)),
        (lambda xp, x, y: xp.cov(x, y), (line, other)),
        (lambda xp, x: xp.cov(x, rowvar=False, bias=True), (table,)),
        (lambda xp, x: xp.cov(x, aweights=np.array([1.0, 2.0, 3.0, 1.0])), (table,)),
        (lambda xp, x: xp.cov(x, fweights=np.array([1, 2, 3, 1]), ddof=1), (table,)),
        (lambda xp, x: xp.cov(x), (line,)),
        (lambda xp, x: xp.cov(x), (complexes,)),
        (lambda xp, x: xp.corrcoef(x), (table,)),
        (lambda xp, x, y: xp.corrcoef(x, y), (line, other)),
    ],
    "products": [
        *[
            (lambda xp, x, y, name=name: getattr(xp, name)(x, y), pair)
            for name in ("matmul", "dot")
            for pair in (
                (line, other),
                (table, stacks[0]),
                (table, line[:4]),
                (line[:3], table),
                (integers, small.T),
                (truth, truth.T),
                (singles, table.T),
            )
        ],
        *[
            (lambda xp, x, y: xp.matmul(x, y), pair)
            for pair in (
                (cube, stacks),
                (cube, stacks[0]),
                (table, stacks),
                (line[:4], stacks),
                (cube, line[:4]),
                (cube[:, None], stacks[None]),
                (complexes, complexes.T),
            )
        ],
        (lambda xp, x, y: x @ y, (cube, stacks)),
        (lambda xp, x, y: xp.dot(x, y), (cube, stacks)),
        (lambda xp, x, y: xp.dot(x, y), (table, 2.0)),
        (lambda xp, x, y: xp.inner(x, y), (cube, table)),
        (lambda xp, x, y: xp.vdot(x, y), (complexes, complexes[::-1])),
        (lambda xp, x, y: xp.vecdot(x, y), (complexes, complexes[0])),
        (lambda xp, x, y: xp.vecdot(x, y, axis=0), (table, table)),
        (lambda xp, x, y: xp.matvec(x, y), (cube, table[:, 0] if False else line[:4])),
        (lambda xp, x, y: xp.vecmat(x, y), (line[:3], cube)),
        (lambda xp, x, y: xp.outer(x, y), (line, table)),
        (lambda xp, x, y: xp.kron(x, y), (table, square)),
        (lambda xp, x, y: xp.kron(x, y), (line, square)),
        (lambda xp, x, y: xp.tensordot(x, y), (table, table)),
        (lambda xp, x, y: xp.tensordot(x, y, axes=1), (cube, stacks[0])),
        (lambda xp, x, y: xp.tensordot(x, y, axes=([0, 2], [0, 1])), (cube, stacks)),
        (lambda xp, x, y: xp.tensordot(x, y, axes=0), (line, table)),
        (lambda xp, x, y: xp.cross(x, y), (square, square[::-1])),
        (lambda xp, x, y: xp.cross(x, y, axis=0), (square, square[:, ::-1])),
        (lambda xp, x, y: xp.convolve(x, y), (line, other[:3])),
        (lambda xp, x, y: xp.convolve(x, y, "same"), (line, other[:4])),
        (lambda xp, x, y: xp.convolve(x, y, "valid"), (line[:2], other)),
        *[
            (lambda xp, x, y, m=m: xp.correlate(x, y, m), pair)
            for m in ("full", "same", "valid")
            for pair in ((line, other[:3]), (line, other[:2]), (line[:4], other), (line[:3], other[:4]))
        ],
        (lambda xp, x, y: xp.correlate(x, y, "full"), (complexes[0], complexes[1])),
        (lambda xp, x: xp.trace(x), (square,)),
        (lambda xp, x: xp.trace(x, offset=1, axis1=1, axis2=2), (cube,)),
    ],
    "einsum": [
        *[
            (lambda xp, *xs, s=s: xp.einsum(s, *xs), args)
            for s, args in (
                ("ij,jk->ik", (table, stacks[0])),
                ("ij,jk", (table, stacks[0])),
                ("ij->ji", (table,)),
                ("ij->", (table,)),
                ("ii", (square,)),
                ("ii->i", (square,)),
                ("iij->ji", (np.stack([square, square, square], 2),)),
                ("i,j->ij", (line, other)),
                ("i,i", (line, other)),
                ("i,i->i", (line, other)),
                ("bij,bjk->bik", (cube, stacks)),
                ("bij,bjk->ki", (cube, stacks)),
                ("...ij,...jk->...ik", (cube, stacks)),
                ("...ij,jk->...ik", (cube, stacks[0])),
                ("i...,i...->...", (table, table)),
                ("...", (table,)),
                ("ij,j,jk->ik", (table, line[:4], stacks[0])),
                ("ab,bc,cd,da->", (table, stacks[0], table, stacks[0])),
                ("ij,ij,ij->i", (table, table, table)),
                ("i,jk,l->l", (line, table, other)),
                ("ij,ij->ij", (table, table[:1])),
                ("ij,j->i", (integers, small[0])),
                ("ij,kj->ik", (complexes, complexes)),
                ("bhqd,bhkd->bhqk", (rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(2, 2, 5, 4)))),
            )
        ],
        (lambda xp, x, y: xp.einsum(x, [0, 1], y, [1, 2], [0, 2]), (table, stacks[0])),
        (lambda xp, x, y: xp.einsum(x, [..., 1], y, [1], [...]), (table, line[:4])),
    ],
    "shapes": [
        (lambda xp, x: xp.reshape(x, (2, -1)), (table,)),
        (lambda xp, x: xp.reshape(x, 12), (table,)),
        (lambda xp, x: xp.reshape(x, (4, 3), order="F"), (table,)),
        (lambda xp, x: x.reshape(2, 6), (table,)),
        (lambda xp, x: x.reshape((-1,)), (table,)),
        (lambda xp, x: xp.ravel(x), (table,)),
        (lambda xp, x: xp.ravel(x, order="F"), (table,)),
        (lambda xp, x: x.T, (cube,)),
        (lambda xp, x: x.mT, (cube,)),
        (lambda xp, x: x.transpose(1, 0, 2), (cube,)),
        (lambda xp, x: xp.transpose(x, (2, 0, 1)), (cube,)),
        (lambda xp, x: xp.permute_dims(x, (1, 2, 0)), (cube,)),
        (lambda xp, x: xp.swapaxes(x, 0, -1), (cube,)),
        (lambda xp, x: xp.moveaxis(x, 0, -1), (cube,)),
        (lambda xp, x: xp.moveaxis(x, (0, 1), (2, 0)), (cube,)),
        (lambda xp, x: xp.rollaxis(x, 2), (cube,)),
        (lambda xp, x: xp.rollaxis(x, 0, 2), (cube,)),
        (lambda xp, x: xp.expand_dims(x, (0, 2)), (table,)),
        (lambda xp, x: xp.squeeze(x), (table[:, :1],)),
        (lambda xp, x: xp.squeeze(x, 1), (table[:, :1],)),
        (lambda xp, x: xp.flip(x), (table,)),
        (lambda xp, x: xp.flip(x, 1), (table,)),
        (lambda xp, x: (xp.fliplr(x), xp.flipud(x)), (table,)),
        *[(lambda xp, x, k=k: xp.rot90(x, k), (table,)) for k in range(4)],
        (lambda xp, x: xp.rot90(x, axes=(1, 2)), (cube,)),
        (lambda xp, x: xp.roll(x, 2), (table,)),
        (lambda xp, x: xp.roll(x, (1, -1), (0, 1)), (table,)),
        (lambda xp, x: xp.roll(x, 1, 1), (table,)),
        (lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), (table,)),
        (lambda xp, x, y: xp.broadcast_arrays(x, y), (line[:3, None], line[:4])),
        (lambda xp, x, y: xp.concatenate([x, y]), (table, integers)),
        (lambda xp, x, y: xp.concatenate([x, y], axis=1), (table, square)),
        (lambda xp, x, y: xp.concatenate([x, y], axis=None), (table, square)),
        (lambda xp, x: xp.concatenate(x), (cube,)),
        (lambda xp, x, y: xp.stack([x, y]), (line, other)),
        (lambda xp, x, y: xp.stack([x, y], axis=-1), (table, integers)),
        (lambda xp, x, y: xp.stack([x, y, 3]), (2.0, 1)),
        (lambda xp, x: xp.unstack(x, axis=1), (table,)),
        (lambda xp, x, y: (xp.hstack([x, y]), xp.vstack([x, y]), xp.dstack([x, y]), xp.column_stack([x, y])), (line, other)),
        (lambda xp, x, y: (xp.hstack([x, y]), xp.vstack([x, y]), xp.dstack([x, y])), (square, square)),
        (lambda xp, x, y: xp.append(x, y), (table, line)),
        (lambda xp, x, y: xp.block([[x, y], [y, x]]), (square, square)),
        (lambda xp, x, y: xp.block([x, y]), (line, other)),
        (lambda xp, x: xp.split(x, 2, axis=1), (table,)),
        (lambda xp, x: xp.split(x, [1, 3, 7]), (line,)),
        (lambda xp, x: xp.array_split(x, 3), (line,)),
        (lambda xp, x: (xp.hsplit(x, 2), xp.vsplit(x, 3)), (table,)),
        (lambda xp, x: xp.dsplit(x, 2), (cube,)),
        (lambda xp, x: (xp.atleast_1d(x), xp.atleast_2d(x), xp.atleast_3d(x)), (line,)),
        (lambda xp, x: (xp.atleast_1d(x), xp.atleast_2d(x), xp.atleast_3d(x)), (table,)),
        (lambda xp, x: (xp.atleast_1d(x), xp.atleast_2d(x), xp.atleast_3d(x)), (1.5,)),
    ],
    "rearranging": [
        (lambda xp, x: xp.pad(x, 1), (table,)),
        (lambda xp, x: xp.pad(x, ((1, 2), (0, 3)), constant_values=2.5), (table,)),
        (lambda xp, x: xp.pad(x, (1, 2), constant_values=((1, 2), (3, 4))), (table,)),
        *[
            (lambda xp, x, m=m: xp.pad(x, ((2, 1), (0, 2)), mode=m), (x,))
            for m in ("edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean", "median")
            for x in (table, integers)
        ],
        (lambda xp, x: xp.pad(x, (7, 9), mode="reflect"), (line,)),
        (lambda xp, x: xp.pad(x, {1: (1, 1)}), (table,)),
        (lambda xp, x: xp.repeat(x, 2), (table,)),
        (lambda xp, x: xp.repeat(x, 3, axis=1), (table,)),
        (lambda xp, x: xp.repeat(x, [1, 0, 2], axis=0), (table,)),
        (lambda xp, x: xp.tile(x, 2), (table,)),
        (lambda xp, x: xp.tile(x, (2, 1, 3)), (table,)),
        (lambda xp, x: xp.resize(x, (3, 7)), (table,)),
        (lambda xp, x: xp.delete(x, 1, axis=1), (table,)),
        (lambda xp, x: xp.delete(x, [0, 2]), (line,)),
        (lambda xp, x: xp.delete(x, slice(1, 3), 0), (line,)),
        (lambda xp, x: xp.insert(x, 1, 9.0), (line,)),
        (lambda xp, x: xp.insert(x, 1, [7.0, 8.0]), (line,)),
        (lambda xp, x: xp.insert(x, [1, 3], [7.0, 8.0]), (line,)),
        (lambda xp, x, y: xp.insert(x, 2, y, axis=1), (table, line[:3])),
        (lambda xp, x: xp.insert(x, 2, 5.0, axis=0), (table,)),
        (lambda xp, x: xp.apply_along_axis(lambda v: v * v.sum(), 0, x), (table,)),
        (lambda xp, x: xp.apply_over_axes(xp.sum, x, [0, 2]), (cube,)),
    ],
    "creation": [
        (lambda xp, x: xp.zeros_like(x) + xp.ones_like(x) * xp.full_like(x, 3), (integers,)),
        (lambda xp, x: xp.zeros_like(x, shape=(2,), dtype=np.float32), (integers,)),
        (lambda xp, x: xp.full((2, 3), x), (2.5,)),
        (lambda xp, x: xp.full((2, 3), x), (line[:3],)),
        (lambda xp, x: xp.zeros((20, 20)) + x, (1.0,)),
        (lambda xp, x: xp.ones((20, 20), np.float32) * x, (singles[0, 0],)),
        (lambda xp, x: xp.array([x, 2.0, [3.0][0]]), (1.0,)),
        (lambda xp, x, y: xp.array([[x, y], [1, 2]]), (1.0, 2)),
        (lambda xp, x, y: xp.asarray([x, y]), (line, other)),
        (lambda xp, x: xp.array(x, ndmin=3), (line,)),
        (lambda xp, x: xp.array([x, x], dtype=np.float32), (1.0,)),
        (lambda xp, x: xp.astype(x, np.int32), (table,)),
        (lambda xp, x: x.astype(np.complex64), (table,)),
        (lambda xp, x: x.astype(bool), (integers,)),
        (lambda xp, x: xp.copy(x), (table,)),
        (lambda xp, x, y: xp.linspace(x, y, 7), (0.3, 2.0)),
        (lambda xp, x, y: xp.linspace(x, y, 4, endpoint=False), (0, 2)),
        (lambda xp, x, y: xp.linspace(x, y, 3, axis=1), (line, other)),
        (lambda xp, x, y: xp.linspace(x, y, 3, retstep=True), (0.0, 1.0)),
        (lambda xp, x, y: xp.linspace(x, y, 1), (0.0, 1.0)),
        (lambda xp, x, y: xp.linspace(x, y, 3), (singles[0, 0], singles[1, 0])),
        (lambda xp, x: xp.logspace(x, 2.0, 4), (0.5,)),
        (lambda xp, x: xp.geomspace(x, 100.0, 5), (2.0,)),
        (lambda xp, x, y: xp.meshgrid(x, y), (line, other[:3])),
        (lambda xp, x, y: xp.meshgrid(x, y, indexing="ij", sparse=True), (line, other[:3])),
        (lambda xp, x: (xp.tril(x), xp.triu(x, 1)), (table,)),
        (lambda xp, x: (xp.tril(x, -1), xp.triu(x)), (cube,)),
        (lambda xp, x: xp.triu(x), (line,)),
        (lambda xp, x: (xp.diag(x), xp.diag(x, 1), xp.diag(x, -2)), (table,)),
        (lambda xp, x: (xp.diag(x), xp.diag(x, 1), xp.diag(x, -2)), (line,)),
        (lambda xp, x: xp.diagonal(x, 1, 0, 2), (cube,)),
        (lambda xp, x: xp.diagonal(x, -5), (table,)),
        (lambda xp, x: xp.diagflat(x, 1), (table,)),
        (lambda xp, x: xp.vander(x, 3), (line,)),
        (lambda xp, x: xp.vander(x, increasing=True), (line,)),
    ],
    "choices": [
        (lambda xp, c, x, y: xp.where(c, x, y), (truth, table, integers)),
        (lambda xp, c, x: xp.where(c, x, 0), (truth, singles)),
        (lambda xp, c, x: xp.where(c, x, 0.5), (truth, integers)),
        (lambda xp, c: xp.where(c, 1.0, 2.0), (truth,)),
        (lambda xp, c, x, y: xp.where(c, x, y), (truth[0], line[:3, None], 1j)),
        (lambda xp, x: xp.clip(x, -0.5, 0.5), (table,)),
        (lambda xp, x: xp.clip(x, None, 1), (integers,)),
        (lambda xp, x, lo: xp.clip(x, lo, None), (table, line[:4])),
        (lambda xp, x: xp.select([x > 1, x < -0.5], [x, x * x], 7.0), (table,)),
        (lambda xp, x: xp.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * v]), (table,)),
        (lambda xp, x: xp.piecewise(x, [x < 0], [1.0, 2.0]), (table,)),
        *[(lambda xp, x, d=d: xp.round(x * 100, d), (x,)) for d in (0, 2, -1) for x in (table, integers, complexes, singles)],
        (lambda xp, x: xp.fix(x), (table * 3,)),
        (lambda xp, x: (xp.real(x), xp.imag(x), xp.angle(x), xp.isreal(x), xp.iscomplex(x), xp.conj(x)), (complexes,)),
        (lambda xp, x: (xp.real(x), xp.imag(x), xp.angle(x, deg=True), x.real, x.imag), (table,)),
        (lambda xp, x: (xp.isposinf(x), xp.isneginf(x), xp.nan_to_num(x), xp.nan_to_num(x, nan=1.0, posinf=2.0, neginf=3.0)), (special,)),
        (lambda xp, x: xp.nan_to_num(x), (np.array([complex(a, b) for a, b in zip(special, special[::-1], strict=True)]),)),
        (lambda xp, x: (xp.sinc(x), xp.i0(x)), (np.array([0.0, 0.3, -1.7, 2.0]),)),
        (lambda xp, x: xp.sinc(x), (complexes,)),
        (lambda xp, x: xp.unwrap(x), (line * 5,)),
        (lambda xp, x, y: (xp.isclose(x, y), xp.isclose(x, y, equal_nan=True), xp.allclose(x, y)), (special, special + 1e-9)),
        (lambda xp, x, y: (xp.array_equal(x, y), xp.array_equiv(x, y)), (line, line)),
        (lambda xp, p, x: xp.polyval(p, x), (line, table)),
        (lambda xp, a, b: (xp.polyadd(a, b), xp.polysub(a, b), xp.polymul(a, b)), (line, other[:3])),
        (lambda xp, a: (xp.polyder(a), xp.polyint(a), xp.polyder(a, 2)), (line,)),
    ],
    "indexing": [
        (lambda xp, x, i: xp.take(x, i), (table, np.array([[0, 5], [-1, 3]]))),
        (lambda xp, x, i: xp.take(x, i, axis=1), (cube, np.array([2, 0, -1]))),
        (lambda xp, x, i: xp.take(x, i, axis=1), (cube, 1)),
        (lambda xp, x, i: xp.take_along_axis(x, i, axis=1), (table, np.array([[0, 1], [3, -1], [2, 2]]))),
        (lambda xp, x, i: xp.take_along_axis(x, i, axis=0), (table, np.array([[0, 1, 2, -1]]))),
        (lambda xp, x: xp.take_along_axis(x, xp.argsort(x, 1), axis=1), (table,)),
        (lambda xp, x: xp.compress([True, False, True], x, axis=0), (table,)),
        (lambda xp, x: xp.extract(np.array([1, 0, 1, 1, 0]), x), (line,)),
        (lambda xp, i, x, y: xp.choose(i, [x, y]), (np.array([0, 1, 1, 0]), table, 1.0)),
    ],
    "sorting": [
        (lambda xp, x: xp.sort(x), (table,)),
        (lambda xp, x: xp.sort(x, axis=None), (table,)),
        (lambda xp, x: xp.argsort(x, axis=None), (table,)),
        (lambda xp, x: xp.lexsort((x, x[::-1])), (np.array([1, 0, 1, 0, 2]),)),
        (lambda xp, x, v: xp.searchsorted(x, v), (np.sort(line), table)),
        (lambda xp, x, v: xp.searchsorted(x, v, side="right"), (np.array([0, 1, 1, 2]), np.array([1, 5, -1]))),
        (lambda xp, x, v: xp.searchsorted(x, v, sorter=np.argsort(line)), (line, 0.1)),
        (lambda xp, x: xp.digitize(x, np.array([-1.0, 0.0, 1.0])), (table,)),
        (lambda xp, x: xp.digitize(x, np.array([1.0, 0.0, -1.0]), right=True), (table,)),
        (
            lambda xp, x, a, b: xp.interp(x, a, b),
            (np.array([-3.0, 0.2, 0.5, 1.0, 1.7, 9.0, NAN]), np.array([0.0, 0.5, 1.0, 2.0]), line[:4]),
        ),
        (
            lambda xp, x, a, b: xp.interp(x, a, b, left=-1.0, right=7.0),
            (np.array([-3.0, 0.0, 2.0, 9.0]), np.array([0.0, 0.5, 1.0, 2.0]), line[:4]),
        ),
        (lambda xp, x, a, b: xp.interp(x, a, b, period=3.0), (np.array([-3.2, 0.1, 2.9, 9.0]), np.array([0.0, 2.5, 1.0, 2.0]), line[:4])),
        (lambda xp, x, a, b: xp.interp(x, a, b), (0.3, np.array([0.0, 1.0]), complexes[0, :2])),
        (lambda xp, x: xp.isin(x, [1, 2, -3]), (integers,)),
        (lambda xp, x: xp.isin(x, np.array([1, 2]), invert=True), (integers,)),
        (lambda xp, x: xp.histogram(x, np.array([-1.0, 0.0, 0.5, 2.0])), (table,)),
        (lambda xp, x: xp.histogram(x, 4, (-1.0, 1.0), density=True), (table,)),
    ],
    "linalg": [
        (lambda xp, x: xp.linalg.cholesky(x), (definite,)),
        (lambda xp, x: xp.linalg.cholesky(x, upper=True), (definite,)),
        (lambda xp, a, b: xp.linalg.solve(a, b), (square, line[:3])),
        (lambda xp, a, b: xp.linalg.solve(a, b), (np.stack([square, definite]), table)),
        (lambda xp, a: xp.linalg.inv(a), (np.stack([square, definite]),)),
        (lambda xp, a: xp.linalg.svd(a, compute_uv=False), (table,)),
        (lambda xp, a: xp.linalg.svdvals(a), (cube,)),
        (lambda xp, a: [abs(part) for part in xp.linalg.svd(a, full_matrices=False)], (table,)),
        (lambda xp, a: xp.linalg.pinv(a), (table,)),
        *[(lambda xp, x, o=o: xp.linalg.norm(x, o), (line,)) for o in (None, 2, 1, 0, 3, 0.5, INF, -INF)],
        *[(lambda xp, x, o=o: xp.linalg.norm(x, o, axis=0), (table,)) for o in (None, 2, 1, 3, INF)],
        *[
            (lambda xp, x, o=o: xp.linalg.norm(x, o, axis=(2, 0), keepdims=True), (cube,))
            for o in (None, "fro", "nuc", 1, -1, 2, -2, INF, -INF)
        ],
        (lambda xp, x: (xp.linalg.norm(x), xp.linalg.norm(x, keepdims=True)), (complexes,)),
        (lambda xp, x: xp.linalg.norm(x), (integers,)),
        (lambda xp, x: (xp.linalg.vector_norm(x, axis=1), xp.linalg.vector_norm(x, ord=3), xp.linalg.matrix_norm(x)), (table,)),
        (lambda xp, x: (xp.linalg.cond(x), xp.linalg.cond(x, 1)), (square,)),
        (lambda xp, x: (xp.linalg.matrix_power(x, 5), xp.linalg.matrix_power(x, 0), xp.linalg.matrix_power(x, -2)), (square,)),
        (lambda xp, x, y, z: xp.linalg.multi_dot([x, y, z]), (table, stacks[0], line[:3])),
        (lambda xp, x: xp.linalg.matrix_rank(x), (np.outer(line, other),)),
        (lambda xp, x: (xp.linalg.det(x), *xp.linalg.slogdet(x)), (np.stack([square, definite]),)),
        (lambda xp, x: (xp.linalg.eigvalsh(x), xp.linalg.eigh(x, "U").eigenvalues, abs(xp.linalg.eigh(x)[1])), (definite,)),
        (lambda xp, x: (*xp.linalg.qr(x), xp.linalg.qr(x, "r")), (table.T,)),
        (lambda xp, x: xp.linalg.det(x), (integers[:, :3],)),
    ],
}

DIFFERENTIABLE: dict[str, Case] = {
    "var": (lambda xp, x: xp.var(x, axis=0), (table,)),
    "var of complex": (lambda xp, x: xp.var(x, axis=0), (complexes,)),
    "std": (lambda xp, x: xp.std(x, ddof=1), (table,)),
    "median odd": (lambda xp, x: xp.median(x, axis=0), (table,)),
    "median even": (lambda xp, x: xp.median(x, axis=1), (table,)),
    "quantile": (lambda xp, x, q: xp.quantile(x, q, axis=1), (table, np.array([0.2, 0.77]))),
    "nanmedian": (lambda xp, x: xp.nanmedian(xp.where(np.isnan(gaps), np.nan, x), axis=1), (table,)),
    "nanvar": (lambda xp, x: xp.nanvar(xp.where(np.isnan(gaps), np.nan, x)), (table,)),
    "average": (lambda xp, x, w: xp.average(x, axis=1, weights=w), (table, positive)),
    "cov": (lambda xp, x: xp.cov(x), (table,)),
    "corrcoef": (lambda xp, x: xp.corrcoef(x), (table,)),
    "prod with a zero": (lambda xp, x: xp.prod(x), (np.array([1.0, 0.0, 2.0]),)),
    "cumprod": (lambda xp, x: xp.cumprod(x, axis=1), (table,)),
    "diff": (lambda xp, x: xp.diff(x, 2), (table,)),
    "gradient": (lambda xp, x, h: xp.gradient(x, h), (line, np.array([0.0, 1.0, 1.5, 3.0, 3.25]))),
    "max": (lambda xp, x: xp.max(x, axis=0), (table,)),
    "max of complex": (lambda xp, x: xp.max(x, axis=0), (complexes,)),
    "ptp": (lambda xp, x: xp.ptp(x), (table,)),
    "einsum": (lambda xp, x, y, z: xp.einsum("ij,jk,k->i", x, y, z), (table, stacks[0], line[:3])),
    "einsum of a diagonal": (lambda xp, x: xp.einsum("iij->j", x), (np.stack([square, square]).transpose(1, 2, 0),)),
    "einsum with a batch": (lambda xp, x, y: xp.einsum("bij,bjk->kbi", x, y), (cube, stacks)),
    "matmul": (lambda xp, x, y: x @ y, (cube, stacks[0])),
    "vdot": (lambda xp, x, y: xp.vdot(x, y), (complexes, complexes + 1)),
    "kron": (lambda xp, x, y: xp.kron(x, y), (table, square)),
    "cross": (lambda xp, x, y: xp.cross(x, y), (square, square[::-1] + 1)),
    "convolve": (lambda xp, x, y: xp.convolve(x, y, "same"), (line, other[:3])),
    "interp": (lambda xp, x, a, b: xp.interp(x, a, b), (np.array([-3.0, 0.2, 0.6, 1.7, 9.0]), np.array([0.0, 0.5, 1.0, 2.0]), line[:4])),
    "norm": (lambda xp, x: xp.linalg.norm(x), (table,)),
    "norm 3": (lambda xp, x: xp.linalg.norm(x, 3, axis=0), (table,)),
    "norm nuc": (lambda xp, x: xp.linalg.norm(x, "nuc"), (table,)),
    "norm of complex": (lambda xp, x: xp.linalg.norm(x), (complexes,)),
    "inv": (lambda xp, x: xp.linalg.inv(x), (definite,)),
    "solve": (lambda xp, a, b: xp.linalg.solve(a, b), (definite, line[:3])),
    "cholesky": (lambda xp, x: xp.linalg.cholesky(x @ x.T), (square,)),
    "det": (lambda xp, x: xp.linalg.det(x), (square,)),
    "slogdet": (lambda xp, x: xp.linalg.slogdet(x)[1], (square,)),
    "eigh": (lambda xp, x: xp.linalg.eigvalsh(x @ x.T), (square,)),
    "qr": (lambda xp, x: xp.linalg.qr(x), (table.T,)),
    "pinv": (lambda xp, x: xp.linalg.pinv(x), (table,)),
    "multi_dot": (lambda xp, x, y, z: xp.linalg.multi_dot([x, y, z]), (table, stacks[0], line[:3])),
    "matrix_power": (lambda xp, x: xp.linalg.matrix_power(x, -3), (definite,)),
    "pad": (lambda xp, x: xp.pad(x, ((1, 2), (0, 1)), mode="reflect"), (table,)),
    "pad constant": (lambda xp, x, c: xp.pad(x, 1, constant_values=c), (table, 2.0)),
    "pad mean": (lambda xp, x: xp.pad(x, 1, mode="mean"), (table,)),
    "take_along_axis": (lambda xp, x: xp.take_along_axis(x, np.array([[0, 1], [3, -1], [2, 2]]), axis=1), (table,)),
    "sort": (lambda xp, x: xp.sort(x, axis=0), (table,)),
    "linspace": (lambda xp, x, y: xp.linspace(x, y, 4), (0.5, line)),
    "logspace": (lambda xp, x: xp.logspace(x, 1.0, 4), (0.5,)),
    "geomspace": (lambda xp, x: xp.geomspace(x, 9.0, 4), (0.5,)),
    "diag": (lambda xp, x: xp.diag(x, 1), (line,)),
    "tril": (lambda xp, x: xp.tril(x), (table,)),
    "where": (lambda xp, x: xp.where(x > 0, xp.log(xp.abs(x)), x * x), (table,)),
    "clip": (lambda xp, x, lo: xp.clip(x, lo, 0.4), (table, -0.3)),
    "piecewise": (lambda xp, x: xp.piecewise(x, [x < 0], [lambda v: v**3, lambda v: v * v]), (table,)),
    "sinc": (lambda xp, x: xp.sinc(x), (np.array([0.0, 0.3, -1.7]),)),
    "nan_to_num": (lambda xp, x: xp.nan_to_num(x), (table,)),
    "polyval": (lambda xp, p, x: xp.polyval(p, x), (line, table)),
    "unwrap": (lambda xp, x: xp.unwrap(x), (line * 5,)),
    "trapezoid": (lambda xp, y, x: xp.trapezoid(y, x), (line, np.array([0.0, 1.0, 1.5, 3.0, 3.25]))),
    "array": (lambda xp, x, y: xp.array([[x, y], [1.0, x]]), (1.0, 2.0)),
    "angle": (lambda xp, x: xp.angle(x), (complexes,)),
    "repeat": (lambda xp, x: xp.repeat(x, [1, 0, 2], axis=0), (table,)),
    "tile": (lambda xp, x: xp.tile(x, (2, 1, 2)), (table,)),
    "histogram weights": (lambda xp, w: xp.histogram(table, 4, (-1.0, 1.0), weights=w)[0], (positive,)),
}
