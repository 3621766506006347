"""The NumPy engine with noise: every rounded result is changed in its last places, and open choices are made at random.

A program whose result changes much here is decided by rounding, and proves nothing about another engine. Exact results are unchanged:
integers, and elements equal to an operand's up to the sign (a maximum, a choice, a transpose), so that comparisons still find them equal.

The open choices are those of docs/compiling.md ("Numbers"): the sign of a nan, of a zero of a derivative, and of the larger or smaller of
zeros of both signs; the order of a product, which decides where it underflows; and products of matrices that hold nan or infinities, in
which a library may split complex numbers in its own way or omit a product with zero (`open_ways` has these).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import numpy as np

from cotan.core.op import Op
from cotan.core.program import Program
from cotan.engines import numpy as engine
from cotan.engines.flat import Step, flat_runner

from .open_ways import another_way, with_open_signs

__all__ = ["noisy"]

PLACES = 4.0
"""How much of a unit in the last place a number is changed by, at most."""


@contextmanager
def noisy(seed: int, unit: float) -> Generator[None]:
    """Run what the NumPy engine runs in the meantime with noise, of so many places at least: those of the coarsest floats of a program, to
    which compiled code may round any step. Signs that are open are plus, minus or at random, as the seed says.
    """
    random, sign = np.random.default_rng(seed), (0.0, 1.0, -1.0)[seed % 3]

    def compile_program(program: Program) -> Callable[[list[Any]], list[Any]]:
        steps = [Step(with_noise(e.op, random, unit, sign), None, e.op.multiple, e.inputs, e.outputs) for e in program.equations]
        return flat_runner(program, steps)

    with mock.patch.object(engine, "_compiled", WeakKeyDictionary()), mock.patch.object(engine, "compile_program", compile_program):
        yield


def with_noise(op: Op, random: np.random.Generator, unit: float, sign: float) -> Callable[..., Any]:
    """``op`` in one of its open ways, on slightly changed operands if its result is rounded."""

    def run(*operands: Any) -> Any:
        impl = another_way(op, operands, random) or op.impl
        result = impl(*operands)
        results = list(result) if op.multiple else [result]
        rounded = [rounded_at(y, operands) for y in results]
        if any(at is not None and at.any() for at in rounded):
            again = impl(*[off(x, random, unit) for x in operands])
            results = [
                y if at is None else np.where(at, off(z, random, unit), y).astype(np.asarray(y).dtype)
                for y, z, at in zip(results, again if op.multiple else [again], rounded, strict=True)
            ]
        results = [with_open_signs(op, y, operands, random, sign) if is_float(y) else y for y in results]
        return results if op.multiple else results[0]

    return run


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic | float | complex) and np.asarray(x).dtype.kind in "fc"


def rounded_at(y: Any, operands: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """Where a result is no exact number; None if it has none that is rounded."""
    if not is_float(y):
        return None
    given = [np.abs(parts(x)).ravel() for x in operands if is_float(x)]
    size = np.abs(parts(y))
    exact = np.isin(size, np.concatenate(given)) if given else np.zeros(size.shape, bool)
    exact |= ~np.isfinite(size) | (size == np.rint(size))
    return ~exact if not np.iscomplexobj(y) else ~exact.all(0)


def parts(x: Any) -> np.ndarray[Any, Any]:
    """Of complex numbers both parts."""
    x = np.asarray(x)
    return np.stack([x.real, x.imag]) if x.dtype.kind == "c" else x


def off(x: Any, random: np.random.Generator, unit: float) -> Any:
    """Floats, each changed in its last places."""
    if not is_float(x):
        return x
    x = np.asarray(x)
    eps = PLACES * max(float(np.finfo(x.dtype).eps), unit)
    noise = random.uniform(-eps, eps, x.shape) + (1j * random.uniform(-eps, eps, x.shape) if x.dtype.kind == "c" else 0)
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(x), x + np.abs(x) * noise, x).astype(x.dtype)
