"""Pytrees of arguments and results: tuples, lists, dicts, None, and registered classes, through optree.

Semantics are JAX's: None is an empty node, dict entries are in sorted key order. Registered classes live in a namespace of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import optree

__all__ = [
    "PyTreeSpec", "children", "describe", "flatten", "leaf_names", "leaves", "leaves_under_none", "map", "register_pytree_node",
    "structure", "unflatten",
]  # fmt: skip

NAMESPACE = "cotan"
PyTreeSpec = optree.PyTreeSpec


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], PyTreeSpec]:
    """The leaves of ``tree`` and its structure."""
    return optree.tree_flatten(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def unflatten(spec: PyTreeSpec, leaves: Iterable[Any]) -> Any:
    """The tree of this structure with these leaves."""
    return optree.tree_unflatten(spec, leaves)


def leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of ``tree``."""
    return optree.tree_leaves(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> PyTreeSpec:
    """The structure of ``tree``."""
    return optree.tree_structure(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def map(function: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of ``function`` applied to the leaves of ``tree`` (and of ``rest``, of which ``tree`` is a prefix)."""
    return optree.tree_map(function, tree, *rest, is_leaf=is_leaf, namespace=NAMESPACE)


def register_pytree_node(kind: type, flatten: Callable[[Any], tuple[Iterable[Any], Any]], unflatten: Callable[[Any, Any], Any]) -> None:
    """Make ``kind`` a node: ``flatten(x) -> (children, static)``, ``unflatten(static, children) -> x``, as in JAX."""
    optree.register_pytree_node(kind, lambda x: tuple(flatten(x)), unflatten, namespace=NAMESPACE)  # type: ignore[arg-type]


def leaves_under_none(tree: Any, spec: PyTreeSpec) -> list[Any] | None:
    """The leaves of ``tree`` where ``spec`` has leaves; None in it stands for any subtree, with None at its leaves.

    Returns None where the two are different trees.
    """
    if tree is None:
        return [None] * spec.num_leaves
    if spec.is_leaf():
        return [tree] if structure(tree).is_leaf() else None
    try:
        node = optree.tree_flatten_one_level(tree, namespace=NAMESPACE)
    except ValueError:  # a leaf
        return None
    if node.type is not spec.type or list(node.entries) != list(spec.entries()):
        return None
    found: list[Any] = []
    for child, part in zip(node.children, children(spec), strict=True):
        below = leaves_under_none(child, part)
        if below is None:
            return None
        found += below
    return found


def leaf_names(spec: PyTreeSpec, root: str) -> list[str]:
    """``root[0]['w']`` for each leaf: how errors name it."""
    return [accessor.codify(root) for accessor in optree.treespec_accessors(spec)]


def describe(spec: PyTreeSpec, leaves: Sequence[str] = ()) -> str:
    """``({'w': *}, *)``: a structure as error messages show it; with a text for each leaf, ``({'w': float64[3]}, int64[])``."""
    text = str(spec).removeprefix("PyTreeSpec(").rpartition(")")[0].split(", NoneIsLeaf")[0].split(", namespace=")[0]
    first, *rest = text.split("*")
    return first + "".join(x for pair in zip(leaves, rest, strict=True) for x in pair) if len(leaves) == len(rest) else text


def children(spec: PyTreeSpec) -> list[PyTreeSpec]:
    """The structures of the children of the root."""
    return optree.treespec_children(spec)
