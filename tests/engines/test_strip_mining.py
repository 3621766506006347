"""Strip-mining: a Program in strips equals the whole Program, and only ops that read each row separately are in a strip."""

from dataclasses import asdict

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines import numpy as numpy_engine
from cotan.engines.native.options import CodegenOptions, codegen_options
from cotan.engines.native.passes import strip_mining
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.passes.strip_op import Strips
from cotan.engines.native.runtime.thread_pool import limited

rng = np.random.default_rng(8)
W, V = rng.normal(size=(20, 20)), rng.normal(size=(20, 12))
STACK = rng.normal(size=(7, 20, 20))


DEFAULTS = CodegenOptions()
SMALL_STRIPS = {
    "strip_axis": 32, "strip_stored_bytes": 1, "least_strip": 4, "most_strip": 16, "strip_products_per_byte": 1 << 40,
    "strip_overhead": 1 << 40,
}  # fmt: skip


@pytest.fixture(autouse=True)
def everything_in_strips():
    """A lower threshold: small Programs are strip-mined as well, into strips of at most this many rows."""
    with codegen_options(**SMALL_STRIPS):
        yield


def strips_of(f, *args):
    """The strips of a function's Program, and that Program in strips."""
    staged = cotan.stage(f)(*args)
    program, constants = simplify(staged)
    found = strip_mining.strip_mine(program)
    return [e for e in found.equations if isinstance(e.op, Strips)], found, [*constants, *staged.constants]


def check(f, *args, cut=1):
    """Both engines on the Program in strips, on one and two threads, next to NumPy on the whole; ``cut``: how many strips there are."""
    strips, program, constants = strips_of(f, *args)
    assert cut is None or len(strips) == cut
    expected = cotan.tree.leaves(cotan.jit(f, engine="numpy")(*args))
    by_numpy = numpy_engine.run(program, [*constants, *cotan.tree.leaves(args)])
    native = cotan.jit(f)
    for threads in (1, 2):
        with limited(threads):
            found = cotan.tree.leaves(native(*args))
            assert all(np.array_equal(a, b) for a, b in zip(found, cotan.tree.leaves(native(*args)), strict=True))
        for x, y, z in zip(found, by_numpy, expected, strict=True):
            scale = np.abs(z).max(initial=1e-300)
            np.testing.assert_allclose(np.asarray(x) / scale, z / scale, rtol=0, atol=1e-12)
            np.testing.assert_allclose(y / scale, z / scale, rtol=0, atol=1e-12)


def two_products(x, w, v):
    return cnp.tanh(cnp.tanh(x @ w) @ v)


@pytest.mark.parametrize("rows", [32, 33, 48, 97, 160, 161, 1000])
def test_rows_between_two_products(rows):
    check(two_products, rng.normal(size=(rows, 20)), W, V)


@pytest.mark.parametrize("rows", [64, 65, 131])
def test_gradients_sum_over_the_strips(rows):
    x = rng.normal(size=(rows, 20))
    check(cotan.value_and_grad(lambda w, v: cnp.sum(two_products(x, w, v) ** 2), (0, 1)), W, V)
    check(cotan.grad(lambda x: cnp.sum(two_products(x, W, V) ** 2)), x)


def test_rows_that_are_not_the_first_axis():
    x = rng.normal(size=(20, 90))
    check(lambda x: cnp.tanh(W @ cnp.tanh(W @ x)), x)
    check(lambda x: cnp.sum(cnp.tanh(W @ cnp.tanh(W @ x)), 1), x)
    check(lambda x: cnp.einsum("kij,nkj->nki", STACK, cnp.tanh(cnp.einsum("kij,jn->nki", STACK, x))), x)


def test_a_softmax_of_each_row_is_in_the_strip_and_one_over_the_rows_waits_for_the_maximum():
    x = rng.normal(size=(96, 20))

    def along(axis):
        def f(x):
            y = x @ W
            e = cnp.exp(y - cnp.max(y, axis, keepdims=True))
            return (e / cnp.sum(e, axis, keepdims=True)) @ V

        return f

    check(along(1), x)
    strips, program, _ = strips_of(along(0), x)
    assert [e.op.name for e in program.equations].index("reduce_max") < program.equations.index(strips[0])
    check(along(0), x)


def test_what_needs_a_total_comes_after_it():
    x = rng.normal(size=(96, 20))

    def f(x):
        y = cnp.tanh(cnp.tanh(x @ W) @ W)
        centred = y - cnp.sum(y, 0) / 96
        return cnp.tanh(centred @ W) @ V, cnp.sum((centred @ W) ** 2, 0)

    strips, *_ = strips_of(f, x)
    assert len(strips) == 2
    check(f, x, cut=2)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x @ W)[::-1] @ W,
        lambda x: cnp.roll(x @ W, 1, 0) @ W,
        lambda x: cnp.cumsum(x @ W, 0) @ W,
        lambda x: (cnp.arange(96.0)[:, None] * (x @ W)) @ W,
        lambda x: cnp.tril(x @ cnp.transpose(x)) @ x,
        lambda x: cnp.sort(x @ W, 0) @ W,
        lambda x: cnp.concatenate([x @ W, x @ W], 0) @ W,
        lambda x: cnp.where(cnp.arange(96)[:, None] < 50, x @ W, x) @ W,
    ],
)
def test_what_reads_other_rows_is_not_in_a_strip(f):
    x = rng.normal(size=(96, 20))
    strips, *_ = strips_of(f, x)
    check(f, x, cut=len(strips))
    for e in strips:
        assert {q.op.name for q in e.op.body.equations}.isdisjoint({"reverse", "cumsum", "sort", "concatenate", "iota"})


@pytest.mark.parametrize(
    "part", [lambda x: x[:48], lambda x: x[:40], lambda x: x[40:], lambda x: x[::2], lambda x: cnp.pad(x, ((0, 30), (0, 0)))], ids=range(5)
)
def test_a_part_of_the_rows_has_an_axis_of_its_own(part):
    def f(x):
        a, b = two_products(x, W, V), two_products(part(x), W, V)
        return a, b, cnp.sum(a**2, 0), cnp.sum(b**2, 0)

    x = rng.normal(size=(96, 20))
    check(f, x)
    both = cotan.value_and_grad(lambda x: sum(cnp.sum(y**2) for y in f(x)))
    strips, *_ = strips_of(both, x)
    check(both, x, cut=len(strips))


def test_slices_and_pads_of_each_row():
    x = rng.normal(size=(96, 24))
    check(lambda x: cnp.pad(cnp.tanh(x[:, 2:22] @ W)[:, :12], ((0, 0), (4, 4))) @ W, x)


@pytest.fixture
def default_options(everything_in_strips):
    with codegen_options(**asdict(DEFAULTS)):
        yield


@pytest.mark.usefixtures("default_options")
def test_small_programs_stay_whole():
    strips, program, _ = strips_of(two_products, rng.normal(size=(200, 20)), W, V)
    assert not strips
    assert "strips" not in str(program)


@pytest.mark.usefixtures("default_options")
def test_large_programs_are_cut_and_those_that_compute_much_are_not():
    x = rng.normal(size=(40_000, 20))
    assert len(strips_of(two_products, x, W, V)[0]) == 1
    big = rng.normal(size=(600, 600))
    assert not strips_of(two_products, rng.normal(size=(2000, 600)), big, big)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.complex64])
def test_dtypes(dtype):
    x, w = (rng.normal(size=s).astype(dtype) for s in ((90, 20), (20, 20)))

    def f(x, w):
        y = cnp.sin(x @ w) @ w
        return y, cnp.sum(y, 0)

    strips, *_ = strips_of(f, x, w)
    assert len(strips) == 1
    for a, b in zip(cotan.jit(f)(x, w), cotan.jit(f, engine="numpy")(x, w), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(b).max())


def test_a_product_that_is_read_across_is_taken_the_other_way_round():
    """A reader of the value is in the strip too."""
    x = rng.normal(size=(50, 7, 20))

    def f(x):
        return cnp.einsum("kij,nkj->nki", STACK, x)

    program, _ = simplify(cotan.stage(f)(x))
    last = program.equations[-1]
    assert last.op.order[-1] == 2
    np.testing.assert_allclose(cotan.jit(f)(x), np.einsum("kij,nkj->nki", STACK, x), rtol=1e-12, atol=1e-12)


def random_rows(seed):
    """A random program of steps on arrays of rows, products among them, and parts of the rows, joints, sums and other orders of them."""
    random = np.random.default_rng(seed)
    steps = [
        lambda x, y: cnp.tanh(x) @ W,
        lambda x, y: cnp.tanh(x @ W + 0.1),
        lambda x, y: x[: x.shape[0] * 2 // 3],
        lambda x, y: x[x.shape[0] // 3 :],
        lambda x, y: x[::-1],
        lambda x, y: x[::2],
        lambda x, y: cnp.pad(x, ((0, 3), (0, 0))),
        lambda x, y: cnp.concatenate([x, y], 0),
        lambda x, y: x - cnp.sum(x, 0) / x.shape[0],
        lambda x, y: x - cnp.max(x, 1, keepdims=True),
        lambda x, y: x * cnp.sum(cnp.tanh(y), 0),
        lambda x, y: x[: min(len(x), len(y))] * y[: min(len(x), len(y))],
        lambda x, y: cnp.take(x, np.arange(len(x)) * 7 % len(x), axis=0),
        lambda x, y: cnp.cumsum(x, 0) / x.shape[0],
        lambda x, y: cnp.where(cnp.arange(len(x))[:, None] < 20, x, 0.5 * x),
        lambda x, y: cnp.tanh(x @ W.T),
        lambda x, y: cnp.tanh(x) @ (cnp.transpose(y) @ y / len(y)),
    ]
    chosen = [(int(random.integers(len(steps))), random.random(2)) for _ in range(int(random.integers(3, 9)))]

    def f(x, y):
        values = [x, y]
        for k, (a, b) in chosen:
            values.append(steps[k](values[int(a * len(values))], values[-1 - int(b * 2)]))
        return [v / 4.0 for v in values[2:]]

    return f, [random.normal(size=(n, 20)) for n in random.choice([40, 64, 90, 96], 2)]


@pytest.mark.parametrize("block", range(8))
def test_random_programs_of_rows(block):
    cut = 0
    for seed in range(8 * block, 8 * block + 8):
        f, args = random_rows(seed)
        g = f if seed % 2 else cotan.grad(lambda x, y, f=f: sum(cnp.sum(cnp.tanh(v)) for v in f(x, y)), (0, 1))
        cut += len(strips_of(g, *args)[0])
        check(g, *args, cut=None)
    assert cut


def test_a_program_is_cut_alike_whenever_it_is_compiled():
    for seed in range(24):
        f, args = random_rows(seed)
        found, kept = set(), []
        for k in range(6):
            kept.append([object() for _ in range(37 * k % 50)])  # so that variables are at other addresses
            found.add(str(strips_of(f, *args)[1]))
        assert len(found) == 1, seed


# ---- how many rows a strip has ---------------------------------------------------------------------------------------------------
def test_there_are_two_strips_at_least_and_no_rest_of_one_row():
    least, most = DEFAULTS.strip_stored_bytes, DEFAULTS.most_strip
    for size in range(DEFAULTS.strip_axis, 1300):
        for nbytes in (least, least + size, 3 << 20, DEFAULTS.strip_bytes, 1 << 24, 1 << 27, 1 << 30):
            rows = strip_mining.strip_of(size, nbytes, 0, DEFAULTS)
            assert 16 <= rows <= min(size // 2, most)
            assert size % rows != 1


def test_no_strip_is_one_row_however_few_there_are():
    options = CodegenOptions(least_strip=2, most_strip=5)
    found = {size: strip_mining.strip_of(size, 1, 0, options) for size in range(1, 130)}
    assert [size for size, rows in found.items() if rows is None] == [1, 2, 3, 5, 7, 61, 121]  # what is left over would be one row
    assert all(2 <= rows <= size // 2 and size % rows != 1 for size, rows in found.items() if rows is not None)


def test_strips_are_longer_where_each_moves_much_again():
    kept = 1 << 28
    rows = [strip_mining.strip_of(4096, kept, again, DEFAULTS) for again in (0, kept // 1000, kept // 100, kept // 8, kept)]
    assert rows[:2] == [64, 64]
    assert all(n is None or 4096 // n * again <= kept // 2 for n, again in zip(rows, (0, 0, kept // 100, kept // 8, kept), strict=True))
    assert rows[2] < rows[3]
    assert rows[4] is None


@pytest.mark.usefixtures("default_options")
def test_what_is_just_large_enough_to_be_cut_is_cut_within_its_length():
    w, v = rng.normal(size=(64, 512)), rng.normal(size=(512, 64))
    check(lambda x: cnp.tanh(x @ w) @ v, rng.normal(size=(256, 64)))  # two arrays of a megabyte between the products


def test_what_a_checkpoint_recomputes_is_recomputed_when_it_is_wanted():
    """Strips would need it for all layers at once, more than reverse mode stores without a checkpoint."""
    layers, rows, n = 12, 4000, 100
    ws, x = [rng.normal(size=(n, n)) / n for _ in range(layers)], rng.normal(size=(rows, n))

    def loss(ws, x):
        for w in ws:
            x = cotan.checkpoint(lambda x, w: cnp.tanh(x @ w))(x, w)
        return cnp.sum(x**2)

    gradient = cotan.grad(loss, argnums=1)
    assert cotan.compile_report(gradient)(ws, x).workspace <= (layers + 4) * x.nbytes
    np.testing.assert_allclose(cotan.jit(gradient)(ws, x), gradient(ws, x), rtol=1e-12, atol=1e-14)
