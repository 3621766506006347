"""jit: staged once for each signature; one call op under other transformations; explanations of repeated staging."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import pickle
import weakref

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.api.signature import Signature
from cotan.errors import ArgumentError, ArgumentTypeError, EscapedTracerError, TracerConversionError


def test_staged_once_for_each_signature():
    staged = []

    @cotan.jit
    def f(x):
        staged.append(x)
        return cnp.sin(x) * 2

    for _ in range(3):
        f(np.ones(3))
    assert len(staged) == 1
    f(np.ones(4))
    assert len(staged) == 2
    info = f.cache_info()
    assert (info.hits, info.misses, info.currsize) == (2, 2, 2)
    assert "args[0] is f64[4], where f64[3] was known" in f.explain_miss()
    f(np.ones(4, np.float32))
    assert "f32[4]" in f.explain_miss()
    f([np.ones(4)])
    assert "another tree" in f.explain_miss()
    f.cache_clear()
    assert f.cache_info().currsize == 0


def test_a_miss_is_explained_when_somebody_asks(monkeypatch):
    """The differences from all earlier signatures take time: a call that misses does not look for them."""
    compared = []
    differences = Signature.differences
    monkeypatch.setattr(Signature, "differences", lambda old, new: (compared.append(old), differences(old, new))[1])
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    for n in range(1, 20):
        f(np.ones(n))
    assert not compared
    assert "args[0] is f64[19], where f64[" in f.explain_miss()
    assert len(compared) == 18
    f(np.ones(19))
    assert "f64[19]" in f.explain_miss()
    f.cache_clear()
    assert "args[0] is f64[19], where f64[" in f.explain_miss()


def test_static_arguments():
    @cotan.jit(static_argnames="n")
    def power(x, n):
        y = x
        for _ in range(n - 1):
            y = y * x
        return y

    assert power(2.0, 3) == 8.0
    assert power(2.0, n=4) == 16.0
    assert "static argument" in power.explain_miss()
    assert cotan.grad(lambda x: power(x, 3))(2.0) == 12.0
    by_number = cotan.jit(lambda x, flag: x if flag else -x, static_argnums=1)
    assert (by_number(1.0, True), by_number(1.0, False)) == (1.0, -1.0)
    with pytest.raises(ArgumentError, match="no argument 'm'"):
        cotan.jit(lambda x: x, static_argnames="m")


def test_one_call_under_other_transformations():
    f = cotan.jit(lambda x: cnp.sin(x) * x)
    program = cotan.stage(lambda x: f(x) + f(x))(1.0)
    assert [e.op.name for e in program.equations] == ["call", "call", "add"]
    assert cotan.grad(f)(2.0) == pytest.approx(np.sin(2.0) + 2 * np.cos(2.0))
    assert cotan.grad(cotan.grad(f))(2.0) == pytest.approx(2 * np.cos(2.0) - 2 * np.sin(2.0))
    xs = np.linspace(0, 1, 4)
    np.testing.assert_allclose(cotan.vmap(f)(xs), np.sin(xs) * xs)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(f))(xs), np.sin(xs) + xs * np.cos(xs))
    np.testing.assert_allclose(cotan.grad(lambda x: cotan.vmap(f)(x).sum())(xs), np.sin(xs) + xs * np.cos(xs))
    np.testing.assert_allclose(cotan.jacfwd(cotan.vmap(f))(xs), np.diag(np.sin(xs) + xs * np.cos(xs)))
    assert cotan.jit(cotan.jit(f))(2.0) == pytest.approx(2 * np.sin(2.0))


def test_a_linear_jitted_function_is_transposed_through_its_body():
    f = cotan.jit(lambda x: 3.0 * x[::-1])
    np.testing.assert_array_equal(cotan.linear_transpose(f, np.zeros(2))(np.array([1.0, 2.0]))[0], [6.0, 3.0])


def test_the_derivative_of_a_jitted_function_is_staged_once():
    staged = []

    @cotan.jit
    def f(x):
        staged.append(x)
        return (cnp.sin(x) * x).sum()

    for k in range(4):
        cotan.grad(f)(np.full(3, float(k)))
        cotan.hessian(f)(np.full(3, float(k)))
    assert len(staged) == 1


def test_values_that_it_closes_over():
    c = np.arange(3.0)
    f = cotan.jit(lambda x: x * c)
    np.testing.assert_array_equal(f(2.0), 2 * c)
    np.testing.assert_array_equal(cotan.grad(lambda k: cotan.jit(lambda x: x * k)(c).sum())(2.0), 3.0)
    np.testing.assert_array_equal(cotan.vmap(lambda k: cotan.jit(lambda x: x * k)(2.0))(c), 2 * c)

    g_holder = {}

    def outer(k):
        if "g" not in g_holder:
            g_holder["g"] = cotan.jit(lambda x: x * g_holder["k"])
        g_holder["k"] = k
        return g_holder["g"](2.0)

    assert cotan.grad(outer)(1.0) == 2.0
    assert cotan.grad(outer)(5.0) == 2.0


def test_methods():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @cotan.jit
        def __call__(self, x):
            return self.scale * x

    assert (Model(2.0)(3.0), Model(5.0)(3.0)) == (6.0, 15.0)


def test_an_error_leaves_nothing_behind():
    f = cotan.jit(lambda x: x if x > 0 else -x)
    with pytest.raises(TracerConversionError):
        f(1.0)
    assert f.cache_info().currsize == 0
    assert cotan.grad(lambda x: x * x)(1.0) == 2.0


def test_outputs_may_be_any_tree():
    out = cotan.jit(lambda x: {"a": x, "b": (2.0, None, [x * 2])})(np.ones(2))
    assert out["b"][0] == 2.0
    assert out["b"][1] is None
    np.testing.assert_array_equal(out["b"][2][0], [2.0, 2.0])


def test_a_dropped_function_leaves_nothing_behind():
    weights = np.ones(3)
    alive = []

    def loss(x):
        inner = cotan.jit(lambda y: (y * x * weights).sum())
        alive.append(weakref.ref(inner))
        return inner(x)

    for _ in range(3):
        cotan.grad(loss)(np.ones(3))
        f = cotan.jit(lambda y: y * weights)
        f(np.ones(3))
        alive += [weakref.ref(f), *map(weakref.ref, [staged.program for staged in f.cache.values()])]
    del f
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)


def test_arrays_closed_over_are_kept_as_they_were():
    c, scalar = np.ones(3), np.array(2.0)

    def f(x):
        return x * c * scalar

    jitted, program = cotan.jit(f), cotan.stage(f)(np.ones(3))
    jitted(np.ones(3))
    c[:], scalar[()] = 5.0, 7.0
    np.testing.assert_array_equal(jitted(np.ones(3)), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(program(np.ones(3))[0], [2.0, 2.0, 2.0])


class Scaled:
    count = 3.0

    def __init__(self, factor):
        self.factor = factor

    @cotan.jit
    def times(self, x):
        return self.factor * x

    @classmethod
    @cotan.jit
    def counted(cls, x):
        return cls.count * x


class ScaledMore(Scaled):
    count = 4.0


class Weights:
    def __init__(self, w):
        self.w = w

    @cotan.jit
    def times(self, x):
        return self.w * x


cotan.tree.register_pytree_node(Weights, lambda x: ((x.w,), None), lambda _, children: Weights(*children))


def test_the_method_of_a_copy_is_its_own():
    first = Scaled(2.0)
    assert first.times(1.0) == 2.0
    for duplicate in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert duplicate.times(1.0) == 2.0
        duplicate = copy.copy(duplicate)
        duplicate.factor = 5.0
        assert duplicate.times(1.0) == 5.0
    assert first.times(1.0) == 2.0
    assert (Scaled.counted(1.0), ScaledMore.counted(1.0), Scaled.counted(1.0)) == (3.0, 4.0, 3.0)


def test_an_instance_that_is_a_tree_is_an_argument_of_its_methods():
    weights = Weights(np.ones(2))
    np.testing.assert_array_equal(weights.times(2.0), [2.0, 2.0])
    weights.w = np.full(2, 3.0)
    np.testing.assert_array_equal(weights.times(2.0), [6.0, 6.0])
    assert Weights.times.cache_info().misses == 1
    np.testing.assert_array_equal(cotan.grad(lambda m: m.times(2.0).sum())(weights).w, [2.0, 2.0])


def test_arrays_of_foreign_byte_order_are_taken():
    f = cotan.jit(lambda x: cnp.sin(x) * x + x.T)
    x = np.arange(3.0)
    for order in ("=", ">", "<", ">"):
        y = f(x.astype(x.dtype.newbyteorder(order)))
        np.testing.assert_array_equal(y, np.sin(x) * x + x)
        assert y.dtype.isnative
    np.testing.assert_allclose(cotan.jit(cotan.grad(lambda x: (x**2).sum()))(x.astype(">f8")), 2 * x)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_result_is_never_an_argument_or_a_constant(engine):
    a = np.arange(3.0)
    f = cotan.jit(lambda x: x, engine=engine)
    g = cotan.jit(lambda x: [x, a, a, *[x * 2.0] * 2], engine=engine)
    h = cotan.jit(lambda x: a, engine=engine)
    for x in (np.ones(3), cnp.asarray(np.ones(3))):
        for _ in range(3):
            results = [f(x), h(x), *g(x)]
            assert not any(np.shares_memory(y, z) for k, y in enumerate(results) for z in (x, *results[:k]))
            for y in results:
                y[...] = 7.0
            np.testing.assert_array_equal(h(x), [0.0, 1.0, 2.0])
            np.testing.assert_array_equal(x, np.ones(3))


# ---- objects whose attributes are constants of the Program -----------------------------------------------------------
class Model:
    gain = 1.0

    def __init__(self, w):
        self.w, self.settings, self.layers = w, {"bias": 1.0}, [np.ones(2)]

    @cotan.jit
    def method(self, x):
        return self.plain(x)

    @functools.partial(cotan.jit, static_argnums=0)
    def static_method(self, x):
        return self.plain(x)

    def plain(self, x):
        return self.w * x * self.gain + self.settings["bias"] + cnp.sum(self.layers[0])

    def __call__(self, x):
        return self.plain(x)

    @cotan.jit
    def keeps_a_tracer(self, x):
        self.w = self.w + x
        return x

    @cotan.jit
    def keeps_a_tracer_deep(self, x):
        self.settings["last"] = [x]
        return x


def changes():
    def attribute(m):
        m.w = 3.0

    def item(m):
        m.settings["bias"] = 2.0

    def new_item(m):
        m.settings["more"] = 2.0
        m.w = 5.0

    def in_place(m):
        m.layers[0][1] = 5.0

    def in_place_attribute(m):
        m.w = np.ones(())
        m.plain(1.0)
        m.w += 1.0

    def of_the_class(m):
        type(m).gain = 2.0

    def nested(m):
        m.layers = [np.zeros(1)]

    return [attribute, item, new_item, in_place, in_place_attribute, of_the_class, nested]


WAYS = {
    "method": lambda m: m.method,
    "method with a static instance": lambda m: m.static_method,
    "jit of a bound method": lambda m: cotan.jit(m.plain),
    "jit of a callable object": lambda m: cotan.jit(m),
    "jit of a partial": lambda m: cotan.jit(functools.partial(m.plain)),
    "static argument": lambda m: functools.partial(cotan.jit(lambda m, x: m.plain(x), static_argnums=0), m),
    "grad of a method": lambda m: lambda x: cotan.value_and_grad(m.method)(x)[0],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", changes())
def test_a_change_of_an_object_that_staged_code_has_read_is_seen(change, way):
    class Mine(Model):
        pass

    m = Mine(2.0)
    f = WAYS[way](m)
    assert f(1.0) == m.plain(1.0)
    change(m)
    assert f(1.0) == m.plain(1.0)
    change(m)
    assert f(1.0) == m.plain(1.0)


def test_an_object_that_does_not_change_is_staged_once():
    m = Model(np.array([1.0, np.nan]))
    f, g = cotan.jit(m.plain), cotan.jit(lambda m, x: m.plain(x), static_argnums=0)
    for _ in range(3):
        f(1.0), g(m, 1.0)
    assert f.cache_info().misses == g.cache_info().misses == 1
    m.w = 2.0
    f(1.0)
    assert "self.w has changed" in f.explain_miss()
    f(1.0)
    assert f.cache_info().misses == 2


@pytest.mark.parametrize("method", ["keeps_a_tracer", "keeps_a_tracer_deep"])
def test_a_tracer_left_in_an_attribute_is_refused(method):
    m = Model(2.0)
    with pytest.raises(EscapedTracerError, match=r"put a traced value into self\.(w|settings)"):
        getattr(m, method)(1.0)
    assert m.w == 2.0
    assert m.settings == {"bias": 1.0}
    assert m.method(1.0) == m.plain(1.0)
    leave = cotan.jit(lambda m, x: setattr(m, "w", x), static_argnums=0)
    with pytest.raises(EscapedTracerError, match=r"into args\[0\]\.w"):
        leave(m, 1.0)
    assert m.w == 2.0


def test_an_instance_that_is_no_tree_is_refused_with_the_remedies():
    with pytest.raises(ArgumentTypeError, match=r"args\[0\] is a Model(.|\n)*register_pytree_node\(Model(.|\n)*static_argnums"):
        cotan.jit(lambda m, x: m.plain(x))(Model(2.0), 1.0)


def test_an_integer_that_no_array_holds_is_refused():
    f = cotan.jit(lambda x: x)
    for _ in range(2):
        with pytest.raises(ArgumentError, match=r"args\[0\] is the integer 1.000e\+30"):
            f(10**30)
        assert f(2**62) == 2**62


def test_a_static_instance_with_a_hash_of_its_own_is_known_by_its_value():
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        w: float

        @functools.partial(cotan.jit, static_argnums=0)
        def f(self, x):
            return self.w * x

    assert (Frozen(2.0).f(1.0), Frozen(3.0).f(1.0), Frozen(2.0).f(1.0)) == (2.0, 3.0, 2.0)
    assert Frozen.f.cache_info().misses == 2


class Holder:
    kind = 1.0

    def __init__(self, w):
        self.w = w


@dataclasses.dataclass(frozen=True)
class FrozenHolder:
    held: object


STATIC = {
    "tuple": (lambda o: (o,), lambda t: t[0].w),
    "nested": (lambda o: ((1, (o,)), "a"), lambda t: t[0][1][0].w),
    "partial": (lambda o: functools.partial(lambda o: o.w, o), lambda f: f()),
    "frozen dataclass": (FrozenHolder, lambda f: f.held.w),
    "class": (lambda o: type(o), lambda c: c.kind),
}


@pytest.mark.parametrize("name", STATIC)
def test_what_a_static_argument_holds_is_watched_too(name):
    class Mine(Holder):
        pass

    make, read = STATIC[name]
    held = Mine(2.0)
    static = make(held)
    f = cotan.jit(lambda s, x: read(s) * x, static_argnums=0)
    assert f(static, 1.0) == read(static)
    assert f(static, 1.0) == read(static)
    assert f.cache_info().misses == 1
    held.w, Mine.kind = 5.0, 5.0
    assert f(static, 1.0) == 5.0


def test_a_method_called_through_its_class_is_that_of_the_instance():
    class Base:
        def __init__(self, w):
            self.w = w

        @cotan.jit
        def f(self, x):
            return self.w * x

    class Child(Base):
        @cotan.jit
        def f(self, x):
            return Base.f(self, x) + super().f(x)

    child = Child(2.0)
    assert (Base.f(child, 1.0), child.f(1.0), Child.f(child, 1.0)) == (2.0, 4.0, 4.0)
    child.w = 3.0
    assert (Base.f(child, 1.0), child.f(1.0)) == (3.0, 6.0)


def test_an_instance_that_holds_deep_lists_has_jitted_methods():
    m = Model(2.0)
    deep = m.layers
    for _ in range(5000):
        deep.append([])
        deep = deep[-1]
    m.layers[0] = np.ones(2)
    assert m.method(1.0) == m.plain(1.0)


def test_a_call_is_tried_with_the_newest_code_first_and_falls_back():
    f = cotan.jit(lambda x, k=2.0: x * k)
    one, two = np.ones(3), np.ones((2, 2))
    for _ in range(3):
        np.testing.assert_array_equal(f(one), 2 * one)
        np.testing.assert_array_equal(f(two), 2 * two)
        np.testing.assert_array_equal(f(one, k=3.0), 3 * one)
        np.testing.assert_array_equal(f(one.astype(np.float32)), np.full(3, 2, np.float32))
        np.testing.assert_array_equal(f([1.0, 2.0][0]), 2.0)
    assert f.cache_info().misses == 5
    assert f.cache_info().hits == 10
    np.testing.assert_array_equal(cotan.grad(lambda x: cnp.sum(f(x)))(one), 2 * one)
    f.cache_clear()
    np.testing.assert_array_equal(f(one), 2 * one)
    np.testing.assert_array_equal(f(one), 2 * one)
    assert f.cache_info() == (1, 1, 1)


def test_static_values_that_are_equal_and_not_the_same_are_told_apart():
    sign = cotan.jit(cnp.copysign, static_argnums=1)
    for _ in range(2):
        assert [float(sign(1.0, s)) for s in (0.0, -0.0, np.float64(-0.0))] == [1.0, -1.0, -1.0]
    first = cotan.jit(lambda x, s: x * (1.0 if s[0] is True else 2.0) * np.copysign(1.0, s[1]), static_argnums=1)
    for _ in range(2):
        assert [float(first(1.0, s)) for s in ((True, 0.0), (1, 0.0), (1, -0.0))] == [1.0, 2.0, -2.0]

    class Sign:
        by = 0.0

        def __call__(self, x):
            return cnp.copysign(x, self.by)

    instance = Sign()
    of_instance = cotan.jit(instance)
    assert float(of_instance(1.0)) == 1.0
    instance.by = -0.0
    assert float(of_instance(1.0)) == -1.0


def test_a_failure_of_the_newest_code_is_raised_once_and_the_code_goes_on_working():
    f = cotan.jit(lambda k: 2**k)
    for _ in range(3):
        assert f(3) == 8
        with pytest.raises(ValueError, match="negative integer powers"):
            f(-1)
    assert f.cache_info() == (5, 1, 1)


@pytest.mark.parametrize("function", [np.sin, np.cumsum, np.linalg.inv, np.add.reduce], ids=lambda f: f.__name__)
def test_functions_of_numpy_carry_nothing_that_could_change(function):
    x = np.eye(2) + 0.5
    f = cotan.jit(function)
    np.testing.assert_allclose(np.asarray(f(x)), function(x), rtol=1e-14)
    assert f.objects == []
    assert f.watched is None


def test_an_instance_that_is_watched_is_looked_at_in_each_call():
    class Scale:
        def __init__(self):
            self.by = 2.0

        def __call__(self, x):
            return x * self.by

    scale = Scale()
    f, x = cotan.jit(scale), np.ones(2)
    for by in (2.0, 3.0, 3.0, 4.0):
        scale.by = by
        np.testing.assert_array_equal(f(x), by * x)
