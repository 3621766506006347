"""Lines folded as the user's program is written: by the line of the source, and within it by the calls that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeAlias

from ..core.origin import Origin
from .story import Line

__all__ = ["MOST", "Fold", "Place", "folded", "packed", "place_of"]

MOST = 200
"""A fold of more lines is folded again."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's source."""

    file: str
    number: int
    text: str
    function: str


class Fold:
    """Consecutive lines from one line of the source; where that calls a function, ``callee``, they are folded by that one's lines."""

    def __init__(self, place: Place | None, callee: str, parts: Sequence[Fold | Line]):
        self.place, self.callee = place, callee
        self._parts: Sequence[Fold | Line] = parts

    @property
    def parts(self) -> Sequence[Fold | Line]:
        return self._parts

    @property
    def lines(self) -> Iterator[Line]:
        for part in self.parts:
            if isinstance(part, Fold):
                yield from part.lines
            else:
                yield part

    @cached_property
    def size(self) -> int:
        return sum(map(size, self.parts))

    @property
    def ends(self) -> tuple[Line, Line]:
        """The first and the last line."""
        first, last = self.parts[0], self.parts[-1]
        return first.ends[0] if isinstance(first, Fold) else first, last.ends[1] if isinstance(last, Fold) else last

    @cached_property
    def numbers(self) -> set[int]:
        """The lines of the source from which its lines come."""
        places = [place_of(part) for part in self.parts if isinstance(part, Line)]
        return {place.number for place in places if place}.union(*[part.numbers for part in self.parts if isinstance(part, Fold)])

    @property
    def extent(self) -> str:
        """The lines of the source in it: ``lines 4–7``."""
        numbers = sorted(self.numbers)
        if not numbers:
            return "no line"
        return f"line {numbers[0]}" if len(numbers) == 1 else f"lines {numbers[0]}–{numbers[-1]}"


class FoldedCall(Fold):
    """The lines of a call. They are folded when somebody asks for the parts."""

    def __init__(self, place: Place | None, callee: str, run: Sequence[Called], depth: int):
        super().__init__(place, callee, ())
        self.run, self.depth = run, depth

    @cached_property
    def parts(self) -> Sequence[Fold | Line]:
        return tuple(parts_of(self.run, self.depth))

    @property
    def lines(self) -> Iterator[Line]:
        return (line for line, _ in self.run)

    @property
    def ends(self) -> tuple[Line, Line]:
        return self.run[0][0], self.run[-1][0]

    @cached_property
    def numbers(self) -> set[int]:
        return {places[-1].number for _, places in self.run if places}

    @cached_property
    def size(self) -> int:
        return sum([size(line) if line.inner else 1 for line, _ in self.run])


def size(part: Fold | Line) -> int:
    """The number of lines, with those of the programs that they hold."""
    if isinstance(part, Fold):
        return part.size
    return 1 + sum([size(line) for inner in part.inner for line in inner.lines]) if part.inner else 1


def place_of(line: Line) -> Place | None:
    """The line of the source from which a line comes."""
    origin = line.definition.equations[-1].origin
    return place_at(origin.code, origin.offset) if origin is not None and origin.code is not None else None


_places: dict[tuple[int, int], tuple[Any, Place]] = {}
_equal: dict[Place, Place] = {}
MOST_PLACES = 1 << 16


def place_at(code: Any, offset: int) -> Place:
    """The line of an instruction, one object for each line. It is remembered by the identity of the code: a hash of code takes as long as
    the code is.
    """
    known = _places.get((id(code), offset))
    if known is None:
        if len(_places) >= MOST_PLACES:
            _places.clear()
            _equal.clear()
        origin = Origin(code, offset)
        place = Place(origin.filename, origin.line, origin.source, origin.function)
        known = _places[id(code), offset] = code, _equal.setdefault(place, place)
    return known[1]


Called: TypeAlias = tuple[Line, tuple[Place, ...]]
"""A line, and the places from the outermost call to the line itself."""


def called(lines: Iterable[Line]) -> Iterator[Called]:
    """Lines with the calls that led to them."""
    known: dict[Any, tuple[Place, ...]] = {}

    def places(origin: Origin | None) -> tuple[Place, ...]:
        if origin is None or origin.code is None:
            return ()
        key = id(origin.code), origin.offset, id(origin.caller)
        found = known.get(key)
        if found is None:
            found = known[key] = (*places(origin.caller), place_at(origin.code, origin.offset))
        return found

    for line in lines:
        yield line, places(line.definition.equations[-1].origin)


def folded(lines: Iterable[Line]) -> tuple[Fold | Line, ...]:
    """Lines, folded where several come from one line of the source. Calls in which all of them are make no fold."""
    pairs = list(called(lines))
    depth = 0
    while pairs and all(depth + 1 < len(places) and places[depth] is pairs[0][1][depth] for _, places in pairs):
        depth += 1
    return tuple(parts_of(pairs, depth))


def parts_of(pairs: Sequence[Called], depth: int) -> Iterator[Fold | Line]:
    def key(pair: Called) -> tuple[Place | None, str]:
        places = pair[1]
        if len(places) > depth + 1:
            return places[depth], places[depth + 1].function
        return (places[depth] if len(places) > depth else None), ""

    for (place, callee), group in groupby(pairs, key):
        run = list(group)
        if callee:
            yield FoldedCall(place, callee, run, depth + 1)
        elif len(run) > 1:
            yield Fold(place, "", [line for line, _ in run])
        else:
            yield run[0][0]


def packed(parts: Iterable[Fold | Line]) -> Iterator[Fold]:
    """Folds of at most ``MOST`` lines, which have no place where they have several, and larger ones."""
    pack: list[Fold | Line] = []
    total = 0
    for part in parts:
        added = size(part)
        total += added
        if pack and total > MOST:
            yield packed_as_one(pack)
            pack, total = [], added
        if added > MOST and isinstance(part, Fold):
            yield part
            total = 0
        else:
            pack.append(part)
    if pack:
        yield packed_as_one(pack)


def packed_as_one(pack: list[Fold | Line]) -> Fold:
    return pack[0] if len(pack) == 1 and isinstance(pack[0], Fold) else Fold(None, "", pack)
