"""`tag` and `capture`: values, tangents and cotangents from inside of a function, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..control.tags import CaptureTrace, Key, Tag
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.origin import capturing, is_capturing
from ..core.printing import Printed
from ..core.tracing import current_trace, running, type_of
from ..ops.failing import quiet
from .arguments import boundary, check_callable, leaf
from .transformed import transformation

__all__ = ["Captured", "capture", "tag"]

sites = count(1)
"""The numbers of tags."""


@boundary
def tag(x: Any, name: str) -> Any:
    """``x`` (a tree), called ``name`` for `capture`. It changes nothing else, and costs nothing in compiled code.

    Raises:
        ArgumentTypeError: the name is not a text.
    """
    if not isinstance(name, str):  # type: ignore[redundant-expr]
        raise teach(ArgumentTypeError, f"tag: the name must be a string, not {name!r}.", do='write tag(x, "name").')
    leaves, spec = tree.flatten(x)
    leaves = [leaf(v, "x") for v in leaves]
    wanted = is_capturing()
    if wanted is not False:
        names = tree.leaf_names(spec, name)
        leaves = [Tag(label, site=next(sites) if wanted else 0)(v) for v, label in zip(leaves, names, strict=True)]
    return tree.unflatten(spec, list(map(to_array, leaves)))


class Captured(Mapping[str, Any], Printed):
    """What a run of a function computed by name: a mapping of the tagged values.

    Attributes:
        result: the result of the function.
        values: the tagged values, by name. One that was tagged several times is a tuple, in the order in which that happened.
        tangents, cotangents: of tagged values, where the function computes derivatives; several in the order of the values. The
            cotangent of a value that the result does not depend on is zero; among several, one that is not computed (of a constant, say)
            is nan. If a function computes several derivatives, their tuples follow one another.
    """

    def __init__(self, result: Any, values: dict[str, Any], tangents: dict[str, Any], cotangents: dict[str, Any]):
        self.result, self.values, self.tangents, self.cotangents = result, values, tangents, cotangents  # type: ignore[assignment]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]  # type: ignore[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)  # type: ignore[call-overload]

    def __len__(self) -> int:
        return len(self.values)  # type: ignore[arg-type]

    def __str__(self) -> str:
        rows = [("result", self.result)]
        for kind, found in (("", self.values), ("tangent of ", self.tangents), ("cotangent of ", self.cotangents)):
            rows += [(f"{kind}{name}", value) for name, value in found.items()]  # type: ignore[attr-defined]
        return "\n".join(f"{name}: {value}" for name, value in rows)


tree.register_pytree_node(
    Captured, lambda c: ((c.result, c.values, c.tangents, c.cotangents), None), lambda _, children: Captured(*children)
)


@transformation
def capture(fun: Callable[..., Any]) -> Callable[..., Captured]:
    """``capture(f)(*args)`` runs ``f`` and gives its result and what is tagged in it: a `Captured`.

    ``capture(grad(f))`` gives the cotangents of tagged values, too. It looks through jit, vmap, custom rules, checkpoints, loops and
    branches: what is tagged in a scan is stacked along a new leading axis; of a while loop there is the step that ran last, and of its
    condition what it computed last. A branch that is not taken gives nan (0 for integers) in traced code, as under jit; where the predicate
    is known, it does not run, and nothing is tagged in it. A loop whose steps ask for values (by Python's ``if``), which runs in Python as
    it does without `capture`, gives what is tagged in each step by itself.

    It can be transformed itself: ``vmap(capture(f))`` has a leading axis for the examples everywhere, where ``capture(vmap(f))`` shows the
    arrays as the batched program has them (in a scan behind the axis of steps, and with examples that do not take a branch that runs for
    all).

    The derivative of a loop with ``checkpoint=`` gives no tangents and cotangents of what is tagged in that loop.

    Raises (when called):
        UnsupportedFunctionError: something is tagged in an op that cannot give it out: in the matvec of a linear solve, say.

    >>> import cotan, numpy as np
    >>> def loss(w):
    ...     h = cotan.tag(np.tanh(w), "hidden")
    ...     return np.sum(h**2)
    >>> seen = cotan.capture(cotan.grad(loss))(np.array([0.0, 1.0]))
    >>> seen["hidden"]
    Array([0.        , 0.76159416])
    >>> seen.cotangents["hidden"]
    Array([0.        , 1.52318831])
    """
    check_callable("capture", fun)

    def captured(*args: Any, **kwargs: Any) -> Captured:
        trace = CaptureTrace(current_trace(), fun)
        with running(trace), capturing(), quiet():
            result = fun(*args, **kwargs)
        return Captured(result, *arranged(trace.found))

    return captured


def arranged(found: Sequence[tuple[Key, Any]]) -> list[dict[str, Any]]:
    """What is tagged, by name: the values, the tangents, the cotangents."""
    of_kind: dict[str, dict[str, list[tuple[int, Any]]]] = {"value": {}, "tangent": {}, "cotangent": {}}
    for key, y in found:
        of_kind[key.kind].setdefault(key.label, []).append((key.site, to_array(y)))
    values = of_kind["value"]
    ordered = [
        {label: in_order(values.get(label, []), ys, backwards=kind == "cotangent") for label, ys in named.items()}
        for kind, named in of_kind.items()
    ]
    return [{label: ys[0] if len(ys) == 1 else tuple(ys) for label, ys in named.items()} for named in ordered]


def in_order(values: Sequence[tuple[int, Any]], others: Sequence[tuple[int, Any]], *, backwards: bool) -> list[Any]:
    """``others``, with their sites, in the order of the values at these sites; again and again, if there are several at each site.

    A site has several values if it is in a Program that was staged before and is run several times. ``backwards``, the others are in the
    order in which these runs are differentiated.
    """
    if not values:  # a derivative that was recorded before
        return [y for _, y in (others[::-1] if backwards else others)]
    left: dict[int, list[Any]] = {}
    for site, y in others:
        left.setdefault(site, []).append(y)
    runs = Counter(site for site, _ in values)
    ordered: list[Any] = []
    while any(map(left.get, runs)):
        rows: dict[int, Iterator[Any]] = {}
        for site, n in runs.items():
            ys = left.get(site, [])
            rows[site] = iter(ys[:n][::-1] if backwards else ys[:n])
            del ys[:n]
        ordered += [next(rows[site], None) for site, _ in values]
    unknown = [np.full(t.shape, np.nan if t.inexact else 0, t.dtype) for t in (type_of(y) for _, y in values)]
    found = [to_array(unknown[k % len(values)]) if y is None else y for k, y in enumerate(ordered)]
    return found + [y for ys in left.values() for y in ys]
