"""associative_scan equals the loop, in value and in its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError
from cotan.lax import associative_scan
from cotan.testing import check_grads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_products_of_matrices_in_order(n, reverse):
    m = RNG.normal(size=(n, 2, 2))
    found = associative_scan(cnp.matmul, m, reverse=reverse)
    expected, total = [], np.eye(2)
    for k in range(n - 1, -1, -1) if reverse else range(n):
        total = total @ m[k]
        expected.append(total)
    expected = expected[::-1] if reverse else expected
    np.testing.assert_allclose(found, np.array(expected).reshape(n, 2, 2), atol=1e-14)


def test_trees_axes_and_transformations():
    a, b = RNG.uniform(0.5, 1.5, (3, 6)), RNG.normal(size=(3, 6))

    def affine(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    def recurrence(a, b):
        return associative_scan(affine, (a, b), axis=1)[1]

    expected, x = np.zeros((3, 6)), np.zeros(3)
    for k in range(6):
        x = a[:, k] * x + b[:, k]
        expected[:, k] = x
    np.testing.assert_allclose(recurrence(a, b), expected)
    np.testing.assert_allclose(cotan.jit(recurrence)(a, b), expected)
    np.testing.assert_allclose(cotan.vmap(lambda a, b: associative_scan(affine, (a, b))[1])(a, b), expected)
    check_grads(recurrence, (a, b), order=2)


def test_lengths_and_axes_are_checked():
    with pytest.raises(ArgumentError, match="lengths disagree"):
        associative_scan(lambda a, b: a, (np.ones(3), np.ones(4)))
    with pytest.raises(ArgumentError, match="no axis 1"):
        associative_scan(cnp.add, np.ones(3), axis=1)
