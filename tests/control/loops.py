"""Programs that run on cotan's loops, on Python loops, and on JAX's: the comparison behind the tests of control flow.

A `Kit` is a namespace of loops, one with NumPy's names, and one of transformations. A case is a function of (kit, p): p is a vector of six,
the result a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.lax
import cotan.numpy as cnp
from cotan import tree


@dataclass(frozen=True)
class Kit:
    lax: Any
    np: Any
    api: Any


def python_scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    leaves, spec = tree.flatten(xs)
    n = len(leaves[0]) if leaves else length
    carry, rows = init, [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        carry, rows[i] = f(carry, tree.unflatten(spec, [x[i] for x in leaves]))
    if not rows:
        _, y = f(init, tree.unflatten(spec, [np.zeros(x.shape[1:]) for x in leaves]))
        return carry, tree.map(lambda v: np.zeros((0, *np.shape(v))), y)
    return carry, tree.map(lambda *column: cnp.stack([cnp.asarray(c) for c in column]), *rows)


def python_fori_loop(lower, upper, body, value):
    for i in range(int(lower), int(upper)):
        value = body(i, value)
    return value


def python_while_loop(going, body, value):
    while going(value):
        value = body(value)
    return value


def python_switch(index, branches, *operands):
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


PYTHON_LOOPS = SimpleNamespace(
    scan=python_scan,
    map=lambda f, xs: python_scan(lambda c, x: (c, f(x)), None, xs)[1],
    fori_loop=python_fori_loop,
    while_loop=python_while_loop,
    cond=lambda pred, yes, no, *operands: (yes if pred else no)(*operands),
    switch=python_switch,
)
COTAN = Kit(cotan.lax, cnp, cotan)
PYTHON = Kit(PYTHON_LOOPS, cnp, cotan)


def jax_kit() -> Kit:
    import jax
    import jax.numpy as jnp

    return Kit(jax.lax, jnp, jax)


P = np.array([0.3, -0.7, 1.1, 0.45, -0.2, 0.8])
D = np.array([1.0, -0.5, 0.25, 0.7, 2.0, -1.5])
BATCH = np.stack([P, 0.6 * P + 0.1, P[::-1]])


def jvp(api: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda p: api.jvp(f, (p,), (D,))[1]


def grad(api: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    return api.grad(lambda p: (f(p) * f(p)).sum())


# name -> (transformation, whether it uses reverse mode)
TRANSFORMATIONS: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "value": (lambda api, f: f, False),
    "jvp": (jvp, False),
    "jvp_of_jvp": (lambda api, f: jvp(api, jvp(api, f)), False),
    "linearize": (lambda api, f: lambda p: api.linearize(f, p)[1](D), False),
    "grad": (grad, True),
    "jacfwd": (lambda api, f: api.jacfwd(f), False),
    "jacrev": (lambda api, f: api.jacrev(f), True),
    "hessian": (lambda api, f: api.hessian(f), True),
    "forward_over_forward": (lambda api, f: api.jacfwd(api.jacfwd(f)), False),
    "reverse_over_forward": (lambda api, f: api.jacrev(api.jacfwd(f)), True),
    "reverse_over_reverse": (lambda api, f: api.jacrev(api.jacrev(f)), True),
    "third_along_a_direction": (lambda api, f: jvp(api, api.hessian(f)), True),
}


def close(found: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    a, b = tree.leaves(found), tree.leaves(np.array(expected) if isinstance(expected, list) else expected)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


@cache
def by_python(case: Callable[[Kit, Any], Any], name: str, batched: bool) -> np.ndarray:
    """One transformation of a case, on the loop in Python."""
    f = TRANSFORMATIONS[name][0](cotan, lambda p: case(PYTHON, p))
    return np.stack([np.asarray(f(p)) for p in BATCH]) if batched else np.asarray(f(P))


WAYS = ["plain", "jit_of", "of_jit", "vmap_of", "jit_of_vmap_of"]
COSTLY = ["hessian", "forward_over_forward", "reverse_over_forward", "reverse_over_reverse", "third_along_a_direction"]


def every_way(cases: Sequence[Callable[[Kit, Any], Any]]) -> pytest.MarkDecorator:
    """Every case under every transformation in every way. Compiled, derivatives of higher order are taken of one case in three each."""
    chosen = []
    for (i, name), (j, way), (k, case) in product(enumerate(TRANSFORMATIONS), enumerate(WAYS), enumerate(cases)):
        rare = name in COSTLY and "jit" in way and (i + j + k) % 3 > 0
        marks = [pytest.mark.exhaustive] if rare else []
        chosen.append(pytest.param(case, name, way, id=f"{name}-{way}-{case.__name__}", marks=marks))
    return pytest.mark.parametrize(("case", "name", "way"), chosen)


def compare_with_python(case: Callable[[Kit, Any], Any], name: str, way: str) -> None:
    """One transformation of a case, in one of the ways that it may be combined with jit and vmap, against the loop in Python."""
    transform, _ = TRANSFORMATIONS[name]

    def f(p: Any) -> Any:
        return case(COTAN, p)

    found = {
        "plain": lambda: transform(cotan, f)(P),
        "jit_of": lambda: cotan.jit(transform(cotan, f))(P),
        "of_jit": lambda: transform(cotan, cotan.jit(f))(P),
        "vmap_of": lambda: cotan.vmap(transform(cotan, f))(BATCH),
        "jit_of_vmap_of": lambda: cotan.jit(cotan.vmap(transform(cotan, f)))(BATCH),
    }[way]()
    close(found, by_python(case, name, "vmap" in way))


def compare_derivative_of_vmap(case: Callable[[Kit, Any], Any], mode: str) -> None:
    """The Jacobian of a batched case is block diagonal, with the Jacobians of the examples in its blocks."""
    found = np.asarray(getattr(cotan, mode)(cotan.vmap(lambda p: case(COTAN, p)))(BATCH))
    n = len(BATCH)
    for i in range(n):
        for j in range(n):
            block = np.asarray(cotan.jacrev(lambda q: case(PYTHON, q))(BATCH[i])) if i == j else np.zeros_like(found[i, :, j])
            close(found[i, :, j], block)


def compare_with_jax(case: Callable[[Kit, Any], Any], reverse: bool) -> None:
    kit = jax_kit()
    transforms = [TRANSFORMATIONS[name][0] for name in ("value", "jacfwd", "forward_over_forward", *(["jacrev"] if reverse else []))]
    # JAX compiles each operation that it runs, or once all together.
    expected = kit.api.jit(lambda p: [transform(kit.api, lambda p: case(kit, p))(p) for transform in transforms])(P)
    for transform, y in zip(transforms, expected, strict=True):
        close(transform(cotan, lambda p: case(COTAN, p))(P), y)
