"""What learning and linear algebra need: networks in float32, decompositions, and whole Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import handwritten
from benchmarks.harness import C, Contestant, Table, timed
from benchmarks.loops import AHEAD, Program, by_hand, compiled, products

HEADS = 4
# The coefficients of the Padé approximant of degree 13 (Higham 2005), and its halvings, enough for the norm of the matrix here.
PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
        670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0)  # fmt: skip
HALVINGS = 2


def log_softmax(xp: Any, x: Any) -> Any:
    """The logarithm of the softmax along the last axis."""
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def layernorm(xp: Any, x: Any) -> Any:
    """Rows, centred and divided by their standard deviation."""
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)


def mlp(xp: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any, images: Any, labels: Any) -> Any:
    """The loss of a classifier with two hidden layers."""
    hidden = images
    for w, b in ((w1, b1), (w2, b2)):
        z = hidden @ w + b
        hidden = xp.where(z > 0.0, z, 0.0)
    return -xp.mean(xp.sum(labels * log_softmax(xp, hidden @ w3 + b3), axis=1))


def transformer(xp: Any, qkv: Any, out: Any, up: Any, down: Any, x: Any) -> Any:
    """The mean square of a transformer's block: attention with a causal mask, and a network of two layers, each beside the identity."""
    batch, length, width = x.shape
    parts = xp.reshape(layernorm(xp, x) @ qkv, (batch, length, 3, HEADS, width // HEADS))
    q, k, v = (xp.swapaxes(parts[:, :, i], 1, 2) for i in range(3))
    scores = q @ xp.swapaxes(k, 2, 3) * (width // HEADS) ** -0.5
    ahead = xp.arange(length)[None, :] > xp.arange(length)[:, None]
    weights = xp.exp(log_softmax(xp, xp.where(ahead, -1e9, scores)))
    x = x + xp.reshape(xp.swapaxes(weights @ v, 1, 2), (batch, length, width)) @ out
    inner = layernorm(xp, x) @ up
    gelu = 0.5 * inner * (1.0 + xp.tanh(0.7978845608 * (inner + 0.044715 * inner**3)))
    return xp.mean((x + gelu @ down) ** 2)


def gaussians(xp: Any, factors: Any, points: Any) -> Any:
    """The log density of one point under each of many Gaussians, up to a constant; the covariances are F F^T + 1."""
    covariances = factors @ xp.swapaxes(factors, 1, 2) + xp.eye(factors.shape[1], dtype=factors.dtype)
    lower = xp.linalg.cholesky(covariances)
    scaled: list[Any] = []
    for i in range(points.shape[1]):
        rest = sum((lower[:, i, j] * scaled[j] for j in range(i)), 0.0)
        scaled.append((points[:, i] - rest) / lower[:, i, i])
    return -0.5 * sum(xp.sum(s**2) for s in scaled) - xp.sum(xp.log(xp.diagonal(lower, 0, 1, 2)))


def solve(xp: Any, a: Any, b: Any) -> Any:
    """The squares of the solution of a linear system."""
    return xp.sum(xp.linalg.solve(a, b) ** 2)


def eigh(xp: Any, a: Any) -> Any:
    """A function of the eigenvalues and of the squares of the eigenvectors of a symmetric matrix."""
    values, vectors = xp.linalg.eigh(a + a.T)
    return xp.sum(values**3) + xp.sum(vectors[0] ** 4)


def svd(xp: Any, a: Any) -> Any:
    """A function of the singular values and of the squares of the singular vectors."""
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    return xp.sum(s**3) + xp.sum(u[0] ** 4) + xp.sum(vt[:, 0] ** 4)


def expm(xp: Any, a: Any) -> Any:
    """The squares of the exponential of a matrix, by scaling, Padé's approximant and squaring."""
    a = a * 0.5**HALVINGS
    square, identity = a @ a, xp.eye(a.shape[0], dtype=a.dtype)
    fourth = square @ square
    sixth = fourth @ square

    def every_second(k: int) -> Any:
        high = sixth @ (PADE[k + 12] * sixth + PADE[k + 10] * fourth + PADE[k + 8] * square)
        return high + PADE[k + 6] * sixth + PADE[k + 4] * fourth + PADE[k + 2] * square + PADE[k] * identity

    odd, even = a @ every_second(1), every_second(0)
    result = xp.linalg.solve(even - odd, even + odd)
    for _ in range(HALVINGS):
        result = result @ result
    return xp.sum(result**2)


def chain(xp: Any, x: Any) -> Any:
    """A function of 50 numbers to 50, each of which takes part in three."""
    return xp.sin(x) * xp.roll(x, 1) + xp.exp(-(xp.roll(x, -1) ** 2))


def derivatives(name: str, f: Callable[[Any, Any], Any]) -> Callable[[Any], Callable[..., Any]]:
    """What each library's transformation of this name makes of ``f(xp, x)``."""
    return lambda xp: getattr(xp.transforms, name)(partial(f, xp))


def network(rng: np.random.Generator) -> list[np.ndarray]:
    """Arguments of `mlp`."""
    layers = [0.05 * rng.normal(size=shape) for shape in ((784, 512), (512,), (512, 512), (512,), (512, 10), (10,))]
    arrays = [*layers, rng.normal(size=(128, 784)), np.eye(10)[rng.integers(10, size=128)]]
    return [array.astype(np.float32) for array in arrays]


def block(rng: np.random.Generator) -> list[np.ndarray]:
    """Arguments of `transformer`."""
    weights = [0.05 * rng.normal(size=shape) for shape in ((256, 768), (256, 256), (256, 1024), (1024, 256))]
    return [array.astype(np.float32) for array in (*weights, rng.normal(size=(4, 128, 256)))]


def network_products() -> dict[str, Contestant]:
    """The products of the network's step: forward, by the weights, and by the hidden layers."""
    forward = [(1, 128, 784, 512), (1, 128, 512, 512), (1, 128, 512, 10)]
    weights = [(1, k, n, m) for _, n, k, m in forward]
    return products(np.float32, *forward, *weights, (1, 128, 10, 512), (1, 128, 512, 512))


def block_products() -> dict[str, Contestant]:
    """The products of the transformer's block; nothing needs the derivative by its argument."""
    forward = [(1, 512, 256, 768), (16, 128, 64, 128), (16, 128, 128, 64), (1, 512, 256, 256), (1, 512, 256, 1024), (1, 512, 1024, 256)]
    left = [(times, k, n, m) for times, n, k, m in forward]
    right = [(times, n, m, k) for times, n, k, m in forward[1:]]
    return products(np.float32, *forward, *left, *right)


def programs() -> list[Program]:
    """What has a gradient: networks in float32, everything else in float64."""
    rng = np.random.default_rng(0)

    def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> list[np.ndarray]:
        return [scale * rng.normal(size=shape) for shape in shapes]

    stack = normal((1000, 8, 8), (1000, 8))
    stacked = by_hand("gaussians.gaussians", [1000], stack, 2)
    return [
        Program("MLP 784-512-512-10, batch 128", mlp, network(rng), 6, "1.2x of its products", network_products()),
        Program("transformer block, 4 x 128 x 256", transformer, block(rng), 4, "1.2x of its products", block_products()),
        Program("1,000 Gaussians of 8 x 8", gaussians, stack, 2, "2x of C", stacked),
        Program("solve, n = 100", solve, normal((100, 100), (100,)), 2, AHEAD),
        Program("eigh, n = 100", eigh, normal((100, 100)), 1, AHEAD),
        Program("svd, n = 100", svd, normal((100, 100)), 1, AHEAD),
        Program("expm, n = 100", expm, normal((100, 100), scale=0.2), 1, AHEAD),
    ]


def table() -> Table:
    """The gradients, then whole Jacobians and a Hessian."""
    numbers = np.random.default_rng(0).normal(size=50)

    def in_c(place: str) -> dict[str, Contestant]:
        return {C: handwritten.in_c(place, [50], [numbers], [np.empty((50, 50))])}

    total = derivatives("hessian", lambda xp, x: xp.sum(chain(xp, x)))
    rows = [
        *(program.row() for program in programs()),
        timed("jacfwd, 50 to 50", {**compiled(derivatives("jacfwd", chain), [numbers]), **in_c("small.jacobian_forward")}, "2x of C"),
        timed("jacrev, 50 to 50", {**compiled(derivatives("jacrev", chain), [numbers]), **in_c("small.jacobian_reverse")}, "2x of C"),
        timed("Hessian by 50", compiled(total, [numbers]), AHEAD),
    ]
    return Table("learning", "compiled derivatives for learning and linear algebra", "us", rows)
