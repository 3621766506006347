"""`External`: a call of code that cannot be traced: another library, compiled code, a simulator.

The code gets NumPy arrays that are copies, and runs whenever its results are needed. It has a derivative only in operands in which it is
declared linear; `api.outside` gives it rules. A batch is a loop inside of one op or one call, as ``method`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, MissingRuleError, RuleError, teach
from ..core.op import op
from ..core.outside import as_array, types_at_examples
from ..core.tracing import EVAL, running, type_of
from ..core.types import ArrayType, array_type
from ..ops.families import zeros
from .base import ControlOp

__all__ = ["METHODS", "External"]

METHODS = ("sequential", "expand_dims", "broadcast_all")
"""How the code gets a batch: one example at a time; at once, with a leading axis of length 1 on unbatched operands; at once, with all
operands copied along the batch.
"""


@op
class External(ControlOp):
    """Call ``function`` (flat: arrays in, a list of arrays out).

    ``results`` are its result types; without them, one call on ones finds them.
    """

    function: Callable[..., Sequence[Any]]
    label: str
    results: tuple[ArrayType, ...] | None = None
    linear_operands: tuple[bool, ...] = ()
    """The operands in which it is linear, together. The user declares this; it cannot be checked here."""
    adjoint: Callable[..., Sequence[Any]] | None = None
    """(the other operands, y_bar) -> the cotangents of the linear operands; traceable."""
    method: str = "sequential"
    known: dict[tuple[ArrayType, ...], tuple[ArrayType, ...]] = field(default_factory=dict, repr=False)
    """The result types found so far, by operand types; all calls of one function share them."""

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (sum(1 << k for k, flag in enumerate(self.linear_operands) if flag),) if any(self.linear_operands) else ()

    def __str__(self) -> str:
        return f"external[{self.label}]"

    @property
    def user_code(self) -> str:  # type: ignore[override]
        return self.label

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        if self.results is not None:
            return self.results
        found = self.known.get(types)
        if found is None:
            do = "give cotan.external result_shape_dtypes, a tree like its result."
            found = self.known[types] = types_at_examples(self.label, self.impl, types, do)
        return found

    def impl(self, *operands: Any) -> Sequence[Any]:
        with running(EVAL):  # the code may call cotan
            values = tuple(as_array(self.label, y) for y in self.function(*map(np.array, operands)))
        if self.results is not None and [(y.shape, y.dtype) for y in values] != [(t.shape, t.dtype) for t in self.results]:
            have = ", ".join(f"{y.dtype}{list(y.shape)}" for y in values)
            raise teach(
                ArgumentError,
                f"{self.label} returned {have}, not {', '.join(t.long_name() for t in self.results)}.",
                do="make result_shape_dtypes say what the function returns"
                + (" (for a whole batch: see vmap_method)." if self.method != "sequential" else "."),
            )
        return values

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:  # type: ignore[override]
        if not any(self.linear_operands) or any(a and not flag for a, flag in zip(active, self.linear_operands, strict=True)):
            raise teach(
                MissingRuleError,
                f"{self.label} is outside code, so its derivative is not known.",
                do="give cotan.external a jvp, a vjp or (for a linear function) linear= and a transpose, or keep it from being "
                "differentiated with cotan.stop_gradient.",
            )
        results = self(*primals)

        def push(*tangents: Any) -> Any:
            it = iter(tangents)
            moved = [
                next(it) if a else zeros(type_of(x)) if flag else x
                for x, a, flag in zip(primals, active, self.linear_operands, strict=True)
            ]
            return self(*moved)

        return results, push

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        if self.adjoint is None:
            raise teach(
                MissingRuleError,
                f"{self.label} is outside code, so its transpose is not known.",
                do="give cotan.external a transpose, or call the function that it gave, which knows it.",
            )
        types = self.type_rule(*map(type_of, operands))
        bars = [zeros(t) if bar is None else bar for bar, t in zip(y_bar, types, strict=True)]
        known = [x for x, flag in zip(operands, self.linear_operands, strict=True) if not flag]
        found = iter(self.adjoint(*known, *bars))
        return [next(found) if flag else None for flag in self.linear_operands]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        results = None if self.results is None else tuple(t.batched(size) for t in self.results)
        if self.method == "sequential":
            whole: Any = self.in_a_loop(size, tuple(batched))
        else:
            whole = self.at_once(size, tuple(batched))
        outs = replace(self, function=whole, results=results, adjoint=None, known={})(*operands)
        return outs, [True] * len(outs)

    def in_a_loop(self, size: int, batched: tuple[bool, ...]) -> Callable[..., list[Any]]:
        """The function, called on one example after the other."""

        def loop(*arrays: Any) -> list[Any]:
            rows = [self.function(*[x[k] if b else x for x, b in zip(arrays, batched, strict=True)]) for k in range(size)]
            if rows:
                return [self.stacked(column) for column in zip(*rows, strict=True)]
            types = self.type_rule(*[array_type(x.shape[1:] if b else x.shape, x.dtype) for x, b in zip(arrays, batched, strict=True)])
            return [np.zeros((0, *t.shape), t.dtype) for t in types]

        return loop

    def stacked(self, column: Sequence[Any]) -> np.ndarray[Any, Any]:
        """One result of all examples, stacked."""
        arrays = list(map(np.asarray, column))
        kinds = sorted({f"{y.dtype}{list(y.shape)}" for y in arrays})
        if len(kinds) > 1:
            raise teach(
                RuleError,
                f"{self.label} returned results of unlike shapes or dtypes for the examples of a batch: {', '.join(kinds)}.",
                do="make shape and dtype of its result depend on those of its arguments alone, or call it in a loop, without vmap.",
            )
        return np.stack(arrays)

    def at_once(self, size: int, batched: tuple[bool, ...]) -> Callable[..., Sequence[Any]]:
        """The function, called once on the batch."""
        length = 1 if self.method == "expand_dims" else size

        def call(*arrays: Any) -> Sequence[Any]:
            whole = [x if b else np.broadcast_to(x, (length, *x.shape)).copy() for x, b in zip(arrays, batched, strict=True)]
            return self.function(*whole)

        return call
