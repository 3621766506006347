"""An explanation as one page of HTML that needs nothing else: no network, no other file, and a strict content security policy.

Everything is in the page when it is made, so it can be read without its script; the script marks, searches and slices. All text of the user
goes through `escape`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template

from ..core.formula import CLOSING, OPENING, Formula, Symbol
from .formulas import Rule, Statement
from .graph import graph_of
from .mathml import mathml
from .story import Line, Stage, Story

__all__ = ["frame_of", "page_of", "secured"]

SEVERAL = 250
"""In a table of more rows, those of one line of the source are folded."""
COLUMNS = {
    "primal": ("Value", "value"),
    "jvp": ("Tangent", "tangent"),
    "linear": ("Tangent", "tangent"),
    "transpose": ("Cotangent, read upwards", "cotangent"),
    "whole": ("Result", ""),
}
"""The stages that the table shows side by side: the heading, and the role of the values that it shows."""

LEGEND = """<p class="legend">A row for each operation of the function. <span class="kept">Dotted</span> parts are kept from the forward
pass. Point at a row to mark it in all stages; press a name in a stage to see what it depends on.</p>"""


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


def page_of(story: Story) -> str:
    """The page."""
    title = f"{story.transform} of {story.function}"
    operations = sum(len(stage.program.equations) for stage in story.stages[:1])
    summary = f"{operations} operation{'s' * (operations != 1)}, {len(story.stages)} stages. Every line is an equation that cotan ran."
    body = Template(HEADER).substitute(title=escape(title), summary=summary) + "\n".join(["<main>", *sections(story), "</main>"])
    return secured(title, body, resource("page.css"), resource("page.js"))


HEADER = """<header>
<h1>$title</h1>
<p>$summary</p>
<div class="tools">
<label for="search">Search</label>
<input type="search" id="search" autocomplete="off" placeholder="a name, an operation, a line">
<output id="found" for="search"></output>
<button type="button" id="clear" hidden>Show all</button>
</div>
</header>
"""


def frame_of(story: Story) -> str:
    """The page in a frame of its own, for a notebook."""
    lines = sum(len(stage.lines) for stage in story.stages[:1])
    height = min(900, 420 + 28 * lines)
    return (
        f'<iframe title="{escape(f"{story.transform} of {story.function}")}" sandbox="allow-scripts" '
        f'style="width:100%;height:{height}px;border:1px solid #8885" srcdoc="{escape(page_of(story))}"></iframe>'
    )


def source_hash(text: str) -> str:
    """The hash by which a content security policy allows an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def sections(story: Story) -> Iterator[str]:
    """The parts of the page."""
    yield side_by_side(story)
    for number, stage in enumerate(story.stages, 1):
        few = len(stage.lines) <= SEVERAL
        yield f'<details class="stage" id="stage-{escape(stage.key)}"{" open" * few}>'
        yield f"<summary><h2>{number}. {escape(stage.title)}</h2></summary>"
        yield f'<p class="about">{escape(stage.about)}</p>'
        yield listing(stage)
        drawing = graph_of(stage)
        if drawing:
            yield f'<details><summary>As a graph</summary><div class="drawing" tabindex="0">{drawing}</div></details>'
        yield "</details>"
    yield f'<section id="rules"><h2>The rules</h2><div class="rules">{"".join(map(rule, story.rules))}</div></section>'


# ---- side by side --------------------------------------------------------------------------------------------------------
def side_by_side(story: Story) -> str:
    """A table with a row for each equation of the function: the user's line, and what the stages make of it."""
    keys = [stage.key for stage in story.stages]
    shown = [stage for stage in story.stages if stage.key in columns(keys)]
    cells = {stage.key: by_row(stage, COLUMNS[stage.key][1]) for stage in shown}
    primal = list(flattened(story.stages[0].lines))
    texts = {(line.file, line.number): line.text for line in story.source}
    head = "".join(f'<div role="columnheader">{escape(COLUMNS[stage.key][0])}</div>' for stage in shown)
    parts = [
        '<section id="side"><h2>Side by side</h2>',
        LEGEND,
        '<div class="table" role="table" aria-label="Side by side">',
        f'<div class="row head columns-{len(shown)}" role="row"><div role="columnheader">Source</div>{head}</div>',
    ]
    previous: tuple[str, int] | None = None

    def statements_of(stage: Stage, number: str) -> list[Statement]:
        lines = [line.definition for line in cells[stage.key].get(number, ())]
        return [*lines] if lines or number not in stage.same else [stage.same[number]]

    def row(line: Line) -> str:
        nonlocal previous
        place = place_of(line)
        text = texts.get(place, "") if place is not None else ""
        source = "" if place == previous or place is None else f'<span class="number">{place[1]}</span>{escape(text.strip())}'
        previous = place
        columns = "".join(cell(COLUMNS[stage.key][0], statements_of(stage, line.row)) for stage in shown)
        return (
            f'<div class="row columns-{len(shown)}" role="row" tabindex="0" data-row="{escape(line.row)}">'
            f'<div role="cell" class="source">{source}</div>{columns}</div>'
        )

    if len(primal) <= SEVERAL:
        parts += map(row, primal)
    else:
        for place, lines in groupby(primal, place_of):
            group, previous = list(lines), None
            text = texts.get(place, "").strip() if place is not None else ""
            title = f'<span class="source"><span class="number">{place[1] if place else ""}</span> {escape(text)}</span> ({len(group)})'
            parts.append(f'<details class="group"><summary>{title}</summary>{"".join(map(row, group))}</details>')
    return "".join([*parts, "</div></section>"])


def cell(label: str, statements: Iterable[Statement]) -> str:
    lines = "".join(f'<div class="line">{statement(it)}</div>' for it in statements)
    return f'<div role="cell" data-label="{escape(label)}">{lines}</div>'


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


def place_of(line: Line) -> tuple[str, int] | None:
    origin = line.origin
    return (origin.filename, origin.line) if origin is not None and origin.code is not None else None


# ---- lines -----------------------------------------------------------------------------------------------------------------
def listing(stage: Stage) -> str:
    """All lines of a stage."""
    parts = ['<div class="listing">']
    if stage.inputs:
        parts.append(f'<div class="given">given {escape(", ".join(stage.inputs))}</div>')
    for line in stage.lines:
        parts.append(long_line(line))
        parts += [f'<div class="listing"><div class="given">{escape(inner.title)}</div>{listing(inner)}</div>' for inner in line.inner]
    outputs = ", ".join(markup(formula) for formula in stage.outputs)
    parts.append(f'<div class="returned">return {outputs}</div></div>')
    return "".join(parts)


def long_line(line: Line) -> str:
    """A line with where it comes from."""
    origin = line.origin
    place = f"{os.path.basename(origin.filename)}:{origin.line}" if origin is not None and origin.code is not None else ""
    note = ", ".join(filter(None, [place, line.provenance]))
    uses = " ".join(sorted({s.name for s in symbols_in(line.definition.formula)}))
    defines = " ".join(s.name for s in line.definition.symbols)
    return (
        f'<div class="line" data-row="{escape(line.row)}" data-defines="{escape(defines)}" data-uses="{escape(uses)}">'
        f'{statement(line.definition, buttons=True)}  <span class="note">{escape(note)}</span></div>'
    )


def symbols_in(formula: Formula) -> Iterator[Symbol]:
    if isinstance(formula, Symbol):
        yield formula
    for part in formula.parts:
        yield from symbols_in(part)


def statement(it: Statement, *, buttons: bool = False) -> str:
    """``symbols = formula`` as HTML."""
    left = ", ".join(named(s, buttons) for s in it.symbols)
    return f"{left} = {markup(it.formula)}"


def named(s: Symbol, button: bool) -> str:
    name, role = escape(s.name), escape(s.role)
    if button:
        return f'<button type="button" class="name {role}" data-name="{name}" title="What {name} depends on">{name}</button>'
    return f'<span class="{role}">{name}</span>'


def markup(formula: Formula) -> str:
    """A formula as HTML: symbols by their role, residuals marked."""
    parts: list[str] = []
    for text, kind in formula.pieces():
        if kind == OPENING:
            parts.append('<span class="kept">')
        elif kind == CLOSING:
            parts.append("</span>")
        else:
            parts.append(f'<span class="{escape(kind)}">{escape(text)}</span>' if kind not in ("", "value") else escape(text))
    return "".join(parts)


# ---- rules -----------------------------------------------------------------------------------------------------------------
def rule(it: Rule) -> str:
    """The card of an op."""
    rows = [("value", [it.value]), ("forward", it.forward), ("backward", it.backward), ("where", it.where)]
    parts = "".join(f"<dt>{title}</dt>{''.join(f'<dd>{mathml(s)}</dd>' for s in statements)}" for title, statements in rows if statements)
    kept = f" It keeps {escape(', '.join(map(str, it.residuals)))}." if it.residuals else ""
    return f'<article class="rule"><h3>{escape(it.op.verb)}</h3><dl>{parts}</dl><p>{escape(it.why)}{kept}</p></article>'
