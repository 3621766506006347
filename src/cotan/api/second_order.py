"""Second derivatives of a scalar function without its Hessian: products with it, its diagonal, its trace, the Gauss-Newton product.

The Hessian H is the Jacobian of the gradient. The gradient is linearized (forward over reverse), once: the tape then is v -> H v, and each
product is one run of it. The diagonal and the trace push the standard basis through the tape in batches of ``chunk`` and keep of H e_i
only its i-th number, so they take the n products of a dense Hessian but never hold it.

For loss(r(x)) the second derivative is J^T L J + sum_k (dloss/dr_k) H_k, with J the Jacobian of the residual r, L the Hessian of the loss
and H_k that of r_k. The Gauss-Newton matrix is the first term: positive semidefinite where the loss is convex (Schraudolph, Fast curvature
matrix-vector products for second-order gradient descent, Neural Computation 14, 2002). Its product needs no second derivative of r.

All of this is for real numbers: complex inputs are refused, since a real function of them has no one Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NoReturn

import numpy as np

from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from ..ops.casting import convert
from ..ops.failing import quiet
from ..ops.families import add, reduce_sum, scale, zeros
from ..ops.movement import reshape
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import LinearTape, linearize_flat, replay
from .arguments import Argnums, FlatCall, boundary, check_callable, floating_leaves, one_argument
from .chunks import Chunk, check_chunk, cut
from .differentiate import Pullback, one_of_output, private_copy, tangent_leaves
from .jacobians import pushed_basis
from .transformed import transformation

__all__ = ["gauss_newton_vp", "hessian_diag", "laplacian", "make_hvp"]


@boundary
def make_hvp(fun: Callable[..., Any], primals: Any) -> Callable[[Any], Any]:
    """The product of the Hessian of a scalar function with a vector, as a function of the vector.

    The gradient is linearized here, once: ``fun`` runs in this call and never again, so that each product costs about half of `hvp`.
    The name is from HIPS autograd (whose function is called as ``make_hvp(fun)(x)``); it equals
    ``cotan.linearize(cotan.grad(fun), primals)[1]``.

    Args:
        fun: a function of one argument (a tree of real arrays) that returns a real scalar (shape ``()``).
        primals: the argument: where the Hessian is taken.

    Returns:
        a function of a vector (a tree like ``primals``: same shapes and dtypes) that gives its product with the Hessian, a tree like it.

    Raises:
        ArgumentTypeError: inputs that are not real floating point, an output that is not a real scalar.
        ArgumentError, ArgumentTypeError: (when the product is taken) a vector that does not match ``primals``.

    >>> import cotan, cotan.numpy as cnp
    >>> product = cotan.make_hvp(lambda x: cnp.sum(x**3), cnp.array([1.0, 2.0]))
    >>> product(cnp.array([1.0, 0.0])), product(cnp.array([0.0, 1.0]))
    (Array([6., 0.]), Array([ 0., 12.]))
    """
    check_callable("make_hvp", fun)
    call = FlatCall("make_hvp", fun, (primals,), {}, 0, False)
    call.leaves = list(map(private_copy, call.leaves))
    with quiet(), one_argument("make_hvp", fun, primals):
        tape, inputs, outputs = linearized_gradient("make_hvp", call)

    @boundary
    def product(tangents: Any) -> Any:
        dx = tangent_leaves("make_hvp", call, (tangents,))
        with quiet():
            found = replay(tape.equations, inputs, dx, outputs)
        return call.rebuild_inputs([to_array(zeros(v.type) if y is None else y, dx) for y, v in zip(found, inputs, strict=True)])

    return product


@transformation
def hessian_diag(fun: Callable[..., Any], argnums: Argnums = 0, *, chunk: Chunk = None) -> Callable[..., Any]:
    """The diagonal of the Hessian of a scalar function: d2 fun / dx_i^2 for each number x_i of the argument.

    Exact, at the cost of one product with the Hessian for each number; ``fun`` runs once. (Named as in optax.)

    Args:
        fun: returns a real scalar (shape ``()``).
        argnums: the position(s) of the arguments to differentiate by.
        chunk: the largest number of basis vectors to push at once, which bounds the memory: see `jacfwd`. None is all of them.

    Returns:
        a function of the same arguments; its result is like the argument at ``argnums`` (a tuple for several): same trees, shapes, dtypes.

    Raises:
        ArgumentError, ArgumentTypeError: a ``chunk`` that is none; when called, inputs that are not real floating point, an output that is
        not a real scalar.

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.hessian_diag(lambda x: cnp.sum(x**3) + x[0] * x[1])(cnp.array([1.0, 2.0]))
    Array([ 6., 12.])
    """
    check_callable("hessian_diag", fun)
    check_chunk("hessian_diag", chunk)

    def diagonal(*args: Any, **kwargs: Any) -> Any:
        call = FlatCall("hessian_diag", fun, args, kwargs, argnums, False)
        with quiet():
            tape, inputs, outputs = linearized_gradient("hessian_diag", call)
            leaves = [reshape(d, v.type.shape) for d, v in zip(diagonals(tape, inputs, outputs, chunk), inputs, strict=True)]
        return call.rebuild_inputs(list(map(to_array, leaves)))

    return diagonal


@transformation
def laplacian(fun: Callable[..., Any], argnums: Argnums = 0, *, chunk: Chunk = None) -> Callable[..., Any]:
    """The Laplacian of a scalar function, the trace of its Hessian: the sum of d2 fun / dx_i^2 over all numbers x_i of the argument.

    Exact, at the cost of one product with the Hessian for each number; ``fun`` runs once.

    Args:
        fun: returns a real scalar (shape ``()``).
        argnums: the position(s) of the arguments to differentiate by; for several, the sum of their Laplacians.
        chunk: the largest number of basis vectors to push at once, which bounds the memory: see `jacfwd`. None is all of them.

    Returns:
        a function of the same arguments; its result is a scalar (shape ``()``) of the dtype to which the dtypes of the leaves promote.

    Raises: as `hessian_diag`.

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.laplacian(lambda x: cnp.sum(x**3) + x[0] * x[1])(cnp.array([1.0, 2.0]))
    Array(18.)
    """
    check_callable("laplacian", fun)
    check_chunk("laplacian", chunk)

    def trace(*args: Any, **kwargs: Any) -> Any:
        call = FlatCall("laplacian", fun, args, kwargs, argnums, False)
        with quiet():
            tape, inputs, outputs = linearized_gradient("laplacian", call)
            dtype = np.result_type(*[v.type.dtype for v in inputs]) if inputs else np.dtype(np.float64)
            traces = [convert(reduce_sum(d, (0,)), dtype) for d in diagonals(tape, inputs, outputs, chunk)]
            total = reduce(add, traces) if traces else None
        return to_array(dtype.type(0) if total is None else total)

    return trace


@boundary
def gauss_newton_vp(residual_fun: Callable[..., Any], loss_fun: Callable[..., Any] | None, primals: Any, tangents: Any) -> Any:
    """The product of the Gauss-Newton matrix J^T L J of ``loss_fun(residual_fun(x))`` with a vector.

    J is the Jacobian of the residual, L the Hessian of the loss at the residual. ``residual_fun`` is linearized once; the vector is pushed
    forward through J, multiplied by L (forward over reverse, one call of ``loss_fun``), and pulled back through J^T on the same tape
    (Schraudolph 2002). It is the Hessian where the residual is linear, or zero.

    Args:
        residual_fun: a function of one argument (a tree of real arrays) that returns a tree of real arrays.
        loss_fun: a function of such a result that returns a real scalar (shape ``()``); None for half the sum of squares, whose L is 1.
        primals: the argument of ``residual_fun``.
        tangents: the vector, a tree like it: same shapes and dtypes.

    Returns:
        the product, a tree like ``primals``.

    Raises:
        ArgumentError, ArgumentTypeError: a vector that does not match ``primals``; inputs or residuals that are not real floating point,
        a loss that is not a real scalar.

    >>> import cotan, cotan.numpy as cnp
    >>> J, v = cnp.array([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]), cnp.array([1.0, -1.0])
    >>> cotan.gauss_newton_vp(lambda x: J @ x, None, cnp.zeros(2), v), J.T @ (J @ v)
    (Array([ 0., -3.]), Array([ 0., -3.]))
    """
    name = "gauss_newton_vp"
    check_callable(name, residual_fun)
    if loss_fun is not None:
        check_callable(name, loss_fun)
    call = FlatCall(name, residual_fun, (primals,), {}, 0, False)
    check_real(name, call)
    dx = tangent_leaves(name, call, (tangents,))
    with quiet():
        with one_argument(name, residual_fun, primals):
            pulled = Pullback(call, name)
        for t in pulled.types:
            if t.dtype.kind != "f":
                refuse_output(name, residual_fun, t)
        pushed = replay(pulled.tape.equations, pulled.inputs, dx, pulled.outputs)
        if loss_fun is not None:
            loss_call = FlatCall(name, loss_fun, (call.rebuild_output(pulled.outs),), {}, 0, False)
            pushed = jvp_flat(gradient_of(name, loss_call), loss_call.leaves, pushed, verb=name, of=loss_fun)[1]
        product = pulled(pushed)
    return call.rebuild_inputs([to_array(x, dx) for x in product])


# ---- the gradient, linearized ---------------------------------------------------------------------------------------------
def gradient_of(name: str, call: FlatCall) -> Callable[..., list[Any]]:
    """The flat gradient of a call, as a function of its leaves."""

    def gradient(*leaves: Any) -> list[Any]:
        outer, call.leaves = call.leaves, list(leaves)
        try:
            pulled = Pullback(call, name)
        finally:
            call.leaves = outer
        for t in pulled.types:
            if t.dtype.kind == "c":
                refuse_output(name, call.fun, t)
        return pulled([one_of_output(call, pulled.outs, name, holomorphic=False)])

    return gradient


def linearized_gradient(name: str, call: FlatCall) -> tuple[LinearTape, list[Var], list[Var | None]]:
    """The tape of v -> H v for the Hessian H of a call, its input Vars, and the Var of each output, or None where that is zero."""
    check_real(name, call)
    _, tape, inputs, outputs = linearize_flat(gradient_of(name, call), call.leaves, [True] * len(call.leaves), verb=name, of=call.fun)
    return tape, inputs, outputs


def diagonals(tape: LinearTape, inputs: list[Var], outputs: list[Var | None], chunk: Chunk) -> list[Any]:
    """The diagonal of a tape's matrix, as a vector for each leaf.

    Number i of the diagonal is the product of basis vector e_i with its column H e_i. It is taken by `scale`, whose strong zero keeps what
    is not finite beside the diagonal out of the sum, so a piece of columns is forgotten as soon as it was made.
    """
    types = [v.type for v in inputs]
    if not sum(t.size for t in types):
        return [np.zeros(0, t.dtype) for t in types]

    def keep(basis: list[Any], columns: list[Any]) -> list[Any]:
        return [reduce_sum(scale(e, y), range(1, type_of(y).ndim)) for e, y in zip(basis, columns, strict=True)]

    rows = pushed_basis(tape, inputs, outputs, types, chunk, keep)
    starts = np.cumsum([0, *[t.size for t in types]]).tolist()
    return [cut(d, a, b) for d, a, b in zip(rows, starts[:-1], starts[1:], strict=True)]


# ---- the errors of this gate ----------------------------------------------------------------------------------------------
def check_real(name: str, call: FlatCall) -> None:
    """Refuse inputs that are not real floating point (integers count as floats)."""
    floating_leaves(call)
    for k, x in enumerate(call.leaves):
        t = type_of(x)
        if t.dtype.kind == "f":
            continue
        raise teach(
            ArgumentTypeError,
            f"{name} needs real floating-point inputs; {call.names()[k]} has dtype {t.dtype}.",
            do="take the real and the imaginary part as two arguments."
            if t.dtype.kind == "c"
            else "convert it, as in x.astype(float); close over inputs that are to have no derivative.",
        )


def refuse_output(name: str, fun: Any, t: ArrayType) -> NoReturn:
    """Raise: an output is not real floating point."""
    raise teach(
        ArgumentTypeError,
        f"{name} needs real floating-point outputs; {describe_function(fun)} returned {t.long_name()}.",
        do="take its real part, imaginary part or magnitude."
        if t.dtype.kind == "c"
        else "make it floating point: an integer output is piecewise constant, so its derivative is zero.",
    )
