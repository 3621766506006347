"""The law of the derivatives of the surface: for every function and parameter they agree with differences, forward and reverse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import cotan

from .arguments import NOT_DRAWN, Call, calls, functions
from .outcomes import operands_of, with_operands
from .running import flat

FUNCTIONS = {name: pair for name, pair in functions().items() if name not in NOT_DRAWN}
NO_DERIVATIVE = {
    **dict.fromkeys(("linalg.eig", "linalg.eigvals"), "the dtype is another when nothing is traced"),
    **dict.fromkeys(("linalg.svd", "linalg.eigh"), "vectors are known up to a phase, a basis of the complement up to a rotation"),
    "partition": "the order within the parts is another when nothing is traced",
    "real_if_close": "the dtype is another when nothing is traced",
}
STEP = 1e-6
DOUBLES = (np.float64, np.complex128)


def is_double(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype in DOUBLES


def doubles(results: Any) -> list[Any]:
    return [y for y in flat(results) if getattr(y, "dtype", None) in DOUBLES]


def in_doubles(call: Call) -> bool:
    """Whether all is computed in double precision: differences see no other."""
    given = (*call.args, *call.kwargs.values())
    return not any(x in (np.float32, np.float16, "f4") for x in given if isinstance(x, type | str)) and not any(
        np.asarray(x).dtype in (np.float32, np.float16, np.complex64) for x in operands_of(call)
    )


def compared(call: Call, ours: Any) -> int | None:
    """How many numbers of the forward derivative agree with differences; None if there are no numbers. Reverse mode is its adjoint."""
    operands = operands_of(call)
    places = [k for k, x in enumerate(operands) if is_double(x)]

    def function(*leaves: Any) -> list[Any]:
        values = dict(zip(places, leaves, strict=True))
        return doubles(with_operands(ours, call, [values.get(k, x) for k, x in enumerate(operands)]))

    rng = np.random.default_rng(0)
    noise = lambda x: rng.normal(size=x.shape) + (1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else 0)  # noqa: E731
    point = tuple(operands[k] for k in places)
    direction = tuple(noise(x) for x in point)
    try:
        middle, above, below = (
            function(*[x + step * v if step else x for x, v in zip(point, direction, strict=True)]) for step in (0, STEP, -STEP)
        )
        cotan.vjp(function, *point)
    except Exception:  # what is refused is the matter of another law
        return None
    if not middle:
        return None
    _, tangents = cotan.jvp(function, point, direction)
    count = 0
    for y, dy, a, b in zip(middle, tangents, above, below, strict=True):
        want, got = (np.asarray(a) - np.asarray(b)) / (2 * STEP), np.zeros(np.shape(y)) if dy is None else np.asarray(dy)
        size = 1 + np.abs(want[np.isfinite(want)]).max(initial=0)
        smooth = np.isfinite(want) & (np.abs(np.asarray(a) + np.asarray(b) - 2 * np.asarray(y)) < 1e-8 * size)
        np.testing.assert_allclose(got[smooth], want[smooth], rtol=1e-5, atol=1e-5 * size)
        count += int(np.sum(smooth))
    results, pull = cotan.vjp(function, *point)
    weights = [np.asarray(noise(y)) for y in results]
    pulled = pull(weights)
    left = sum(float(np.sum(w * np.asarray(dy)).real) for w, dy in zip(weights, tangents, strict=True) if dy is not None)
    right = sum(float(np.sum(np.asarray(p) * v).real) for p, v in zip(pulled, direction, strict=True) if p is not None)
    if np.isfinite(left) and all(np.isfinite(y).all() for y in results):
        assert abs(left - right) < 1e-8 * (1 + abs(left))
    return count


def check(name: str, seeds: range) -> None:
    """Derivatives of drawn calls; if results are numbers in double precision, some must be there to compare."""
    ours, counts = FUNCTIONS[name][1], []
    for call in calls(name, seeds, smooth=True):
        if in_doubles(call) and any(map(is_double, operands_of(call))):
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    found = compared(call, ours)
                except AssertionError as error:
                    raise AssertionError(f"{call}: {error}") from None
            counts += [] if found is None else [found]
    assert not counts or sum(counts), f"none of {len(counts)} calls of {name} has a derivative to compare"


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in NO_DERIVATIVE])
def test_derivatives_are_what_differences_give(name: str) -> None:
    check(name, range(16))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in NO_DERIVATIVE])
def test_derivatives_of_many_calls_are_what_differences_give(name: str) -> None:
    check(name, range(16, 200))
