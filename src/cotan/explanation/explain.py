"""`explain` and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..api.arguments import boundary, check_argnums, check_callable
from ..core.collecting import no_collection
from ..core.errors import ArgumentError, teach
from ..core.origin import describe_function
from ..ops.failing import of_regular_matrices
from .derivation import NAMED, Derivation
from .page import frame_of, page_of
from .static import without_static
from .story import Story
from .terminal import text_of

__all__ = ["Explanation", "explain"]


class Explanation(Story):
    """How a derivative came about; `explain` makes it. Printed, it is a text; in a notebook a page; `save` writes the page."""

    def __str__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return frame_of(self)

    def save(self, path: Any, *, loops: bool = False) -> None:
        """Write one page of HTML that needs nothing else: no network, no other file. With ``loops``, the simplified program is compiled,
        and the page shows which lines share a loop.
        """
        Path(path).write_text(page_of(self, loops=loops), encoding="utf-8")


@boundary
def explain(
    f: Callable[..., Any],
    *args: Any,
    transform: str | Callable[[Callable[..., Any]], Callable[..., Any]] = "grad",
    argnums: int | Sequence[int] = 0,
    **kwargs: Any,
) -> Explanation:
    """How a derivative of ``f`` at arguments like these comes about, step by step, from the equations and rules that compute it.

    Args:
        f: any function that can be traced.
        args, kwargs: its arguments: trees of arrays, or of `ShapeDtypeStruct`, of which only the types matter. Static arguments of a
            jitted function, texts and functions are handed over as they are.
        transform: "grad", "jvp", "vjp", "linearize", "vmap", "hessian", "jacfwd" or "jacrev"; or a function that takes ``f`` and
            returns the function to explain, as ``lambda f: cotan.vmap(cotan.grad(f))``.
        argnums: the position(s) of the arguments by which it is differentiated.

    Returns:
        an `Explanation`: ``print`` shows it, a notebook draws it, ``save("page.html")`` writes a page.

    Raises:
        ArgumentError: an unknown transform, a position that is none.
        and what the transformation itself raises for this function.

    >>> import cotan, numpy as np
    >>> e = cotan.explain(lambda x: np.sin(x) * x, 1.0)
    >>> for line in e["transpose"].lines: print(line)
    t1_bar = x y_bar
    x_bar = t1 y_bar + cos(x) t1_bar
    """
    check_callable("explain", f)
    if isinstance(transform, str) and transform not in NAMED:
        raise teach(
            ArgumentError,
            f"explain: transform is {transform!r}.",
            do=f"give one of {', '.join(NAMED)}, or a function that takes the function.",
        )
    if not callable(transform) and not isinstance(transform, str):
        raise teach(ArgumentError, f"explain: transform is {transform!r}.", do=f"give one of {', '.join(NAMED)}, or a function.")
    numbers = check_argnums("explain", tuple(argnums) if isinstance(argnums, list) else argnums, len(args))
    function, dynamic, keyword, numbers = without_static(f, args, kwargs, numbers)
    with of_regular_matrices(), no_collection(lasting=True):
        derivation = Derivation(function, dynamic, keyword, transform, numbers)
        stages = derivation.run()
        return Explanation(describe_function(f), derivation.name, stages, derivation.rules(), derivation.source())
