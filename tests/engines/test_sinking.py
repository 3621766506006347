"""Large values are computed late: compiled gradients, with and without checkpoints, keep what `memory_plan` says and no more."""

from __future__ import annotations

import re

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines.native.options import CodegenOptions, codegen_options
from cotan.engines.native.passes.sinking import computed_late, sink

rng = np.random.default_rng(0)
ROWS, N, LAYERS = 1200, 120, 8
WS, X = [rng.normal(size=(N, N)) / 11 for _ in range(LAYERS)], rng.normal(size=(ROWS, N))


def network(blocks, wrap=lambda f: f):
    """Layers of tanh, ``blocks`` in each part that ``wrap`` wraps."""

    def part(h, ws):
        for w in ws:
            h = cnp.tanh(h @ w)
        return h

    def loss(ws, x):
        h = x
        for k in range(0, LAYERS, blocks):
            h = wrap(part)(h, ws[k : k + blocks])
        return cnp.sum(h**2)

    return loss


def order(f, *args, **options):
    """The names of the operations of a staged function, as the pass orders them."""
    with codegen_options(sunk_bytes=0, **options) as chosen:
        program = cotan.stage(f)(*args)
        return [e.op.name for e in sink(program, chosen, program.inputs)[0].equations]


# ---- the order --------------------------------------------------------------------------------------------------------------
def test_a_value_is_computed_where_it_is_read():
    def f(x, w):
        y = cnp.tanh(x)
        d = 1.0 - y * y
        z = (y @ w) @ w
        return z * d + y

    assert order(f, X, WS[0]) == ["tanh", "dot_general", "dot_general", "mul", "sub", "mul", "add"]


def test_a_value_stays_if_its_operand_would_have_to_live_longer():
    def f(x, w):
        d = cnp.cos(x @ w)
        z = (x @ x.T @ x) @ w
        return z * d

    assert order(f, X, WS[0]).index("cos") == 1


def test_a_mask_stays_where_it_is_smaller_than_its_operand():
    def f(x, w):
        y = x @ w
        positive = y > 0.0
        z = (cnp.exp(y) @ w) @ w
        return cnp.where(positive, z, 0.0)

    assert order(f, X, WS[0]).index("greater") == 1


def test_a_value_of_the_arguments_is_computed_late():
    def f(x, w):
        d = cnp.cos(x)
        return ((x @ w) @ w) * d

    assert order(f, X, WS[0])[-2:] == ["cos", "mul"]


def test_results_and_small_values_stay():
    def f(x, w):
        y = cnp.tanh(x @ w)
        return y * y, (y @ w) @ w + y

    assert order(f, X, WS[0])[2] == "mul"
    program = cotan.stage(f)(X[:2], WS[0])
    assert sink(program, CodegenOptions(), program.inputs) == (program, {})


def test_what_is_updated_in_place_is_read_before():
    """A later read of the old array would cost a copy of it."""

    def f(x, w, v):
        y = cnp.tanh(x @ w)
        d = 1.0 - y * y
        y = y.at[3].set(v)
        return (y @ w) @ w * d

    found = order(f, X, WS[0], np.ones(N))
    assert found.index("sub") < next(k for k, name in enumerate(found) if "scatter" in name or "update" in name)


def test_what_a_reader_may_compute_from_the_rest():
    program = cotan.stage(lambda x, w: (lambda y: (y, 1.0 - y * y, cnp.cos(y @ w), cnp.sin(x)))(cnp.tanh(x @ w)))(X, WS[0])
    with codegen_options(sunk_bytes=0):
        assert computed_late(program) == [False, True, False, True]


# ---- values -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wrap", [lambda f: f, cotan.checkpoint, cotan.jit])
@pytest.mark.parametrize("blocks", [1, 4, LAYERS])
@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_gradients_are_as_before(blocks, wrap, argnums):
    gradient = cotan.grad(network(blocks, wrap), argnums)
    expected = gradient(WS, X[:64])
    with codegen_options(sunk_bytes=0):
        found = cotan.jit(lambda *a: gradient(*a))(WS, X[:64])
    assert cotan.tree.structure(found) == cotan.tree.structure(expected)
    for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("f", [
    lambda x: cnp.sum(lax.scan(lambda c, _: (cotan.checkpoint(lambda c: cnp.sin(c) * c)(c), None), x, None, length=3)[0]),
    lambda x: cnp.sum(cotan.checkpoint(lambda y: cotan.checkpoint(lambda z: cnp.tanh(z) ** 3)(cnp.exp(-y * y)) * y)(x)),
    lambda x: cnp.sum(cotan.checkpoint(lambda y: (cnp.cos(y), y, y, 1.0))(x)[0] * x),
    lambda x: cnp.sum(cnp.sort(cnp.tanh(x) * x) * cnp.cumsum(cnp.exp(x), axis=0)),
    lambda x: cnp.max(cnp.tanh(x.T @ x) ** 2) + cnp.sum(cnp.where(x > 0, x, cnp.sin(x))),
])  # fmt: skip
def test_other_programs_are_as_before(f):
    x = rng.normal(size=(6, 5))
    for g in (cotan.grad(f), cotan.hessian(f)):
        with codegen_options(sunk_bytes=0):
            found = cotan.jit(lambda x, g=g: g(x))(x)
        np.testing.assert_allclose(found, g(x), rtol=1e-10, atol=1e-12)


# ---- memory -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("argnums", [0, 1])
@pytest.mark.parametrize(("blocks", "wrap", "arrays"), [
    (1, lambda f: f, LAYERS + 1), (1, cotan.checkpoint, LAYERS + 1), (4, cotan.checkpoint, 6), (LAYERS, cotan.checkpoint, LAYERS + 1),
])  # fmt: skip
def test_the_workspace_is_what_the_plan_says(blocks, wrap, arrays, argnums):
    """And three arrays with which the computation is busy."""
    loss = network(blocks, wrap)
    with codegen_options(sunk_bytes=0, strip_stored_bytes=1 << 60):
        plan = cotan.memory_plan(loss, argnums)(WS, X)
        workspace = cotan.compile_report(cotan.grad(loss, argnums))(WS, X).workspace
    assert plan.compiled_peak <= arrays * X.nbytes
    assert plan.compiled_peak <= workspace <= plan.compiled_peak + 3 * X.nbytes


@pytest.mark.parametrize("strips", [{}, {"strip_axis": 16, "strip_stored_bytes": 1, "strip_overhead": 1 << 40}])
def test_what_a_checkpoint_computes_again_is_made_for_one_layer_at_a_time(strips):
    """The gradients of a skip connection read the input of the layer alone, and could all be made at once."""
    layer = cotan.checkpoint(lambda h, w: cnp.tanh(h @ w) + h * 0.5 * cnp.cos(h))

    def loss(ws, x):
        for w in ws:
            x = layer(x, w)
        return cnp.sum(x * x)

    with codegen_options(sunk_bytes=0, **strips or {"strip_stored_bytes": 1 << 60}):
        for argnums in (0, 1):
            gradient = cotan.grad(loss, argnums)
            assert cotan.compile_report(gradient)(WS, X).workspace <= (LAYERS + 11) * X.nbytes
            for a, b in zip(cotan.tree.leaves(cotan.jit(gradient)(WS, X)), cotan.tree.leaves(gradient(WS, X)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_the_plan_says_what_is_late_and_what_a_checkpoint_computes_again():
    with codegen_options(sunk_bytes=0):
        plain = cotan.memory_plan(network(1))(WS, X)
        again = cotan.memory_plan(network(4, cotan.checkpoint))(WS, X)
    assert (plain.nbytes, plain.recomputed) == (2 * LAYERS * X.nbytes, 0)
    assert [r.op for r in plain.residuals if r.late] == ["sub"] * (LAYERS - 1)
    assert plain.compiled_nbytes == (LAYERS + 1) * X.nbytes
    assert "sub" in next(line for line in str(plain).splitlines() if "late if compiled" in line)
    assert again.recomputed in (7 * X.nbytes, 8 * X.nbytes)
    assert again.compiled_recomputed in (3 * X.nbytes, 4 * X.nbytes)
    assert re.search(r"keeps [\d,]+ bytes, and [\d,]+ more while a checkpoint is computed again; compiled [\d,]+ and [\d,]+", str(again))


def test_strips_do_not_read_large_weights_again_and_again():
    """The weights and their totals take more memory than what lies between the products of a short strip."""
    with codegen_options(strip_stored_bytes=1 << 18, strip_products_per_byte=1 << 20, threads=2):
        few = cotan.compile_report(cotan.grad(network(1)))(WS, X)
    rows = [int(n) for text in few.programs for n in re.findall(r"strips\[(\d+) of", text)]
    moved = 3 * sum(w.nbytes for w in WS)
    assert all(ROWS // n * moved <= 3 * LAYERS * X.nbytes for n in rows)
