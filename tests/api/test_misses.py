"""A jitted function that is staged many times says once which argument varies, and what to do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.api.misses import MANY_MISSES

REMEDY = "What to do: "


def staged_often(f, *calls):
    """The texts of the warnings that calls cause."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for args, kwargs in calls:
            f(*args, **kwargs)
    assert {w.category for w in caught} <= {cotan.RecompilationWarning}
    return [str(w.message) for w in caught]


def calls(make, count=MANY_MISSES):
    return [(make(k), {}) for k in range(count)]


def test_the_warning_names_the_axis_that_varies_and_comes_once():
    f = cotan.jit(lambda w, x: x @ w, engine="numpy")
    (text,) = staged_often(f, *calls(lambda k: (np.ones(3), np.ones((k + 1, 3))), 3 * MANY_MISSES))
    assert f"has been staged {MANY_MISSES} times" in text
    assert f"axis 0 of args[1] ({MANY_MISSES}: 1, 2, 3, 4, ...)" in text
    assert "args[0]" not in text, "that one does not vary"
    assert "pad that axis" in text.split(REMEDY)[1]


def test_there_is_none_for_few_signatures():
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    assert staged_often(f, *calls(lambda k: (np.ones(k),), MANY_MISSES - 1)) == []
    assert staged_often(f, *calls(lambda k: (np.ones(k),), MANY_MISSES - 1)) == [], "these are hits"


def test_the_warning_is_at_the_line_of_the_call_and_filters_apply():
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    for k in range(MANY_MISSES - 1):
        f(np.ones(k))
    with pytest.warns(cotan.RecompilationWarning) as caught:
        f(np.ones(MANY_MISSES))
    assert caught[0].filename == __file__
    g = cotan.jit(lambda x: x * 2.0, engine="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.RecompilationWarning)
        for k in range(MANY_MISSES):
            g(np.ones(k))


def test_as_an_error_it_leaves_the_function_usable():
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error", cotan.RecompilationWarning)
        for k in range(MANY_MISSES - 1):
            f(np.ones(k))
        with pytest.raises(cotan.RecompilationWarning):
            f(np.ones(MANY_MISSES))
        np.testing.assert_array_equal(f(np.ones(MANY_MISSES)), np.full(MANY_MISSES, 2.0))


def test_a_leaf_of_a_tree_is_named_by_its_path():
    f = cotan.jit(lambda batch: cnp.sum(batch["x"]), engine="numpy")
    (text,) = staged_often(f, *calls(lambda k: ({"x": np.ones((2, k)), "y": 1.0},)))
    assert "axis 1 of args[0]['x']" in text


def test_dtypes_ranks_and_structures_are_told():
    kinds = [np.float32, np.float64, np.int64]
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    (text,) = staged_often(f, *calls(lambda k: (np.ones(k, kinds[k % 3]),)))
    assert "axis 0 of args[0]" in text
    assert "the dtype of args[0] (3: f32, f64, i64)" in text
    assert "convert that argument to one dtype" in text
    g = cotan.jit(lambda x: x * 2.0, engine="numpy")
    (text,) = staged_often(g, *calls(lambda k: (np.ones((1,) * (k % 32) + (k,)),)))
    assert "the number of axes of args[0] (32: 1, 2, 3, 4, ...)" in text
    h = cotan.jit(lambda xs: sum(xs), engine="numpy")
    (text,) = staged_often(h, *calls(lambda k: ([1.0] * (k + 1),)))
    assert f"the structure of the arguments ({MANY_MISSES}: " in text


def test_a_static_value_that_varies_is_told():
    f = cotan.jit(lambda x, n: x * n, static_argnames="n", engine="numpy")
    (text,) = staged_often(f, *[((1.0,), {"n": k}) for k in range(MANY_MISSES)])
    assert f"the static argument n ({MANY_MISSES}: 0, 1, 2, 3, ...)" in text or "the static argument args[1]" in text
    assert "as an ordinary argument" in text


def test_an_attribute_that_changes_is_told():
    class Model:
        w = 0.0

        @cotan.jit
        def __call__(self, x):
            return x * self.w

    model = Model()

    def calling(k):
        model.w = float(k)
        return model(1.0)

    (text,) = staged_often(calling, *calls(lambda k: (k,)))
    assert "self.w has changed" in text
    assert "pass a value that changes as an argument" in text


def test_code_for_several_sizes_is_advised_where_it_was_not_asked_for():
    f = cotan.jit(lambda x: x * 2.0, engine="numpy")
    (text,) = staged_often(f, *calls(lambda k: (np.ones(k),)))
    assert "dynamic_sizes" in text.split(REMEDY)[1]


def test_another_tree_is_said_once_in_an_explanation():
    f = cotan.jit(lambda x: x, engine="numpy")
    f(1.0)
    f([1.0])
    assert f.explain_miss().count("another tree") == 1
    f(np.ones(3))
    assert "args[0] is f64[3], where f64[]* was known" in f.explain_miss(), "a tree that is the same is nearer than another one"
