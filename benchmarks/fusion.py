"""Elementwise gradients and row operations: what a compiler gains by making few passes over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
from benchmarks.harness import Contestant, Row, Table, compare, contestant, optional

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
    jax, torch = optional("jax"), optional("torch")

    def ours(engine: str) -> Callable[[], Any]:
        gradient = cotan.jit(cotan.grad(lambda v: f(cotan.numpy, v)), engine=engine)
        return lambda: gradient(x)

    def in_jax(jax: Any) -> Callable[[], Any]:
        gradient, argument = jax.jit(jax.grad(lambda v: f(jax.numpy, v))), jax.numpy.asarray(x)
        return lambda: jax.block_until_ready(gradient(argument))

    def in_torch(torch: Any) -> Callable[[], Any]:
        def gradient() -> Any:
            argument = torch.from_numpy(x).requires_grad_()
            f(TorchNames(torch), argument).backward()
            return argument.grad

        return gradient

    return {
        "cotan.jit, native": ours("native"),
        "cotan.jit, NumPy engine": ours("numpy"),
        "jax.jit": contestant(in_jax, jax),
        "torch, eager": contestant(in_torch, torch),
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
    targets = {1_000: "5 us in C", 100_000: "0.4 ms in C", 10_000_000: "50 ms in C"}
    rows = [Row(f"sin, exp, tanh of {n:,}", compare(contestants(waves, rng.normal(size=n))), target=targets[n]) for n in SIZES]
    rows.append(Row("axpy chain of 10,000,000", compare(contestants(axpy_chain, rng.normal(size=SIZES[-1]))), target="17 ms in C"))
    image = rng.normal(size=ROWS).astype(np.float32)
    for f, target in ((softmax, "4.6 ms in C"), (logsumexp, "4.0 ms in C"), (layernorm, "5.1 ms in C")):
        rows.append(Row(f"{f.__name__} {ROWS[0]} x {ROWS[1]}", compare(contestants(f, image)), target=target))
    return Table("fusion", "compiled gradients, elementwise and by rows", "us", rows)
