"""The law of kinds: under a derivative, too, an array of numbers from cotan.numpy is an `Array` or traced, with a tangent or without.

Scalars and masks may be NumPy's own there.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.lax as lax
import cotan.numpy as cnp
from cotan.core.array import Array
from cotan.core.tracing import Tracer

from .arguments import NOT_DRAWN, calls, functions
from .outcomes import operands_of, with_operands

FUNCTIONS = {name: ours for name, (_, ours) in functions().items() if name not in NOT_DRAWN}


def arrays_of(x: Any) -> list[Any]:
    """The arrays with axes in a result that are no masks."""
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in arrays_of(part)]
    return [x] if isinstance(x, np.ndarray | Tracer) and x.ndim and x.dtype.kind != "b" else []


def kinds_under(derivative: Any, function: Any, call: Any) -> set[type]:
    """The classes of the results of a call inside a derivative by its floating-point operands; empty where it refuses the call."""
    operands = operands_of(call)
    chosen = [k for k, x in enumerate(operands) if np.asarray(x).dtype.kind == "f"]
    found: set[type] = set()

    def f(*leaves: Any) -> Any:
        values = dict(zip(chosen, leaves, strict=True))
        found.update(map(type, arrays_of(with_operands(function, call, [values.get(k, x) for k, x in enumerate(operands)]))))
        return leaves

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            derivative(f, [operands[k] for k in chosen])
        except Exception:  # which of the calls are refused is the subject of test_surface
            return set()
    return found


DERIVATIVES = {
    "reverse": lambda f, x: cotan.vjp(f, *x),
    "forward": lambda f, x: cotan.jvp(f, x, [np.ones_like(v) for v in x]),
    "twice": lambda f, x: cotan.vjp(lambda *y: cotan.vjp(f, *y)[0], *x),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_of_the_surface_is_an_array_or_traced_under_a_derivative(name: str, derivative: str) -> None:
    for call in calls(name, range(6)):
        kinds = kinds_under(DERIVATIVES[derivative], FUNCTIONS[name], call)
        assert kinds <= {Array, Tracer}, str(call)


WITHOUT_TANGENT = {
    "floor": cnp.floor,
    "NumPy's floor": np.floor,
    "argmax": cnp.argmax,
    "mask as numbers": lambda x: (x > 1.5).astype(float) * cnp.floor(x),
    "argsort": np.argsort,
    "astype": lambda x: x.astype(int),
    "floor division": lambda x: x // 1,
    "divmod": lambda x: divmod(x, 1.0)[0],
    "round": lambda x: round(x),
    "ones_like": np.ones_like,
    "indexed": lambda x: cnp.floor(x)[1:],
    "arithmetic of such": lambda x: cnp.floor(x) + (x > 1.5),
    "stop_gradient": cotan.stop_gradient,
    "lax.stop_gradient": lax.stop_gradient,
    "lax.floor": lax.floor,
    "jit": lambda x: cotan.jit(cnp.floor)(x),
    "jit with a tree": lambda x: cotan.jit(lambda x: {"a": cnp.floor(x)})(x)["a"],
    "vmap": lambda x: cotan.vmap(cnp.floor)(x),
    "checkpoint": lambda x: cotan.checkpoint(cnp.floor)(x),
    "scan": lambda x: lax.scan(lambda c, v: (c, cnp.floor(v)), 0.0, x)[1],
    "cond": lambda x: lax.cond(x[0] > 1.5, lambda v: cnp.floor(v), lambda v: cnp.ceil(v), x),
    "custom rule": lambda x: cotan.custom_rules(lambda v: np.floor(v))(cotan.stop_gradient(x)),
    "callback": lambda x: cotan.pure_callback(np.floor, cotan.ShapeDtypeStruct((3,), np.float64), cotan.stop_gradient(x)),
    "external": lambda x: cotan.external(np.floor)(cotan.stop_gradient(x)),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("name", WITHOUT_TANGENT)
def test_a_result_without_a_tangent_can_be_updated_with_at(name: str, derivative: str) -> None:
    x = np.array([1.25, 2.5, 3.75])
    found = []

    def f(x: Any) -> Any:
        y = WITHOUT_TANGENT[name](x)
        found.append(type(y))
        return x[-1] * y.at[...].set(1)

    DERIVATIVES[derivative](f, [x])
    assert set(found) == {Array}


def test_the_gradient_of_an_updated_floor() -> None:
    x = np.array([1.5, 2.5, 3.5])
    g = cotan.grad(lambda x: cnp.sum(cnp.floor(x).at[0].set(10.0) * x))(x)
    np.testing.assert_array_equal(g, [10.0, 2.0, 3.0])
