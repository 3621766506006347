"""Pytrees, by their public name: what ``jax.tree`` is to JAX."""

from .core.listing import listing
from .core.tree import flatten, leaves, map, register_pytree_node, structure, unflatten

__all__ = ["flatten", "leaves", "map", "register_pytree_node", "structure", "unflatten"]
__dir__ = listing(__all__)
