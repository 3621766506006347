"""Arrays that a recording holds are read-only until all who hold them have given them back."""

import numpy as np

from cotan import Array
from cotan.core.borrowing import borrow, give_back


def test_a_view_waits_for_whoever_holds_what_it_views_through_another():
    root = np.zeros(4)
    middle = root[1:]
    view = middle.view(Array)
    assert view.base is middle
    middle.flags.writeable = False
    outer, inner = [], []
    borrow(root, outer)
    borrow(view, inner)
    give_back(inner)
    assert not view.flags.writeable
    give_back(outer)
    assert view.flags.writeable
    assert root.flags.writeable
