"""Random programs for the laws: smooth functions of two arrays, built from NumPy-named operations.

A program is data (a list of steps), and runs on any namespace with NumPy's names: cotan.numpy, numpy, jax.numpy. Values stay moderate
(every step is bounded or grows mildly on the range of the inputs), so that finite differences and float64 rounding do not violate a law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

# name -> function of (namespace, x); the shape of the result may differ
UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda xp, x: xp.sin(x),
    "cos": lambda xp, x: xp.cos(x),
    "tanh": lambda xp, x: xp.tanh(x),
    "gauss": lambda xp, x: xp.exp(-x * x),
    "log1p_square": lambda xp, x: xp.log1p(x * x),
    "sqrt": lambda xp, x: xp.sqrt(x * x + 1.0),
    "arctan": lambda xp, x: xp.arctan(x),
    "cube": lambda xp, x: xp.sin(x) ** 3,
    "negate": lambda xp, x: -x,
    "half": lambda xp, x: x * 0.5,
    "shift": lambda xp, x: 1.5 - x,
    "reverse": lambda xp, x: x[::-1],
    "transpose": lambda xp, x: x.T,
    "mean_first": lambda xp, x: xp.mean(x, axis=0),
    "sum_last": lambda xp, x: 0.3 * xp.sum(x, axis=-1),
    "drop_first": lambda xp, x: x[1:],
    "take": lambda xp, x: xp.take(x, np.array([0, 1, 0]), axis=0),
    "flatten": lambda xp, x: xp.reshape(x, (-1,)),
    "outer_self": lambda xp, x: xp.reshape(x, (-1, 1)) * xp.reshape(x, (1, -1)),
    "cumsum": lambda xp, x: 0.5 * xp.cumsum(x, axis=0),
    "masked": lambda xp, x: xp.where(x > 0.1, xp.sin(x), 0.2 * x),
    "relu": lambda xp, x: xp.maximum(x, -0.3),
    "softmax": lambda xp, x: xp.exp(x - xp.max(x)) / xp.sum(xp.exp(x - xp.max(x))),
    "pad": lambda xp, x: xp.pad(x, 1),
    "twice": lambda xp, x: xp.concatenate([x, xp.cos(x)], axis=0),
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda xp, x, y: x + y,
    "subtract": lambda xp, x, y: x - y,
    "multiply": lambda xp, x, y: x * y,
    "divide": lambda xp, x, y: x / (1.5 + y * y),
    "arctan2": lambda xp, x, y: xp.arctan2(x, 1.0 + y * y),
    "logaddexp": lambda xp, x, y: xp.logaddexp(x, y),
    "hypot": lambda xp, x, y: xp.hypot(x, y + 3.0),
    "power": lambda xp, x, y: (1.0 + x * x) ** xp.tanh(y),
}


@dataclass(frozen=True)
class Step:
    """One operation on earlier values, by their indices."""

    name: str
    operands: tuple[int, ...]


@dataclass(frozen=True)
class RandomProgram:
    """Steps on two inputs; the result is a vector of three mixed sums of all values, or its sum."""

    steps: tuple[Step, ...]
    shape: tuple[int, ...]
    seed: int

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        return rng.uniform(-1, 1, self.shape), rng.uniform(-1, 1, self.shape)

    def on(self, xp: Any) -> Callable[..., Any]:
        """The program as a function of two arrays, in this namespace, with a result of shape (3,)."""

        def run(x: Any, y: Any) -> Any:
            values = [x, y]
            for step in self.steps:
                operands = [values[k] for k in step.operands]
                if step.name in UNARY:
                    values.append(UNARY[step.name](xp, operands[0]))
                else:
                    a, b = operands
                    if a.shape != b.shape:
                        b = xp.mean(b)
                    values.append(BINARY[step.name](xp, a, b))
            sums = [xp.sum(v) / max(1, np.prod(v.shape)) for v in values]
            return xp.stack([xp.sin(sums[-1]), sum(sums), sums[-1] * sums[0]])

        return run


@st.composite
def random_programs(draw: st.DrawFn, most: int = 7) -> RandomProgram:
    """A strategy for random programs whose every step is legal for the shapes at hand."""
    shape = draw(st.sampled_from([(3,), (2, 3), (3, 3)]))
    program = RandomProgram((), shape, draw(st.integers(0, 10**6)))
    shapes = [shape, shape]
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, most))):
        name = draw(st.sampled_from([*UNARY, *BINARY]))
        if name in BINARY:
            operands = (draw(st.integers(0, len(shapes) - 1)), draw(st.integers(0, len(shapes) - 1)))
            result: tuple[int, ...] | None = shapes[operands[0]]
        else:
            operands = (draw(st.integers(0, len(shapes) - 1)),)
            result = shape_after(name, shapes[operands[0]])
        if result is None or np.prod(result) > 40:
            continue
        steps.append(Step(name, operands))
        shapes.append(result)
    return RandomProgram(tuple(steps), program.shape, program.seed)


def shape_after(name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The result's shape, or None where the step does not apply to an array of this shape."""
    if not shape or (name == "drop_first" and shape[0] < 2) or (name == "take" and shape[0] < 2):
        return None
    return np.shape(UNARY[name](np, np.zeros(shape)))
