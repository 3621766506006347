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
