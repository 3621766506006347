"""An explanation as text for a terminal: 80 columns by default, colour only where the output is a terminal that wants it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from .fold import MOST, Fold, folded
from .story import Line, Stage, Story, encodable
from .templates import formula_of

__all__ = ["text_of"]

BOLD, DIM, CYAN, YELLOW, MAGENTA = "1", "2", "36", "33", "35"
COLOURS = {"tangent": CYAN, "cotangent": MAGENTA}
NARROWEST, WIDEST = 60, 140
SHOWN, SHOWN_OF_A_FOLD = 24, 10
"""Of a program of more than MOST lines, at most so many parts are shown; the page has all."""


def text_of(story: Story, *, width: int | None = None, colour: bool | None = None) -> str:
    """The text. ``width`` defaults to that of the terminal, else 80; ``colour`` to whether standard output is a terminal and NO_COLOR is
    not set.
    """
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    if colour is None:
        colour = wants_colour()
    return encodable("\n".join(Text(max(NARROWEST, min(width, WIDEST)), colour).story(story)))


def wants_colour() -> bool:
    """Whether standard output is a terminal that shows colours, and its user wants them (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def listed(names: Sequence[str], count: int | None = None) -> str:
    """The first names of so many, by default of these, and how many more there are."""
    more = (len(names) if count is None else count) - MOST
    return f"{', '.join(names[:MOST])}{f', and {more:,} more' if more > 0 else ''}"


class Text:
    """The lines of a text of one width."""

    def __init__(self, width: int, colour: bool):
        self.width, self.colour = width, colour

    def painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def story(self, story: Story) -> Iterator[str]:
        yield self.painted(f"{story.transform} of {story.function}", BOLD)
        for file in dict.fromkeys(line.file for line in story.source):
            yield ""
            lines = [line for line in story.source if line.file == file]
            margin = len(str(max(line.number for line in lines)))
            yield f"  {os.path.basename(file)}"
            for line in lines:
                text = line.text if len(line.text) <= self.width - margin - 4 else f"{line.text[: self.width - margin - 5]}…"
                yield f"  {self.painted(f'{line.number:>{margin}}', DIM)}  {text}"
        for number, stage in enumerate(story.stages, 1):
            yield ""
            yield self.painted(f"{number}. {stage.title}", BOLD)
            yield from textwrap.wrap(stage.about, self.width - 3, initial_indent="   ", subsequent_indent="   ")
            yield ""
            yield from self.stage(stage, 2)
        yield ""
        yield self.painted("The rules", BOLD)
        for rule in story.rules:
            yield ""
            yield from self.wrapped(str(rule.value), 2)
            for statement in (*rule.forward, *rule.backward):
                yield from self.wrapped(str(statement), 6)
            for k, statement in enumerate(rule.where):
                yield from self.wrapped(f"{'where' if k == 0 else '     '} {statement}", 6)
            yield from textwrap.wrap(f"{rule.why} {rule.keeps}", self.width - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)

    def wrapped(self, text: str, indent: int) -> list[str]:
        return textwrap.wrap(text, self.width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4))

    def stage(self, stage: Stage, indent: int) -> Iterator[str]:
        if stage.inputs:
            yield from self.wrapped(f"given {listed(stage.inputs)}", indent)
        if len(stage.lines) <= MOST:
            for line in stage.lines:
                yield from self.line(line, indent)
        else:
            yield from self.parts(folded(stage.lines), indent, SHOWN)
        yield from self.wrapped(f"return {listed([str(formula_of(it)) for it in stage.results[:MOST]], len(stage.results))}", indent)

    def parts(self, parts: Sequence[Fold | Line], indent: int, most: int) -> Iterator[str]:
        """The first and the last parts of a large program, and fewer of a call or a line of the source."""
        first, rest = (parts, ()) if len(parts) <= most else (parts[: most // 2], parts[most // 2 :])
        for part in first:
            yield from self.part(part, indent)
        if rest:
            left_out = Fold(None, "", tuple(rest[: -(most // 2)]))
            yield f"{' ' * indent}{self.painted(f'… {left_out.size:,} lines more, of {left_out.extent}', DIM)}"
            for part in rest[-(most // 2) :]:
                yield from self.part(part, indent)

    def part(self, part: Fold | Line, indent: int) -> Iterator[str]:
        return self.line(part, indent) if isinstance(part, Line) else self.parts(part.parts, indent, SHOWN_OF_A_FOLD)

    def line(self, line: Line, indent: int) -> Iterator[str]:
        """The formula on the left, where it comes from on the right; below it the programs that its op holds."""
        place = f"line {line.origin.line}" if line.origin is not None and line.origin.code is not None else ""
        note = f"{place}, {line.provenance}" if line.provenance else place
        right = min(max(14, self.width * 2 // 5 if line.provenance else 0), self.width - 30) if note else 0
        left = textwrap.wrap(str(line), self.width - right - indent - 2, subsequent_indent="    ")
        notes = textwrap.wrap(note, right - 3) if note else []
        role = line.definition.role
        for k in range(max(len(left), len(notes))):
            text = left[k] if k < len(left) else ""
            comment = f"# {notes[k]}" if k < len(notes) else ""
            gap = " " * (self.width - right - indent - len(text)) if comment else ""
            yield f"{' ' * indent}{self.painted(text, COLOURS.get(role, '0'))}{gap}{self.painted(comment, DIM)}".rstrip()
        for inner in line.inner:
            yield f"{' ' * (indent + 2)}{self.painted(inner.title, BOLD)}"
            yield from self.stage(inner, indent + 4)
