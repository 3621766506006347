"""A stage as a graph: its values from top to bottom, each below those that it is computed from; drawn as SVG.

`kernels_of` draws the loops of machine code that the native engine makes of a stage: lines that share a loop share a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from html import escape
from math import inf

from .. import engines
from ..core.program import Equation, Var
from .story import Stage

__all__ = ["LARGEST", "graph_of", "kernels_of"]

LARGEST = 60
"""A stage of more lines is not drawn."""
LINE, GAP, SPACE, CHARACTER, PADDING = 18, 26, 16, 7.4, 9


class Node:
    """A box of the graph: a given value, a line, or the lines that share a loop. Without text it is the bend of an edge."""

    def __init__(self, text: str = "", role: str = "value", row: str = ""):
        self.lines = [(text, role, row)] if text else []
        self.above: list[Node] = []
        self.layer, self.x, self.y = 0, 0.0, 0.0
        self.height = LINE * len(self.lines) + 8
        self.loop: int | None = None

    @property
    def width(self) -> float:
        return max(len(text) for text, _, _ in self.lines) * CHARACTER + 2 * PADDING if self.lines else 0.0


def nodes_of(stage: Stage, nests: Sequence[Sequence[Equation]] = ()) -> list[Node]:
    """The boxes of a stage, each after those above it. ``nests`` are the equations of loops that it is compiled to."""
    loops = {(id(e.origin), e.op): k for k, nest in enumerate(nests) for e in nest}
    made: dict[Var, Node] = {}
    given = {v: Node(name) for v, name in zip(stage.given, stage.inputs, strict=True)}
    nodes: list[Node] = []
    for line in stage.lines:
        node = Node(short(str(line)), line.definition.role, line.row)
        for e in line.definition.equations:
            for v in e.inputs:
                above = (made.get(v) or given.get(v)) if isinstance(v, Var) else None
                if above is not None and above not in node.above and above is not node:
                    node.above.append(above)
        for e in line.definition.equations:
            made.update((v, node) for v in e.outputs)
            node.loop = loops.get((id(e.origin), e.op), node.loop)
        nodes.append(node)
    used = {id(above) for node in nodes for above in node.above}
    return [*[node for node in given.values() if id(node) in used], *nodes]


def short(text: str) -> str:
    return text if len(text) <= 34 else f"{text[:33]}…"


def graph_of(stage: Stage) -> str:
    """The graph as an SVG element; empty if it is too large to be looked at."""
    return drawing(nodes_of(stage), f"Graph of the stage {stage.title}") if 0 < len(stage.lines) <= LARGEST else ""


def kernels_of(stage: Stage) -> str:
    """The graph of the loops that a stage is compiled to, by `compile_report`; empty if it is too large, or none is shared."""
    if not 0 < len(stage.lines) <= LARGEST:
        return ""
    try:
        nodes = fused(nodes_of(stage, engines.report(stage.program).nests))
    except CycleError:  # lines whose equations lie in several loops
        return ""
    return drawing(nodes, "Loops of the compiled program") if any(len(node.lines) > 1 for node in nodes) else ""


def fused(nodes: list[Node]) -> list[Node]:
    """The boxes, those of one loop made one. A view between two lines of a loop is read in it.

    Raises:
        CycleError: of two boxes, each would be above the other.
    """
    before: dict[Node, set[Node]] = {}
    for node in nodes:
        before[node] = set(node.above).union(*[before[above] for above in node.above])
    for node in nodes:
        if node.loop is None:
            around = {above.loop for above in before[node]} & {below.loop for below in nodes if node in before[below]}
            node.loop = min((loop for loop in around if loop is not None), default=None)
    loops: dict[int, Node] = {}
    box = {node: node if node.loop is None else loops.setdefault(node.loop, Node()) for node in nodes}
    parts: dict[Node, list[Node]] = {}
    for node, whole in box.items():
        parts.setdefault(whole, []).append(node)
    above = {whole: dict.fromkeys(box[x] for node in nodes for x in node.above if box[x] is not whole) for whole, nodes in parts.items()}
    order = [*TopologicalSorter(above).static_order()]
    for whole in order:
        whole.lines = [line for node in parts[whole] for line in node.lines]
        whole.height = LINE * len(whole.lines) + 8
        whole.above = [*above[whole]]
    return order


def drawing(nodes: list[Node], label: str) -> str:
    """Boxes and the edges between them."""
    layers = layers_of(nodes)
    bottom = place(layers)
    nodes = [node for layer in layers for node in layer]
    left, right = min(node.x for node in nodes), max(node.x + node.width for node in nodes)
    width, height = right - left + 4, bottom + 4
    drawn = [edge(above, node) for node in nodes for above in node.above] + [box(node) for node in nodes]
    size = f'viewBox="{left - 2:.0f} -2 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    return f'<svg role="img" aria-label="{escape(label)}" {size}>{"".join(drawn)}</svg>'


def layers_of(nodes: list[Node]) -> list[list[Node]]:
    """The boxes by their distance from the given values. An edge across a layer gets a bend there."""
    layers: list[list[Node]] = []
    bends: dict[tuple[int, int], Node] = {}
    for node in nodes:
        node.layer = 1 + max((above.layer for above in node.above), default=-1)
        while len(layers) <= node.layer:
            layers.append([])
        layers[node.layer].append(node)
    for node in nodes:
        for k, above in enumerate(node.above):
            source = above
            for layer in range(above.layer + 1, node.layer):
                if (id(source), layer) not in bends:
                    bend = bends[id(source), layer] = Node()
                    bend.above, bend.layer = [above], layer
                    layers[layer].append(bend)
                above = bends[id(source), layer]
            node.above[k] = above
    return layers


def place(layers: list[list[Node]]) -> int:
    """Put each box below the middle of those above it, or as near to there as its neighbours let it; return where the last ones end."""
    top = 0
    for layer in layers:
        wanted = {id(node): sum(above.x + above.width / 2 for above in node.above) / (len(node.above) or 1) for node in layer}
        layer.sort(key=lambda node: wanted[id(node)])
        end, excess = -inf, 0.0
        for node in layer:
            node.x, node.y = max(end + SPACE, wanted[id(node)] - node.width / 2), top
            end = node.x + node.width
            excess += node.x + node.width / 2 - wanted[id(node)]
        height = max(node.height for node in layer)
        for node in layer:
            node.x -= excess / len(layer)
            node.height = node.height if node.lines else height
        top += height + GAP
    return top - GAP


def edge(above: Node, node: Node) -> str:
    x0, y0, x1, y1 = above.x + above.width / 2, above.y + above.height, node.x + node.width / 2, node.y
    middle = (y0 + y1) / 2
    return f'<path d="M{x0:.1f} {y0}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1}"/>'


def box(node: Node) -> str:
    middle = node.x + node.width / 2
    texts = "".join(
        f'<text class="{escape(role)}" data-row="{escape(row)}" x="{middle:.1f}" y="{node.y + LINE * k + 17}">{escape(text)}</text>'
        for k, (text, role, row) in enumerate(node.lines)
    )
    if not texts:
        return f'<path d="M{middle:.1f} {node.y}v{node.height}"/>'
    size = f'x="{node.x:.1f}" y="{node.y}" width="{node.width:.1f}" height="{node.height}" rx="5"'
    return f"<g><rect {size}/>{texts}</g>"
