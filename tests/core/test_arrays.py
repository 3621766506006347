"""A 0-d `Array` is a number, like NumPy's scalars; a traced array is an `Array`; arrays whose operators differ from an ndarray's are
refused.
"""

from __future__ import annotations

import contextlib
import copy
import fractions
import math
import numbers
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.array import Array, is_only_view, to_array
from cotan.core.errors import ArgumentTypeError

CHANGES = [getattr(operator, f"i{name}") for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")]
BITS = [getattr(operator, f"i{name}") for name in ("and", "or", "xor", "lshift", "rshift")]


@pytest.mark.parametrize("change", CHANGES)
def test_in_place_operators_make_a_new_number_eager_and_traced(change: Any) -> None:
    def old_and_new(x: Any) -> Any:
        a = np.sum(x)
        b = a
        b = change(b, 2)
        return cnp.stack([a, b])

    x = np.ones(3)
    expected = old_and_new(x)
    assert expected[0] == 3.0
    for got in (old_and_new(cnp.asarray(x)), cotan.jit(old_and_new)(x), cotan.vjp(old_and_new, x)[0], cotan.vmap(old_and_new)(x[None])[0]):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("change", BITS)
def test_in_place_operators_of_bits_make_a_new_number(change: Any) -> None:
    a = cnp.sum(np.ones(3, int))
    b = change(a, 1)
    assert a == 3
    assert b == change(np.int64(3), 1)


def test_arrays_with_axes_change_in_place_as_any_ndarray() -> None:
    a = cnp.ones(3)
    b = a
    b += 1
    b[0] = 5.0
    np.testing.assert_array_equal(a, [5.0, 2.0, 2.0])


NUMBERS = {
    "sum": lambda: cnp.sum(np.ones(3)),
    "ufunc": lambda: cnp.add(1.0, 2.0),
    "array": lambda: cnp.array(3.0),
    "full": lambda: cnp.full((), 3.0),
    "jit": lambda: cotan.jit(lambda x: x + 1.0)(2.0),
    "jit of several": lambda: cotan.jit(lambda x: (x, x + 1.0))(2.0)[1],
    "jit on the NumPy engine": lambda: cotan.jit(lambda x: x + 1.0, engine="numpy")(2.0),
    "grad": lambda: cotan.grad(lambda x: 3.0 * x)(1.0),
    "vjp": lambda: cotan.vjp(lambda x: 3.0 * x, 1.0)[0],
    "cond": lambda: cotan.lax.cond(True, lambda: 3.0, lambda: 1.0),
}
WRITES = {
    "item": lambda y: operator.setitem(y, (), 1.0),
    "ellipsis": lambda y: operator.setitem(y, ..., 1.0),
    "fill": lambda y: y.fill(1.0),
    "put": lambda y: y.put(0, 1.0),
    "copyto": lambda y: np.copyto(y, 1.0),
    "flat": lambda y: operator.setitem(y.flat, 0, 1.0),
    "out=": lambda y: np.add(1.0, 1.0, out=y),
    "a view": lambda y: operator.setitem(np.asarray(y), (), 1.0),
    "place": lambda y: np.place(y, True, [1.0]),
}


@pytest.mark.parametrize("change", WRITES)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_takes_no_assignment(number: str, change: str) -> None:
    y = NUMBERS[number]()
    assert y.shape == ()
    with contextlib.suppress(ValueError):  # NumPy's, of a read-only array
        WRITES[change](y)
    assert y == 3.0
    assert not y.flags.writeable


WIDER = {
    "None": lambda y: y[None],
    "reshape": lambda y: y.reshape(1),
    "ravel": lambda y: y.ravel(),
    "atleast_1d": np.atleast_1d,
    "expand_dims": lambda y: np.expand_dims(y, 0),
    "cotan": lambda y: cnp.reshape(y, (1,)),
}


@pytest.mark.parametrize("wider", WIDER)
@pytest.mark.parametrize("number", NUMBERS)
def test_an_array_made_of_a_number_is_its_own(number: str, wider: str) -> None:
    y = NUMBERS[number]()
    r = WIDER[wider](y)
    r += 1.0
    r[0] += 1.0
    assert (y, r[0]) == (3.0, 5.0)


def test_functions_of_numpy_fill_numbers_that_they_make() -> None:
    x = cnp.sin(np.arange(3.0))
    assert np.apply_along_axis(np.sum, 0, x) == np.sum(x)
    assert np.i0(np.sum(x)) == np.i0(float(np.sum(x)))
    np.empty_like(np.sum(x)).fill(3.0)
    assert cnp.sum(x).copy().flags.writeable


def test_a_number_has_what_numbers_have() -> None:
    y, n = cnp.array(7.25), cnp.array(7)
    assert (math.trunc(y), math.floor(y), math.ceil(y)) == (7, 7, 8)
    assert fractions.Fraction(n) == 7
    assert (n.numerator, n.denominator, y.is_integer(), y.as_integer_ratio()) == (7, 1, False, (29, 4))
    with pytest.raises(AttributeError, match="numerator"):
        cnp.ones(2).numerator  # noqa: B018


def test_a_number_hashes_rounds_and_prints_by_value() -> None:
    y = cnp.sum(np.array([1.0, 1.125]))
    assert hash(y) == hash(2.125)
    assert {y: "found"}[2.125] == "found"
    assert round(y, 1) == 2.1
    assert type(round(y, 1)) is Array
    assert round(y) == 2
    assert type(round(y)) is int
    assert f"{y:.1f}" == "2.1"
    with pytest.raises(TypeError, match="unhashable"):
        hash(cnp.ones(2))


@pytest.mark.parametrize(
    ("value", "kind", "others"),
    [
        (np.sum(np.ones(2)), numbers.Real, (numbers.Integral,)),
        (np.sum(np.ones(2, np.uint8)), numbers.Integral, ()),
        (np.sum(np.ones(2, complex)), numbers.Complex, (numbers.Real,)),
        (np.float32(1), numbers.Real, ()),
        (np.ones(2), np.ndarray, (numbers.Number,)),
        (np.True_, np.ndarray, (numbers.Number,)),
    ],
)
def test_a_number_is_an_instance_of_pythons_class_of_numbers(value: Any, kind: type, others: tuple[type, ...]) -> None:
    y = cnp.asarray(value)
    assert isinstance(y, kind)
    assert isinstance(y, Array)
    assert isinstance(y, np.ndarray)
    assert not isinstance(y, others)
    for same in (copy.copy(y), copy.deepcopy(y), pickle.loads(pickle.dumps(y))):
        assert type(same) is Array
        assert isinstance(same, kind)
    assert cnp.isscalar(cnp.sum(np.ones(2))) is np.isscalar(np.sum(np.ones(2)))


def test_a_traced_array_is_an_array_and_no_ndarray() -> None:
    seen: list[bool] = []

    class Own(Array):
        pass

    def f(x: Any) -> Any:
        seen.extend((isinstance(x, cotan.Array), isinstance(x, np.ndarray), isinstance(x, Own)))
        return x

    cotan.jit(f)(1.0)
    cotan.grad(f)(1.0)
    assert seen == [True, False, False] * 2
    assert not isinstance(np.ones(2), cotan.Array)


# ---- arrays whose operators mean something else ------------------------------------------------------------------------------
class Quantity(np.ndarray):
    """As astropy's: an ndarray with a unit, whose ufuncs are its own."""

    unit = "m"

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        return NotImplemented


class Scaled(np.ndarray):
    """Any other meaning of an operator."""

    def __add__(self, other: Any) -> Any:
        return np.asarray(self) + 2 * np.asarray(other)


class Measured:
    """As pint's: no ndarray, but like one, with units."""

    units = "m"
    __array_ufunc__ = None

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones((2, 2))


class Named(np.ndarray):
    """Metadata, and all operators as they are."""

    def __array_finalize__(self, other: Any) -> None:
        self.name = getattr(other, "name", "")


square = np.array([[1.0, 2.0], [3.0, 4.0]])
OTHER_MEANING = {
    "numpy.matrix": square.view(np.matrix),
    "MaskedArray": np.ma.array(square, mask=square > 3),
    "Quantity": square.view(Quantity),
    "Scaled": square.view(Scaled),
    "Measured": Measured(),
}
GATES: dict[str, Any] = {
    "the argument of a transformation": lambda m: cotan.vjp(lambda x: x, m),
    "the argument of jit": lambda m: cotan.jit(lambda x: x)(m),
    "the output": lambda m: cotan.vjp(lambda x: m, 1.0),
    "an operand beside a traced one": lambda m: cotan.grad(lambda s: cnp.sum(cnp.multiply(s, m)))(1.0),
    "an operator": lambda m: cotan.grad(lambda s: cnp.sum(s * m))(1.0),
    "a function of arrays": lambda m: cnp.sum(m),
    "a ufunc": lambda m: cnp.exp(m),
    "a ufunc of two": lambda m: cnp.multiply(2.0, m),
    "a keyword": lambda m: cnp.sum(np.ones((2, 2)), where=m),
    "a list": lambda m: cnp.stack([m, m]),
    "an op": lambda m: cotan.lax.mul(m, m),
    "a carry": lambda m: cotan.lax.fori_loop(0, 2, lambda i, c: c, m),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("name", OTHER_MEANING)
def test_what_means_something_else_is_refused_by_name_at_every_gate(name: str, gate: str) -> None:
    with pytest.raises(ArgumentTypeError, match=name):
        GATES[gate](OTHER_MEANING[name])


@pytest.mark.parametrize("operate", [lambda m, x: m * x, lambda m, x: x * m, lambda m, x: m @ x, lambda m, x: m + x])
def test_a_matrix_beside_a_traced_value_is_never_taken_elementwise(operate: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"numpy\.matrix"):
        cotan.vjp(lambda x: operate(square.view(np.matrix), x), square)


def test_harmless_subclasses_are_taken(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "numbers", dtype=float, mode="w+", shape=(2, 2))
    mapped[:] = square
    for x in (mapped, square.view(Named), square.view(np.recarray)):
        np.testing.assert_array_equal(cotan.grad(lambda s, x=x: cnp.sum(x * s))(1.0), 10.0)
        np.testing.assert_array_equal(cotan.grad(lambda x: cnp.sum(x * x))(x), 2 * square)
        y = cnp.add(x, 1.0)
        assert type(y) is Array
        np.testing.assert_array_equal(y, square + 1)


# ---- arrays of other libraries -----------------------------------------------------------------------------------------------
class Series:
    """The rule by which pandas leaves an operator to the other operand: its ``__pandas_priority__`` is greater (3000 for a Series, 4000 for
    a DataFrame).
    """

    def __init__(self, values: Any):
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if getattr(other, "__pandas_priority__", 0) > 4000 else Series(self.values - np.asarray(other))


class DataArray:
    """As xarray's: an operator computes with the array inside, by NumPy's protocols, and wraps the result."""

    def __init__(self, data: Any):
        self.data = data

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.data)

    def __sub__(self, other: Any) -> Any:
        return DataArray(self.data - getattr(other, "data", other))

    def __rsub__(self, other: Any) -> Any:
        return DataArray(other - self.data)


@pytest.mark.parametrize("kind", [Series, DataArray])
@pytest.mark.parametrize("function", [cnp.sum, lambda y: cnp.sum(cnp.add(y, 1.0)), lambda y: cnp.sum(cnp.stack([y, y])) / 2])
def test_objects_that_hold_arrays_stand_on_either_side_of_an_operator(kind: Any, function: Any) -> None:
    values, x = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 4.0])
    np.testing.assert_array_equal(cotan.grad(lambda x: function(kind(values) - x * x))(x), -2 * x)
    np.testing.assert_array_equal(cotan.grad(lambda x: function(x * x - kind(values)))(x), 2 * x)
    np.testing.assert_array_equal(cotan.vjp(lambda x: kind(values) - x, x)[0], values - x)


def test_a_result_that_is_most_of_its_memory_and_alone_is_not_copied() -> None:
    for alone in (np.arange(6.0).reshape(2, 3), np.arange(6.0)[1:], np.arange(6.0)[2:5]):
        assert is_only_view(alone)
        assert np.shares_memory(to_array(alone), alone)
    held = np.arange(6.0)
    for view in (
        held.reshape(2, 3),
        held[1:],
        np.arange(6.0)[4:],
        np.arange(6.0)[::2],
        np.arange(6.0).reshape(2, 3).T,
        np.broadcast_to(np.ones(()), (3,)),
        np.arange(6.0),
    ):
        assert not is_only_view(view)


def test_results_that_are_reshaped_arguments_are_copies() -> None:
    x, y_bar = np.arange(6.0), np.ones((2, 3))
    y, pull = cotan.vjp(lambda x: cnp.reshape(x, (2, 3)), x)
    (x_bar,) = pull(y_bar)
    y[0, 0] = x_bar[0] = 9.0
    assert x[0] == 0.0
    assert y_bar[0, 0] == 1.0
    assert pull(y_bar)[0][0] == 1.0
    gradient = cotan.grad(lambda x: cnp.sum(cnp.reshape(x, (2, 3)) ** 2))(x)
    gradient[0] = 5.0
    assert gradient.base is None or gradient.base.size == 6
