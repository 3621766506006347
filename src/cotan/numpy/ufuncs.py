"""The functions of the surface made from ufuncs: NumPy's own call when eager, a cached plan when traced.

For given operand types, a plan names the rule that computes the result and the dtypes to which the operands are converted first. NumPy
determines the dtypes (``ufunc.resolve_dtypes``), once per combination. A rule is an op, or a function of operands that have one dtype and
one shape (or are scalars).
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from ..core.array import Array, settled
from ..core.tracing import FLOAT64, INT64, Tracer, type_of
from ..core.types import DTYPES, ArrayType, refuse_foreign_dtype
from ..ops.casting import convert
from ..ops.families import fill_shape
from .calling import refuse_arguments
from .promotion import broadcast_shapes, convert_to, operand, python_kind, refuse_dtype, shape_of
from .roots import after_binary, after_unary, converted, germ_of, spread_to

__all__ = ["SIGNATURES", "Rules", "binary", "refuse_unless_default", "unary"]

Rule = Callable[..., Any]
Rules = Rule | dict[str, Rule]
"""A rule, or rules by the kinds of dtype that each takes, in the order of preference: ``{"iufc": add, "b": bitwise_or}``."""

Plan = tuple[Rule, tuple[np.dtype[Any] | None, ...], bool]
"""The rule, the dtype to convert each operand to (None: leave it), and whether converted tracers stay weak."""

asarray, ndarray = np.asarray, np.ndarray
TAKEN = frozenset({np.ndarray, float, int, complex, bool, np.float64, np.float32, np.int64, np.bool_})
"""Classes of operands that NumPy's ufuncs take directly; `operand` checks all others."""
DEFAULTS: dict[str, Any] = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None}


SIGNATURES = {n: Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in ("x", "y")[:n]]) for n in (1, 2)}
"""The operands alone: other parameters of NumPy's ufuncs are refused, unless they have their default values."""


def refuse_unless_default(name: str, out: Any, refused: dict[str, Any]) -> None:
    """Raise unless these further arguments of a ufunc have their default values."""
    changed = ["out"] * (out is not None) + [key for key, value in refused.items() if value is not DEFAULTS.get(key, ...)]
    if changed and not (len(changed) == 1 and changed[0] in ("casting", "order") and refused[changed[0]] == DEFAULTS[changed[0]]):
        refuse_arguments(name, changed)


def plan_for(ufunc: Any, rules: Rules, types: tuple[ArrayType, ...]) -> Plan:
    """The plan for operands of these types.

    Raises:
        DtypeError: NumPy has no loop, or cotan no rule, for them.
    """
    # If all are Python scalars, NumPy's comparisons would use Python objects; here they use their dtypes.
    given = [t.dtype for t in types] if all(t.weak for t in types) else list(map(python_kind, types))
    try:
        resolved = ufunc.resolve_dtypes((*given, *[None] * ufunc.nout))
    except TypeError:
        refuse_dtype(ufunc.__name__, *types)
    kind = resolved[0].kind
    if isinstance(rules, dict):
        rule = next((rule for kinds, rule in rules.items() if kind in kinds), None)
    else:
        rule = rules if kind in getattr(rules, "takes", kind) else None
    if rule is None:
        refuse_dtype(ufunc.__name__, *types)
    weak = getattr(rule, "keeps_weak", False) and all(t.weak for t in types)
    return rule, tuple(None if t.dtype == dtype else dtype for t, dtype in zip(types, resolved, strict=False)), weak


def named(call: Callable[..., Any], ufunc: Any, rules: Rules, sentence: str) -> Callable[..., Any]:
    """Give ``call`` the ufunc's name and the documentation of its rule."""
    name: str = ufunc.__name__
    rule = next(iter(rules.values())) if isinstance(rules, dict) else rules
    sentence = sentence or type(rule).__doc__ or name
    call.__name__ = call.__qualname__ = name
    call.__module__ = "cotan.numpy"
    call.__signature__ = SIGNATURES[ufunc.nin]  # type: ignore[attr-defined]
    shapes = "Elementwise over an array of any shape." if ufunc.nin == 1 else "Elementwise; shapes broadcast."
    call.__doc__ = f"{sentence}\n\n{shapes} Dtypes are those of ``numpy.{name}``; ``out=``, ``where=`` and ``dtype=`` are refused.\n"
    return call


def unary(ufunc: Any, rules: Rules, sentence: str = "") -> Callable[..., Any]:
    """The function of the surface for a ufunc of one operand."""
    plans: dict[Any, Plan] = {}

    def call(x: Any, /, out: None = None, **refused: Any) -> Any:
        if refused or out is not None:
            refuse_unless_default(ufunc.__name__, out, refused)
        kind = type(x)
        if kind is not Tracer:
            if kind is Array:
                x = x.view(ndarray)
            elif kind is not ndarray and kind not in TAKEN:
                x = operand(x)
                if type(x) is Tracer:
                    return call(x)
            y = ufunc(x)
            if y.dtype is not FLOAT64 and y.dtype not in DTYPES:
                refuse_foreign_dtype(f"{ufunc.__name__}: the result is", y.dtype)
            return y.view(Array) if type(y) is ndarray else settled(asarray(y).view(Array))
        t = x.owner.type_of(x.payload)
        plan = plans.get((t.dtype, t.weak))
        if plan is None:
            plan = plans[t.dtype, t.weak] = plan_for(ufunc, rules, (t,))
        rule, (dtype,), weak = plan
        y = rule(x) if dtype is None else rule(convert_to(x, dtype, weak))
        if type(y) is not Tracer:
            return as_array(y)
        return y if dtype is not None or x.germ is None else after_unary(rule, x, y)

    return named(call, ufunc, rules, sentence)


def binary(ufunc: Any, rules: Rules, sentence: str = "") -> Callable[..., Any]:
    """The function of the surface for a ufunc of two operands."""
    plans: dict[Any, Plan] = {}
    name: str = ufunc.__name__

    def call(x: Any, y: Any, /, out: None = None, **refused: Any) -> Any:
        if refused or out is not None:
            refuse_unless_default(name, out, refused)
        kind, other = type(x), type(y)
        if kind is Tracer or other is Tracer:
            return traced_binary(ufunc, rules, plans, x, y)
        if kind is Array:
            x = x.view(ndarray)
        elif kind is not ndarray and kind not in TAKEN:
            x = operand(x)
        if other is Array:
            y = y.view(ndarray)
        elif other is not ndarray and other not in TAKEN:
            y = operand(y)
            other = type(y)
        if other is Tracer or type(x) is Tracer:
            return traced_binary(ufunc, rules, plans, x, y)
        try:
            z = ufunc(x, y)
        except ValueError:
            broadcast_shapes(name, (shape_of(x), shape_of(y)))
            raise
        if z.dtype is not FLOAT64 and z.dtype not in DTYPES:
            refuse_foreign_dtype(f"{name}: the result is", z.dtype)
        return z.view(Array) if type(z) is ndarray else settled(asarray(z).view(Array))

    return named(call, ufunc, rules, sentence)


def as_array(y: Any) -> Any:
    """``y``, a result without a tangent, as an Array. Scalars and masks stay NumPy's: as Arrays they would slow each ``where``."""
    return y.view(Array) if type(y) is ndarray and y.ndim and y.dtype.kind != "b" else y


COMPARISONS = frozenset({np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal})


def is_beyond(n: Any, t: ArrayType) -> bool:
    """Whether ``n`` is a Python int that is out of the range of ``t``, an integer dtype."""
    if not isinstance(n, int) or t.dtype.kind not in "iu":
        return False
    limits = np.iinfo(t.dtype)
    return not limits.min <= n <= limits.max


def compared_beyond(ufunc: Any, x: Any, y: Any, s: ArrayType, t: ArrayType) -> Any | None:
    """A comparison with a Python int out of the range of the other operand: its sign decides, as in NumPy. None if there is none."""
    if is_beyond(y, s):
        return fill_shape(ufunc(0, 1 if y > 0 else -1), x)
    return fill_shape(ufunc(1 if x > 0 else -1, 0), y) if is_beyond(x, t) else None


def as_integer(x: Any, weak: ArrayType, other: ArrayType) -> Any:
    """A traced Python int, compared with another integer dtype, as an int64, so that no bits are lost."""
    cut = type(x) is Tracer and weak.dtype == INT64 and other.dtype.kind in "iu" and other.dtype != INT64
    return convert(x, INT64) if cut else x


def traced_binary(ufunc: Any, rules: Rules, plans: dict[Any, Plan], x: Any, y: Any) -> Any:
    """The rule for operands of which one is traced, after promotion and broadcasting."""
    kind, other = type(x), type(y)
    if kind is not Tracer and kind not in TAKEN:
        x = operand(x)
    if other is not Tracer and other not in TAKEN:
        y = operand(y)
    s, t = type_of(x), type_of(y)
    if s is t and not s.weak:  # most often
        plan = plans.get(s.dtype)
        if plan is None:
            plan = plans[s.dtype] = plan_for(ufunc, rules, (s, t))
        rule, (dtype, other_dtype), _ = plan
        if dtype is None and other_dtype is None:
            return applied(rule, x, y)
    if (s.weak or t.weak) and ufunc in COMPARISONS:
        known = compared_beyond(ufunc, x, y, s, t)
        if known is not None:
            return as_array(known)
        if s.weak is not t.weak:
            x, y = (as_integer(x, s, t), y) if s.weak else (x, as_integer(y, t, s))
            s, t = type_of(x), type_of(y)
    plan = plans.get((s.dtype, s.weak, t.dtype, t.weak))
    if plan is None:
        plan = plans[s.dtype, s.weak, t.dtype, t.weak] = plan_for(ufunc, rules, (s, t))
    rule, (dtype, other_dtype), weak = plan
    if dtype is not None or other_dtype is not None:
        x, y = as_planned(x, dtype, weak), as_planned(y, other_dtype, weak)
    if s.shape != t.shape and s.shape and t.shape:
        common = broadcast_shapes(ufunc.__name__, (s.shape, t.shape))
        x, y = spread_to(x, common, s.shape), spread_to(y, common, t.shape)
    return applied(rule, x, y)


def as_planned(x: Any, dtype: np.dtype[Any] | None, weak: bool) -> Any:
    """An operand in the dtype of a plan, with its germ."""
    if dtype is None:
        return x
    y = convert_to(x, dtype, weak)
    return y if germ_of(x) is None else converted(x, dtype, y)


def applied(rule: Rule, x: Any, y: Any) -> Any:
    """A rule on operands of one dtype, and what the germs of these say about its result."""
    z = rule(x, y)
    if type(z) is not Tracer:
        return as_array(z)
    if (type(x) is not Tracer or x.germ is None) and (type(y) is not Tracer or y.germ is None):
        return z
    return after_binary(rule, x, y, z)
