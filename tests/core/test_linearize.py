"""A tape runs the rules of linearize: it records what is done to tangents, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.op import Op
from cotan.core.tracing import running, type_of
from cotan.core.types import array_type
from cotan.errors import BorrowedArrayError, NonlinearTangentError
from cotan.ops.arithmetic import mul
from cotan.ops.transcendental import sin
from cotan.transforms.jvp import jvp_flat
from cotan.transforms.linearize import LinearTape, linearize_flat, replay

F64 = np.dtype(np.float64)


def test_operations_on_tangents_are_recorded_and_all_others_run():
    tape = LinearTape()
    tangent = tape.new_input(array_type((), F64))
    with running(tape):
        known = mul(2.0, 3.0)
        assert known == 6.0
        assert not tape.equations
        result = mul(known, tangent)
    assert [e.op for e in tape.equations] == [mul]
    assert replay(tape.equations, [tangent.payload], [0.5], [result.payload]) == [3.0]


def test_other_operations_run_in_the_trace_in_which_the_tape_was_made():
    def f(x):
        tape = LinearTape()
        tangent = tape.new_input(array_type((), F64))
        with running(tape):
            known = sin(x)
            mul(known, tangent)
        return known

    values, tangents = jvp_flat(lambda x: [f(x)], [0.5], [1.0])
    assert values == [np.sin(0.5)]
    assert tangents == [np.cos(0.5)]


def test_an_operation_that_is_not_linear_in_a_tangent_is_refused():
    tape = LinearTape("the rule")
    with running(tape), pytest.raises(NonlinearTangentError, match="the rule is not linear"):
        sin(tape.new_input(array_type((), F64)))


SINGLE = np.dtype(np.float32)


@pytest.mark.parametrize("x", [0.5, np.float64(0.5), SINGLE.type(0.5), np.array(0.5), np.ones(3), np.ones((2, 3)), np.ones(3, SINGLE), 1j])
def test_a_traced_value_has_the_type_of_its_value(x):
    seen = []

    def f(x):
        made = (x, 2 * x, x * np.ones(3), x * np.float64(2), x.real, cnp.sum(x), cnp.abs(x), cnp.reshape(x, (-1,)))
        seen.extend((y.type, type_of(y.payload[0])) for y in made)
        return [x]

    linearize_flat(f, [x], [True])
    assert len(seen) == 8
    for known, of_value in seen:
        assert known is of_value


def test_an_array_of_indices_cannot_be_changed_while_a_tape_holds_it():
    def f(x):
        indices = np.array([2, 0])
        y = x[indices]
        indices[0] = 1
        return cnp.sum(y)

    with pytest.raises(BorrowedArrayError):
        cotan.grad(f)(np.ones(3))


def test_a_gather_is_its_own_tangent_unless_it_fills():
    for mode, recorded in (("clip", "clip"), ("fill", "zero")):
        _, tape, _, _ = linearize_flat(lambda x: [x.at[np.array([0, 7])].get(mode=mode)], [np.ones(3)], [True])  # noqa: B023
        assert [e.op.mode for e in tape.equations] == [recorded]


def test_results_of_an_op_are_a_tuple_under_every_trace():
    class Halves(Op):
        multiple = True

        def type_rule(self, x):
            return [x, x]

        def impl(self, x):
            return [x / 2, x / 2]

        def jvp(self, primals, tangents):
            return [self(*primals), [mul(0.5, tangents[0])] * 2]

    seen = []

    def f(x):
        seen.append(Halves()(x))
        return [seen[-1][0]]

    f(1.0)
    jvp_flat(f, [1.0], [1.0])
    linearize_flat(f, [1.0], [True])
    assert [type(y) for y in seen] == [tuple] * 3
