"""The two derivatives of a function of complex numbers that need not be holomorphic.

For z = x + iy, every function f that is differentiable in x and y has

    df/dz = (df/dx - i df/dy) / 2,      df/dz* = (df/dx + i df/dy) / 2,      f(z + h) = f(z) + df/dz h + df/dz* h* + ...

(Wirtinger 1927; Kreutz-Delgado 2009, arXiv:0906.4835). Where f is holomorphic, df/dz* is 0 and df/dz its derivative; where f is real,
df/dz* is the conjugate of df/dz, and `grad` gives 2 df/dz.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.tracing import type_of
from ..ops.arithmetic import mul
from ..ops.casting import complex_, imag, real
from ..ops.failing import quiet
from ..ops.families import add, zeros
from .arguments import Argnums, FlatCall, check_callable
from .chunks import Chunk, check_chunk
from .differentiate import strip
from .jacobians import jacobian, jacobian_modes
from .transformed import transformation

__all__ = ["wirtinger"]


@transformation
def wirtinger(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    mode: Literal["auto", "fwd", "rev"] = "auto",
    chunk: Chunk = None,
) -> Callable[..., Any]:
    """The derivatives of ``fun`` by a complex argument z and by its conjugate: (df/dz, df/dz*).

    Args:
        fun: a function of trees of arrays, with real or complex outputs; with ``has_aux``, one that returns (output, aux).
        argnums: the position(s) of the arguments to differentiate by: complex arrays.
        mode: "fwd" or "rev" forces the mode in which the Jacobian by real and imaginary parts is taken; "auto" is the cheaper.
        chunk: the largest number of basis vectors at once; see `jacfwd`.

    Returns:
        a function of the same arguments that gives the pair (df/dz, df/dz*), each laid out as the result of `jacobian`: for an output of
        shape S and an argument of shape T, a complex array of shape S + T. With ``has_aux``, ((df/dz, df/dz*), aux).

    Raises:
        ArgumentError, ArgumentTypeError: a ``mode`` or ``chunk`` that is none; when called, arguments that are not complex.

    Source: Kreutz-Delgado 2009, "The complex gradient operator and the CR-calculus" (arXiv:0906.4835).

    >>> import cotan
    >>> cotan.wirtinger(lambda z: z * z.conj())(1.0 + 2.0j)
    (Array(1.-2.j), Array(1.+2.j))
    """
    check_callable("wirtinger", fun)
    check_chunk("wirtinger", chunk)
    jacobian_modes(mode)

    def derivatives(*args: Any, **kwargs: Any) -> Any:
        call = FlatCall("wirtinger", fun, args, kwargs, argnums, has_aux)
        for k, x in enumerate(call.leaves):
            if type_of(x).dtype.kind != "c":
                raise teach(
                    ArgumentTypeError,
                    f"wirtinger needs complex inputs; {call.names()[k]} has dtype {type_of(x).dtype}.",
                    do="convert it with x.astype(complex), or use grad or jacobian.",
                )

        def parts(xs: list[Any], ys: list[Any]) -> tuple[list[Any], list[Any]]:
            outs = [y if type_of(y).dtype.kind == "c" else complex_(y, zeros(type_of(y))) for y in call(*map(complex_, xs, ys))]
            return list(map(real, outs)), list(map(imag, outs))

        with quiet():
            real_rows, imaginary_rows = jacobian(parts, (0, 1), mode=mode, chunk=chunk)(
                list(map(real, call.leaves)), list(map(imag, call.leaves))
            )
            # A row holds, of one output, the blocks by the real and by the imaginary part of each input.
            by_z, by_conjugate = [
                [
                    [half(sign, complex_(ux, vx), complex_(uy, vy)) for ux, uy, vx, vy in zip(*u, *v, strict=True)]
                    for u, v in zip(real_rows, imaginary_rows, strict=True)
                ]
                for sign in (-1, 1)
            ]
        pair = tuple(call.rebuild_output([call.rebuild_inputs(list(map(to_array, row))) for row in rows]) for rows in (by_z, by_conjugate))
        return (pair, strip(call.aux)) if has_aux else pair

    return derivatives


def half(sign: int, by_x: Any, by_y: Any) -> Any:
    """(df/dx + sign i df/dy) / 2."""
    kind = type_of(by_x).dtype.type
    return add(mul(by_x, kind(0.5)), mul(by_y, kind(0.5j * sign)))
