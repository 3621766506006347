"""``cotan.special``: special functions under SciPy's names, on arrays and on traced values.

On arrays, an elementwise function is scipy.special's own, loaded at the first call. Traced, it is an op or is composed of ops. Plain
``scipy.special.erf(x)`` of a traced ``x`` is dispatched to these functions too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .core.listing import listing
from .core.operators import surface
from .core.tracing import Tracer, type_of
from .numpy import elementwise, reduction
from .numpy.dispatch import provide_ufuncs
from .numpy.promotion import Numbers, canonical_axes, convert_to, has_tracer, operand, result_dtype, shape_of, strong, wrap
from .numpy.selection import sinc, where
from .numpy.shape import squeeze
from .numpy.ufuncs import Rules, binary, unary
from .ops import arithmetic, gaussian, logic, losses, ordering, transcendental
from .ops import special as ops
from .ops.arithmetic import constant_like, one_like, zero_like
from .ops.casting import stop_gradient
from .ops.routines import special as scipy_special

__all__ = [
    "beta", "betaln", "boxcox", "boxcox1p", "cbrt", "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gamma",
    "gammainc", "gammaincc", "gammaln", "huber", "i0", "i0e", "i1", "i1e", "inv_boxcox", "kl_div", "log1p", "log_expit", "log_ndtr",
    "log_softmax", "loggamma", "logit", "logsumexp", "multigammaln", "ndtr", "polygamma", "pseudo_huber", "psi", "rel_entr", "sinc",
    "softmax", "xlog1py", "xlogy",
]  # fmt: skip
__dir__ = listing(__all__)


class RoutineUfunc:
    """A ufunc of scipy.special, loaded when it is first called or its dtypes are needed; its `MENDED` version if its tails are not
    accurate.
    """

    nout = 1

    def __init__(self, name: str, nin: int):
        self.__name__, self.nin = name, nin

    def __call__(self, *operands: Any) -> Any:
        mended = MENDED.get(self.__name__)
        return getattr(scipy_special, self.__name__)(*operands) if mended is None else mended(*operands)

    def resolve_dtypes(self, dtypes: tuple[Any, ...]) -> Any:
        return getattr(scipy_special, self.__name__).resolve_dtypes(dtypes)


def floating_pair(*operands: Any) -> list[Any]:
    """Operands in one floating dtype."""
    dtype = np.result_type(*operands, np.float32)
    return [np.asarray(x, dtype) for x in operands]


MENDED: dict[str, Callable[..., Any]] = {
    **gaussian.MENDED,
    "pseudo_huber": lambda d, r: losses.pseudo_huber.impl(*floating_pair(d, r)),
}
"""Replacements for functions of SciPy that are not accurate everywhere."""


def of_one(name: str, rules: Rules, sentence: str = "") -> Callable[..., Any]:
    """A special function of one operand."""
    return unary(RoutineUfunc(name, 1), rules, sentence)


def of_two(name: str, rules: Rules, sentence: str = "") -> Callable[..., Any]:
    """A special function of two operands."""
    return binary(RoutineUfunc(name, 2), rules, sentence)


# ---- rules without an op of their own ------------------------------------------------------------------------------------
def log_ndtr_rule(x: Any) -> Any:
    """log1p(-ndtr(-x)); below -1/4, -x^2/2 + log(E(-x / sqrt(2)) / 2), with E(z) = e^(z^2) erfc(z) (DLMF 7.2.3)."""
    end = constant_like(-0.25, x)
    far = logic.less(x, end)
    near = transcendental.log1p(arithmetic.neg(gaussian.ndtr(arithmetic.neg(logic.select(far, end, x)))))
    z = logic.select(far, x, end)
    beyond = constant_like(-(2.0**27), z)  # below it, the logarithm and its derivatives are negligible beside x^2 and 2x, and E is not 0
    inside = logic.select(logic.less(z, beyond), beyond, z)
    tail = gaussian.scaled_erfc(0, arithmetic.mul(constant_like(-math.sqrt(0.5), z), inside))
    half = constant_like(0.5, z)
    log_tail = arithmetic.sub(transcendental.log(arithmetic.mul(half, tail)), arithmetic.mul(arithmetic.mul(half, z), z))
    return logic.select(far, log_tail, near)


def log_expit_rule(x: Any) -> Any:
    return arithmetic.neg(transcendental.logaddexp(zero_like(x), arithmetic.neg(x)))


def rel_entr_rule(x: Any, y: Any) -> Any:
    """x log(x/y) for positive x and y, 0 for x = 0 and y >= 0, else infinite."""
    return of_two_positive(losses.rel_entr, zero_like(x), x, y)


def kl_div_rule(x: Any, y: Any) -> Any:
    """x log(x/y) - x + y for positive x and y, y for x = 0 and y >= 0, else infinite."""
    return of_two_positive(lambda a, b: arithmetic.add(arithmetic.sub(losses.rel_entr(a, b), a), b), y, x, y)


def of_two_positive(function: Callable[[Any, Any], Any], at_edge: Any, x: Any, y: Any) -> Any:
    zero, one = zero_like(x), one_like(x)
    inside = logic.bitwise_and(logic.greater(x, zero), logic.greater(y, zero))
    a, b = logic.select(inside, x, one), logic.select(inside, y, one)
    edge = logic.bitwise_and(logic.equal(x, zero), logic.greater_equal(y, zero))
    unknown = logic.bitwise_or(logic.isnan(x), logic.isnan(y))
    outside = logic.select(edge, at_edge, logic.select(unknown, constant_like(math.nan, x), constant_like(math.inf, x)))
    return logic.select(inside, function(a, b), outside)


def boxcox_rule(x: Any, power: Any) -> Any:
    """(x^p - 1) / p as expm1(p log x) / p, and log x for p = 0."""
    return losses.boxcox(transcendental.log(x), power)


def boxcox1p_rule(x: Any, power: Any) -> Any:
    return losses.boxcox(transcendental.log1p(x), power)


def inv_boxcox_rule(y: Any, power: Any) -> Any:
    return transcendental.exp(losses.boxcox_inverse(y, power))


def huber_rule(delta: Any, r: Any) -> Any:
    half, size = constant_like(0.5, r), ordering.abs_(r)
    inner = arithmetic.mul(half, arithmetic.mul(r, r))
    outer = arithmetic.mul(delta, arithmetic.sub(size, arithmetic.mul(half, delta)))
    value = logic.select(logic.less_equal(size, delta), inner, outer)
    return logic.select(logic.less(delta, zero_like(delta)), constant_like(math.inf, r), value)


# ---- elementwise functions -------------------------------------------------------------------------------------------------
erf, erfc, erfinv = of_one("erf", ops.erf), of_one("erfc", ops.erfc), of_one("erfinv", ops.erfinv)
gammaln = of_one("gammaln", ops.lgamma)
loggamma = of_one("loggamma", {"f": ops.lgamma}, "The logarithm of the gamma function, of positive real x.")
gamma = of_one("gamma", {"f": ops.gamma}, "The gamma function.")
digamma = psi = of_one("psi", ops.digamma)
betaln = of_two("betaln", ops.betaln)
beta = of_two("beta", {"f": ops.beta}, "The beta function of positive a and b.")
gammainc, gammaincc = of_two("gammainc", ops.gammainc), of_two("gammaincc", ops.gammaincc)
i0, i0e = of_one("i0", {"f": ops.i0}), of_one("i0e", {"f": ops.i0e})
i1, i1e = of_one("i1", {"f": ops.i1}), of_one("i1e", {"f": ops.i1e})
expit, logit = of_one("expit", transcendental.logistic), of_one("logit", {"f": ops.logit}, "log(x / (1 - x)).")
log_expit = of_one("log_expit", {"f": log_expit_rule}, "log(1 / (1 + e^-x)), without overflow.")
ndtr = of_one("ndtr", {"f": gaussian.ndtr}, "The distribution function of the standard normal distribution.")
log_ndtr = of_one("log_ndtr", {"f": log_ndtr_rule}, "The logarithm of `ndtr`, exact far into the lower tail.")
xlogy, xlog1py, entr = of_two("xlogy", ops.xlogy), of_two("xlog1py", ops.xlog1py), of_one("entr", ops.entr)
rel_entr = of_two("rel_entr", {"f": rel_entr_rule}, "The relative entropy of one outcome: x log(x / y), 0 for x = 0.")
kl_div = of_two("kl_div", {"f": kl_div_rule}, "The Kullback-Leibler divergence of one outcome: x log(x / y) - x + y.")
boxcox = of_two("boxcox", {"f": boxcox_rule}, "The Box-Cox transformation (x^p - 1) / p, log x for p = 0.")
boxcox1p = of_two("boxcox1p", {"f": boxcox1p_rule}, "The Box-Cox transformation of 1 + x.")
inv_boxcox = of_two("inv_boxcox", {"f": inv_boxcox_rule}, "The inverse of the Box-Cox transformation.")
huber = of_two("huber", {"f": huber_rule}, "The Huber loss of r: quadratic up to delta, linear beyond. Operands: delta, r.")
pseudo_huber = of_two("pseudo_huber", {"f": losses.pseudo_huber}, "The smooth Huber loss of r. Operands: delta, r.")
expm1, log1p, cbrt, exp2 = elementwise.expm1, elementwise.log1p, elementwise.cbrt, elementwise.exp2

provide_ufuncs(
    {
        **{
            function.__name__: function
            for function in (erf, erfc, erfinv, gammaln, loggamma, gamma, psi, betaln, beta, gammainc, gammaincc)
        },
        **{function.__name__: function for function in (i0, i0e, i1, i1e, expit, logit, log_expit, ndtr, log_ndtr, xlogy, xlog1py, entr)},
        **{
            function.__name__: function
            for function in (rel_entr, kl_div, boxcox, boxcox1p, inv_boxcox, huber, pseudo_huber, expm1, log1p, cbrt, exp2)
        },
    }
)


def polygamma(n: int, x: Numbers) -> Any:
    """The ``n``-th derivative of the digamma function at ``x``; n is a Python integer."""
    x = operand(x)
    if not has_tracer(x):
        y = scipy_special.polygamma(n, x)
        return wrap(y.astype(result_dtype(x, 1.0)))
    return ops.polygamma(int(n), convert_to(strong(x), result_dtype(x, 1.0)))


def multigammaln(a: Numbers, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``d`` at ``a`` > (d - 1) / 2."""
    if not has_tracer(a):
        return wrap(scipy_special.multigammaln(a, d))
    total = reduction.sum(gammaln(elementwise.subtract(strong(operand(a))[..., None], np.arange(d) / 2)), -1)
    return elementwise.add(total, d * (d - 1) / 4 * math.log(math.pi))


# ---- over an axis ------------------------------------------------------------------------------------------------------------
def floating(x: Any) -> Any:
    """``x`` as a floating or complex operand."""
    x = strong(operand(x))
    return x if type_of(x).dtype.kind in "fc" else convert_to(x, np.dtype(np.float64))


def offset(x: Any, axis: Any) -> Any:
    """The largest element over ``axis`` (0 if it is infinite or nan), without derivative. Subtracting it prevents overflow."""
    x = stop_gradient(x)
    top = reduction.max(x.real if type_of(x).dtype.kind == "c" else x, axis, keepdims=True)
    finite = operand(elementwise.isfinite(top))
    return operand(where(finite, top, type_of(operand(top)).dtype.type(0)))


def result(x: Any) -> Any:
    """A result, as an `Array` if it is concrete."""
    return x if type(x) is Tracer else wrap(np.asarray(x))


def logsumexp(
    a: Numbers, axis: int | tuple[int, ...] | None = None, b: Numbers | None = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b exp(a))) over ``axis`` (all if None), without overflow; -inf for a sum of 0.

    With ``return_sign``, also the sign of the sum; the logarithm is then of its magnitude. Without it, a negative sum gives nan.
    """
    a = floating(a)
    shape = shape_of(a)
    axes = canonical_axes("logsumexp", axis, len(shape))
    if b is not None:
        a = where(elementwise.equal(b, 0), -np.inf, a)
    top = offset(operand(a), axes)
    terms = elementwise.exp(elementwise.subtract(a, top))
    total = operand(reduction.sum(terms if b is None else elementwise.multiply(b, terms), axes, keepdims=True))
    sign = elementwise.sign(total) if return_sign else None
    total = operand(elementwise.abs(total)) if return_sign else total
    with np.errstate(invalid="ignore", divide="ignore"):
        y = elementwise.add(elementwise.log(total), top)  # for a sum of 0, the derivatives of the terms are zero and log' is infinite
    y, sign = (part if keepdims or part is None else squeeze(part, axes) for part in (y, sign))
    return (result(y), result(sign)) if return_sign else result(y)


def softmax(x: Numbers, axis: int | tuple[int, ...] | None = None) -> Any:
    """exp(x) divided by its sum over ``axis`` (all if None), without overflow."""
    x = floating(x)
    axes = canonical_axes("softmax", axis, len(shape_of(x)))
    terms = elementwise.exp(elementwise.subtract(x, offset(x, axes)))
    return result(elementwise.divide(terms, reduction.sum(terms, axes, keepdims=True)))


def log_softmax(x: Numbers, axis: int | tuple[int, ...] | None = None) -> Any:
    """The logarithm of `softmax`."""
    x = floating(x)
    axes = canonical_axes("log_softmax", axis, len(shape_of(x)))
    shifted = elementwise.subtract(x, offset(x, axes))
    return result(elementwise.subtract(shifted, elementwise.log(reduction.sum(elementwise.exp(shifted), axes, keepdims=True))))


for _function in [globals()[name] for name in __all__]:
    if getattr(surface(), _function.__name__, None) is not _function:
        _function.__module__ = __name__  # the name used by pickle
