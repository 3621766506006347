"""A stage as a graph: its values from top to bottom, each below those that it is computed from; drawn as SVG."""

from __future__ import annotations

from html import escape
from math import inf

from ..core.program import Var
from .story import Stage

__all__ = ["LARGEST", "graph_of"]

LARGEST = 60
"""A stage of more lines is not drawn."""
HEIGHT, GAP, SPACE, CHARACTER, PADDING = 26, 26, 16, 7.4, 9


class Node:
    """A box of the graph: a given value or a line."""

    def __init__(self, label: str, role: str, row: str):
        self.label, self.role, self.row = label, role, row
        self.above: list[Node] = []
        self.layer, self.x, self.y = 0, 0.0, 0.0

    @property
    def width(self) -> float:
        return len(self.label) * CHARACTER + 2 * PADDING if self.label else 0.0


def nodes_of(stage: Stage) -> list[Node]:
    """The boxes of a stage, each after those above it."""
    made: dict[Var, Node] = {}
    given = {v: Node(name, "value", "") for v, name in zip(stage.given, stage.inputs, strict=True)}
    nodes: list[Node] = []
    for line in stage.lines:
        node = Node(short(str(line)), line.definition.symbols[0].role, line.row)
        for e in line.definition.equations:
            for v in e.inputs:
                above = (made.get(v) or given.get(v)) if isinstance(v, Var) else None
                if above is not None and above not in node.above and above is not node:
                    node.above.append(above)
        for e in line.definition.equations:
            made.update((v, node) for v in e.outputs)
        nodes.append(node)
    used = {id(above) for node in nodes for above in node.above}
    return [*[node for node in given.values() if id(node) in used], *nodes]


def short(text: str) -> str:
    return text if len(text) <= 34 else f"{text[:33]}…"


def graph_of(stage: Stage) -> str:
    """The graph as an SVG element; empty if it is too large to be looked at."""
    if not 0 < len(stage.lines) <= LARGEST:
        return ""
    layers = layers_of(nodes_of(stage))
    place(layers)
    nodes = [node for layer in layers for node in layer]
    left, right = min(node.x for node in nodes), max(node.x + node.width for node in nodes)
    width, height = right - left + 4, len(layers) * (HEIGHT + GAP) - GAP + 4
    drawn = [edge(above, node) for node in nodes for above in node.above] + [box(node) for node in nodes]
    label = escape(f"Graph of the stage {stage.title}", quote=True)
    size = f'viewBox="{left - 2:.0f} -2 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    return f'<svg role="img" aria-label="{label}" {size}>{"".join(drawn)}</svg>'


def layers_of(nodes: list[Node]) -> list[list[Node]]:
    """The boxes by their distance from the given values. An edge across a layer gets a bend there, which is a box without a label."""
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
                    bend = bends[id(source), layer] = Node("", "bend", "")
                    bend.above, bend.layer = [above], layer
                    layers[layer].append(bend)
                above = bends[id(source), layer]
            node.above[k] = above
    return layers


def place(layers: list[list[Node]]) -> None:
    """Put each box below the middle of those above it, or as near to there as its neighbours let it."""
    for number, layer in enumerate(layers):
        wanted = {id(node): sum(above.x + above.width / 2 for above in node.above) / (len(node.above) or 1) for node in layer}
        layer.sort(key=lambda node: wanted[id(node)])
        end, excess = -inf, 0.0
        for node in layer:
            node.x, node.y = max(end + SPACE, wanted[id(node)] - node.width / 2), number * (HEIGHT + GAP)
            end = node.x + node.width
            excess += node.x + node.width / 2 - wanted[id(node)]
        for node in layer:
            node.x -= excess / len(layer)


def edge(above: Node, node: Node) -> str:
    x0, y0, x1, y1 = above.x + above.width / 2, above.y + HEIGHT, node.x + node.width / 2, node.y
    middle = (y0 + y1) / 2
    return f'<path d="M{x0:.1f} {y0}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1}"/>'


def box(node: Node) -> str:
    middle = node.x + node.width / 2
    if not node.label:
        return f'<path d="M{middle:.1f} {node.y}v{HEIGHT}"/>'
    return (
        f'<g class="node {node.role}" data-row="{escape(node.row)}"><rect x="{node.x:.1f}" y="{node.y}" width="{node.width:.1f}" '
        f'height="{HEIGHT}" rx="5"/><text x="{middle:.1f}" y="{node.y + HEIGHT / 2 + 4}">{escape(node.label)}</text></g>'
    )
