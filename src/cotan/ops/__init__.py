"""First-order ops, one family a file. Importing this package defines them all."""

from . import (
    arithmetic,
    casting,
    contraction,
    convolution,
    creation,
    determinant,
    eigen,
    even,
    factorization,
    families,
    gaussian,
    indexing,
    linalg,
    logic,
    losses,
    lu,
    matrix_functions,
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
    sylvester,
    transcendental,
)

__all__ = [
    "arithmetic", "casting", "contraction", "convolution", "creation", "determinant", "eigen", "even", "factorization", "families",
    "gaussian", "indexing", "linalg", "logic", "losses", "lu", "matrix_functions", "moments", "movement", "ordering", "reduction",
    "routines", "running", "searching", "sorting", "special", "spectral", "sylvester", "transcendental",
]  # fmt: skip
