"""What an evaluation says: tables in Markdown and JSON, and a plot per sequence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

# Columns that are shares and read best in hundredths stay as they are; these need other digits.
_DIGITS = {"PSNR": 2, "hole PSNR": 2, "warp": 2, "SSIM": 4, "dB over telea": 2, "least dB over telea": 2}


@dataclass(frozen=True)
class Table:
    """Rows of named values; `mean` is the last row, computed by whoever knows what a mean is here."""

    title: str
    rows: tuple[Mapping[str, Any], ...]
    mean: Mapping[str, Any] = field(default_factory=dict)

    def columns(self) -> list[str]:
        """All names, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in (*self.rows, self.mean) for name in row))

    def markdown(self) -> str:
        """The table as GitHub shows it; numbers to three digits unless the column asks for others."""
        names = self.columns()
        head = [f"**{self.title}**", "", "| " + " | ".join(_heading(name) for name in names) + " |"]
        numeric = [any(isinstance(row.get(name), int | float) for row in (*self.rows, self.mean)) for name in names]
        head.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
        body = [[_cell(name, row.get(name)) for name in names] for row in self.rows]
        if self.mean:
            first = names[0]
            label = self.mean.get(first, "mean")
            body.append(
                [f"**{_cell(n, self.mean.get(n) if n != first else label)}**".replace("****", "") for n in names]
            )
        return "\n".join([*head, *("| " + " | ".join(cells) + " |" for cells in body)])


@dataclass(frozen=True)
class Plot:
    """Curves over frame numbers, and the frames that were given."""

    name: str
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]
    marks: tuple[int, ...] = ()
    top: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The whole answer: what was measured, with what, on what, how, and what came out."""

    title: str
    engine: Mapping[str, str]
    protocol: str
    machine: Mapping[str, str | int]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """A page: title, what ran where, tables, notes."""
        engines = ", ".join(f"{role} {name}" for role, name in self.engine.items()) or "none (masks from folders)"
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [f"# {self.title}", f"Engine: {engines}  \nMachine: {machine}", self.protocol]
        parts += [table.markdown() for table in self.tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object; numbers unrounded, nan and infinity as null and "inf"."""
        return {
            "title": self.title,
            "engine": dict(self.engine),
            "protocol": self.protocol,
            "machine": dict(self.machine),
            "tables": [
                {"title": table.title, "rows": [_plain(row) for row in table.rows], "mean": _plain(table.mean)}
                for table in self.tables
            ],
            "notes": list(self.notes),
        }

    def json_text(self) -> str:
        """`to_json` as text, indented, fit for a file."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"

    def write_plots(self, folder: Path) -> list[Path]:
        """One PNG per sequence; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for plot in self.plots:
            path = folder / f"{plot.name}.png"
            draw(plot).save(path)
            paths.append(path)
        return paths


def draw(plot: Plot, size_wh: tuple[int, int] = (720, 300)) -> Any:
    """The plot as a PIL picture: curves over frames, dashed lines where a mask was given."""
    from PIL import Image, ImageDraw, ImageFont

    scale = 2  # drawn large and shrunk: PIL's lines have hard edges
    width, height = size_wh[0] * scale, size_wh[1] * scale
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12 * scale)
    left, top, right, bottom = 48 * scale, 34 * scale, width - 12 * scale, height - 30 * scale
    frames = [frame for xs, _ in plot.curves.values() for frame in xs] + list(plot.marks)
    first, last = (min(frames), max(frames)) if frames else (0, 1)

    def place(frame: float, value: float) -> tuple[float, float]:
        share = (frame - first) / max(last - first, 1)
        return left + share * (right - left), bottom - min(max(value / plot.top, 0), 1) * (bottom - top)

    for step in range(6):
        value = plot.top * step / 5
        y = place(first, value)[1]
        pen.line([(left, y), (right, y)], fill="#dddddd", width=scale)
        pen.text((left - 6 * scale, y), f"{value:.{1 if plot.top <= 1 else 0}f}", "#555555", font, anchor="rm")
    for frame in _ticks(first, last):
        x = place(frame, 0)[0]
        pen.text((x, bottom + 5 * scale), str(frame), "#555555", font, anchor="ma")
        pen.line([(x, bottom), (x, bottom + 3 * scale)], fill="#555555", width=scale)
    for frame in plot.marks:
        x = place(frame, 0)[0]
        for y in range(top, bottom, 8 * scale):
            pen.line([(x, y), (x, y + 4 * scale)], fill="#999999", width=scale)
    x = left
    pen.text((x, 6 * scale), plot.name, "black", font)
    x += int(pen.textlength(plot.name, font)) + 24 * scale
    for (name, (xs, ys)), colour in zip(plot.curves.items(), _COLOURS * 9, strict=False):
        points = [place(frame, value) for frame, value in zip(xs, ys, strict=True) if isfinite(value)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2 * scale, joint="curve")
        for point in points if len(points) == 1 else []:
            (x0, y0), radius = point, 3 * scale
            pen.ellipse([x0 - radius, y0 - radius, x0 + radius, y0 + radius], fill=colour)
        pen.line([(x, 14 * scale), (x + 18 * scale, 14 * scale)], fill=colour, width=3 * scale)
        label = f"{name} {plot.unit}".strip()
        pen.text((x + 24 * scale, 6 * scale), label, "#333333", font)
        x += int(pen.textlength(label, font)) + 44 * scale
    return picture.resize(size_wh, Image.Resampling.LANCZOS)


# Okabe and Ito's colours, told apart with any kind of colour vision.
_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]


def _ticks(first: int, last: int) -> list[int]:
    span = max(last - first, 1)
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if span / step <= 10)
    return list(range(-(-first // step) * step, last + 1, step))


def _heading(name: str) -> str:
    return {"seconds_per_frame": "s/frame", "cpu_seconds_per_frame": "CPU s/frame"}.get(name, name)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if value != value else f"{value:.{_DIGITS.get(name, 3)}f}"
    if isinstance(value, list | tuple):
        return " ".join(_cell(name, item) for item in value)
    return str(value)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, float) and not isfinite(value):
            return None if value != value else "inf" if value > 0 else "-inf"
        return [one(item) for item in value] if isinstance(value, list | tuple) else value

    return {name: one(value) for name, value in row.items()}
