"""Pytrees, by their public name: the counterpart of ``jax.tree``."""

from .core.listing import listing
from .core.tree import flatten, leaves, map, register_pytree_node, structure, unflatten

__all__ = ["flatten", "leaves", "map", "register_pytree_node", "structure", "unflatten"]
__dir__ = listing(__all__)
