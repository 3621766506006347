"""The interfaces of loops: dtypes of Python scalars, map in batches, bodies staged once."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.api import recall
from cotan.core.errors import ArgumentTypeError
from cotan.core.staging import stage_flat
from cotan.lax import loops

X32 = np.array([1.0, 2.0, 3.0], np.float32)


# ---- a Python scalar takes the dtype of the loop ---------------------------------------------------------------------------
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit, lambda f: lambda x: cotan.jvp(f, (x,), (x,))[0]])
def test_a_python_scalar_takes_the_dtype_that_the_body_gives_it(way):
    total = way(lambda x: lax.scan(lambda c, x: (c + x, c), 0.0, x))(X32)
    assert total[0].dtype == np.float32
    assert total[1].dtype == np.float32
    count = way(lambda x: lax.scan(lambda c, x: (c + x, None), 0, x)[0])(X32)
    assert count.dtype == np.float32
    halved = way(lambda x: lax.while_loop(lambda s: s[0] > 1.0, lambda s: (s[0] / 2, s[1] * x[0]), (8, 1.0)))(X32)
    assert [h.dtype for h in halved] == [np.float64, np.float32]


@pytest.mark.parametrize("way", [lambda f: f, cotan.jit])
def test_an_array_does_not(way):
    with pytest.raises(ArgumentTypeError, match="float64"):
        way(lambda x: lax.scan(lambda c, x: (c + x, None), np.float32(0), x))(X32.astype(float))
    with pytest.raises(ArgumentTypeError, match="int64"):
        way(lambda x: lax.while_loop(lambda v: v < 3.0, lambda v: v + 0.5, x))(np.int64(0))


@pytest.mark.peers
def test_dtypes_of_weak_carries_are_those_of_jax():
    jax = pytest.importorskip("jax")
    for init in (0, 0.0, 1j):
        for x in (X32, X32.astype(np.float64), X32.astype(np.int32), X32.astype(np.complex64)):
            try:
                expected = jax.lax.scan(lambda c, x: (c + x, None), init, x)[0].dtype
            except TypeError:
                continue
            assert cotan.lax.scan(lambda c, x: (c + x, None), init, x)[0].dtype == expected
            assert cotan.jit(lambda x, init=init: cotan.lax.scan(lambda c, x: (c + x, None), init, x)[0])(x).dtype == expected


# ---- map ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 10])
@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_map_in_batches(batch_size, count):
    x = {"a": np.arange(count * 2.0).reshape(count, 2), "b": np.arange(count)}

    def f(x):
        return cnp.sin(x["a"]) * x["b"], x["b"] + 1

    expected = np.sin(x["a"]) * x["b"][:, None], x["b"] + 1
    for way in (lambda x: lax.map(f, x, batch_size=batch_size), cotan.jit(lambda x: lax.map(f, x, batch_size=batch_size))):
        for found, wanted in zip(way(x), expected, strict=True):
            np.testing.assert_allclose(found, wanted)
            assert found.dtype == wanted.dtype
    g = cotan.grad(lambda a: cnp.sum(lax.map(lambda v: cnp.sin(v) ** 2, a, batch_size=batch_size)))(x["a"])
    np.testing.assert_allclose(g, np.sin(2 * x["a"]), atol=1e-15)


# ---- bodies are staged once ----------------------------------------------------------------------------------------------
@pytest.fixture
def staged(monkeypatch):
    """The number of times that a body is staged."""
    calls = []

    def counting(*args, **kwargs):
        calls.append(kwargs.get("name"))
        return stage_flat(*args, **kwargs)

    monkeypatch.setattr(loops, "stage_flat", counting)
    monkeypatch.setattr(loops, "bodies", type(loops.bodies)())
    return calls


SCALE = 2.0


def test_a_fresh_lambda_with_the_same_code_and_closure_is_not_staged_again(staged):
    w = np.array([0.5, 1.5])

    def loss(x, k):
        c = lax.scan(lambda c, _: (cnp.sin(c) * w * k * SCALE, None), x, None, length=3)[0]
        return cnp.sum(lax.while_loop(lambda v: cnp.sum(v) < 9.0, lambda v: v + w * k + x, c))

    x = np.array([0.3, 0.4])
    values = [cotan.grad(loss)(x, 1.5) for _ in range(4)]
    assert len(staged) == 3
    assert all((v == values[0]).all() for v in values)
    w[0] = 0.7  # what it closes over is told by value
    changed = cotan.grad(loss)(x, 1.5)
    assert not np.allclose(changed, values[0])
    np.testing.assert_allclose(changed, cotan.jacrev(cotan.jit(loss))(x, 1.5))
    assert not np.allclose(cotan.grad(loss)(x, 1.25), changed)


def test_globals_are_part_of_the_body(staged, monkeypatch):
    def loss(x):
        return lax.scan(lambda c, _: (c * SCALE, None), x, None, length=2)[0]

    assert float(cotan.grad(loss)(1.0)) == 4.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert float(cotan.grad(loss)(1.0)) == 9.0
    assert float(cotan.grad(loss)(1.0)) == 9.0
    assert len(staged) == 2


def test_dtypes_and_classes_of_numpy_are_known(staged):
    def loss(x):
        kind, dtype = np.float32, np.dtype(np.float64)
        return lax.scan(lambda c, _: (c * kind(2.0).astype(dtype), None), x, None, length=2)[0]

    for _ in range(3):
        assert float(cotan.grad(loss)(1.0)) == 4.0
    assert len(staged) == 1


def test_traced_values_in_the_closure_are_put_in_their_places_again(staged):
    def f(a, b):
        return lax.scan(lambda c, _: (c * a + b * a, None), b, None, length=3)[0]

    def by_hand(a, b):
        c = b
        for _ in range(3):
            c = c * a + b * a
        return c

    for a, b in ((0.5, 2.0), (3.0, -1.0)):
        np.testing.assert_allclose(cotan.grad(f, argnums=(0, 1))(a, b), cotan.grad(by_hand, argnums=(0, 1))(a, b))
        np.testing.assert_allclose(
            cotan.hessian(lambda v: f(v[0], v[1]))(np.array([a, b])), cotan.hessian(lambda v: by_hand(v[0], v[1]))(np.array([a, b]))
        )


def test_a_body_that_appends_to_a_list_runs_each_time(staged):
    def loss(x):
        kept = []
        y = lax.scan(lambda c, _: (c * 2.0, kept.append(c)), x, None, length=2)[0]
        return y, len(kept)

    for k in range(1, 4):
        assert cotan.grad(loss, has_aux=True)(1.0) == (4.0, 1)
        assert len(staged) == k


def test_what_may_change_unseen_is_staged_each_time(staged):
    class Model:
        scale = 2.0

    model, counter, generator = Model(), [0], np.random.default_rng(0)

    def by_attribute(c, _):
        return c * model.scale, None

    assert float(cotan.grad(lambda x: lax.scan(by_attribute, x, None, length=2)[0])(1.0)) == 4.0
    model.scale = 3.0
    assert float(cotan.grad(lambda x: lax.scan(by_attribute, x, None, length=2)[0])(1.0)) == 9.0

    def by_class(c, _):
        return c * Model.scale, None

    for Model.scale in (2.0, 5.0):
        assert float(cotan.grad(lambda x: lax.scan(by_class, x, None, length=1)[0])(1.0)) == Model.scale

    def by_effect(c, _):
        counter[0] += 1
        return c * counter[0], None

    for expected in (1.0, 4.0):
        assert float(cotan.grad(lambda x: lax.scan(by_effect, x, None, length=2)[0])(1.0)) == expected

    drawn = [
        float(cotan.grad(lambda x: lax.scan(lambda c, _: (c * generator.normal(), None), x, None, length=1)[0])(1.0)) for _ in range(2)
    ]
    assert drawn[0] != drawn[1]


def test_a_body_that_branches_on_a_value_is_staged_each_time(staged):
    def loss(x):
        return lax.scan(lambda c, _: (c * x if x else c + x, None), x + 1.0, None, length=2)[0]

    for x, expected in ((2.0, 16.0), (0.0, 3.0), (2.0, 16.0)):
        np.testing.assert_allclose(cotan.grad(loss)(x), expected)


# ---- concrete loops --------------------------------------------------------------------------------------------------------
def test_a_body_may_change_its_arguments_in_place():
    def f(c, x):
        c += x
        x *= 0.0
        return c, c

    xs, init = np.ones((3, 2)), np.zeros(2)
    c, ys = lax.scan(f, init, xs)
    np.testing.assert_array_equal(ys, [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert (init == 0).all()
    assert (xs == 1).all()
    np.testing.assert_array_equal(c, [3.0, 3.0])


@pytest.mark.parametrize("bounds", [(0, 2.5), (0.0, 2), (0, np.array([1, 2]))])
def test_bounds_that_are_no_integers_are_refused(bounds):
    for way in (lambda f: f, cotan.jit):
        with pytest.raises(ArgumentTypeError, match="integer"):
            way(lambda x: lax.fori_loop(*bounds, lambda i, v: v * x, 1.0))(2.0)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_body_that_calls_python_is_not_taken_for_another(checkpointed):
    """Two callbacks of the same code are two if what they refer to may change or be changed."""

    def program(factor, seen):
        def note(v):
            seen.append(float(v))
            return v * factor[0]

        def f(x):
            return lax.scan(lambda c, _: (c + cotan.pure_callback(note, x, c), None), x, None, length=2)[0]

        inner = cotan.checkpoint(f) if checkpointed else f
        return cotan.jit(lambda x: inner(x) + 0.0)

    first, second = ([1.0], []), ([1.0], [])
    f, g = program(*first), program(*second)
    assert float(f(1.0)) == float(g(1.0)) == 4.0
    assert first[1] == second[1] == [1.0, 2.0]
    second[0][0] = 2.0
    assert (float(f(1.0)), float(g(1.0))) == (4.0, 9.0)


def test_each_held_program_is_asked_once_whether_it_calls_python(monkeypatch):
    def nested(depth):
        if not depth:
            return cnp.sin
        inner = nested(depth - 1)
        return lambda x: lax.cond(cnp.sum(x) > depth, inner, lambda x: x * 2.0, x)

    def held(program):
        program.derived.pop("calls later", None)
        return [program, *[p for e in program.equations for region in e.op.regions() for p in held(region.program)]]

    program = cotan.stage(nested(14))(np.ones(3))
    programs = {id(p): p for p in held(program)}.values()
    assert len(programs) > 14
    asked = []
    whole = recall.refers
    monkeypatch.setattr(recall, "refers", lambda parameter: asked.append(parameter) or whole(parameter))
    assert not recall.calls_later(program)
    parameters = [x for p in programs for e in p.equations for x in e.op.parameters().values()]
    inside = [x for parameter in parameters if isinstance(parameter, tuple | list) for x in parameter]
    assert len(asked) <= len(parameters) + len(inside)
