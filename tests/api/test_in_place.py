"""Arrays that are changed in place: an array that a recording needs refuses the change, or was copied before."""

import threading
from functools import partial

import numpy as np
import pytest

import cotan
from cotan.errors import BorrowedArrayError

CHANGES = {
    "element": lambda buf, k: buf.__setitem__(k, k + 1.0),
    "whole": lambda buf, k: buf.__iadd__(1.0),
    "out": lambda buf, k: np.add(buf, 1.0, out=buf),
    "fill": lambda buf, k: buf.fill(k),
    "through its base": lambda buf, k: buf.base.fill(k),
}


def refilled(change, x):
    buf = np.zeros((2, 3))[0] if change == "through its base" else np.zeros(3)
    total = 0.0
    for k in range(3):
        CHANGES[change](buf, k)
        total = total + (buf * x).sum()
    return total


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("transformation", [cotan.grad, cotan.jit, cotan.hessian, lambda f: cotan.jit(cotan.grad(f)), cotan.jacfwd])
def test_a_buffer_that_the_derivative_needs_cannot_be_refilled(change, transformation):
    with pytest.raises(BorrowedArrayError, match="in place"):
        transformation(partial(refilled, change))(np.ones(3))


@pytest.mark.parametrize("change", CHANGES)
def test_where_nothing_is_kept_a_buffer_can_be_refilled(change):
    x = np.array([1.0, 2.0, 3.0])
    expected = refilled(change, x)
    assert float(cotan.jvp(partial(refilled, change), (x,), (x,))[0]) == expected
    assert float(cotan.vmap(partial(refilled, change))(x[None])[0]) == expected


@pytest.mark.parametrize("f", [lambda b, x: (b * x).sum(), lambda b, x: x @ b, lambda b, x: (x / b[1:]).sum() if x.size == 2 else x @ b])
def test_arrays_are_writable_again_afterwards(f):
    b, x = np.ones(3), np.ones(3)
    for run in (cotan.grad(partial(f, b)), cotan.jit(partial(f, b)), cotan.hessian(partial(f, b))):
        run(x)
        b[0] += 1
    with pytest.raises(ZeroDivisionError):
        cotan.grad(lambda x: (b * x).sum() + 1 / 0)(x)
    b[0] = 5.0


def test_a_nested_recording_does_not_give_back_what_an_outer_one_holds():
    b = np.ones(3)

    def f(x):
        y = (b * x).sum()
        cotan.grad(lambda z: (b * z).sum())(np.ones(3))
        b[0] = 7.0
        return y

    with pytest.raises(BorrowedArrayError):
        cotan.grad(f)(np.ones(3))
    assert b.flags.writeable


def test_a_view_waits_for_its_base_which_another_recording_holds():
    whole = np.ones((2, 3))
    view = whole[0]

    def f(x):
        y = (whole @ x).sum()
        cotan.grad(lambda z: (view * z).sum())(np.ones(3))
        assert not view.flags.writeable
        return y

    cotan.grad(f)(np.ones(3))
    assert view.flags.writeable
    assert whole.flags.writeable
    whole.flags.writeable = False
    cotan.grad(lambda x: (view * x).sum())(np.ones(3))  # its base is the user's to lock
    assert view.flags.writeable


def test_a_read_only_array_of_the_user_stays_so_and_its_error_is_numpys():
    b = np.ones(3)
    b.flags.writeable = False

    def f(x):
        b[0] = 2.0
        return x.sum()

    with pytest.raises(ValueError, match="read-only") as caught:
        cotan.grad(f)(np.ones(3))
    assert not isinstance(caught.value, BorrowedArrayError)
    cotan.grad(lambda x: (b * x).sum())(np.ones(3))
    assert not b.flags.writeable


def test_memory_that_numpy_does_not_own_is_left_alone():
    b = np.frombuffer(bytearray(np.ones(3).tobytes()))
    cotan.grad(lambda x: (b * x).sum())(np.ones(3))
    b[0] = 2.0
    assert b[0] == 2.0


def test_what_a_pullback_needs_is_its_own():
    x, w, m = np.ones(3), np.arange(3.0), np.arange(9.0).reshape(3, 3)
    view = m[1]

    def f(x):
        return (w * x).sum() + (m @ x).sum() * x[0] + (view / x).sum()

    _, pull = cotan.vjp(f, x)
    _, push = cotan.linearize(f, x)
    expected, pushed = pull(1.0)[0], push(np.array([1.0, 2.0, 3.0]))
    for array in (x, w, m):
        array[...] = -1.0
    np.testing.assert_array_equal(pull(1.0)[0], expected)
    np.testing.assert_array_equal(push(np.array([1.0, 2.0, 3.0])), pushed)


def test_a_pullback_does_not_copy_what_only_it_holds():
    kept = []

    def f(x):
        y = cotan.numpy.sin(x)
        kept.append(y)
        return (y @ y) * 2.0

    from cotan.core.borrowing import copies_of_shared
    from cotan.transforms.linearize import linearize_flat

    _, tape, _, _ = linearize_flat(lambda x: [f(x)], [np.ones(1000)], [True])
    kept.clear()
    arrays = [x for e in tape.equations for x in e.inputs if isinstance(x, np.ndarray)]
    assert arrays
    count = len({id(x) for x in arrays})
    del arrays
    assert len(copies_of_shared(x for e in tape.equations for x in e.inputs)) < count


def test_threads_may_borrow_one_array():
    b = np.ones(100)
    failures = []

    def work():
        try:
            for _ in range(200):
                cotan.grad(lambda x: (b * x).sum())(b)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    b[0] = 2.0
