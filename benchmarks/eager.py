"""Eager calls, where nothing is compiled: the overhead of an operation, and derivatives of a small function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import NOT_APPLICABLE, Row, Table, compare, contestant, optional

NUMBERS = np.array([0.5, 1.5, -0.3, 0.8, 1.1])


def rosenbrock(x: Any) -> Any:
    """The Rosenbrock function of any number of dimensions, for any array library."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def operation_row(label: str, operation: Callable[[Any, Any], Any]) -> Row:
    """One operation on five numbers; `operation` gets a library's namespace and the numbers as its array."""
    jax_numpy, torch, autograd_numpy = optional("jax.numpy"), optional("torch"), optional("autograd.numpy")

    def on(library: Any, numbers: Any) -> Callable[[], Any]:
        return lambda: operation(library, numbers)

    contestants = {
        "cotan": on(cnp, cnp.asarray(NUMBERS)),
        "NumPy": on(np, NUMBERS),
        "JAX": contestant(lambda jnp: on(jnp, jnp.asarray(NUMBERS)), jax_numpy),
        "autograd": contestant(lambda anp: on(anp, NUMBERS), autograd_numpy),
        "torch": contestant(lambda torch: on(torch, torch.from_numpy(NUMBERS)), torch),
    }
    cells = compare(contestants, seconds=1.0)
    ours, limit = cells["cotan"], cells["NumPy"]
    difference = f"; here + {(ours - limit) * 1e6:.2f} us" if isinstance(ours, float) and isinstance(limit, float) else ""
    return Row(label, cells, target=f"NumPy + 1 us{difference}")


def derivative_row(label: str, names: tuple[str, str, str] | None, target: str) -> Row:
    """Rosenbrock's function itself (no names), or what the derivatives so named in cotan and JAX, autograd and torch.func make of it."""
    jax, torch_func, autograd, torch = optional("jax"), optional("torch.func"), optional("autograd"), optional("torch")

    def of(library: Any, position: int) -> Callable[[Any], Any]:
        return getattr(library, names[position])(rosenbrock) if names else rosenbrock

    def ours() -> Callable[[], Any]:
        function, numbers = of(cotan, 0), cnp.asarray(NUMBERS)
        return lambda: function(numbers)

    def in_jax(jax: Any) -> Callable[[], Any]:
        function, numbers = of(jax, 0), jax.numpy.asarray(NUMBERS)
        return lambda: function(numbers).block_until_ready()

    def in_autograd(autograd: Any) -> Callable[[], Any]:
        function = of(autograd, 1)
        return lambda: function(NUMBERS)

    def in_torch(torch_func: Any, torch: Any) -> Callable[[], Any]:
        function, numbers = of(torch_func, 2), torch.from_numpy(NUMBERS)
        return lambda: function(numbers)

    contestants = {
        "cotan": ours(),
        "NumPy": NOT_APPLICABLE if names else lambda: rosenbrock(NUMBERS),
        "JAX": contestant(in_jax, jax),
        # outside a derivative, autograd's arrays are NumPy's
        "autograd": contestant(in_autograd, autograd) if names else NOT_APPLICABLE,
        "torch": contestant(in_torch, torch_func, torch),
    }
    return Row(label, compare(contestants), target)


def table() -> Table:
    """Two operations, and three derivatives of Rosenbrock's function in five dimensions."""
    rows = [
        operation_row("add, 5 numbers", lambda library, x: library.add(x, x)),
        operation_row("sin, 5 numbers", lambda library, x: library.sin(x)),
        derivative_row("Rosenbrock(5), value", None, "20 us"),
        derivative_row("Rosenbrock(5), gradient", ("grad", "grad", "grad"), "100 us; at most 250 us and autograd's"),
        derivative_row("Rosenbrock(5), Hessian", ("hessian", "hessian", "hessian"), "500 us"),
    ]
    return Table("eager", "eager call", "us", rows)
