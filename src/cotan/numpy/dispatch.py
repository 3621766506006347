"""Calls of NumPy's own functions with tracers: ``np.sin(x)``, ``np.sum(x)`` and ``np_array @ x`` are dispatched here.

``Tracer.__array_ufunc__`` calls `call_ufunc`, and ``Tracer.__array_function__`` calls `call_function`. The table from NumPy's function
objects to cotan's is made at the first call, by name. A function without an entry is refused, with an alternative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from ..core.errors import UnsupportedFunctionError, teach
from ..core.operators import surface
from .calling import refuse_arguments
from .promotion import operand, shape_of

__all__ = ["call_function", "call_ufunc", "provide_ufuncs", "what_instead"]

Function = Callable[..., Any]

REDUCE = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any"}
ACCUMULATE = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}

INSTEAD = {
    "copyto": "write x = cotan.numpy.where(mask, values, x).",
    "fill_diagonal": "write x = x.at[i, i].set(v) with i = cotan.numpy.arange(n).",
    "place": "write x = cotan.numpy.where(mask, values, x).",
    "put": "write x = x.at[indices].set(values).",
    "put_along_axis": "write x = x.at[indices].set(values).",
    "putmask": "write x = cotan.numpy.where(mask, values, x).",
}
"""Alternatives to functions that change an array in place."""

provided: dict[str, Function] = {}


def provide_ufuncs(functions: Mapping[str, Function]) -> None:
    """Use these functions to trace the ufuncs of other packages (scipy.special) with the same names."""
    provided.update(functions)


def call_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``ufunc.method(*inputs, **kwargs)``, in which an input is traced.

    Raises
    ------
    UnsupportedFunctionError
        cotan has no such function.
    ArgumentTypeError
        An argument (out=, where=) that a traced function cannot have.
    """
    known = _ufuncs or ufuncs()
    function = known.get(ufunc)
    if function is not None and method == "__call__" and not kwargs:  # most often
        return function(*inputs)
    name: str = ufunc.__name__
    if "out" in kwargs and any(array is not None for array in kwargs["out"]):
        raise teach(
            UnsupportedFunctionError,
            f"np.{name} with out=: a traced result cannot be written into a NumPy array.",
            do="write a = a + x instead of a += x; to fill an array write a = a.at[i].add(x) with a from cotan.numpy.",
        )
    if function is None and ufunc not in known:
        function = special_function(name)
    if method == "__call__":
        if function is None:
            refuse_function(f"numpy.{name}" if getattr(np, name, None) is ufunc else f"scipy.special.{name.removeprefix('_')}")
        return function(*inputs, **kwargs)
    if method == "reduce" and name in REDUCE:
        return getattr(surface(), REDUCE[name])(*inputs, **{"axis": 0, **kwargs})
    if method == "accumulate" and name in ACCUMULATE:
        return getattr(surface(), ACCUMULATE[name])(*inputs, **{"axis": 0, **kwargs})
    if method == "outer" and function is not None:
        x, y = map(operand, inputs)
        count = len(shape_of(y))
        return function(x[(..., *[None] * count)] if count else x, y, **kwargs)
    instead = f"write x = x.at[indices].{name}(values)." if method == "at" else "write it with sums, products or cotan.lax.scan."
    raise teach(UnsupportedFunctionError, f"np.{name}.{method} of a traced array.", do=instead)


def special_function(name: str) -> Function | None:
    """The function that traces a ufunc of another package. The functions for scipy.special are in cotan.special, imported here."""
    if not provided:
        import_module(f"{__name__.partition('.')[0]}.special")
    return provided.get(name)


def call_function(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``function(*args, **kwargs)`` for a function of NumPy, in which an argument is (or holds) a traced array.

    Raises
    ------
    UnsupportedFunctionError
        cotan has no such function.
    """
    ours = table().get(function)
    if ours is None:
        refuse_function(f"{getattr(function, '__module__', None) or 'numpy'}.{function.__name__}")
    if kwargs.get("out") is not None:
        refuse_arguments(function.__name__, ("out",))
    return ours(*args, **kwargs)


_ufuncs: dict[Any, Function | None] = {}


def ufuncs() -> dict[Any, Function | None]:
    """The table from NumPy's ufuncs to cotan's functions, None for those that cotan lacks."""
    if not _ufuncs:
        for name, ufunc in vars(np).items():
            if isinstance(ufunc, np.ufunc) and ufunc.__name__ == name:
                _ufuncs[ufunc] = getattr(surface(), name, None)
    return _ufuncs


_table: dict[Any, Function] = {}


def table() -> dict[Any, Function]:
    """The table from NumPy's functions to cotan's."""
    if not _table:
        module = surface()
        for theirs, ours in ((np, module), (np.linalg, module.linalg)):
            for name in ours.__all__:
                function = getattr(theirs, name, None)
                if callable(function) and not isinstance(function, type):
                    _table[function] = getattr(ours, name)
    return _table


SOLVERS = ("scipy.optimize", "scipy.integrate", "scipy.sparse.linalg")
EQUATION = "make the solver differentiable by the equation that it solves: cotan.implicit"
MINIMUM = "make the minimizer differentiable by its equation, gradient = 0: cotan.implicit(cotan.grad(loss))(solver), for loss(p, *params)"
STEPS = "write the steps of the method in cotan.lax.scan(step, y0, times), which has a derivative"
NODES = "sum over the nodes of a quadrature: x, w = np.polynomial.legendre.leggauss(n), then cotan.numpy.sum(w * f(x))"
SOLVED = {
    **dict.fromkeys(("minimize", "minimize_scalar", "least_squares", "curve_fit", "leastsq"), MINIMUM),
    **dict.fromkeys(("solve_ivp", "odeint", "ode", "solve_bvp"), STEPS),
    **dict.fromkeys(("quad", "dblquad", "tplquad", "nquad", "quad_vec", "fixed_quad"), NODES),
}
"""The advice for solvers of SciPy that are not told by an equation for their result."""
STAND_INS = {
    "numpy": ("cotan.numpy",),
    "numpy.linalg": ("cotan.numpy.linalg",),
    "scipy.linalg": ("cotan.scipy.linalg", "cotan.numpy.linalg", "cotan.numpy"),
    "scipy.special": ("cotan.special",),
    "math": ("cotan.numpy", "cotan.special"),
    "statistics": ("cotan.numpy",),
}
"""The cotan modules whose functions have the same names and meanings as the functions of another module."""


def what_instead(full_name: str) -> str:
    """The alternative to a function of NumPy or another package that cannot be traced."""
    package, _, name = full_name.rpartition(".")
    for module in STAND_INS.get(package, ()):
        if name in import_module(module).__all__:
            return f"use {module}.{name}."
    if package == "numpy" and name in INSTEAD:
        return INSTEAD[name]
    if package.startswith(SOLVERS):
        return f"{SOLVED.get(name, EQUATION)}; or call it by cotan.external, with a rule."
    if package.startswith(("pandas", "polars", "xarray")):
        return "take the numbers of the table first, as in table.to_numpy() @ x."
    return "write it with functions of cotan.numpy; or call it by cotan.external, with a derivative rule (jvp= or vjp=)."


def refuse_function(full_name: str) -> NoReturn:
    """Raise an error: this function has no traced form."""
    raise teach(UnsupportedFunctionError, f"{full_name.replace('numpy.', 'np.', 1)} cannot be traced.", do=what_instead(full_name))
