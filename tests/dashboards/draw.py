"""Draws a dashboard as a page of plain HTML and SVG, from what its queries gave: for the documentation's pictures."""

import html
import math
import time

COLUMN, ROW = 54, 38  # pixels of one cell of Grafana's grid of 24 columns, with the gap
COLORS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#ffa6b0", "#96d98d"]
NAMED = {"green": "#73bf69", "red": "#f2495c", "orange": "#ff9830", "blue": "#5794f2"}
STYLE = """
body{margin:0;background:#111217;color:#ccccdc;font:12px Inter,'DejaVu Sans',sans-serif}
main{position:relative;margin:8px 12px}
h1{font-size:17px;font-weight:500;margin:12px 12px 2px}
p{margin:0 12px;color:#9a9aab}
section{position:absolute;box-sizing:border-box;background:#181b1f;border:1px solid #25272d;border-radius:3px;padding:6px 8px;overflow:hidden}
section.row{background:none;border:none;font-weight:500;padding:8px 0}
h2{font-size:12px;font-weight:500;margin:0 0 2px;white-space:nowrap}
.value{font-weight:500;text-align:center;white-space:nowrap}
.legend{display:flex;flex-wrap:wrap;gap:0 12px;font-size:10.5px;color:#b0b0c0}
.legend i{display:inline-block;width:12px;height:3px;margin-right:4px;vertical-align:middle}
text{fill:#8e8ea0;font-size:10px}
"""


def number(value, unit, decimals=None):
    """As Grafana writes a value of this unit."""
    if math.isinf(value):
        return "∞"
    if unit == "percentunit":
        return f"{value * 100:.{decimals if decimals is not None else 1}f}%"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value * 1e6:.3g} µs" if value else "0 s"
    if unit == "bytes":
        for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
    suffix = {"reqps": " req/s", "cps": " /s", "ops": " /s", "wps": " /s"}.get(unit, "")
    text = f"{value:,.{decimals}f}" if decimals is not None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text + suffix


def color_of(value, defaults):
    if defaults["color"]["mode"] == "fixed":
        return NAMED[defaults["color"]["fixedColor"]]
    reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]["color"]]


def stat(panel, series, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    name, points = series[0]
    value = points[-1][1]
    text = name or number(value, defaults["unit"], defaults.get("decimals"))
    size = min(30, int((width - 20) / max(len(text), 1) * 1.6))
    return f'<div class="value" style="font-size:{size}px;line-height:{height - 40}px;color:{color_of(value, defaults)}">{html.escape(text)}</div>'


def chart(panel, series, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    finite = [value for _, points in series for _, value in points if math.isfinite(value)] or [0]
    times = [at for _, points in series for at, _ in points]
    low, high = min(defaults.get("min", min(finite)), min(finite)), max(finite)
    high = high * 1.05 if high > low else low + 1
    start, end = min(times), max(max(times), min(times) + 1)
    left, top, right, bottom = 62, 9, width - 20, height - 48 - 15 * ((min(len(series), 8) + 1) // 2)
    x = lambda at: left + (at - start) / (end - start) * (right - left)
    y = lambda value: bottom - (value - low) / (high - low) * (bottom - top)
    parts = []
    for n in range(5):
        value = low + (high - low) * n / 4
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#25272d"/>')
        parts.append(f'<text x="{left - 4}" y="{y(value) + 3:.1f}" text-anchor="end">{number(value, unit)}</text>')
    for n in range(4):
        at = start + (end - start) * (n + 0.5) / 4
        parts.append(f'<text x="{x(at):.1f}" y="{bottom + 13}" text-anchor="middle">{time.strftime("%H:%M", time.gmtime(at))}</text>')
    for n, (_, points) in enumerate(series):
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points if math.isfinite(value))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLORS[n % len(COLORS)]}" stroke-width="1.3"/>')
    names = [
        f'<span><i style="background:{COLORS[n % len(COLORS)]}"></i>{html.escape(name or panel["title"])} {number(points[-1][1], unit)}</span>'
        for n, (name, points) in enumerate(series[:8])
    ]
    svg = f'<svg width="{width - 18}" height="{bottom + 18}">{"".join(parts)}</svg>'
    return svg + f'<div class="legend">{"".join(names)}</div>'


def page(dashboard, variables, answered):
    """The whole page; `answered` has each panel with its series."""
    boxes, bottom = [], 0
    for panel, series in answered:
        at = panel["gridPos"]
        width, height = at["w"] * COLUMN - 6, at["h"] * ROW - 6
        place = f"left:{at['x'] * COLUMN}px;top:{at['y'] * ROW}px;width:{width}px;height:{height}px"
        bottom = max(bottom, (at["y"] + at["h"]) * ROW)
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            boxes.append(f'<section class="row" style="{place}">{title}</section>')
            continue
        body = "no data" if not series else (stat if panel["type"] == "stat" else chart)(panel, series, width, height)
        boxes.append(f'<section style="{place}"><h2>{title}</h2>{body}</section>')
    chosen = ", ".join(f"{name}: {'all' if value == '.+' else value}" for name, value in variables.items())
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><h1>{html.escape(dashboard["title"])}</h1><p>{html.escape(chosen)}</p>'
        f'<main style="height:{bottom}px;width:{24 * COLUMN}px">{"".join(boxes)}</main>'
    )
