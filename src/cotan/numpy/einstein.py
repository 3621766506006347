"""einsum: a path of pairwise contractions, each one DotGeneral.

Each operand is first reduced to distinct labels that other operands or the result need. A repeated label takes the diagonal. A label that
occurs nowhere else is summed. A label of length 1 is dropped where another operand has more. Then two operands are contracted at a time, in
the order of ``numpy.einsum_path``: shared labels that are still needed are batch axes, and shared labels that are not needed are
contracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..core.errors import ShapeError, teach
from ..core.types import Shape
from ..ops.contraction import dot_general
from ..ops.movement import permute
from ..ops.movement import reshape as reshape_op
from .calling import eager, refuse_arguments
from .contraction import total
from .creation import diagonal
from .promotion import convert_to, operand, result_dtype, shape_of

__all__ = ["einsum", "einsum_path"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def split_arguments(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """(subscripts, arrays) from either form of the arguments: a string first, or arrays each followed by a list of labels."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    items = list(operands)
    output = items.pop() if len(items) % 2 else None

    def text(labels: Any) -> str:
        return "".join("..." if label is Ellipsis else LETTERS[label] for label in labels)

    subscripts = ",".join(map(text, items[1::2]))
    return subscripts if output is None else f"{subscripts}->{text(output)}", items[::2]


def explicit(subscripts: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, with letters for the axes of an ellipsis.

    Raises
    ------
    ShapeError
        The labels do not fit the operands.
    """
    left, arrow, output = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        refuse(subscripts, shapes, f"{len(terms)} terms for {len(shapes)} operands")
    unused = [letter for letter in LETTERS if letter not in subscripts]
    widths = [len(shape) - len(term.replace("...", "")) if "..." in term else 0 for term, shape in zip(terms, shapes, strict=True)]
    spare = "".join(unused[: max([0, *widths])])
    full: list[str] = []
    for term, shape, width in zip(terms, shapes, widths, strict=True):
        term = term.replace("...", spare[len(spare) - width :] if width > 0 else "")
        if len(term) != len(shape) or not all(letter in LETTERS for letter in term):
            refuse(subscripts, shapes, f"the term {term!r} for an operand of shape {shape}")
        full.append(term)
    if arrow:
        output = output.replace("...", spare)
    else:
        joined = "".join(full)
        output = (spare if "..." in left else "") + "".join(sorted(label for label in set(joined) - set(spare) if joined.count(label) == 1))
    if len(set(output)) < len(output) or not set(output) <= set("".join(full)):
        refuse(subscripts, shapes, f"the result {output!r} repeats a label or has one that no operand has")
    return full, output


def refuse(subscripts: str, shapes: Sequence[Shape], why: str) -> Any:
    """Raise the error of labels that do not fit."""
    raise teach(
        ShapeError,
        f"einsum {subscripts!r} of shapes {', '.join(map(str, shapes))}: {why}.",
        do="give one label for each axis; labels are equal where lengths are.",
    )


@lru_cache(maxsize=512)
def lengths_of(subscripts: str, shapes: tuple[Shape, ...]) -> tuple[tuple[str, ...], str, dict[str, int]]:
    """The labels of the operands, of the result, and the length of each label."""
    terms, output = explicit(subscripts, shapes)
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, n in zip(term, shape, strict=True):
            known = lengths.setdefault(label, n)
            if known != n:
                if known != 1 and n != 1:
                    refuse(subscripts, shapes, f"the label {label!r} has length {known} and {n}")
                lengths[label] = max(known, n) if 0 not in (known, n) else 0
    return tuple(terms), output, lengths


@lru_cache(maxsize=512)
def path_of(terms: tuple[str, ...], output: str, shapes: tuple[Shape, ...]) -> list[tuple[int, ...]]:
    """The order of contractions: the positions of the operands to contract next; their result is appended."""
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    dummies = [np.broadcast_to(0.0, shape) for shape in shapes]
    path = np.einsum_path(f"{','.join(terms)}->{output}", *dummies, optimize="optimal" if len(terms) <= 4 else "greedy")[0]
    return path[1:]


def check_einsum(*operands: Any, **_: Any) -> None:
    """Raise ShapeError if labels and shapes do not fit."""
    subscripts, arrays = split_arguments(operands)
    lengths_of(subscripts, tuple(shape_of(operand(x)) for x in arrays))


@eager(np.einsum, check_einsum)
def einsum(*operands: Any, optimize: Any = True, dtype: Any = None) -> Any:
    """The sum of products that ``subscripts`` defines, as in ``einsum("ij,jk->ik", a, b)``: axes with one label are multiplied together,
    and summed if the result lacks the label. Ellipses, repeated labels and the form with lists of labels are as in NumPy.

    The order of contractions is found by ``numpy.einsum_path``; ``optimize`` has no effect.

    Raises
    ------
    ShapeError
        A label has two lengths, or the labels do not fit the operands.
    """
    subscripts, arrays = split_arguments(operands)
    values = [operand(x) for x in arrays]
    common = result_dtype(*values) if dtype is None else np.dtype(dtype)
    values = [convert_to(x, common) for x in values]
    shapes = tuple(map(shape_of, values))
    labels, output, lengths = lengths_of(subscripts, shapes)
    terms: list[tuple[str, Any]] = []
    for k, (term, x) in enumerate(zip(labels, values, strict=True)):
        others = set(output).union(*labels[:k], *labels[k + 1 :])
        terms.append(simplified(term, x, others, lengths))
    for positions in path_of(tuple(term for term, _ in terms), output, tuple(shape_of(x) for _, x in terms)):
        group = [terms[k] for k in positions]
        terms = [pair for k, pair in enumerate(terms) if k not in positions]
        result = group[0]
        for j, other in enumerate(group[1:], start=2):
            needed = set(output).union(*(term for term, _ in group[j:]), *(term for term, _ in terms))
            result = pair_of(result, other, needed)
        terms.append(result)
    term, x = terms[0]
    x = total(x, tuple(k for k, label in enumerate(term) if label not in output))
    term = "".join(label for label in term if label in output)
    return permute(x, [term.index(label) for label in output])


def simplified(term: str, x: Any, others: set[str], lengths: dict[str, int]) -> tuple[str, Any]:
    """One operand with distinct labels, each of its full length and needed by ``others`` (the other operands, the result)."""
    shape = shape_of(x)
    short = [k for k, (label, n) in enumerate(zip(term, shape, strict=True)) if n == 1 != lengths[label]]
    if short:
        x = reshape_op(x, [n for k, n in enumerate(shape) if k not in short])
        term = "".join(label for k, label in enumerate(term) if k not in short)
    while len(set(term)) < len(term):
        label = next(letter for letter in term if term.count(letter) > 1)
        first = term.index(label)
        second = term.index(label, first + 1)
        x = diagonal(x, 0, first, second)
        term = "".join(letter for k, letter in enumerate(term) if k not in (first, second)) + label
    x = total(x, tuple(k for k, label in enumerate(term) if label not in others))
    return "".join(label for label in term if label in others), x


def pair_of(left: tuple[str, Any], right: tuple[str, Any], needed: set[str]) -> tuple[str, Any]:
    """The product of two operands, summed over the labels that are no longer needed."""
    (a, x), (b, y) = left, right
    x = total(x, tuple(k for k, label in enumerate(a) if label not in b and label not in needed))
    y = total(y, tuple(k for k, label in enumerate(b) if label not in a and label not in needed))
    a = "".join(label for label in a if label in b or label in needed)
    b = "".join(label for label in b if label in a or label in needed)
    batch = [label for label in a if label in b and label in needed]
    contract = [label for label in a if label in b and label not in needed]
    z = dot_general(
        x,
        y,
        ([a.index(label) for label in contract], [b.index(label) for label in contract]),
        ([a.index(label) for label in batch], [b.index(label) for label in batch]),
    )
    return "".join(batch) + "".join(label for label in a if label not in b) + "".join(label for label in b if label not in a), z


def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """The order of contractions that NumPy finds for these operands; only their shapes matter."""
    if einsum_call:
        refuse_arguments("einsum_path", ("einsum_call",))
    subscripts, arrays = split_arguments(operands)
    return np.einsum_path(subscripts, *[np.broadcast_to(0.0, shape_of(operand(x))) for x in arrays], optimize=optimize)
