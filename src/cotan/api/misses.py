"""Why a jitted function was staged: the reason of a miss, and what varies after many of them.

A function that is staged at nearly every call is slow, and nothing else shows it. So after `MANY_MISSES` a `RecompilationWarning` names the
arguments that vary, and what varies in them: the size of an axis, the number of axes, the dtype, the value of a static argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ..core.errors import warn
from ..core.origin import describe_function
from ..core.types import ArrayType, dtype_name
from .signature import Signature, argument_names, static_name

__all__ = ["MANY_MISSES", "Miss", "RecompilationWarning", "warn_of_misses"]

MANY_MISSES = 50
MOST_NAMED = 4
"""A warning names so many arguments, and so many values of each."""


class RecompilationWarning(UserWarning):
    """A jitted function was staged many times, each time for other arguments. The warning names those that vary."""


class Miss(NamedTuple):
    """Why a function was staged: a ``reason``, or what is new in a ``signature``, of ``known`` ones before it. The differences, which take
    as long as there are signatures, are found when somebody asks.
    """

    reason: str
    signature: Signature | None = None
    known: int = 0
    traced: bool = False
    """Whether it closes over a traced value."""

    def explained(self, cache: Iterable[Signature]) -> str:
        """The reason; ``cache`` has the signatures, oldest first."""
        found = self.reason
        if not found and self.signature is not None:
            new = self.signature
            before = [(old.spec != new.spec, old.differences(new)) for old in islice(cache, self.known) if old != new]
            nearest = min(before, key=lambda old: (old[0], len(old[1])), default=None)
            found = "; ".join(nearest[1]) if nearest is not None else "this was its first call"
        if self.traced:
            found += "; it closes over a traced value, so this Program serves one call only: pass that value as an argument"
        return found


class Variation(NamedTuple):
    """What varies in one argument, its ``values``, and what to do about it."""

    what: str
    values: Sequence[str]
    remedy: str

    def __str__(self) -> str:
        shown = ", ".join(self.values[:MOST_NAMED]) + (", ..." if len(self.values) > MOST_NAMED else "")
        return f"{self.what} ({len(self.values)}: {shown})"


PAD = "pad that axis to a few sizes"
EXACT = "let one compilation serve several sizes, with jit(..., dynamic_sizes=True), or " + PAD
ONE_DTYPE = "convert that argument to one dtype"
ONE_RANK = "give that argument one number of axes"
ONE_TREE = "give the arguments one structure"
NOT_STATIC = "pass a value that varies as an ordinary argument, not as a static one"
UNCHANGED = "pass a value that changes as an argument"


def variations(signatures: Sequence[Signature], exact: bool) -> list[Variation]:
    """What varies among signatures; the arguments are looked at where they form the tree of the last one."""
    trees = {s.spec for s in signatures}
    found = [Variation("the structure of the arguments", [f"{s.num_leaves} arrays" for s in trees], ONE_TREE)] if len(trees) > 1 else []
    alike = [s for s in signatures if s.spec == signatures[-1].spec]
    for name, types in zip(argument_names(alike[-1].spec), zip(*[s.types for s in alike], strict=True), strict=True):
        found += variations_of_types(name, types, exact)
    keys = [key for key, *_ in alike[-1].static]
    for k, key in enumerate(keys):
        values = list(dict.fromkeys(repr(s.static[k][2]) for s in alike if [key for key, *_ in s.static] == keys))
        if len(values) > 1:
            found.append(Variation(f"the static argument {static_name(key)}", values, NOT_STATIC))
    return sorted(found, key=lambda v: -len(v.values))


def variations_of_types(name: str, types: Sequence[ArrayType], exact: bool) -> Iterator[Variation]:
    """What varies in the types of one argument."""
    dtypes = list(dict.fromkeys(dtype_name(t.dtype) + "*" * t.weak for t in types))
    if len(dtypes) > 1:
        yield Variation(f"the dtype of {name}", dtypes, ONE_DTYPE)
    ranks = list(dict.fromkeys(str(t.ndim) for t in types))
    if len(ranks) > 1:
        yield Variation(f"the number of axes of {name}", ranks, ONE_RANK)
        return
    for axis, sizes in enumerate(zip(*[t.shape for t in types], strict=True)):
        if len(set(sizes)) > 1:
            yield Variation(f"axis {axis} of {name}", [str(n) for n in dict.fromkeys(sizes)], EXACT if exact else PAD)


def warn_of_misses(
    fun: Callable[..., Any], misses: int, signatures: Sequence[Signature], reason: str, *, exact: bool, refusal: str
) -> None:
    """Say at the user's line what varies among the ``signatures`` at which ``fun`` was staged, the last one just now. A ``reason`` takes
    the place of that; ``exact`` says that code for several sizes was not asked for, and ``refusal`` why there is none.
    """
    found = variations(signatures, exact)
    what = "; ".join(map(str, found[:MOST_NAMED])) or reason or "each call closes over another traced value"
    remedies = list(dict.fromkeys(v.remedy for v in found[:MOST_NAMED])) or [UNCHANGED]
    warn(
        f"jit: {describe_function(fun)} has been staged {misses} times, and each time takes milliseconds. What varies: {what}. "
        f"{f'It is staged for each size, since {refusal}. ' * bool(refusal)}"
        f"What to do: {'; '.join(remedies)}.",
        RecompilationWarning,
    )
