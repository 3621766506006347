"""Results that docs/compiling.md ("Numbers") leaves open: other ways to compute a step, and signs that may be either.

`rounding.noisy` uses them on a program on which two engines differ. Each way is as right as NumPy's, and none is wider than that page: with
other signs a nan is still a nan and a zero a zero, and other ways are equal up to rounding, underflow, and the effects of nan and
infinities in a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cotan.core.op import Op
from cotan.ops.contraction import DotGeneral
from cotan.ops.families import Scale
from cotan.ops.indexing import Scatter
from cotan.ops.ordering import Choice
from cotan.ops.reduction import Extremum, ReduceProd
from cotan.ops.running import RunningExtremum

__all__ = ["another_way", "with_open_signs"]


# ---- ways --------------------------------------------------------------------------------------------------------------------
def another_way(op: Op, operands: Sequence[Any], random: np.random.Generator) -> Callable[..., Any] | None:
    """A replacement for ``op.impl`` on these operands; None if there is none, or at random."""
    if random.random() < 0.5 or not all(np.asarray(x).dtype.kind in "fc" for x in operands):
        return None
    if isinstance(op, ReduceProd) and max((np.shape(operands[0])[k] for k in op.axes), default=0) > 1:
        return lambda x: product_of_parts(op, x, random)
    if isinstance(op, DotGeneral) and not all(np.isfinite(x).all() for x in operands):
        return lambda x, y: products_added_up(op, np.asarray(x), np.asarray(y))
    return None


def product_of_parts(op: ReduceProd, x: Any, random: np.random.Generator) -> Any:
    """The product of two products: a long one in order sticks at the least denormal number, where its parts underflow to zero."""
    axis = max(op.axes, key=lambda k: x.shape[k])
    first, second = np.split(x, [random.integers(1, x.shape[axis])], axis)
    return np.multiply(op.impl(first), op.impl(second))


def products_added_up(op: DotGeneral, x: Any, y: Any) -> Any:
    """The sum of products as it is written. BLAS may leave out a column whose factor is zero, and nan with it, and may add up the real and
    imaginary parts of complex products in another order, in which infinities meet."""
    pairs = [*zip(*op.batch_axes, strict=True), *zip(*op.contract, strict=True)]
    x_names = list(range(x.ndim))
    partner = {k: j for j, k in pairs}
    y_names = [partner.get(k, x.ndim + k) for k in range(y.ndim)]
    batch, summed = op.batch_axes[0], op.contract[0]
    free = [[name for name in names if name not in (*batch, *summed)] for names in (x_names, y_names)]
    return np.einsum(x, x_names, y, y_names, [*batch, *free[0], *free[1]])


# ---- signs -------------------------------------------------------------------------------------------------------------------
def with_open_signs(op: Op, y: Any, operands: Sequence[Any], random: np.random.Generator, sign: float = 0.0) -> Any:
    """A result of floats, where a nan has either sign, and a zero too if its sign is left open; or all have this ``sign``, as they have in
    an engine that knows one: a sum of their reciprocals is nan where signs are mixed.
    """
    flat = np.array(y, order="C").reshape(-1)
    numbers = flat.view(flat.real.dtype)  # both parts of complex ones
    either = np.isnan(numbers) | (numbers == 0 if zeros_are_open(op, operands) else False)
    if not either.any():
        return y
    numbers[either] = np.copysign(numbers[either], sign or random.choice([-1.0, 1.0], np.count_nonzero(either)))
    return flat.reshape(np.shape(y))


def zeros_are_open(op: Op, operands: Sequence[Any]) -> bool:
    """Whether the zeros of a result are those of a derivative, or chosen among zeros of both signs."""
    if isinstance(op, Scale):
        return True
    if not isinstance(op, Choice | Extremum | RunningExtremum) and not (isinstance(op, Scatter) and op.kind in ("max", "min")):
        return False
    zeros = [np.signbit(x[x == 0]) for x in map(np.asarray, operands) if x.dtype.kind == "f"]
    return len(np.unique(np.concatenate(zeros))) > 1 if zeros else False
