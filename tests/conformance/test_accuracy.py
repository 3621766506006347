"""Elementwise functions and their first two derivatives are within 8 units in the last place of the exact value, in both engines and both
dtypes: in the tails, towards zeros and poles, near under- and overflow. At these points themselves compiled code equals NumPy.

`exact.LOOSE` lists the exceptions, with the reasons. A derivative is a product of factors, of which one may be denormal: below the least
normal number, the unit of a derivative is 32 times the spacing of denormal numbers.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest

import cotan
from cotan import special
from cotan.core.op import REGISTRY

from .exact import DIGITS, LOOSE, ROWS, Row, as_it_is, points

pytestmark = pytest.mark.optimized

UNITS, DENORMAL = 8.0, 32
FLUSHED = {"expit", "log_expit", "softmax", "gamma", "psi", "polygamma1", *(f"logaddexp{n} in {x}" for n in ("", 2) for x in "xy")}
"""Their routines, SciPy's or here, give 0 instead of a denormal number."""


def derivative(row: Row, n: int) -> Any:
    """The n-th derivative of a row's function in its operand."""
    if n == 0:
        return row.function
    lower = derivative(row, n - 1)

    def call(*xs: Any) -> Any:
        along = lambda x: lower(*xs[: row.at], x, *xs[row.at + 1 :])  # noqa: E731
        return cotan.jvp(along, (xs[row.at],), (np.ones_like(xs[row.at]),))[1]

    return call


def ways(f: Any, n: int) -> dict[str, Any]:
    """How it is computed; derivatives at once are what the NumPy engine computes."""
    return {"at once": f, "native": cotan.jit(f)} | ({"numpy": cotan.jit(f, engine="numpy")} if n == 0 else {})


def operands(row: Row, fixed: tuple[float, ...], x: np.ndarray) -> list[np.ndarray]:
    xs = [np.full_like(x, v) for v in fixed]
    xs.insert(row.at, x)
    return xs


def errors(name: str, n: int, dtype: np.dtype[Any], xs: list[np.ndarray], found: np.ndarray) -> list[float]:
    """The distances from the exact value in units of the last place. What rounds to infinity may be infinite, or nan after a difference."""
    row, limits = ROWS[name], np.finfo(dtype)
    loose = next((entry for entry in LOOSE.get(name, ()) if n in entry.orders), None)
    scale, units, within = (as_it_is, UNITS, 1.0) if loose is None else (loose.scale, loose.units, loose.range)
    least = mp.mpf(float(limits.smallest_subnormal)) * (DENORMAL * within if n else 1)
    least = mp.mpf(float(limits.tiny)) if name in FLUSHED else least
    result = []
    for point, y in zip(zip(*xs, strict=True), found, strict=True):
        exact_point = tuple(mp.mpf(float(v)) for v in point)
        exact = row.exact[n](*exact_point)
        if not np.isfinite(y):
            over = abs(exact) * (within if n else 1) > mp.mpf(float(limits.max)) * (1 - mp.mpf(float(limits.eps)))
            result.append(0.0 if over and ((n and np.isnan(y)) or mp.sign(exact) == np.sign(y)) else np.inf)
            continue
        size = max(scale(row, n, exact_point), abs(exact))
        unit = max(mp.ldexp(1, int(mp.frexp(size)[1]) - 1 - limits.nmant) if size else 0, least)
        result.append(float(abs(mp.mpf(float(y)) - exact) / unit) * UNITS / units)
    return result


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("count", [6, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_values_and_two_derivatives_are_within_eight_units_of_the_last_place(name: str, dtype: Any, count: int) -> None:
    row = ROWS[name]
    x = points(row, np.dtype(dtype), count)
    for n in range(3):
        f = derivative(row, n)
        for way, g in ways(f, n).items():
            for fixed in row.fixed:
                xs = operands(row, fixed, x)
                with np.errstate(all="ignore"), mp.workdps(DIGITS):
                    found = np.asarray(g(*xs))
                    assert found.dtype == dtype or name == "multigammaln"  # SciPy gives doubles
                    worst = errors(name, n, np.dtype(dtype), xs, found)
                k = int(np.argmax(worst))
                assert worst[k] <= UNITS, (way, n, [float(v[k]) for v in xs], found[k])


SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, -2.0, -3.0, 0.5, -0.5, 2.0, np.inf, -np.inf, np.nan, 200.0, -200.0, 1e150, -1e150, 1e-320, -1e-320]
)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [name for name in ROWS if name != "multigammaln"])  # SciPy refuses operands outside the domain
def test_poles_infinities_nans_and_signs_of_zeros_are_the_same_compiled(name: str, dtype: Any) -> None:
    row = ROWS[name]
    with np.errstate(all="ignore"):
        base = (SPECIAL if row.fixed == ((),) else SPECIAL[:-2]).astype(dtype)  # of two, SciPy's quotients may be out of range
        grids = np.meshgrid(*[base] * (1 + len(row.fixed[0])))
        xs = [g.ravel() for g in grids]
        expected = np.asarray(row.function(*xs))
        for engine in ("numpy", "native"):
            found = np.asarray(cotan.jit(row.function, engine=engine)(*xs))
            normal = np.isfinite(expected) & ((expected == 0) | (abs(expected) >= np.finfo(dtype).tiny))
            other = (np.isnan(found) != np.isnan(expected)) | (np.isinf(found) != np.isinf(expected))
            other |= (normal | np.isinf(expected)) & (np.signbit(found) != np.signbit(expected))
            other |= normal & ((found == 0) != (expected == 0))
            differing = [([float(v[k]) for v in xs], float(found[k]), float(expected[k])) for k in np.flatnonzero(other)]
            assert not differing, (engine, "operands, found, expected", differing)


def test_every_function_and_every_costly_op_has_a_row() -> None:
    """A new function, or op of these families, cannot land without its exact values."""
    names = {name.split()[0] for name in ROWS} | {"loggamma", "digamma", "polygamma", "huber"}
    assert set(special.__all__) <= names
    seen: set[str] = set()
    for row in ROWS.values():
        for n in range(3):
            program = cotan.stage(derivative(row, n))(*operands(row, row.fixed[0], np.full(2, 0.6)))
            seen |= {equation.op.name for equation in program.equations}
    families = {f"cotan.ops.{name}" for name in ("special", "transcendental", "gaussian", "losses")}
    costly = {name for name, cls in REGISTRY.items() if getattr(cls, "costly", False) and "f" in cls.takes and cls.__module__ in families}
    assert costly - seen == set()
