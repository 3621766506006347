"""`External`: a call of code that cannot be traced: another library, compiled code, a simulator.

Its implementation is handed NumPy arrays and runs whenever its results are wanted. It has no derivative of its own; `api.outside` gives it
rules. A batch is a loop inside one op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingRuleError, teach
from ..core.op import op
from ..core.tracing import EVAL, running
from ..core.types import ArrayType, array_type
from .base import ControlOp

__all__ = ["External"]


@op
class External(ControlOp):
    """Call ``function`` (flat: arrays in, a list of arrays out). ``results`` are its types; without them it is called on ones, once."""

    function: Callable[..., Sequence[Any]]
    label: str
    results: tuple[ArrayType, ...] | None = None
    is_linear: bool = False
    """Whether the user said so, by giving a transpose; nothing here can look into it."""

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return ((1 << count) - 1,) if self.is_linear else ()

    def __str__(self) -> str:
        return f"external[{self.label}]"

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        if self.results is not None:
            return self.results
        examples = [np.ones(t.shape, t.dtype) for t in types]
        return tuple(array_type(y.shape, y.dtype) for y in self.impl(*examples))

    def impl(self, *operands: Any) -> Sequence[Any]:
        with running(EVAL):  # the code may call cotan itself
            return tuple(np.asarray(y) for y in self.function(*operands))

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:  # type: ignore[override]
        raise teach(
            MissingRuleError,
            f"{self.label} is outside code, so its derivative is not known.",
            do="give cotan.external a jvp, a vjp or (for a linear function) a transpose, or keep it from being differentiated "
            "with cotan.stop_gradient.",
        )

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        raise teach(
            MissingRuleError,
            f"{self.label} is outside code, so its transpose is not known.",
            do="call the function that cotan.external gave, which knows it.",
        )

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        def loop(*arrays: Any) -> list[Any]:
            rows = [self.function(*[x[k] if b else x for x, b in zip(arrays, batched, strict=True)]) for k in range(size)]
            if rows:
                return [np.stack([np.asarray(y) for y in column]) for column in zip(*rows, strict=True)]
            types = self.type_rule(*[array_type(x.shape[1:] if b else x.shape, x.dtype) for x, b in zip(arrays, batched, strict=True)])
            return [np.zeros((0, *t.shape), t.dtype) for t in types]

        results = None if self.results is None else tuple(t.batched(size) for t in self.results)
        outs = External(loop, self.label, results, self.is_linear)(*operands)
        return outs, [True] * len(outs)
