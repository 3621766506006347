"""A stage as a graph: its values from top to bottom, each below those that it is computed from; drawn as SVG."""

from __future__ import annotations

from html import escape

from ..core.program import Var
from .story import Stage

__all__ = ["LARGEST", "graph_of"]

LARGEST = 60
"""A stage of more lines is not drawn."""
HEIGHT, GAP, CHARACTER, PADDING = 26, 26, 7.2, 9


class Node:
    """A box of the graph: a given value or a line."""

    def __init__(self, label: str, role: str, row: str):
        self.label, self.role, self.row = label, role, row
        self.above: list[Node] = []
        self.layer, self.x, self.y = 0, 0.0, 0.0

    @property
    def width(self) -> float:
        return len(self.label) * CHARACTER + 2 * PADDING


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
    nodes = nodes_of(stage)
    layers: list[list[Node]] = []
    for node in nodes:
        node.layer = 1 + max((above.layer for above in node.above), default=-1)
        while len(layers) <= node.layer:
            layers.append([])
        layers[node.layer].append(node)
    for layer in layers:  # each below the middle of those above it
        layer.sort(key=lambda node: sum(above.x + above.width / 2 for above in node.above) / (len(node.above) or 1))
        x = 0.0
        for node in layer:
            node.x, node.y = x, node.layer * (HEIGHT + GAP)
            x += node.width + 16
    width = max(layer[-1].x + layer[-1].width for layer in layers)
    for layer in layers:
        shift = (width - layer[-1].x - layer[-1].width) / 2
        for node in layer:
            node.x += shift
    height = len(layers) * (HEIGHT + GAP) - GAP
    drawn = [edge(above, node) for node in nodes for above in node.above] + [box(node) for node in nodes]
    label = escape(f"Graph of the stage {stage.title}", quote=True)
    size = f'viewBox="-2 -2 {width + 4:.0f} {height + 4}" width="{width + 4:.0f}" height="{height + 4}"'
    return f'<svg role="img" aria-label="{label}" {size}>{"".join(drawn)}</svg>'


def edge(above: Node, node: Node) -> str:
    x0, y0, x1, y1 = above.x + above.width / 2, above.y + HEIGHT, node.x + node.width / 2, node.y
    bend = min(24.0, (y1 - y0) / 2)
    return f'<path d="M{x0:.1f} {y0}C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1}"/>'


def box(node: Node) -> str:
    middle = node.x + node.width / 2
    return (
        f'<g class="node {node.role}" data-row="{escape(node.row)}"><rect x="{node.x:.1f}" y="{node.y}" width="{node.width:.1f}" '
        f'height="{HEIGHT}" rx="5"/><text x="{middle:.1f}" y="{node.y + HEIGHT / 2 + 4}">{escape(node.label)}</text></g>'
    )
