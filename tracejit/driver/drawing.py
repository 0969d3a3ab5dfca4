"""Graphs as pictures: DOT text of our own, SVG through the `graphviz` package, an HTML page around both."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.ir.graph import Graph, bodies, expression
from tracejit.schedule.steps import Launch, Program, walk

_COLOURS = {
    "source": "#eeeeee",
    "elementwise": "#cfe8ff",
    "reduce": "#ffe0b3",
    "accumulate": "#ffecb3",
    "view": "#e5ffe0",
    "update": "#ffd6d6",
    "gather": "#e8d6ff",
    "contract": "#fff3b0",
    "call": "#f7c5c5",
    "control": "#d9d2e9",
}


def dot_text(name: str, graphs: Sequence[Graph], programs: Sequence[Program]) -> str:
    """The graphs in the DOT language; what one kernel computes stands in one box."""
    lines = [
        f'digraph "{name}" {{',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica"];',
        "  rankdir=TB;",
    ]
    for number, (graph, program) in enumerate(zip(graphs, programs, strict=True)):
        lines += _graph_lines(graph, program, f"s{number}_")
    return "\n".join([*lines, "}"]) + "\n"


def _graph_lines(graph: Graph, program: Program, prefix: str) -> list[str]:
    names = graph.names
    lines: list[str] = []
    clustered: set[int] = set()
    for number, step in enumerate(s for s in walk(program) if isinstance(s, Launch)):
        lines.append(f'  subgraph cluster_{prefix}{number} {{ label="kernel {number}"; color=gray;')
        for root in step.roots:
            if id(root) in names and id(root) not in clustered:
                clustered.add(id(root))
                lines.append(f"    {prefix}{id(root)};")
        lines.append("  }")
    return lines + _node_lines(graph, prefix)


def _node_lines(graph: Graph, prefix: str) -> list[str]:
    """The nodes and what they read; the bodies of a control node stand in boxes, dashed arrows from their results."""
    names = graph.names
    lines: list[str] = []
    for node in graph.nodes:
        shown = names[id(node)]
        if node.kind == "source" and not node.shape and node.op not in ("input", "parameter"):
            continue
        inputs = [names[id(source)] for source in node.inputs]
        text = {"input": "argument", "parameter": "parameter"}.get(node.op) or expression(node, inputs)
        label = f"{shown}: {node.type}\\n{text}".replace('"', "'")
        lines.append(f'  {prefix}{id(node)} [label="{label}", fillcolor="{_COLOURS.get(node.kind, "#ffffff")}"];')
        lines += [
            f"  {prefix}{id(source)} -> {prefix}{id(node)};"
            for source in node.inputs
            if source.shape or source.op in ("input", "parameter") or source.kind != "source"
        ]
        for name, body in bodies(node).items():
            inner = f"{prefix}{id(node)}_{name.replace(' ', '')}_"
            lines += [f'  subgraph cluster_{inner} {{ label="{name} of {shown}";', *_node_lines(body, inner), "  }"]
            lines += [
                f"  {inner}{id(output)} -> {prefix}{id(node)} [style=dashed];"
                for output in body.outputs
                if output.shape or output.kind != "source" or output.op == "parameter"
            ]
    return lines


def svg_bytes(dot: str) -> bytes:
    """The picture; needs the `graphviz` package and its `dot` program."""
    try:
        import graphviz
    except ImportError:
        raise ImportError(
            "saving as SVG needs the graphviz package: pip install 'tracejit[viz]' (.dot needs nothing)"
        ) from None
    try:
        return bytes(graphviz.Source(dot).pipe(format="svg"))
    except graphviz.ExecutableNotFound:
        raise RuntimeError(
            "saving as SVG needs Graphviz's `dot` program on PATH (Debian: apt install graphviz); .dot and .html do not"
        ) from None


def _escaped(text: str) -> str:
    """Text as HTML; the module `html` would be loaded with tracejit, which takes two milliseconds."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def html_page(name: str, text: str, dot: str) -> str:
    """The explanation as a page; the picture is in it where Graphviz is there."""
    try:
        picture = svg_bytes(dot).decode()
        picture = picture[picture.index("<svg") :]
    except (ImportError, RuntimeError) as missing:
        picture = f"<p>{_escaped(str(missing))}</p><pre>{_escaped(dot)}</pre>"
    return (
        f"<!doctype html><html><head><meta charset='utf-8'><title>{_escaped(name)}</title>"
        "<style>body{font-family:sans-serif;margin:2em}pre{background:#f6f6f6;padding:1em;overflow:auto}</style></head>"
        f"<body><h1>{_escaped(name)}</h1>{picture}<pre>{_escaped(text)}</pre></body></html>\n"
    )
