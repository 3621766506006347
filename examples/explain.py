"""How the derivatives of the thread and of the regression came about: one page of HTML for each, in examples/output/explain.

Each page shows the function, its values and tangents, the linear program, that program backwards, and the rules of the operations used.
The rule that is not linear has no derivative to show; its page shows the refusal.

Run it with `python3 dev.py demo`, or alone with the project's Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from count_regression import negative_binomial, read_data

import cotan
from cotan.errors import NonlinearTangentError

OUTPUT = Path(__file__).resolve().parent / "output" / "explain"


# The functions of the thread. -----------------------------------------------------------------------------------------------------------


@cotan.custom_jvp
def f(x):
    """A rule that is not linear in its tangent: refused."""
    return 0.0 * x


@f.defjvp
def f_jvp(primals, tangents):
    """The rule of the thread: the tangent cubed."""
    return 0.0 * primals[0], tangents[0] ** 3.0


@cotan.custom_jvp
def f1(x):
    """A rule that is linear: it is transposed."""
    return 0.0 * x


@f1.defjvp
def f1_jvp(primals, tangents):
    """The tangent itself."""
    return 0.0 * primals[0], tangents[0]


def f2(x):
    """The same power of a value: its rule is linear in the tangent."""
    return x**3.0


def division(x, y):
    """Linear in x, not in y."""
    return x / y


def product(a, b):
    """A product of matrices, which has a transpose rule."""
    c = a @ b
    return np.sum(c**2)


def low_rank(a):
    """The norm of the best approximation of rank 2. The svd has no transpose rule, and needs none."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    near = (u[:, :2] * s[:2]) @ vt[:2]
    return np.sum(near**2)


@cotan.custom_vjp
def backwards(x):
    """A rule for reverse mode only: forward mode transposes it."""
    return x * 1.0


backwards.defvjp(lambda x: (backwards(x), x), lambda x, y_bar: (y_bar,))


def pages() -> dict[str, Callable[[], cotan.Explanation]]:
    """The explanations, by the names of their pages."""
    visits, regressors, names = read_data()
    parameters = np.zeros(len(names) + 1)
    rng = np.random.default_rng(0)
    return {
        "thread_f_refused": lambda: cotan.explain(f, 2.0),
        "thread_f1": lambda: cotan.explain(f1, 2.0),
        "thread_f2": lambda: cotan.explain(f2, 2.0),
        "division": lambda: cotan.explain(division, 6.0, 3.0, argnums=(0, 1)),
        "matmul": lambda: cotan.explain(product, rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), argnums=(0, 1)),
        "svd": lambda: cotan.explain(low_rank, rng.normal(size=(4, 3))),
        "custom_vjp_forward": lambda: cotan.explain(backwards, 2.0, transform="jvp"),
        "negative_binomial": lambda: cotan.explain(negative_binomial(visits, regressors), parameters),
    }


def refusal(error: Exception) -> str:
    """The page of a function that is refused."""
    text = f"<title>Refused</title><h1>Refused</h1><pre>{escape(str(error))}</pre>"
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8">{text}</html>\n'


def write(name: str, make: Callable[[], Any]) -> str:
    """Write a page, and say what is on it."""
    path = OUTPUT / f"{name}.html"
    try:
        found = make()
    except NonlinearTangentError as error:
        path.write_text(refusal(error), encoding="utf-8")
        return f"refused: {str(error).splitlines()[0]}"
    found.save(path)
    last = found.stages[-1].lines
    return f"{found.transform} of {found.function}; {last[-1] if last else ''}"


def main() -> int:
    """Write the pages, and list them."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, make in pages().items():
        print(f"  {name + '.html':<26} {write(name, make)[:100]}")
    print(f"wrote {len(pages())} pages to {OUTPUT.relative_to(OUTPUT.parents[2])}: open one in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
