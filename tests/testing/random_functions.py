"""Random smooth functions at random points, of different scales, for the tests of the derivative checks."""

from __future__ import annotations

from typing import Any

import numpy as np

import cotan.numpy as cnp

__all__ = ["Smooth", "smooth_function"]

UNARY = {
    "sin": cnp.sin,
    "cos": cnp.cos,
    "tanh": cnp.tanh,
    "arctan": cnp.arctan,
    "bell": lambda x: cnp.exp(-x * x),
    "root": lambda x: cnp.sqrt(1 + x * x),
    "cauchy": lambda x: 1 / (1 + x * x),
    "log": lambda x: cnp.log(2 + x * x),
    "softplus": lambda x: cnp.logaddexp(0.0, x),
    "cube": lambda x: x**3 / (1 + x * x),
}


class Smooth:
    """A chain of matrices and elementwise functions, with products and sums between; ``text`` says which."""

    def __init__(self, rng: np.random.Generator):
        self.n, width = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        self.scales = 10.0 ** (rng.uniform(-6, 6, self.n) if rng.random() < 0.5 else np.zeros(self.n))
        self.outer = 10.0 ** (rng.uniform(-8, 8) if rng.random() < 0.3 else 0.0)
        self.layers = []
        size = self.n
        for _ in range(int(rng.integers(1, 5))):
            first, second = rng.choice(list(UNARY), 2)
            kind = str(rng.choice(["plain", "times", "plus", "inner"]))
            self.layers.append((kind, first, second, rng.normal(size=(width, size)) / np.sqrt(size), rng.normal(size=width)))
            size = width
        self.total = bool(rng.random() < 0.5)
        self.point = rng.normal(size=self.n) * self.scales * 10.0 ** (rng.uniform(-2, 0.5))
        self.text = " ".join(f"{kind}({first},{second})" for kind, first, second, *_ in self.layers)

    def __call__(self, x: Any) -> Any:
        y = x / self.scales
        for kind, first, second, matrix, shift in self.layers:
            z = matrix @ y + shift
            f, g = UNARY[first], UNARY[second]
            y = {"plain": lambda: f(z), "times": lambda: f(z) * g(z + 1), "plus": lambda: f(z) + g(2 * z), "inner": lambda: f(g(z))}[kind]()  # noqa: B023
        return self.outer * (cnp.sum(y) if self.total else y)


def smooth_function(seed: int) -> Smooth:
    """The function of this number."""
    return Smooth(np.random.default_rng(seed))
