"""Lines folded as the user's program is written: by the line of the source, and within it by the calls that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

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


@dataclass(frozen=True)
class Fold:
    """Consecutive lines from one line of the source; where that calls a function, ``callee``, they are folded by that one's lines."""

    place: Place | None
    callee: str
    parts: tuple[Fold | Line, ...]

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
    def extent(self) -> str:
        """The lines of the source in it: ``lines 4–7``."""
        numbers = sorted({place.number for line in self.lines if (place := place_of(line))})
        if not numbers:
            return "no line"
        return f"line {numbers[0]}" if len(numbers) == 1 else f"lines {numbers[0]}–{numbers[-1]}"


def size(part: Fold | Line) -> int:
    """The number of lines, with those of the programs that they hold."""
    if isinstance(part, Fold):
        return part.size
    return 1 + sum([size(line) for inner in part.inner for line in inner.lines]) if part.inner else 1


def place_of(line: Line) -> Place | None:
    """The line of the source from which a line comes."""
    origin = line.origin
    return place_at(origin.code, origin.offset) if origin is not None and origin.code is not None else None


_places: dict[tuple[int, int], tuple[Any, Place]] = {}
MOST_PLACES = 1 << 16


def place_at(code: Any, offset: int) -> Place:
    """The line of an instruction. It is remembered by the identity of the code: a hash of code takes as long as the code is."""
    known = _places.get((id(code), offset))
    if known is None:
        if len(_places) >= MOST_PLACES:
            _places.clear()
        origin = Origin(code, offset)
        known = _places[id(code), offset] = code, Place(origin.filename, origin.line, origin.source, origin.function)
    return known[1]


def calls(line: Line) -> list[Place]:
    """The places from the outermost call to the line itself."""
    found: list[Place] = []
    origin = line.origin
    while origin is not None and origin.code is not None:
        found.append(place_at(origin.code, origin.offset))
        origin = origin.caller
    return found[::-1]


def folded(lines: Iterable[Line]) -> tuple[Fold | Line, ...]:
    """Lines, folded where several come from one line of the source. Calls in which all of them are make no fold."""
    pairs = [(line, calls(line)) for line in lines]
    depth = 0
    while pairs and all(depth + 1 < len(places) and places[depth] == pairs[0][1][depth] for _, places in pairs):
        depth += 1
    return tuple(parts_of(pairs, depth))


def parts_of(pairs: Sequence[tuple[Line, list[Place]]], depth: int) -> Iterator[Fold | Line]:
    def key(pair: tuple[Line, list[Place]]) -> tuple[Place | None, str]:
        places = pair[1][depth : depth + 2]
        return (places[0] if places else None), (places[1].function if len(places) > 1 else "")

    for (place, callee), group in groupby(pairs, key):
        run = list(group)
        if callee:
            yield Fold(place, callee, tuple(parts_of(run, depth + 1)))
        elif len(run) > 1:
            yield Fold(place, "", tuple(line for line, _ in run))
        else:
            yield run[0][0]


def packed(parts: Iterable[Fold | Line]) -> Iterator[Fold]:
    """Folds of at most ``MOST`` lines, which have no place where they have several, and larger ones."""
    pack: list[Fold | Line] = []
    total = 0
    for part in parts:
        total += size(part)
        if pack and total > MOST:
            yield packed_as_one(pack)
            pack, total = [], size(part)
        if size(part) > MOST and isinstance(part, Fold):
            yield part
            total = 0
        else:
            pack.append(part)
    if pack:
        yield packed_as_one(pack)


def packed_as_one(pack: list[Fold | Line]) -> Fold:
    return pack[0] if len(pack) == 1 and isinstance(pack[0], Fold) else Fold(None, "", tuple(pack))
