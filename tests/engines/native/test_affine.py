"""Index algebra agrees with Python's integers: a simplified index has the value of the original expression.

Each expression is run on integers and on symbolic indices. The index is then evaluated from its terms and atoms, at every assignment of its
variables.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cotan.engines.native import affine
from cotan.engines.native.affine import Atom, Condition, Index, bounds, linear, variable

Assignment = dict[Any, int]
Expression = tuple[Any, ...]
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]


class Space(NamedTuple):
    """Variables, each with the range of its values."""

    ranges: tuple[tuple[int, int], ...]

    def assignments(self) -> Iterator[Assignment]:
        for values in product(*[range(low, high + 1) for low, high in self.ranges]):
            yield dict(enumerate(values))

    def indices(self) -> dict[int, Index]:
        """The variables as symbols. Quotients and remainders of earlier examples are forgotten, not in between, when there are many."""
        affine._atoms.clear()
        return {k: variable(k, high + 1, low) for k, (low, high) in enumerate(self.ranges)}


def build(expression: Expression, variables: Any) -> Any:
    """The expression on integers, or on indices."""
    head, *arguments = expression
    if head == "variable":
        return variables[arguments[0]]
    if head == "constant":
        return arguments[0]
    return OPERATIONS[head](*[build(a, variables) if isinstance(a, tuple) else a for a in arguments])


def value(index: Any, assignment: Assignment) -> int:
    """The value of an index, by what its atoms are."""
    if type(index) is not Index:
        assert type(index) is int
        return index
    return index.constant + sum(k * atom_value(atom, assignment) for atom, k in index.terms.items())


def atom_value(atom: Atom, assignment: Assignment) -> int:
    if atom.of is None:
        return assignment[atom.value]
    kind, index, n = atom.of
    return {"div": operator.floordiv, "mod": operator.mod}[kind](value(index, assignment), n)


def truth(condition: Any, assignment: Assignment) -> bool:
    """Whether a condition holds."""
    if type(condition) is not Condition:
        assert type(condition) is bool
        return condition
    if condition.sign in ("and", "or"):
        return {"and": all, "or": any}[condition.sign](truth(part, assignment) for part in condition.parts)
    (difference,) = condition.parts
    return {"<": operator.lt, ">=": operator.ge}[condition.sign](value(difference, assignment), 0)


# ---- random expressions --------------------------------------------------------------------------------------------------------------
SPACES = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 4)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1])), min_size=1, max_size=3
).map(lambda ranges: Space(tuple(ranges)))
CONSTANTS, FACTORS, DIVISORS = st.integers(-20, 20), st.integers(-6, 6), st.integers(1, 9)


def leaves(space: Space) -> st.SearchStrategy[Expression]:
    return st.sampled_from([("variable", k) for k in range(len(space.ranges))]) | CONSTANTS.map(lambda c: ("constant", c))


def sums_and_multiples(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.tuples(st.sampled_from("+-"), inner, inner) | st.tuples(st.just("*"), inner, FACTORS)


def affine_forms(space: Space) -> st.SearchStrategy[Expression]:
    return st.recursive(leaves(space), sums_and_multiples, max_leaves=5)


def expressions(space: Space) -> st.SearchStrategy[Expression]:
    return st.recursive(
        leaves(space),
        lambda inner: sums_and_multiples(inner) | st.tuples(st.sampled_from(["//", "%"]), inner, DIVISORS),
        max_leaves=6,
    )


def with_expressions(kind: Callable[[Space], st.SearchStrategy[Expression]], count: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return SPACES.flatmap(lambda space: st.tuples(st.just(space), *[kind(space)] * count))


# ---- values --------------------------------------------------------------------------------------------------------------------------
@given(with_expressions(expressions, 1))
def test_an_index_has_the_value_that_integers_have(drawn):
    space, expression = drawn
    index = build(expression, space.indices())
    for assignment in space.assignments():
        assert value(index, assignment) == build(expression, assignment)


@given(with_expressions(expressions, 3), CONSTANTS, FACTORS, FACTORS)
def test_linear_is_the_sum_of_multiples(drawn, constant, j, k):
    space, *parts = drawn
    x, y, z = (build(part, space.indices()) for part in parts)
    index = linear([(x, j), (y, k), (z, 1), (constant, 2)])
    for a in space.assignments():
        assert value(index, a) == j * value(x, a) + k * value(y, a) + value(z, a) + 2 * constant


@given(with_expressions(expressions, 1))
def test_an_integer_stands_on_either_side(drawn):
    space, expression = drawn
    index = build(expression, space.indices())
    for left, right in ((5 + index, index + 5), (5 - index, -1 * index + 5), (3 * index, index * 3)):
        assert left == right
    for assignment in space.assignments():
        assert value(5 - index, assignment) == 5 - value(index, assignment)


# ---- bounds --------------------------------------------------------------------------------------------------------------------------
@given(with_expressions(expressions, 1))
def test_every_value_lies_within_the_bounds(drawn):
    space, expression = drawn
    low, high = bounds(build(expression, space.indices()))
    for assignment in space.assignments():
        assert low <= build(expression, assignment) <= high


@given(with_expressions(affine_forms, 1), DIVISORS)
def test_the_bounds_of_an_affine_form_and_of_its_quotient_are_attained(drawn, n):
    space, expression = drawn
    index = build(expression, space.indices())
    values = [build(expression, assignment) for assignment in space.assignments()]
    assert bounds(index) == (min(values), max(values))
    quotients = [x // n for x in values]
    assert bounds(index // n) == (min(quotients), max(quotients))


@given(with_expressions(affine_forms, 1), DIVISORS)
def test_a_remainder_is_at_least_zero_and_below_its_divisor(drawn, n):
    space, expression = drawn
    index = build(expression, space.indices())
    low, high = bounds(index % n)
    assert 0 <= low <= high < n
    for assignment in space.assignments():
        assert low <= build(expression, assignment) % n <= high


@given(st.integers(-9, 9), st.integers(2, 9), st.integers(0, 9))
def test_the_bounds_of_a_remainder_of_all_residues_are_attained(first, n, more):
    assert bounds(variable("i", first + n + more, first) % n) == (0, n - 1)


@pytest.mark.parametrize(
    ("count", "first", "expected"), [(5, 0, (0, 4)), (5, 3, (3, 4)), (0, 0, (0, 0)), (2, 7, (7, 7)), (0, -2, (-2, -1))]
)
def test_a_variable_goes_from_its_first_value_to_the_one_before_its_count(count, first, expected):
    assert bounds(variable("i", count, first)) == expected


# ---- comparisons ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda compare: compare.__name__)
@given(drawn=with_expressions(expressions, 2), number=CONSTANTS)
def test_a_comparison_is_right_at_every_assignment(compare, drawn, number):
    space, left, right = drawn
    x, y = (build(part, space.indices()) for part in (left, right))
    conditions = [
        (compare(x, y), left, right),
        (compare(x, number), left, ("constant", number)),
        (compare(number, y), ("constant", number), right),
    ]
    for condition, a, b in conditions:
        for assignment in space.assignments():
            assert truth(condition, assignment) == compare(build(a, assignment), build(b, assignment))


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda compare: compare.__name__)
@given(drawn=with_expressions(affine_forms, 2))
def test_a_comparison_of_affine_forms_is_a_bool_exactly_if_it_is_certain(compare, drawn):
    space, left, right = drawn
    variables = space.indices()
    outcomes = {compare(build(left, assignment), build(right, assignment)) for assignment in space.assignments()}
    condition = compare(build(left, variables), build(right, variables))
    assert (type(condition) is bool) == (len(outcomes) == 1)


@given(with_expressions(expressions, 4), st.booleans())
def test_joined_conditions_hold_where_both_or_one_of_them_hold(drawn, flag):
    space, *parts = drawn
    x, y, z, w = (build(part, space.indices()) for part in parts)
    first, second = x < y, z >= w
    for a in space.assignments():
        p, q = truth(first, a), truth(second, a)
        assert truth(first & second, a) == (p and q)
        assert truth(first | second, a) == (p or q)
        assert truth(flag & first, a) == truth(first & flag, a) == (p and flag)
        assert truth(flag | first, a) == truth(first | flag, a) == (p or flag)


# ---- equality ------------------------------------------------------------------------------------------------------------------------
@given(with_expressions(expressions, 2))
def test_equal_indices_evaluate_equally_and_hash_equally(drawn):
    """... and an index that was built again is equal, its quotients and remainders too."""
    space, left, right = drawn
    variables = space.indices()
    x, again, y = build(left, variables), build(left, variables), build(right, variables)
    assert x == again
    assert hash(x) == hash(again)
    if x == y:
        assert hash(x) == hash(y)
        assert all(build(left, a) == build(right, a) for a in space.assignments())
    assert x - again == 0


@given(with_expressions(affine_forms, 2))
def test_affine_forms_that_agree_everywhere_are_equal(drawn):
    """Where each variable has two values or more, the values of an affine form determine its coefficients."""
    space, left, right = drawn
    assume(all(low < high for low, high in space.ranges))
    variables = space.indices()
    agree = all(build(left, a) == build(right, a) for a in space.assignments())
    assert (build(left, variables) == build(right, variables)) == agree


# ---- quotients and remainders --------------------------------------------------------------------------------------------------------
@given(with_expressions(affine_forms, 1), DIVISORS, FACTORS)
def test_n_times_the_quotient_plus_the_remainder_is_the_index(drawn, n, k):
    space, expression = drawn
    x = build(expression, space.indices())
    assert n * (x // n) + x % n == x
    assert k * (x % n) + (x // n) * (k * n) == k * x


@given(with_expressions(affine_forms, 1), DIVISORS, CONSTANTS)
def test_what_is_a_multiple_of_the_divisor_is_taken_out_of_the_quotient(drawn, n, c):
    space, expression = drawn
    x = build(expression, space.indices())
    assert (x * n + c) // n == x + c // n
    assert (x * n + c) % n == c % n


@given(with_expressions(affine_forms, 1), DIVISORS, DIVISORS)
def test_three_digits_of_an_index_make_the_index(drawn, m, n):
    """An index taken apart as by a reshape, and put together again from its last digit on."""
    space, expression = drawn
    x = build(expression, space.indices())
    row, rest = x // (m * n), x % (m * n)
    assert row * (m * n) + (rest // n * n + rest % n) == x


@given(st.integers(1, 6), st.integers(2, 6))
def test_quotient_and_remainder_of_a_flat_index_are_its_axes(rows, columns):
    i, j = variable("i", rows), variable("j", columns)
    flat = i * columns + j
    assert flat // columns == i
    assert flat % columns == j


def test_equal_quotients_are_one_atom():
    x = variable("x", 100) * 3 + 1
    assert x // 7 - x // 7 == 0
    assert list((x // 7).terms) == list((x // 7).terms)
    assert x // 7 != x // 5


# ---- refusals ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("factor", [variable("j", 4), 2.0, True], ids=["an index", "a float", "a bool"])
def test_an_index_is_multiplied_by_an_integer_only(factor):
    with pytest.raises(TypeError, match="an index times an index"):
        variable("i", 4) * factor


def test_a_condition_has_no_truth_before_the_code_runs():
    condition = variable("i", 4) < 2
    assert type(condition) is Condition
    for ask in (bool, operator.not_, lambda c: 1 if c else 2):
        with pytest.raises(TypeError, match="known only when the code runs"):
            ask(condition)


@pytest.mark.parametrize("divisor", [-3, -1, 2.0, variable("j", 2)], ids=["-3", "-1", "float", "index"])
def test_an_index_is_divided_by_natural_numbers_only(divisor):
    for divide in (lambda i: i // divisor, lambda i: i % divisor):
        with pytest.raises(TypeError, match="natural numbers"):
            divide(variable("i", 5))


def test_quotients_stay_equal_however_many_others_there_are():
    i = variable("i", 100)
    quotient = i // 7
    for n in range(2, 20_000):
        (variable("k", 10**9) + n) // 3
    assert i // 7 == quotient
    assert hash(i // 7) == hash(quotient)
