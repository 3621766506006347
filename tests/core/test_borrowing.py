"""Arrays that a recording holds are read-only until all holders have released them."""

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import Array
from cotan.core.borrowing import borrow, give_back
from cotan.errors import BorrowedArrayError


def test_a_view_waits_for_whoever_holds_what_it_views_through_another():
    root = np.zeros(4)
    middle = root[1:]
    view = middle.view(Array)
    assert view.base is middle
    middle.flags.writeable = False
    outer, inner = {}, {}
    borrow(root, outer)
    borrow(view, inner)
    give_back(inner)
    assert not view.flags.writeable
    give_back(outer)
    assert view.flags.writeable
    assert root.flags.writeable


@pytest.mark.parametrize("view", [False, True])
def test_an_array_that_is_needed_more_than_once_is_given_back(view):
    x = np.ones((3, 3))
    w = x[:2] if view else x
    cotan.grad(lambda v: cnp.sum(cnp.dot(w, v) * 2.0 + cnp.dot(w, cotan.grad(lambda u: cnp.sum(cnp.dot(w, u) ** 2))(v))))(np.ones(3))
    assert w.flags.writeable
    assert x.flags.writeable


PLACES = np.arange(3)
MADE = {
    "an array": lambda: np.arange(3.0),
    "a view": lambda: np.arange(6.0)[::2],
    "an Array": lambda: cnp.arange(3.0),
    "a view of an Array": lambda: cnp.arange(6.0)[::2],
}
HANDED_OVER = {
    "by vmap": lambda p, x: cnp.sum(cotan.vmap(lambda x, i: cnp.sum(p * x) * i, (None, 0))(x, PLACES)),
    "by vmap, then cut": lambda p, x: cnp.sum(cotan.vmap(lambda x, i: cnp.sum(p[1:] * x[1:]) * i, (None, 0))(x, PLACES)),
    "by vmap, then moved": lambda p, x: cnp.sum(cotan.vmap(lambda x, i: cnp.sum(p * x.reshape(3, 1)[:, 0]) * i, (None, 0))(x, PLACES)),
    "by jvp": lambda p, x: cotan.jvp(lambda q, x: cnp.sum(p * x * q), (2.0, x), (1.0, None))[1],
    "by a rule": lambda p, x: cnp.sum(product_by_rule(x, p)),
    "as it is": lambda p, x: cnp.sum(p * x),
}


@cotan.custom_jvp
def product_by_rule(x, p):
    return x * p


product_by_rule.defjvp(lambda primals, tangents: (product_by_rule(*primals), primals[0] * tangents[1]))


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("way", HANDED_OVER)
def test_a_kept_derivative_does_not_see_later_changes_of_what_was_handed_over(way, made):
    x, p = MADE[made](), np.ones(3)
    _, pull = cotan.vjp(lambda p: HANDED_OVER[way](p, x), p)
    _, push = cotan.linearize(lambda p: HANDED_OVER[way](p, x), p)
    pulled, pushed = pull(1.0)[0].copy(), float(push(p))
    x[:] = 100.0
    np.testing.assert_array_equal(pull(1.0)[0], pulled)
    assert float(push(p)) == pushed


def test_an_array_that_examples_share_cannot_be_changed_while_it_is_needed():
    def f(x, w):
        y = cnp.sum(x * w)
        w[0] = 5.0
        return y

    w = np.ones(3)
    with pytest.raises(BorrowedArrayError):
        cotan.grad(lambda x: cnp.sum(cotan.vmap(f, (0, None))(x, w)))(np.ones((2, 3)))
    w[0] = 2.0  # and can afterwards
