"""Functions of trees as functions of real vectors, with their derivatives by cotan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.differentiate import jvp, vjp
from ..core import tree
from .numeric import FlatFunction, Vector, complex_as_real, noise_of, real_as_complex

__all__ = ["TreeFunction"]


class TreeFunction:
    """A function of trees at a point, seen as a function of real vectors, with its derivatives by cotan."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any]):
        self.f = f
        self.leaves, self.spec = tree.flatten(tuple(args))
        self.leaves = [np.asarray(x, np.float64) if isinstance(x, int) and not isinstance(x, bool) else np.asarray(x) for x in self.leaves]
        self.args = tree.unflatten(self.spec, self.leaves)
        out = f(*self.args)
        self.out_leaves, self.out_spec = tree.flatten(out)
        self.flat = FlatFunction(lambda *xs: tree.leaves(f(*tree.unflatten(self.spec, xs))), self.leaves)

    def at(self, point: Vector) -> TreeFunction:
        """The same function at another point."""
        return TreeFunction(self.f, tree.unflatten(self.spec, real_as_complex(point, self.leaves)))

    def noise(self, computed: Callable[[TreeFunction], Vector]) -> Vector:
        """The rounding errors of a value computed at a point, from points so near that only rounding changes it.

        Steps that leave the domain give no information.
        """
        precision, signs = self.flat.precision, np.where(np.arange(self.flat.point.size) % 2, -1.0, 1.0)
        found = []
        # Where numbers inside are larger, or nearly constant, the smaller steps change nothing.
        for size in (300.7 * precision, precision ** (1 / 3) / 10, precision ** (1 / 4)):
            step = size * self.flat.scales * signs
            noise = noise_of([computed(self.at(self.flat.point + k * step)) for k in range(-3, 4)])
            found.append(np.where(np.isfinite(noise), noise, 0.0))
        return np.max(found, axis=0)

    def directions(self, rng: Any, count: int) -> Vector:
        """Random directions that change no coordinate beyond its scale."""
        return rng.standard_normal((count, self.flat.point.size)) * self.flat.scales

    def tangent_trees(self, direction: Vector) -> Any:
        # Integer leaves do not change: their tangent is zero.
        leaves = [x if x.dtype.kind in "fc" else np.zeros_like(x) for x in real_as_complex(direction, self.leaves)]
        return tree.unflatten(self.spec, leaves)

    def cotangent_tree(self, bar: Vector) -> Any:
        # The pairing is Re(sum(y_bar * y')): for the real pair (a, b) of a complex output, y_bar = a - ib.
        leaves = [x if x.dtype.kind in "fc" else np.zeros_like(x) for x in real_as_complex(bar, self.out_leaves)]
        return tree.unflatten(self.out_spec, [np.conj(x) if x.dtype.kind == "c" else x for x in leaves])

    def push(self, direction: Vector) -> Vector:
        """The derivative along a direction, by forward mode."""
        dy = jvp(self.f, self.args, self.tangent_trees(direction))[1]
        return complex_as_real([d for d, y in zip(tree.leaves(dy), self.out_leaves, strict=True) if np.asarray(y).dtype.kind in "fc"])

    def value_by_jvp(self) -> Vector:
        """The value of the function from forward mode."""
        return complex_as_real(tree.leaves(jvp(self.f, self.args, self.tangent_trees(np.zeros(self.flat.point.size)))[0]))

    def value_by_vjp(self) -> Vector:
        """The value of the function from reverse mode."""
        return complex_as_real(tree.leaves(vjp(self.f, *self.args)[0]))

    def pull(self, bar: Vector) -> Vector:
        """The gradient of bar . f, by reverse mode."""
        x_bars = vjp(self.f, *self.args)[1](self.cotangent_tree(bar))
        leaves = tree.leaves(x_bars, is_leaf=lambda x: x is None)
        return complex_as_real([np.conj(x) if np.asarray(x).dtype.kind == "c" else x for x in leaves if x is not None])
