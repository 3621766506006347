"""Even functions of a root, differentiated near its zero.

A root r = sqrt(s) (a norm, a magnitude) has no derivative at 0. An even function of it, f(r) = g(s), has all derivatives, but the chain
rule through r loses them: the second derivative is f'(r) r'' + f''(r) r' r', which is zero times infinity plus a term that the convention
r' = 0 makes zero. If the Taylor series of f is known, c0 + c2 r^2 + c3 r^3 + c4 r^4, the derivative near 0 is the derivative of c0 + c2 s +
c3 r s + c4 s^2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core.op import Op, op
from ..core.tracing import type_of
from .arithmetic import constant_like, mul
from .families import Elementwise, add, default_rng, fill_shape, scale, zeros
from .logic import less, select
from .ordering import abs_

__all__ = ["even", "near_zero", "nearness"]


def nearness(dtype: np.dtype[Any]) -> float:
    """The series is used below this size of the root: the error of its fifth term is then about the error of the chain rule, eps / r."""
    return float(np.finfo(dtype).eps) ** 0.25 / 2


def near_zero(r: Any, scale: float) -> Any:
    """Where the series of a function of ``scale`` times r is used."""
    return less(abs_(r), constant_like(nearness(type_of(r).dtype) / scale, r))


@op
class Even(Elementwise):
    """The first operand, z, of (z, r, s): s is the square of r, and near r = 0, z is c2 s + c3 r s + c4 s^2 plus a constant."""

    series: tuple[float, float, float]
    scale: float
    arity, takes, machine, keeps_weak = 3, "f", "copy", True

    def impl(self, *operands: Any) -> Any:
        z = operands[0]
        shape = max(map(np.shape, operands), key=len)
        return z if np.shape(z) == shape else np.broadcast_to(z, shape)

    def element(self, e: Any, i: Sequence[Any], *readers: Any) -> Any:
        return e.math("copy", readers[0](i if readers[0].shape else ()))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        # Since r is the square root of s, d(r s) = 3/2 r ds. The equal form r ds + s dr has a derivative s r'', which loses accuracy by
        # underflow.
        _, r, s = primals
        dz, _, ds = tangents
        y = self(*primals)
        if ds is None and dz is None:
            return y, None
        c2, c3, c4 = self.series
        slope = constant_like(c2, s)
        slope = add(slope, mul(constant_like(2 * c4, s), s)) if c4 else slope
        slope = add(slope, mul(constant_like(1.5 * c3, r), r)) if c3 else slope
        near = None if ds is None else fill_shape(scale(slope, ds), y)
        none = zeros(type_of(y))
        return y, select(fill_shape(near_zero(r, self.scale), y), none if near is None else near, none if dz is None else fill_shape(dz, y))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shapes in (((), (), ()), ((3,), (3,), (3,)), ((2, 3), (2, 3), (2, 3)), ((0,), (0,), (0,)), ((3,), (), ())):
            yield cls((-0.5, 0.0, 1 / 24), 1.0), tuple(rng.uniform(0.3, 2.0, shape) for shape in shapes)
        yield cls((0.5, -0.25, 0.1), 2.0), (rng.normal(size=3), rng.uniform(0.3, 2.0, 3), rng.uniform(0.3, 2.0, 3))


def even(z: Any, r: Any, s: Any, series: tuple[float, float, float], scale: float) -> Any:
    """`Even`: z, with the derivatives of its series (c2, c3, c4) near r = 0."""
    return Even(series, scale)(z, r, s)
