"""New primitives: a NumPy function and one rule, everything else derived.

    softplus = cotan.extend.primitive("softplus", impl=lambda x: np.logaddexp(0, x), jvp=softplus_jvp)

Give ``impl`` and one of ``jvp``, ``vjp``, ``linear_in``. The result's type is found by running ``impl`` on example arrays, batching is a
loop, the rules are checked for linearity like any custom rule. For a primitive that lasts, write an op class (`Op`, `op`): see
CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from .api.audit import Audit, Rule, audit
from .control.base import filled
from .control.custom_rules import CustomCall, FlatRules, Names
from .core.errors import ArgumentError, teach
from .core.op import REGISTRY, Op, op
from .core.origin import describe_function
from .core.program import Var
from .core.tracing import type_of
from .core.types import ArrayType, array_type
from .ops.arithmetic import mul
from .ops.families import Elementwise, Multilinear, Structural, Unary, fill_shape, reduce_sum, spread, sum_tangents
from .ops.movement import concatenate, reshape, slice_

__all__ = ["Audit", "Elementwise", "Multilinear", "Op", "Primitive", "Rule", "Structural", "Unary", "audit", "op", "primitive"]


class Primitive(Op):
    """An op made by `primitive`: its rules are the functions it was given."""

    family = "user"
    jvp_rule: ClassVar[Callable[..., Any] | None] = None
    vjp_rule: ClassVar[Callable[..., Any] | None] = None
    transpose_rule: ClassVar[Callable[..., Any] | None] = None
    library = "numpy"

    def type_rule(self, *types: ArrayType) -> Any:
        """The type of ``impl`` at ones of these types (evaluated once for each)."""
        known = example_types.get((self, types))
        if known is None:
            with np.errstate(all="ignore"):
                results = self.impl(*[np.ones(t.shape, t.dtype) for t in types])
            kinds = [array_type(np.shape(y), np.asarray(y).dtype) for y in (results if self.multiple else (results,))]
            known = example_types[self, types] = tuple(kinds) if self.multiple else kinds[0]
        return known

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        """A loop over the batch."""
        rows = [self(*[take(x, k) if b else x for x, b in zip(operands, batched, strict=True)]) for k in range(size)]
        if not size:
            one = [t.with_shape(t.shape[1:]) if b else t for t, b in zip(map(type_of, operands), batched, strict=True)]
            types = self.type_rule(*one)
            empty = [np.zeros((0, *t.shape), t.dtype) for t in (types if self.multiple else (types,))]
            return (empty, [True] * len(empty)) if self.multiple else (empty[0], True)
        if self.multiple:
            return [stacked(column) for column in zip(*rows, strict=True)], [True] * len(rows[0])
        return stacked(rows), True

    def results(self, y: Any) -> list[Any]:
        return list(y) if self.multiple else [y]

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:  # type: ignore[override]
        if self.jvp_rule is None and self.vjp_rule is None:
            return self.linearize_multilinear(primals, active)
        outs, push = CustomCall(self.flat_rules(len(primals))).linearize_by_rule([], list(primals), list(active))
        if self.multiple:
            return outs, push
        return outs[0], lambda *tangents: push(*tangents)[0]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> Any:
        outs, push = self.linearize(primals, [t is not None for t in tangents])
        return outs, push(*[t for t in tangents if t is not None])

    def linearize_multilinear(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:
        def push(*given: Any) -> Any:
            terms = [self(*primals[:k], dx, *primals[k + 1 :]) for k, dx in enumerate(filled(given, active)) if dx is not None]
            return [sum_tangents(column) for column in zip(*terms, strict=True)] if self.multiple else sum_tangents(terms)

        return self(*primals), push

    def flat_rules(self, count: int) -> FlatRules:
        """The rules as those of a custom function, by which they are checked and completed."""
        cls = type(self)
        jvp, vjp = cls.jvp_rule, cls.vjp_rule

        def flat_jvp(_: Sequence[Any], xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            y, dy = jvp(tuple(xs), tuple(dxs))  # type: ignore[misc]
            return self.results(y), self.results(dy)

        def fwd(_: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            ys = self.results(self(*xs))
            return ys, [*xs, *ys]

        def bwd(_: Sequence[Any], saved: Sequence[Any], bars: Sequence[Any]) -> list[Any]:
            xs, ys = saved[:count], saved[count:]
            x_bars = vjp(*self.shaped(bars), *self.shaped(ys), *xs)  # type: ignore[misc]
            return list(x_bars) if isinstance(x_bars, tuple | list) else [x_bars]

        names = Names(
            self.name,
            describe_function(jvp) if jvp else "",
            describe_function(vjp) if vjp else "",
            tuple(f"tangents[{k}]" for k in range(count)),
        )
        return FlatRules(
            lambda *xs: self.results(self(*xs)), names, jvp=flat_jvp if jvp else None, fwd=fwd if vjp else None, bwd=bwd if vjp else None
        )

    def shaped(self, values: Sequence[Any]) -> list[Any]:
        return [tuple(values)] if self.multiple else [values[0]]

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        k = next(i for i, x in enumerate(operands) if type(x) is Var)
        if type(self).transpose_rule is not None:
            x_bar = type(self).transpose_rule(y_bar, *operands)  # type: ignore[misc]
        else:
            x_bar = self.transpose_by_basis(y_bar, k, operands)
        return [x_bar if i == k else None for i in range(len(operands))]

    def transpose_by_basis(self, y_bar: Any, k: int, operands: Sequence[Any]) -> Any:
        """x_bar_i = <y_bar, op(e_i)>: right for any linear op, at the price of one evaluation for each element of x."""
        t: ArrayType = operands[k].type
        bars = y_bar if self.multiple else [y_bar]
        entries: list[Any] = []
        for unit in np.eye(t.size, dtype=t.dtype):
            columns = self.results(self(*operands[:k], unit.reshape(t.shape), *operands[k + 1 :]))
            terms = [
                reduce_sum(mul(c, fill_shape(bar, c)), range(type_of(c).ndim))
                for c, bar in zip(columns, bars, strict=True)
                if bar is not None
            ]
            entries.append(sum_tangents(terms))
        return reshape(stacked(entries), t.shape) if entries else np.zeros(t.shape, t.dtype)


example_types: dict[Any, Any] = {}


def take(x: Any, k: int) -> Any:
    """``x[k]`` along the leading axis."""
    shape = type_of(x).shape
    return reshape(slice_(x, (k, *[0] * (len(shape) - 1)), (k + 1, *shape[1:])), shape[1:])


def stacked(rows: Sequence[Any]) -> Any:
    """Arrays of one shape along a new leading axis."""
    return concatenate([spread(y, 1) for y in rows], 0)


def primitive(
    name: str,
    impl: Callable[..., Any],
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    linear_in: Sequence[int] | None = None,
    transpose: Callable[..., Any] | None = None,
    type_rule: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    multiple: bool = False,
) -> Op:
    """Define a new primitive op, and return it: call it like a function.

    Args:
        name: its name, as programs and errors show it. A name defined before by `primitive` is replaced.
        impl: its meaning: NumPy arrays in, an array out (a tuple of arrays if ``multiple``).
        jvp: ``jvp(primals, tangents) -> (y, dy)``, in cotan functions, linear in the tangents.
        vjp: ``vjp(y_bar, y, *xs) -> (x_bar, ...)``, in cotan functions; forward mode is its transpose.
        linear_in: operands in each of which alone the op is linear, instead of jvp or vjp.
        transpose: ``transpose(y_bar, *operands) -> x_bar`` for a linear op; without it, it is derived by one evaluation per input number.
        type_rule: ``type_rule(*types) -> ArrayType``; without it, ``impl`` is run on arrays of ones.
        batch: ``batch(size, batched, *operands) -> (y, flag)``; without it, a loop.

    Raises:
        ArgumentError: none or more than one of jvp (or vjp) and linear_in, or a name that a built-in op has.

    >>> import cotan, numpy as np, cotan.numpy as cnp
    >>> cube = cotan.extend.primitive("cube", lambda x: x**3, jvp=lambda p, t: (cube(*p), 3 * p[0] ** 2 * t[0]))
    >>> cotan.grad(cube)(2.0)
    Array(12.)
    """
    if (jvp is None and vjp is None) == (linear_in is None):
        raise teach(
            ArgumentError,
            f"primitive {name!r} needs a derivative: one of jvp, vjp (or both), linear_in.",
            do="give jvp=..., or linear_in=(0,) if it is linear.",
        )
    if name in REGISTRY and not issubclass(REGISTRY[name], Primitive):
        raise teach(ArgumentError, f"primitive {name!r}: a built-in op has this name.", do="choose another name.")
    body: dict[str, Any] = {
        "__doc__": (impl.__doc__ or f"The primitive {name}.").strip(),
        "name": name,
        "multiple": multiple,
        "impl": staticmethod(impl),
        "jvp_rule": None if jvp is None else staticmethod(jvp),
        "vjp_rule": None if vjp is None else staticmethod(vjp),
        "transpose_rule": None if transpose is None else staticmethod(transpose),
        "linear": tuple((k,) for k in linear_in or ()),
        "examples": classmethod(lambda cls: ()),
    }
    if type_rule is not None:
        body["type_rule"] = staticmethod(type_rule)
    if batch is not None:
        body["batch"] = staticmethod(batch)
    return op(type(name, (Primitive,), body))()
