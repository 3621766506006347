"""`tag` and `capture`: values, tangents and cotangents from inside of a function, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..control.tags import Tag, collected
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.printing import Printed
from ..core.program import evaluate
from .arguments import boundary, check_callable, leaf, quiet
from .stage import stage_arguments
from .transformed import transformation

__all__ = ["Captured", "capture", "tag"]


@boundary
def tag(x: Any, name: str) -> Any:
    """``x`` (a tree), called ``name`` for `capture`. It changes nothing else, and costs nothing in compiled code.

    Raises:
        ArgumentTypeError: the name is not a text.
    """
    if not isinstance(name, str):  # type: ignore[redundant-expr]
        raise teach(ArgumentTypeError, f"tag: the name must be a string, not {name!r}.", do='write tag(x, "name").')
    leaves, spec = tree.flatten(x)
    names = tree.leaf_names(spec, name)
    return tree.unflatten(spec, [to_array(Tag(label)(leaf(v, "x"))) for v, label in zip(leaves, names, strict=True)])


class Captured(Mapping[str, Any], Printed):
    """What a run of a function computed by name: a mapping of the tagged values.

    Attributes:
        result: the result of the function.
        values: the tagged values, by name. One that was tagged several times is a tuple, in the order of the lines.
        tangents, cotangents: of tagged values, where the function computes derivatives.
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
    branches: what is tagged in a scan is stacked along a new leading axis; of a while loop there is the step that ran last; what is tagged
    in a branch that is not taken is nan (0 for integers). It can be transformed itself: ``vmap(capture(f))`` has a leading axis for the
    examples everywhere, where ``capture(vmap(f))`` shows the arrays as the batched program has them (in a scan behind the axis of steps,
    and with examples that do not take a branch that runs for all).

    The derivative of a loop with ``checkpoint=`` gives no tangents and cotangents of what is tagged in that loop.

    Raises (when called):
        UnsupportedFunctionError: something is tagged in a custom function that holds arrays and is called in a loop or branch, or in an op
        that cannot give it out.

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
        staged = stage_arguments(fun, args, kwargs, "capture")
        program, keys = collected(staged.program)
        constants = program.constants
        leaves = [leaf(x, "an argument") for x in tree.leaves((args, kwargs))]
        with quiet():
            outs = [to_array(y) for y in evaluate(program, *constants, *staged.constants, *leaves)]
        count = len(outs) - len(keys)
        found: dict[str, dict[str, list[Any]]] = {"value": {}, "tangent": {}, "cotangent": {}}
        for key, y in zip(keys, outs[count:], strict=True):
            found[key.kind].setdefault(key.label, []).append(y)
        values, tangents, cotangents = (
            {label: ys[0] if len(ys) == 1 else tuple(ys) for label, ys in found[kind].items()} for kind in ("value", "tangent", "cotangent")
        )
        return Captured(tree.unflatten(staged.out_spec, outs[:count]), values, tangents, cotangents)

    return captured
