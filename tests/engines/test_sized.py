"""Sized code is the code that is written for each size, as a text, with the numbers of that size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.sizes import SizeLog
from cotan.engines.native.pipeline import LoweredProgram
from cotan.engines.native.sized import UnsizedError, number_text, slot_of

from .fuzz_sizes import differences, exact, outcome, resized, sized

rng = np.random.default_rng(0)
W = [rng.normal(size=(8, 16)), rng.normal(size=(16, 16)), rng.normal(size=(16, 1))]


def mlp(x):
    h = x
    for w in W[:-1]:
        h = cnp.tanh(h @ w)
    return cnp.mean((h @ W[-1]) ** 2)


def kalman(x):
    def step(state, y):
        mean, variance = state
        gain = variance / (variance + 0.5)
        mean = mean + gain * (y - mean)
        return (mean, (1 - gain) * variance + 0.1), mean

    return cnp.sum(lax.scan(step, (0.0, 1.0), x)[1] ** 2)


def softmax_rows(x):
    e = cnp.exp(x - cnp.max(x, axis=1, keepdims=True))
    return cnp.sum((e / cnp.sum(e, axis=1, keepdims=True)) ** 2)


FUNCTIONS = {
    "log density": (cotan.value_and_grad(lambda x: cnp.sum(-0.5 * ((x - 0.3) / 2.0) ** 2 - np.log(2.0))), (300,), (300,)),
    "mean": (cotan.value_and_grad(lambda x: cnp.mean(cnp.sin(x))), (100,), (100,)),
    "mean, float32": (lambda x: cnp.mean(cnp.sin(x.astype(np.float32))), (100,), (100,)),
    "variance": (cotan.grad(lambda x: cnp.var(x) + cnp.std(x, ddof=1)), (100,), (100,)),
    "scaled": (lambda x: x / x.shape[0] + x.size * 0.5 - 1.0 / (x.shape[0] - 1), (100,), (100,)),
    "root": (lambda x: x / np.sqrt(x.shape[0]) + x.shape[0] ** 0.5, (100,), (100,)),
    "network": (cotan.value_and_grad(mlp), (100, 8), (100,)),
    "scan": (cotan.value_and_grad(kalman), (100,), (100,)),
    "loop": (cotan.grad(lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: cnp.sin(c) + x[i], 0.0)), (100,), (100,)),
    "reshape": (cotan.grad(lambda x: cnp.sum(cnp.exp(x.reshape(-1, 4)).sum(axis=1) ** 2)), (400,), (400,)),
    "pairs": (cotan.grad(lambda x: cnp.sum(cnp.exp(-((x[:, None] - x[None, :]) ** 2)))), (100,), (100,)),
    "slices": (lambda x: cnp.concatenate([x[1:] - x[:-1], x[::-1], x[x.shape[0] // 2 :], cnp.pad(x, 2)]), (100,), (100,)),
    "last": (cotan.grad(lambda x: x[-1] * x[0] + x[x.shape[0] - 2]), (100,), (100,)),
    "running": (cotan.grad(lambda x: cnp.sum(cnp.cumsum(x) ** 2)), (100,), (100,)),
    "sorted": (lambda x: cnp.sort(x), (100,), (100,)),
    "rows": (cotan.grad(softmax_rows), (100, 48), (100,)),
    "product": (cotan.grad(lambda x: cnp.sum(cnp.tanh(x @ x.T) @ x)), (100, 40), (100,)),
    "solve": (lambda x: cnp.linalg.solve(x.T @ x + 40.0 * cnp.sum(x) ** 0, x[0]), (100, 40), (100,)),
    "batch": (cotan.vmap(cotan.grad(kalman)), (70, 48), (70,)),
    "branch": (lambda x: cnp.sum(x) if x.shape[0] > 110 else cnp.sum(x**2), (100,), (100,)),
    "zeros": (lambda x: cnp.zeros_like(x) + cnp.ones(x.shape) * 2.0 + cnp.full(x.shape, 3.0), (2000,), (2000,)),
    "iota": (lambda x: x * lax.iota(np.int64, x.shape[0]), (100,), (100,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_is_the_code_for_each_size(name):
    f, shape, lengths = FUNCTIONS[name]
    inputs = [rng.normal(size=shape)]
    code = sized(f, inputs, lengths)
    served = 0
    for change in (-99, -98, -93, -84, -67, -52, -36, -10, -1, 1, 4, 5, 11, 20, 27, 28, 29, 100, 201, 901, 1000, 3999):
        trial = {n: max(n + change * (4 if name == "reshape" else 1), 1) for n in lengths}
        verdict = differences(f, inputs, code, trial)
        assert verdict in ("agrees", "another path"), (trial, verdict)
        served += verdict == "agrees"
        caller = code.caller(list(trial.values()), False)
        if caller is not None:
            xs = [resized(x, trial) for x in inputs]
            found, expected = caller.call(xs), cotan.tree.leaves(cotan.jit(f, engine="numpy")(*xs))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5 if a.dtype == np.float32 else 1e-9, atol=1e-9)
    assert served >= 3


def test_there_is_none_for_a_function_that_looks_at_a_size():
    for f in (
        lambda x: x * np.arange(x.shape[0]),
        lambda x: sum(x[i] for i in range(x.shape[0])),
        lambda x: x / len(x),
        lambda x: x * {100: 2.0}.get(x.shape[0], 1.0),
    ):
        with pytest.raises(UnsizedError, match="looks at a size"):
            sized(f, [np.ones(100)], [100])


def test_there_is_none_where_symbols_are_treated_otherwise_than_numbers():
    with pytest.raises(UnsizedError, match="another than that for symbols"):
        sized(lambda x: x * 2.0 if type(x.shape[0]) is int else x * 3.0, [np.ones(100)], [100])


def test_there_is_none_with_a_callback():
    shape = cotan.ShapeDtypeStruct((), float)
    with pytest.raises(UnsizedError, match="calls back"):
        sized(lambda x: x * cotan.pure_callback(lambda: 1.0, shape), [np.ones(100)], [100])


def test_a_difference_from_exact_code_is_seen():
    """A code for n is not taken for code for another function."""
    code = sized(lambda x: cnp.sin(x) * 2.0, [np.ones(100)], [100])
    assert code.agrees([120], LoweredProgram(exact(lambda x: cnp.sin(x) * 2.0, [np.ones(120)]).program))
    assert not code.agrees([120], LoweredProgram(exact(lambda x: cnp.sin(x) * 2.5, [np.ones(120)]).program))
    assert not code.agrees([120], LoweredProgram(exact(lambda x: cnp.sin(x) * 2.0, [np.ones(121)]).program))
    assert not code.confirm([120], exact(lambda x: cnp.cos(x) * 2.0, [np.ones(120)]).program, SimpleNamespace(donated=()))
    assert code.unconfirmed == {0}
    assert code.confirm([120], exact(lambda x: cnp.sin(x) * 2.0, [np.ones(120)]).program, SimpleNamespace(donated=()))
    assert not code.unconfirmed


def test_a_size_that_was_not_tried_is_trusted_at_its_value_alone():
    f = lambda x: cnp.sum(x, axis=1)  # noqa: E731
    code = sized(f, [np.ones((100, 40))], [100, 40])
    assert code.is_trusted([100, 40])
    assert not code.is_trusted([120, 40])
    assert code.confirm([120, 40], exact(f, [np.ones((120, 40))]).program, SimpleNamespace(donated=()))
    assert code.is_trusted([130, 40])
    assert not code.is_trusted([130, 41])


def test_numbers_are_written_as_exact_code_has_them():
    assert number_text(-3, "i64") == "-3"
    assert number_text(1.5, "double") == "0x3FF8000000000000"
    assert number_text(np.float32(0.1), "float") == f"0x{np.float64(np.float32(0.1)).view(np.uint64):016X}"
    assert np.int64(slot_of(1.5, "double")).view(np.float64) == 1.5
    assert np.int64(slot_of(np.float32(0.1), "float")).astype(np.int32).view(np.float32) == np.float32(0.1)
    with pytest.raises(OverflowError):
        slot_of(2**31, "i32")


def test_code_that_a_remainder_chooses_serves_the_sizes_of_that_remainder():
    """Rows are transposed by blocks of eight where they fill these."""

    def f(x):
        return cnp.sum(cnp.sort(x, axis=1)[:, 0])

    code = sized(f, [rng.normal(size=(50, 40))], [50, 40])
    verdicts = {n: differences(f, [rng.normal(size=(50, 40))], code, {50: 50, 40: n}) for n in range(34, 70)}
    assert set(verdicts.values()) <= {"agrees", "another path"}
    assert [n for n, verdict in verdicts.items() if verdict == "agrees"] == [40, 48, 56]


def test_a_closed_log_has_no_further_steps():
    log = SizeLog()
    n = log.variable(3)
    log.close()
    assert n > 2
    assert not log.steps


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    assert not [verdict for verdict in outcome(seed) if verdict.startswith("different")]
