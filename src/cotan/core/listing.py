"""``dir()`` of the public modules: their public names, without the names that they import for themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["listing"]


def listing(names: Sequence[str]) -> Callable[[], list[str]]:
    """The ``__dir__`` of a module with these public names."""
    return lambda: list(names)
