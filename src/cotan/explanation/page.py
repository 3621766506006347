"""An explanation as one page of HTML that needs nothing else: no network, no other file, and a strict content security policy.

A small page can be read without its script, which marks, searches and slices. In a large one, what is folded lies in the page as numbers
(`page_data`), of which the script makes elements when they are shown. All text of the user goes through `escape`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from html import escape as escaped
from importlib.resources import files
from os.path import basename
from string import Template

from ..core.collecting import no_collection
from ..core.formula import CLOSING, OPENING, Piece, Symbol
from .fold import MOST, Fold, Place, folded, packed, place_of, size
from .formulas import Rule, Statement
from .graph import graph_of, kernels_of
from .mathml import mathml
from .page_data import PageData, note, types_of
from .story import Line, Stage, Story, encodable

__all__ = ["frame_of", "page_of", "secured"]

SEVERAL = 250
"""A stage of more lines is folded."""
COLUMNS = {
    "primal": ("Value", "value", "down"),
    "jvp": ("Tangent", "tangent", "down"),
    "linear": ("Tangent", "tangent", "down"),
    "transpose": ("Cotangent", "cotangent", "up"),
    "whole": ("Result", "", "down"),
}
"""The stages that the table shows side by side: the heading, the role of the values that it shows, and in which direction it is read."""
escape = lru_cache(maxsize=1 << 16)(escaped)
"""Names, types and lines of the source come again and again."""
EQUALS = " = "
LISTED = "\n"
"""What separates names, which may have spaces: ``p['a b']``."""
ARROWS = {"down": "↓", "up": "↑"}
DEEPEST = 6
"""What is nested more deeply is indented no more."""

LEGEND = """<p class="about">A row for each operation of the function, and beside it what the stages make of it.$kept Point at a row, or
focus it, to mark it in all stages; press a name in a stage to see what it depends on.</p>"""
UNFOLDED = "<noscript><p class=about>What is folded is shown by the script of this page.</p></noscript>"
KEPT = ' <span class="kept">Dotted</span> parts are kept from the forward pass.'
HEADER = """<header>
<div><h1>$title</h1>
<p class="about">$summary</p></div>
<div class="tools" role="search">
<label for="search">Search</label>
<input type="search" id="search" autocomplete="off" placeholder="a name, an operation, a line">
<output id="found" for="search"></output>
<button type="button" id="clear" hidden>Show all</button>
</div>
</header>
"""


@cache
def resource(name: str) -> str:
    return files("cotan.explanation").joinpath(name).read_text(encoding="utf-8")


def secured(title: str, body: str, style: str = "", script: str = "", policy: str = "") -> str:
    """A page that loads nothing and runs this script alone; ``policy`` allows more."""
    allowed = (
        f"default-src 'none'; style-src '{source_hash(style)}'; script-src '{source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = Template(resource("page.html"))
    return page.substitute(title=escape(title), body=body, style=style, script=script, policy=escape(allowed + policy, quote=False))


def source_hash(text: str) -> str:
    """The hash by which a content security policy allows an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def page_of(story: Story, *, loops: bool = False) -> str:
    """The page; with ``loops``, the last stage is compiled, and its loops are drawn."""
    title = title_of(story)
    operations = sum(len(stage.program.equations) for stage in story.stages[:1])
    summary = f"{operations} operation{'s' * (operations != 1)}, {len(story.stages)} stages. Every line is an equation that cotan ran."
    header = Template(HEADER).substitute(title=escape(title), summary=summary)
    with no_collection(lasting=True):
        body = "\n".join([header, *Page(story, loops).sections()])
    return secured(title, encodable(body), resource("page.css"), resource("page.js"))


def title_of(story: Story) -> str:
    return encodable(f"{story.transform} of {story.function}")


def frame_of(story: Story) -> str:
    """The page in a frame of its own, for a notebook."""
    rows = sum(1 for _ in flattened(story.stages[0].lines))
    height = min(900, 420 + 28 * rows)
    return (
        f'<iframe title="{escape(title_of(story))}" sandbox="allow-scripts" '
        f'style="width:100%;height:{height}px;resize:vertical;border:1px solid #8885" srcdoc="{escape(page_of(story))}"></iframe>'
    )


class Page:
    """The body of the page of a story."""

    def __init__(self, story: Story, loops: bool):
        self.story, self.loops = story, loops
        keys = columns([stage.key for stage in story.stages])
        self.shown = [stage for stage in story.stages if stage.key in keys]
        """The stages that the table shows."""
        large = any(sum(1 for _ in flattened(stage.lines)) > SEVERAL for stage in story.stages)
        shown = [(f"stage-{stage.key}", stage.key, *COLUMNS[stage.key][:2]) for stage in self.shown]
        self.data = PageData(story.stages, shown) if large else None
        self.anchors = {type(it.op): f"rule-{k}" for k, it in reversed([*enumerate(story.rules)])}
        """Where the rule of an op stands."""

    def sections(self) -> Iterator[str]:
        yield "<main>"
        yield from SideBySide(self).section()
        for number, stage in enumerate(self.story.stages, 1):
            few = len(stage.lines) <= SEVERAL
            yield f'<details class="stage" id="stage-{escape(stage.key)}"{" open" * few}>'
            yield f"<summary><h2>{number}. {escape(stage.title)}</h2></summary>"
            yield f'<p class="about">{escape(stage.about)}</p>'
            yield listing(stage, self.data)
            yield drawn("As a graph", graph_of(stage))
            if self.loops and number == len(self.story.stages):
                yield drawn("Compiled: what shares a loop", kernels_of(stage))
            yield "</details>"
        cards = (rule(it, f"rule-{k}") for k, it in enumerate(self.story.rules))
        yield f'<section id="rules"><h2>The rules</h2><div class="rules">{"".join(cards)}</div></section>'
        yield '</main><div id="detail" hidden></div>'
        if self.data is not None:
            held = {k: [[*around(inner), first, end] for inner, first, end in found] for k, found in self.data.held.items()}
            yield f'<script type="application/json" id="data">{self.data.json(held)}</script>'


def drawn(title: str, drawing: str) -> str:
    return f'<details><summary>{title}</summary><div class="drawing" tabindex="0">{drawing}</div></details>' if drawing else ""


# ---- side by side --------------------------------------------------------------------------------------------------------
class SideBySide:
    """A table with a row for each equation of the function: the user's line, and what the stages make of it."""

    def __init__(self, page: Page):
        self.anchors, self.shown, self.data, self.lines = page.anchors, page.shown, page.data, page.story.stages[0].lines
        self.folded = sum(1 for _ in flattened(self.lines)) > SEVERAL
        self.cells = {} if self.folded else {stage.key: by_row(stage, COLUMNS[stage.key][1]) for stage in self.shown}
        self.previous: Place | None = None

    def section(self) -> Iterator[str]:
        titles = "".join(heading(*COLUMNS[stage.key]) for stage in self.shown)
        head = f'<div role="columnheader">Source</div>{titles}</div>'
        kept = KEPT if any(stage.key == "linear" for stage in self.shown) else ""
        unfolded = UNFOLDED if self.data is not None else ""
        yield f'<section id="side"><h2>Side by side</h2>{Template(LEGEND).substitute(kept=kept)}{unfolded}'
        yield f'<div class="table columns-{len(self.shown)}">'
        if self.folded:
            yield f'<div class="row head" aria-hidden="true">{head}'
            yield from folds(folded(self.lines), self.within)
        else:
            rows = "".join(self.rows(folded(self.lines)))
            yield f'<div role="table" aria-label="Side by side"><div class="row head" role="row">{head}{rows}</div>'
        yield "</div></section>"

    def within(self, parts: Sequence[Fold | Line]) -> str:
        """The rows of a fold, in the data of the page."""
        assert self.data is not None
        self.previous = None
        first = len(self.data.table)
        for _ in self.rows(parts):
            pass
        return f'data-rows="{first} {len(self.data.table)}"'

    def rows(self, parts: Iterable[Fold | Line], depth: int = 0) -> Iterator[str]:
        for part in parts:
            if isinstance(part, Line):
                yield self.row(part, depth)
                for inner in part.inner:
                    yield self.title(None, f"{inner.title}, which {part.definition.equation.op.name} holds", depth + 1)
                    yield from self.rows(folded(inner.lines), depth + 1)
            elif part.callee:
                yield self.title(part.place, f"calls {part.callee}", depth)
                yield from self.rows(part.parts, depth + 1)
            else:
                yield from self.rows(part.parts, depth)

    def source(self, place: Place | None) -> str:
        """The user's line, once for all rows that come from it."""
        known, self.previous = self.previous, place
        if place is None or place == known:
            return '<div role="cell" class="source"></div>'
        number = f'<span class="number" title="{escape(basename(place.file))}, in {escape(place.function)}">{place.number}</span>'
        return f'<div role="cell" class="source">{number}<code>{escape(place.text)}</code></div>'

    def title(self, place: Place | None, text: str, depth: int) -> str:
        """The row above those of a call, or of a program that an op holds."""
        if self.folded and self.data is not None:
            known, self.previous = self.previous, None
            self.data.add_row(-1 - self.data.titles.number(text), None if place == known else place, True, 0, min(depth, DEEPEST))
            return ""
        source, self.previous = self.source(place), None
        empty = "".join(f'<div role="cell" class="{stage.key}"></div>' for stage in self.shown[1:])
        cells = f'{source}<div role="cell" class="primal">{escape(text)}</div>{empty}'
        return f'<div class="row begins title{indent(depth)}" role="row">{cells}</div>'

    def row(self, line: Line, depth: int) -> str:
        place = place_of(line)
        op = line.definition.equation.op
        anchor = self.anchors.get(type(op), "")
        if self.folded and self.data is not None:
            known, self.previous = self.previous, place
            number = self.data.ops.number((op.verb, anchor))
            self.data.add_row(self.data.number[id(line)], place, place != known, number, min(depth, DEEPEST))
            return ""
        begins = " begins" * (place != self.previous)
        link = f'<a class="op" href="#{anchor}" title="The rule of {escape(op.verb)}">{escape(op.verb)}</a>' if anchor else ""
        source = self.source(place)
        columns = "".join(self.cell(stage, line.row, link * (k == 0)) for k, stage in enumerate(self.shown))
        return f'<div class="row{begins}{indent(depth)}" role="row" tabindex="0" data-row="{escape(line.row)}">{source}{columns}</div>\n'

    def cell(self, stage: Stage, row: str, link: str) -> str:
        lines: list[Statement] = [line.definition for line in self.cells[stage.key].get(row, ())]
        found = lines or ([stage.same[row]] if row in stage.same else [])
        texts = "".join(f'<div class="line" title="{escape(types_of(it.symbols))}">{statement(it)}</div>' for it in found)
        return f'<div role="cell" class="{stage.key}" data-label="{COLUMNS[stage.key][0]}">{link}{texts}</div>'


def heading(title: str, role: str, direction: str) -> str:
    arrow = f'<span class="arrow">{ARROWS[direction]} <small>read {direction}wards</small></span>'
    return f'<div role="columnheader" class="{role}">{title} {arrow}</div>'


def indent(depth: int) -> str:
    return f" in-{min(depth, DEEPEST)}" if depth else ""


def columns(keys: Sequence[str]) -> list[str]:
    """The stages that are columns: the tangents of the linear program, or where there is none those of forward mode."""
    found = ["primal"]
    found += ["linear"] if "linear" in keys else ["jvp"] if "jvp" in keys else []
    found += ["transpose"] if "transpose" in keys else []
    return found if len(found) > 1 else ["primal", "whole"]


def flattened(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines, and those of the programs that their ops hold."""
    for line in lines:
        yield line
        for inner in line.inner:
            yield from flattened(inner.lines)


def by_row(stage: Stage, role: str) -> dict[str, list[Line]]:
    """The lines of a stage by the equation that they come from; of one role only, unless it is empty."""
    found: dict[str, list[Line]] = {}
    for line in flattened(stage.lines):
        if not role or any(s.role == role for s in line.definition.symbols):
            found.setdefault(line.row, []).append(line)
    return found


# ---- folds -----------------------------------------------------------------------------------------------------------------
def folds(parts: Iterable[Fold | Line], within: Callable[[Sequence[Fold | Line]], str]) -> Iterator[str]:
    """Folds of folds. Of those that hold lines, ``within`` gives the attribute that says where these are in the data of the page."""
    for fold in packed(parts):
        number, text = (str(fold.place.number), fold.place.text) if fold.place else extent(fold)
        count = f"{f'{fold.callee}, ' if fold.callee else ''}{fold.size:,} lines"
        inner = fold.size > MOST and not (len(fold.parts) == 1 and isinstance(fold.parts[0], Line))
        yield f'<details class="fold"{"" if inner else f" {within(fold.parts)}"}><summary><span class="number">{number}</span>'
        yield f'<code>{escape(text)}</code><span class="note">{escape(count)}</span></summary>'
        if inner:
            yield from folds(fold.parts, within)
        yield "</details>"


def extent(fold: Fold) -> tuple[str, str]:
    """The lines of the source in a fold, and its first and last value."""
    return fold.extent.partition(" ")[2], " … ".join(dict.fromkeys(line.definition.left for line in fold.ends))


# ---- lines -----------------------------------------------------------------------------------------------------------------
def listing(stage: Stage, data: PageData | None = None) -> str:
    """All lines of a stage."""
    if len(stage.lines) > SEVERAL and data is not None:
        lines = folds(folded(stage.lines), partial(lines_of, data))
    else:
        lines = (long_line(line, data) for line in stage.lines)
    head, tail = frame_of_listing(stage)
    return f"{head}{''.join(lines)}{tail}"


def frame_of_listing(stage: Stage) -> tuple[str, str]:
    """What stands above and below the lines of a stage."""
    given = [escape(f"{name}: {v.type}") for name, v in zip(stage.inputs[:SEVERAL], stage.given[:SEVERAL], strict=True)]
    outputs = [markup(template.pieces(symbols)) for template, symbols in stage.results[:SEVERAL]]
    head = f'<div class="given"><b>given</b> {listed(given, len(stage.given))}</div>' if given else ""
    return f'<div class="listing">{head}', f'<div class="returned"><b>return</b> {listed(outputs, len(stage.results))}</div></div>'


def listed(first: Sequence[str], count: int) -> str:
    """The first names of so many, and how many more there are."""
    return f"{', '.join(first)}{f', and {count - SEVERAL:,} more' if count > SEVERAL else ''}"


def around(inner: Stage) -> tuple[str, str]:
    """What stands above and below the lines of a program that an op holds."""
    head, tail = frame_of_listing(inner)
    return f'<div class="held"><div class="given">{escape(inner.title)}</div>{head}', f"{tail}</div>"


def lines_of(data: PageData, parts: Sequence[Fold | Line]) -> str:
    """The lines of a fold, in the data of the page."""
    number = data.number[id(Fold(None, "", parts).ends[0])]
    return f'data-lines="{number} {number + sum(map(size, parts))}"'


def long_line(line: Line, data: PageData | None = None) -> str:
    """A line with its type and where it comes from, and the programs that its op holds."""
    it = line.definition
    uses, defines = [LISTED.join(dict.fromkeys([s.name for s in names])) for names in (it.filled[1], it.symbols)]
    title = '<div class="held"><div class="given">'
    inner = "".join([f"{title}{escape(inner.title)}</div>{listing(inner, data)}</div>" for inner in line.inner])
    origin = escape(note(place_of(line), line.provenance))
    return (
        f'<div class="line" data-row="{line.row}" data-defines="{escape(defines)}" data-uses="{escape(uses)}">'
        f"<span>{', '.join([button(s) for s in it.symbols])}{EQUALS if it.symbols else ''}{markup(it.pieces())}</span>"
        f'<span class="type">{escape(types_of(it.symbols))}</span><span class="note">{origin}</span></div>{inner}\n'
    )


def statement(it: Statement) -> str:
    """``symbols = formula`` as HTML."""
    left = ", ".join([f'<span class="{s.role}">{escape(s.name)}</span>' for s in it.symbols])
    return f"{left}{EQUALS if it.symbols else ''}{markup(it.pieces())}"


def button(s: Symbol) -> str:
    return f'<button class="name {s.role}">{escape(s.name)}</button>'


def markup(pieces: Iterable[Piece]) -> str:
    """The pieces of a formula as HTML: symbols by their role, residuals marked."""
    parts: list[str] = []
    for text, kind in pieces:
        if kind == OPENING:
            parts.append('<span class="kept">')
        elif kind == CLOSING:
            parts.append("</span>")
        else:
            parts.append(escape(text) if kind in ("", "value") else f'<span class="{kind}">{escape(text)}</span>')
    return "".join(parts)


# ---- rules -----------------------------------------------------------------------------------------------------------------
def rule(it: Rule, anchor: str) -> str:
    """The card of an op."""
    rows = [("value", [it.value]), ("forward", it.forward), ("backward", it.backward), ("where", it.where)]
    parts = "".join(f"<dt>{title}</dt>{''.join(f'<dd>{mathml(s)}</dd>' for s in statements)}" for title, statements in rows if statements)
    wide = " wide" if it.where else ""
    return (
        f'<article class="rule{wide}" id="{anchor}" tabindex="-1"><h3>{escape(it.op.verb)}</h3><dl tabindex="0">{parts}</dl>'
        f"<p>{escape(f'{it.why} {it.keeps}'.strip())}</p></article>"
    )
