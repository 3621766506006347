"""First-order ops, one family a file. Importing this package defines them all."""

from . import (
    arithmetic,
    casting,
    contraction,
    convolution,
    creation,
    determinant,
    even,
    factorization,
    families,
    gaussian,
    indexing,
    linalg,
    logic,
    losses,
    moments,
    movement,
    ordering,
    reduction,
    routines,
    running,
    searching,
    sorting,
    special,
    spectral,
    transcendental,
)

__all__ = [
    "arithmetic", "casting", "contraction", "convolution", "creation", "determinant", "even", "factorization", "families", "gaussian",
    "indexing", "linalg", "logic", "losses", "moments", "movement", "ordering", "reduction", "routines", "running", "searching", "sorting",
    "special", "spectral", "transcendental",
]  # fmt: skip
