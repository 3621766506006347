"""The arguments that an option selects by numbers and names: static and donated ones of `jit`, nondifferentiable ones of custom rules.

Each of the two ways is completed by the other where the signature of the function is known: an argument is meant however it is passed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..core import tree
from ..core.errors import ArgumentError, ArgumentTypeError, teach, warn
from ..core.origin import describe_function

__all__ = ["DonationWarning", "Named", "donated_leaves", "named", "refuse_static_donation", "warn_of_unused"]


class DonationWarning(UserWarning):
    """A donated argument is of no use: there is no result that could lie in its memory."""


class Named(NamedTuple):
    """Arguments by position, and by name."""

    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def of_method(self) -> Named:
        """These arguments, counted for the bound method, whose instance is no argument."""
        return Named(tuple(k - 1 if k > 0 else k for k in self.numbers if k != 0), self.names)

    def __bool__(self) -> bool:
        return bool(self.numbers or self.names)


def named(fun: Callable[..., Any], option: str, numbers: int | Sequence[int], names: str | Iterable[str], verb: str = "jit") -> Named:
    """The arguments that the options ``{option}_argnums`` and ``{option}_argnames`` of ``verb`` mean.

    Raises:
        ArgumentTypeError: they are no integers, or no strings.
        ArgumentError: ``fun`` has no such argument.
    """
    given = Named(
        of_kind(f"{verb}: {option}_argnums", numbers, int, "a position or a sequence of them, as 0 or (0, 2)"),
        of_kind(f"{verb}: {option}_argnames", names, str, 'a name or a sequence of them, as "x" or ("x", "y")'),
    )
    return completed(fun, f"{verb}: ", option, given) if given else given


def of_kind(option: str, given: Any, kind: type, wanted: str) -> tuple[Any, ...]:
    """The values of an option, of which there may be one or several."""
    values = (given,) if type(given) is kind else tuple(given) if isinstance(given, Iterable) else ()
    if type(given) is not kind and (isinstance(given, str) or not isinstance(given, Iterable) or any(type(x) is not kind for x in values)):
        raise teach(ArgumentTypeError, f"{option}={given!r} names no arguments.", do=f"give {wanted}.")
    return values


def completed(fun: Any, verb: str, option: str, given: Named) -> Named:
    """Positions and names, each completed by the other through the signature of ``fun``."""
    try:
        every = inspect.signature(fun).parameters
    except (TypeError, ValueError):
        return given
    known = [p.name for p in every.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    for name in given.names:
        if name not in every and not any(p.kind is p.VAR_KEYWORD for p in every.values()):
            raise teach(
                ArgumentError,
                f"{verb}{describe_function(fun)} has no argument {name!r} ({option}_argnames).",
                do=f"its arguments are {', '.join(every)}.",
            )
    for k in given.numbers:
        if not -len(known) <= k < len(known) and not any(p.kind is p.VAR_POSITIONAL for p in every.values()):
            raise teach(
                ArgumentError,
                f"{verb}{describe_function(fun)} has no positional argument {k} ({option}_argnums).",
                do=f"it has {len(known)}, from 0.",
            )
    if not any(p.kind is p.VAR_POSITIONAL for p in every.values()):
        given = Named(tuple(k % len(known) for k in given.numbers), given.names)
    by_name = {known[k] for k in given.numbers if -len(known) <= k < len(known)}
    by_number = {known.index(name) for name in given.names if name in known}
    return Named(tuple(sorted({*given.numbers, *by_number})), tuple(sorted({*given.names, *by_name})))


# ---- donated arguments ----------------------------------------------------------------------------------------------------------
def refuse_static_donation(fun: Callable[..., Any], static: Named, donated: Named) -> None:
    """An argument cannot be both a part of the code and memory for a result."""
    both = [*sorted(set(static.names) & set(donated.names)), *sorted(set(static.numbers) & set(donated.numbers))]
    if both:
        raise static_donation(fun, both[0])


def static_donation(fun: Callable[..., Any], argument: int | str) -> ArgumentError:
    return teach(
        ArgumentError,
        f"jit: the argument {argument!r} of {describe_function(fun)} is both static and donated.",
        do="donate arrays only: a static argument is a part of the code, and has no memory to give.",
    )


def donated_leaves(fun: Callable[..., Any], donated: Named, spec: Any, static: Sequence[tuple[Any, ...]]) -> tuple[int, ...]:
    """The numbers of the leaves of donated arguments, in a call whose dynamic arguments have this structure, with these static ones."""
    positional, keyword = tree.children(spec)
    fixed = {key for key, *_ in static}
    count = positional.num_children + sum(isinstance(key, int) for key in fixed)
    wanted: set[Any] = {k % count for k in donated.numbers if -count <= k < count} | set(donated.names)
    if wanted & fixed:
        raise static_donation(fun, min(wanted & fixed, key=str))
    keys: list[Any] = [k for k in range(count) if k not in fixed] + list(keyword.entries())
    found: list[int] = []
    first = 0
    for key, child in zip(keys, [*tree.children(positional), *tree.children(keyword)], strict=True):
        if key in wanted:
            found += range(first, first + child.num_leaves)
        first += child.num_leaves
    return tuple(found)


def warn_of_unused(fun: Callable[..., Any], names: Sequence[str], types: Sequence[Any]) -> None:
    """Say at the user's line which donated leaves hold no result."""
    if not names:
        return
    which = ", ".join(f"{name} ({t})" for name, t in zip(names, types, strict=True))
    message = (
        f"jit: {which} of {describe_function(fun)}: donated, but no result can lie there. A result must have the shape and dtype of the "
        "argument, and be written where nothing reads the argument afterwards. What to do: donate only arguments of which this holds."
    )
    warn(message, DonationWarning)
