"""Elementwise gradients and row operations: what a compiler gains by making few passes over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
from benchmarks import handwritten
from benchmarks.harness import AUTOGRAD, JAX, NUMBA, OURS, TORCH, C, Contestant, Table, contestant, optional, timed

SIZES = (1_000, 100_000, 10_000_000)
ROWS = (4096, 1024)


def waves(xp: Any, x: Any) -> Any:
    """A sum of smooth functions of each number."""
    return xp.sum(xp.sin(x) * xp.exp(-(x**2)) + xp.tanh(x))


def axpy_chain(xp: Any, x: Any) -> Any:
    """Six multiplications and additions for each number, and a square."""
    y = x
    for k in range(6):
        y = y * (1.0 + 0.1 * k) + x
    return xp.sum(y * y)


def softmax(xp: Any, x: Any) -> Any:
    """The squares of the softmax of each row."""
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return xp.sum((e / xp.sum(e, axis=1, keepdims=True)) ** 2)


def logsumexp(xp: Any, x: Any) -> Any:
    """The logarithm of the sum of exponentials of each row."""
    top = xp.max(x, axis=1, keepdims=True)
    return xp.sum(xp.log(xp.sum(xp.exp(x - top), axis=1, keepdims=True)) + top)


def layernorm(xp: Any, x: Any) -> Any:
    """The cubes of each row, centred and divided by its standard deviation."""
    centred = x - xp.mean(x, axis=1, keepdims=True)
    return xp.sum((centred / xp.sqrt(xp.mean(centred**2, axis=1, keepdims=True) + 1e-5)) ** 3)


def contestants(f: Callable[[Any, Any], Any], x: np.ndarray) -> dict[str, Contestant]:
    """The compiled gradient of ``f`` in each library."""
    gradient = cotan.jit(cotan.grad(lambda v: f(cotan.numpy, v)))

    def in_jax(jax: Any) -> Callable[[], Any]:
        gradient, argument = jax.jit(jax.grad(lambda v: f(jax.numpy, v))), jax.numpy.asarray(x)
        return lambda: jax.block_until_ready(gradient(argument))

    def in_torch(torch: Any) -> Callable[[], Any]:
        def gradient() -> Any:
            argument = torch.from_numpy(x).requires_grad_()
            f(TorchNames(torch), argument).backward()
            return argument.grad

        return gradient

    def in_autograd(autograd: Any, autograd_numpy: Any) -> Callable[[], Any]:
        gradient = autograd.grad(lambda v: f(autograd_numpy, v))
        return lambda: gradient(x)

    return {
        OURS: lambda: gradient(x),
        JAX: contestant(in_jax, optional("jax")),
        TORCH: contestant(in_torch, optional("torch")),
        AUTOGRAD: contestant(in_autograd, optional("autograd"), optional("autograd.numpy")),
    }


class TorchNames:
    """The few names of NumPy that the functions here use, on tensors."""

    def __init__(self, torch: Any):
        self.sin, self.exp, self.tanh, self.sqrt, self.log = torch.sin, torch.exp, torch.tanh, torch.sqrt, torch.log
        self.torch = torch

    def sum(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return x.sum() if axis is None else x.sum(axis, keepdim=keepdims)

    def mean(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return x.mean(axis, keepdim=keepdims)

    def max(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return self.torch.amax(x, axis, keepdim=keepdims)


def table() -> Table:
    """Gradients of elementwise functions (float64) and of functions of rows (float32)."""
    rng = np.random.default_rng(0)
    rows = []

    def elementwise(label: str, f: Callable[[Any, Any], Any], by_hand: Callable[[Any], Callable[..., Any]], n: int) -> None:
        x = rng.normal(size=n)
        others = {NUMBA: handwritten.in_numba(by_hand, [x]), C: handwritten.in_c(f"elementwise.{f.__name__}", [n], [x], [x])}
        rows.append(timed(label, {**contestants(f, x), **others}, "1.2x of C"))

    for n in SIZES:
        elementwise(f"sin, exp, tanh of {n:,}", waves, handwritten.waves, n)
    elementwise(f"axpy chain of {SIZES[-1]:,}", axpy_chain, handwritten.axpy_chain, SIZES[-1])
    image = rng.normal(size=ROWS).astype(np.float32)
    for f, name in ((softmax, "softmax"), (logsumexp, "logsumexp_rows"), (layernorm, "layernorm")):
        by_hand = {C: handwritten.in_c(f"rows.{name}", ROWS, [image], [image])}
        rows.append(timed(f"{f.__name__} {ROWS[0]} x {ROWS[1]}", {**contestants(f, image), **by_hand}, "1.2x of C"))
    return Table("fusion", "compiled gradients, elementwise and by rows", "us", rows)
