"""Loop fusion: a function of rows is vectorized although inner loops read the rows."""

import re

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp

rng = np.random.default_rng(7)


def log_of_rows(x):
    return cnp.sum(cnp.log(cnp.sum(cnp.exp(x), axis=1)) ** 2)


def in_loops(function, *operands):
    """The loops around each op, by the numbers of their turns."""
    (program, *_) = cotan.compile_report(cotan.jit(function))(*operands).programs
    path, found = [], {}
    for line in program.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        path[depth:] = []
        loop = re.match(r" *for (\d+)", line)
        if loop:
            path.append(int(loop[1]))
        else:
            found |= {name.split(" ->")[0]: tuple(path) for name in line.strip().split(", ")}
    return program, found


@pytest.mark.parametrize(("turns", "width", "nests"), [(500, 11, 2), (500, 100, 1), (9, 11, 1)])
def test_a_function_of_short_rows_has_a_loop_of_its_own(turns, width, nests):
    x = rng.normal(size=(turns, width))
    program, loops = in_loops(log_of_rows, x)
    assert (loops["exp"], loops["log"]) == ((turns, width), (turns,))
    assert program.count(f"\n  for {turns}:") == nests
    np.testing.assert_allclose(cotan.jit(log_of_rows)(x), np.sum(np.log(np.sum(np.exp(x), axis=1)) ** 2), rtol=1e-13)


def test_a_function_of_all_elements_is_not_among_short_rows():
    """The products need the rows, and the function is vectorized over all elements."""
    m, y = rng.normal(size=(500, 7, 5)), rng.normal(size=(500, 5))

    def f(m, y):
        return cnp.tanh(cotan.vmap(cnp.matmul)(m, y)) * 0.5

    program, loops = in_loops(f, m, y)
    assert loops["tanh"] == (500, 7)
    assert program.count("\n  for 500:") == 2
    np.testing.assert_allclose(cotan.jit(f)(m, y), f(m, y), rtol=1e-12, atol=1e-14)
    gradient = cotan.grad(lambda m, y: cnp.sum(f(m, y) ** 2), (0, 1))
    for a, b in zip(cotan.jit(gradient)(m, y), gradient(m, y), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_what_is_read_of_a_gathered_row_is_computed_in_vectors():
    table, which, points = rng.normal(size=(7, 11)), rng.integers(7, size=500), rng.normal(size=(500, 3))

    def loss(table, points):
        rows = table[which]
        angle = cnp.sqrt(rows[:, 0] ** 2 + rows[:, 1] ** 2)
        return cnp.sum(cnp.sin(angle) * rows[:, 9] * points[:, 1]) + cnp.sum(rows * rows[:, :1])

    program, loops = in_loops(loss, table, points)
    assert loops["gather"] == (500, 11)
    assert loops["sin"] == loops["sqrt"] == (500,)
    assert program.count("\n  for 500:") == 2
    for f in (loss, cotan.grad(loss, argnums=(0, 1))):
        for a, b in zip(cotan.tree.leaves(cotan.jit(f)(table, points)), cotan.tree.leaves(f(table, points)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def program_and_result(function, *operands):
    """The loops and the workspace of a function, whose compiled results are checked against the eager ones."""
    compiled = cotan.jit(function)(*operands)
    for a, b in zip(cotan.tree.leaves(compiled), cotan.tree.leaves(function(*operands)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    (program, *_) = cotan.compile_report(cotan.jit(function))(*operands).programs
    return program


def test_the_gradient_of_a_difference_is_one_loop():
    x, w = rng.normal(size=5000), rng.normal(size=4999)
    program = program_and_result(cotan.grad(lambda x, w: cnp.sum(w * cnp.diff(x))), x, w)
    assert re.findall(r"for (\d+)", program) == ["5000"]
    assert "add_slice" not in program


def test_a_cheap_value_that_is_padded_is_computed_where_it_is_put():
    x, w = rng.normal(size=5000), rng.normal(size=4998)
    program = program_and_result(lambda x, w: cnp.pad(w * x[1:-1], 1), x, w)
    assert re.findall(r"for (\d+)", program) == ["5000"]
    costly = program_and_result(lambda x, w: cnp.pad(cnp.floor(1e-9 + w) ** 8 * cnp.floor(x[1:-1]) ** 9, 1), x, w)
    assert re.findall(r"for (\d+)", costly) == ["4998", "5000"]


def test_a_cheap_value_is_computed_where_its_parts_are():
    x, y = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3))

    def halves(x, y):
        z = x * y
        return z[:1000], z[1000:]

    program = program_and_result(halves, x, y)
    assert "mul" not in program


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: (lambda z: (z[:1500], z[500:]))(x * y),  # some elements would be computed twice
        lambda x, y: (lambda z: (z[:1000], cnp.sum(z)))(x * y),
        lambda x, y: (lambda z: cnp.broadcast_to(z, (3, *z.shape)))(x * y),
        lambda x, y: (lambda z: z.T)(x * y),
        lambda x, y: (lambda z: (z[::-1], z))(x * y),
        lambda x, y: (lambda z: (cnp.roll(z, 3, axis=0), cnp.roll(z, 5, axis=0)))(x * y),
        lambda x, y: cnp.roll(x * y, 3, axis=0),
        lambda x, y: cnp.concatenate([x * y, x + y]),
        lambda x, y: cnp.concatenate([x * y, x + y])[::2],
    ],
)
def test_values_that_movements_read_are_the_same_in_loops_of_their_own_and_of_others(function):
    x, y = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3))
    program_and_result(function, x, y)
    program_and_result(cotan.grad(lambda x, y: sum(cnp.sum(z * z) for z in cotan.tree.leaves(function(x, y))), (0,)), x[:40], y[:40])


def test_a_product_with_one_is_left_out():
    x = rng.normal(size=5000)
    x[:4] = np.nan, np.inf, -0.0, 0.0
    program = program_and_result(lambda x: np.float64(1.0) * x, x)
    assert "mul" not in program
    assert cotan.jit(lambda x: np.float64(1.0) * x)(x).tobytes() == x.tobytes()
    assert "mul" in program_and_result(lambda x: np.float64(-1.0) * x, x)
    program = program_and_result(cotan.grad(lambda x, w: cnp.sum(w * x[1:])), x, x[1:])
    assert "scale" not in program
    for dtype in (np.float32, np.int64, np.complex64):
        y = np.arange(5000).astype(dtype)
        assert cotan.jit(lambda y, dtype=dtype: dtype(1) * y)(y).tobytes() == y.tobytes()
    for y in (np.arange(3), np.float32(2.0), 2):
        assert cotan.jit(lambda y: 1.0 * y)(y).dtype == np.asarray(1.0 * y).dtype
