"""What to do about operations that are known to give nan and infinities, by name and operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["advice_for"]

MASK = "a where() around it has the gradient 0 where it takes the other value"
DIVISION = "keep 0 out of the denominator: x / cnp.where(y == 0, 1.0, y), with the value that is wanted there by a where() around it."
LOGARITHM = f"keep 0 out: cnp.log(cnp.maximum(x, tiny)), or cotan.special.xlogy and entr for x log x; {MASK}."
NEGATIVE = "keep negative numbers out: cnp.maximum(x, 0.0), if rounding made them."
OVERFLOW = "shift the exponent first: x - cnp.max(x), as cotan.special.logsumexp and softmax, cnp.logaddexp and log_expit do."
CLIPPED = "clip the operand to the domain: cnp.clip(x, -1.0, 1.0), if rounding took it out."
ENDS = f"its slope is infinite at the ends of the domain: clip to less, cnp.clip(x, -1 + tiny, 1 - tiny); {MASK}."
ROOT = f"its slope is infinite at 0. cnp.linalg.norm has the gradient 0 there; {MASK}: cnp.where(x > 0, cnp.sqrt(x), 0.0)."
DIFFERENCE = "two infinities are subtracted: replace them before, by a large finite number or a where()."
PRODUCT = "an infinity meets a 0 in a product: replace the infinity before, by a where()."
NARROW = "the number is too large for the narrower dtype: scale it first, or keep a wider dtype."


def advice_for(of: str, phase: str, operands: Sequence[Any], wide: bool) -> str:
    """What to do about the operation ``of`` of the user at these operands (``wide``: arrays; none, if they are not known); empty if nothing
    is known.
    """
    if wide:
        return PRODUCT if of == "matmul" and any(np.isinf(np.asarray(x)).any() for x in operands) else ""
    table = VALUES if phase == "value" else SLOPES
    for names, condition, text in table:
        if of in names and (not operands or condition(*operands)):
            return text
    return ""


LOGARITHMS, EXPONENTIALS = ("log", "log2", "log10"), ("exp", "exp2", "expm1", "sinh", "cosh")
Row = tuple[tuple[str, ...], Callable[..., Any], str]
VALUES: tuple[Row, ...] = (
    (("divide", "remainder"), lambda x, y: y == 0, DIVISION),
    (LOGARITHMS, lambda x: x == 0, LOGARITHM),
    ((*LOGARITHMS, "sqrt", "rsqrt"), lambda x: np.real(x) < 0, NEGATIVE),
    (("log1p",), lambda x: x == -1, LOGARITHM),
    (("rsqrt",), lambda x: x == 0, ROOT),
    (EXPONENTIALS, np.isfinite, OVERFLOW),
    (("power",), lambda x, y=-1.0: x == 0 and np.real(y) < 0, DIVISION),
    (("power",), lambda x, y=1.0: np.real(x) < 0, NEGATIVE),
    (("arcsin", "arccos", "arctanh"), lambda x: not np.isnan(x), CLIPPED),
    (("sub", "add"), lambda x, y: np.isinf(x) and np.isinf(y), DIFFERENCE),
    (("multiply",), lambda x, y: x == 0 or y == 0, PRODUCT),
    (("astype",), np.isfinite, NARROW),
)
"""Operations, the condition on their operands at the index, and the advice."""
SLOPES: tuple[Row, ...] = (
    (("sqrt", "rsqrt", "cbrt"), lambda x: x == 0, ROOT),
    (("power",), lambda x, y=0.5: x == 0, ROOT),
    (LOGARITHMS, lambda x: x == 0, LOGARITHM),
    (("log1p",), lambda x: x == -1, LOGARITHM),
    (("divide",), lambda x, y: y == 0, DIVISION),
    (("arcsin", "arccos", "arctanh"), lambda x: True, ENDS),
    (EXPONENTIALS, np.isfinite, OVERFLOW),
)
"""The same for their derivatives."""
