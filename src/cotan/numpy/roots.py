"""Square roots that remember what they are the root of.

``norm(x) ** 2`` is smooth at 0, and norm(x) is not: by the chain rule alone its second derivative there would be lost. So a traced norm,
magnitude, deviation or square root keeps its radicand at hand, and its square (its even powers) is computed from that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.tracing import Tracer, type_of
from ..ops import arithmetic, logic, ordering, transcendental
from ..ops.arithmetic import zero_like
from ..ops.casting import imag, real
from ..ops.families import add, fill_shape

__all__ = ["even_power", "magnitude", "product", "rooted", "square_root", "two_norm"]


def rooted(y: Any, square: Callable[[], Any]) -> Any:
    """``y``, a root; ``square()`` is what it is the root of, computed only if it is asked for."""
    if type(y) is Tracer:
        y.square = square
    return y


def even_power(y: Any, n: int) -> Any | None:
    """``y ** n`` for an even n >= 2, if ``y`` is a root that is known; else None."""
    square = getattr(y, "square", None) if type(y) is Tracer else None
    if square is None or n < 2 or n % 2:
        return None
    return square() if n == 2 else arithmetic.integer_pow(square(), n // 2)


def square_root(x: Any) -> Any:
    """The square root; its square is x where x >= 0."""

    def square() -> Any:
        if type_of(x).dtype.kind == "c":
            return x
        return logic.select(logic.less(x, zero_like(x)), fill_shape(type_of(x).dtype.type(np.nan), x), x)

    return rooted(transcendental.sqrt(x), square)


def magnitude(x: Any) -> Any:
    """The magnitude; its square is x x, or the sum of those of the parts."""

    def square() -> Any:
        if type_of(x).dtype.kind != "c":
            return arithmetic.mul(x, x)
        a, b = real(x), imag(x)
        return add(arithmetic.mul(a, a), arithmetic.mul(b, b))

    return rooted(ordering.abs_(x), square)


def two_norm(x: Any, y: Any) -> Any:
    """hypot; its square is x x + y y."""
    return rooted(transcendental.hypot(x, y), lambda: add(arithmetic.mul(x, x), arithmetic.mul(y, y)))


def product(x: Any, y: Any) -> Any:
    """The product; of a root with itself, what it is the root of."""
    if x is y:
        known = even_power(x, 2)
        if known is not None:
            return known
    return arithmetic.mul(x, y)


product.keeps_weak = arithmetic.mul.keeps_weak  # type: ignore[attr-defined]
