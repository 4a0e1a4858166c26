"""Lineage as a picture: SVG of our own, Graphviz or Mermaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from undrift.cli.layout import width
from undrift.errors import BadArgument

#: Size of a box, the room between boxes, and of a letter, in pixels.
_HEIGHT, _ACROSS, _DOWN, _LETTER = 56, 60, 16, 7.4
_FRAME = 10

Models = Sequence[Mapping[str, Any]]


def drawn(models: Models, suffix: str) -> str:
    """Draw checkpoints and the trainings between them.

    Args:
        models: as `lineage` describes them.
        suffix: `.svg`, `.dot` or `.mmd`.

    Raises:
        BadArgument: nothing draws that.
    """
    drawers = {".svg": _svg, ".dot": _dot, ".gv": _dot, ".mmd": _mermaid}
    if suffix not in drawers:
        raise BadArgument(
            f"a picture cannot be a file that ends in {suffix or 'nothing'}", hint="--picture lineage.svg, .dot or .mmd"
        )
    return drawers[suffix](models)


def _parents(models: Models) -> dict[str, str]:
    """Return what each checkpoint hangs under: its parent, or the base of its line; a base's key has a line end."""
    known = {one["model"] for one in models}
    return {
        one["model"]: one["parent"] if one["parent"] in known else f"{one['base'] or 'base not known'}\n"
        for one in models
    }


def _labels(models: Models) -> dict[str, tuple[str, str]]:
    """Return two lines for every box; bases first."""
    bases = {key: (key.strip(), "base") for key in _parents(models).values() if key.endswith("\n")}
    return bases | {one["model"]: (one["model"], _state(one)) for one in models}


def _state(one: Mapping[str, Any]) -> str:
    if one["retired"]:
        return "retired"
    if one["serves"]:
        return f"serves {', '.join(one['serves'])}"
    last = one["evaluations"][-1] if one["evaluations"] else None
    return f"{last['metric']} {last['gain']:+.4f}" if last is not None else str(one["hash"])[:16]


def _dot(models: Models) -> str:
    names = {key: f"n{place}" for place, key in enumerate(_labels(models))}
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += [
        f"  {names[key]} [label={_quoted(f'{first}{chr(10)}{second}')}];"
        for key, (first, second) in _labels(models).items()
    ]
    lines += [f"  {names[parent]} -> {names[model]};" for model, parent in _parents(models).items()]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{plain}"'


def _mermaid(models: Models) -> str:
    names = {key: f"n{place}" for place, key in enumerate(_labels(models))}
    lines = ["graph LR"]
    for key, (first, second) in _labels(models).items():
        words = "<br>".join(escape(text).replace('"', "#quot;") for text in (first, second))
        lines.append(f'  {names[key]}["{words}"]')
    lines += [f"  {names[parent]} --> {names[model]}" for model, parent in _parents(models).items()]
    return "\n".join(lines) + "\n"


def _svg(models: Models) -> str:
    labels, places = _labels(models), _placed(models)
    columns_wide: dict[int, float] = {}
    for key, (column, _) in places.items():
        needed = max(width(text) for text in labels[key]) * _LETTER + 24
        columns_wide[column] = max(columns_wide.get(column, 0), needed)
    left = {column: _FRAME + sum(columns_wide[one] + _ACROSS for one in range(column)) for column in columns_wide}
    tall = 2 * _FRAME + max((row for _, row in places.values()), default=0) * (_HEIGHT + _DOWN) + _HEIGHT
    wide = 2 * _FRAME + sum(columns_wide.values()) + _ACROSS * max(0, len(columns_wide) - 1)
    boxes, lines = [], []
    for key, (column, row) in places.items():
        x, y = left[column], _FRAME + row * (_HEIGHT + _DOWN)
        first, second = (escape(text) for text in labels[key])
        boxes.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{columns_wide[column]:.0f}" height="{_HEIGHT}" rx="8"/>'
            f'<text x="{x + 12:.0f}" y="{y + 23:.0f}" class="name">{first}</text>'
            f'<text x="{x + 12:.0f}" y="{y + 43:.0f}">{second}</text>'
        )
    for model, parent in _parents(models).items():
        (from_column, from_row), (to_column, to_row) = places[parent], places[model]
        x1, y1 = left[from_column] + columns_wide[from_column], _FRAME + from_row * (_HEIGHT + _DOWN) + _HEIGHT / 2
        x2, y2 = left[to_column], _FRAME + to_row * (_HEIGHT + _DOWN) + _HEIGHT / 2
        middle = (x1 + x2) / 2
        lines.append(
            f'<path d="M {x1:.0f} {y1:.0f} C {middle:.0f} {y1:.0f}, {middle:.0f} {y2:.0f}, {x2:.0f} {y2:.0f}"/>'
        )
    style = (
        "rect{fill:#f6f8fa;stroke:#57606a}path{fill:none;stroke:#57606a}"
        "text{font:12px sans-serif;fill:#57606a}.name{font-weight:bold;fill:#1f2328}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{tall:.0f}" role="img">'
    return "\n".join([head, f"<title>Lineage</title><style>{style}</style>", *lines, *boxes, "</svg>"]) + "\n"


def _placed(models: Models) -> dict[str, tuple[int, float]]:
    """Return a column and a row for every box: a leaf has a row of its own, a parent stands between its children."""
    children: dict[str, list[str]] = {}
    for model, parent in _parents(models).items():
        children.setdefault(parent, []).append(model)
    places: dict[str, tuple[int, float]] = {}
    leaves = 0
    for base in [key for key in children if key.endswith("\n")]:
        # Depth first without recursion: a line may be long.
        waiting = [(base, 0, False)]
        while waiting:
            key, column, is_done = waiting.pop()
            own = children.get(key, [])
            if is_done:
                places[key] = (column, sum(places[child][1] for child in own) / len(own))
            elif own:
                waiting.append((key, column, True))
                waiting += [(child, column + 1, False) for child in reversed(own)]
            else:
                places[key] = (column, leaves)
                leaves += 1
    return places
