"""Calls at new sizes: with `dynamic_sizes`, a jitted function is staged on symbolic sizes when a second signature differs in sizes alone.

The signatures of one tree, one set of static values, one dtype and number of axes for each leaf are a `Family`. The axes that differ among
those that were staged are its variables; axes that have always been equal are one variable. When a further size comes, the function is
staged for it as always, and a second time with `core.sizes.Size` in place of the variables. That gives `SizedCode`, which serves each size
that takes the same path, without a run of the function. What it gives was checked against exact code (see `engines.native.sized`).

A function that looks at a size as a number (``range(n)``, ``np.arange(n)``, ``len(x)``) has no such code. Nothing is lost: it is staged for
each size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.origin import Origin
from ..core.sizes import SizeLog
from ..core.types import ArrayType, Shape, array_type
from ..engines import Engine, sized_code
from .dispatch import Entry
from .signature import Signature, Staged
from .watched import same

if TYPE_CHECKING:
    from ..engines.native.sized import SizedCode

__all__ = ["SizedCalls"]

MOST_CODES, MOST_FAILURES, MOST_SHAPES, MOST_ENTRIES = 12, 4, 32, 4096
"""Of a family: codes; failures to make one, and codes that have served one size each; shapes that are remembered. Of a function: entries
for single sizes."""
Shapes = tuple[Shape, ...]
Stage = Callable[[Signature], Staged]


class Axes(NamedTuple):
    """The variables of a family: for each, its axes, as (leaf, axis), all of one size; and the shapes, in which other axes are fixed."""

    variables: tuple[tuple[tuple[int, int], ...], ...]
    shapes: Shapes

    @classmethod
    def of(cls, shapes: Sequence[Shapes]) -> Axes:
        """The axes that vary among these shapes, the last of which are those at hand."""
        columns: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for leaf, leaves in enumerate(zip(*shapes, strict=True)):
            for axis, sizes in enumerate(zip(*leaves, strict=True)):
                if any(n != sizes[-1] for n in sizes):
                    columns.setdefault(sizes, []).append((leaf, axis))
        return cls(tuple(map(tuple, columns.values())), shapes[-1])

    def sizes(self, shapes: Shapes) -> list[int] | None:
        """The values of the variables in other shapes; None where these differ in a fixed axis, or within a variable."""
        found = [shapes[axes[0][0]][axes[0][1]] for axes in self.variables]
        expected = [list(shape) for shape in self.shapes]
        for axes, n in zip(self.variables, found, strict=True):
            for leaf, axis in axes:
                expected[leaf][axis] = n
        return found if all(tuple(a) == b for a, b in zip(expected, shapes, strict=True)) else None

    def symbolic(self, types: Sequence[ArrayType], log: SizeLog) -> tuple[ArrayType, ...]:
        """Types with symbols for the variables."""
        shapes: list[list[Any]] = [list(t.shape) for t in types]
        for axes in self.variables:
            size = log.variable(shapes[axes[0][0]][axes[0][1]])
            for leaf, axis in axes:
                shapes[leaf][axis] = size
        return tuple([array_type(tuple(shape), t.dtype, t.weak) for shape, t in zip(shapes, types, strict=True)])


class Served(NamedTuple):
    """Code for several sizes, and what an `Entry` of it needs."""

    code: SizedCode
    axes: Axes
    apart: Any
    spec: Any

    def entry(self, sizes: Sequence[int]) -> tuple[Entry, Any] | None:
        """The entry for these sizes, and its caller."""
        caller = self.code.caller(sizes, self.spec is None)
        if caller is None:
            return None
        return Entry(caller.launch, caller.call, caller.fail, self.apart, self.spec), caller


class Family:
    """The signatures that differ in sizes alone."""

    def __init__(self) -> None:
        self.shapes: list[Shapes] = []
        self.codes: list[Served] = []
        self.failures = 0
        self.refusal = ""
        """The last reason why there is no code for several sizes."""

    def serving(self, shapes: Shapes) -> Iterator[tuple[Served, list[int]]]:
        """The codes that may serve these shapes, with the values of their variables."""
        for served in self.codes:
            sizes = served.axes.sizes(shapes)
            if sizes is not None:
                yield served, sizes


class SizedCalls:
    """The families of a jitted function. ``dynamic`` is the option `dynamic_sizes`; without it there are none."""

    def __init__(self, dynamic: bool | None):
        self.dynamic = dynamic
        self.families: dict[Any, Family] = {}
        self.entries: OrderedDict[Signature, Entry] = OrderedDict()

    def clear(self) -> None:
        self.families.clear()
        self.entries.clear()

    def refusal(self, signature: Signature) -> str:
        """Why there is no code for several sizes of such a signature, if that has been found out."""
        return self.family(signature).refusal if self.families else ""

    def family(self, signature: Signature) -> Family:
        key = signature.spec, signature.static, tuple([(t.dtype, t.weak, len(t.shape)) for t in signature.types])
        found = self.families.get(key)
        if found is None:
            found = self.families[key] = Family()
        return found

    def known(self, signature: Signature) -> Entry | None:
        """The entry for a new signature, from code that serves several sizes."""
        entry = self.entries.get(signature)
        if entry is not None or not self.families:
            return entry
        family, shapes = self.family(signature), shapes_of(signature)
        for served, sizes in family.serving(shapes):
            if served.code.is_trusted(sizes) and (found := served.entry(sizes)) is not None:
                family.codes = [served, *[other for other in family.codes if other is not served]]
                return self.kept(signature, found[0])
        return None

    def kept(self, signature: Signature, entry: Entry) -> Entry:
        self.entries[signature] = entry
        if len(self.entries) > MOST_ENTRIES:
            self.entries.popitem(last=False)
        return entry

    def learned(
        self, signature: Signature, staged: Staged, engine: Engine, stage: Stage, apart: Any, spec: Any
    ) -> tuple[Entry, Any] | None:
        """The entry for a signature that has just been staged, and its caller, if code for several sizes serves it. ``stage`` stages the
        function on other types.
        """
        if not self.dynamic or engine.name == "numpy" or staged.watched is not None:
            return None
        family, shapes = self.family(signature), shapes_of(signature)
        for served, sizes in list(family.serving(shapes)):
            if not tell_apart(sizes) or served.code.instance(sizes) is None:
                continue
            if served.code.confirm(sizes, staged.program, engine):
                return self.entered(signature, served, sizes)
            family.codes.remove(served)
            family.failures += 1
            family.refusal = "its code for another size was not what its code for these sizes says"
        family.shapes = [*family.shapes[1 - MOST_SHAPES :], shapes]
        if len(family.shapes) < 2:
            return None
        idle = sum(served.code.idle for served in family.codes)
        if family.failures + idle >= MOST_FAILURES or len(family.codes) >= MOST_CODES:
            return None
        axes = Axes.of(family.shapes)
        if not tell_apart(axes.sizes(shapes) or ()):
            return None
        found = self.made(signature, staged, engine, stage, axes)
        if isinstance(found, str):
            family.failures += 1
            family.refusal = found
            return None
        served = Served(found[0], found[1], apart, spec)
        family.codes.append(served)
        return self.entered(signature, served, found[0].given)

    def entered(self, signature: Signature, served: Served, sizes: Sequence[int]) -> tuple[Entry, Any] | None:
        found = served.entry(sizes)
        if found is not None:
            self.kept(signature, found[0])
        return found

    def made(self, signature: Signature, staged: Staged, engine: Engine, stage: Stage, axes: Axes) -> tuple[SizedCode, Axes] | str:
        """Code for several sizes, with its axes; or the reason why there is none."""
        log = SizeLog()
        try:
            other = stage(signature._replace(types=axes.symbolic(signature.types, log)))
            if log.fixed:
                return f"it depends on a size as a number{at_line(log.fixed[0])}"
            if other.out_spec != staged.out_spec or len(other.constants) != len(staged.constants):
                return "its results have another structure if sizes are symbols"
            if not all(map(same, other.constants, staged.constants)):
                return "the arrays that it captures are others at each run"
            return sized_code(other.program, staged.program, staged.constants, log, engine), axes
        except Exception as error:  # the function has run well on numbers; it is staged for each size
            return f"{type(error).__name__} if sizes are symbols: {str(error).partition(chr(10))[0]}"
        finally:
            log.close()


def tell_apart(sizes: Sequence[int]) -> bool:
    """Whether sizes are good examples: none is empty or broadcast, and no two are equal by chance, which exact code would make use of."""
    return bool(sizes) and min(sizes) > 1 and len(set(sizes)) == len(sizes)


def shapes_of(signature: Signature) -> Shapes:
    return tuple([t.shape for t in signature.types])


def at_line(origin: Origin | None) -> str:
    return f" at {origin}" if origin is not None else ""
