"""A dot chart as SVG: for each network, each peer's time over fastconv's."""

import math
from html import escape

COLORS = {
    "onnxruntime": "#0072b2",
    "openvino": "#d55e00",
    "ncnn": "#009e73",
    "mnn": "#cc79a7",
    "torch": "#e69f00",
    "torch-channels-last": "#56b4e9",
}
ROW, LEFT, PANEL, GAP, TOP, BOTTOM = 22, 150, 300, 46, 74, 40
TICKS = [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20]  # the axis is logarithmic


def text(x, y, value, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(value)}</text>'


def panel(left, title, rows, engines, ticks):
    """Return the elements of one panel; rows are [(network, {engine: ratio})]."""
    bottom = TOP + ROW * len(rows)

    def at(ratio):
        return left + PANEL * math.log(ratio / ticks[0]) / math.log(ticks[-1] / ticks[0])

    parts = [text(left + PANEL / 2, TOP - 12, title, "middle", ' font-weight="bold"')]
    for tick in ticks:
        x = at(tick)
        color = "#333" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{color}"/>')
        parts.append(text(x, bottom + 15, f"{tick:g}", "middle"))
    for number, (_, ratios) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        for engine in engines:
            if engine in ratios:
                fill = COLORS.get(engine, "#777")
                x = at(ratios[engine])
                title = f"<title>{escape(engine)} {ratios[engine]:.2f}</title>"
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}">{title}</circle>'
                )
    return parts


def svg(panels, labels):
    """Return the picture.

    Args:
        panels: [(title, [(network, {engine: time over fastconv's})])], all with the same networks.
        labels: {engine: its name in the legend}, in the legend's order.
    """
    networks = [network for network, _ in panels[0][1]]
    every = [v for _, rows in panels for _, ratios in rows for v in ratios.values()]
    lowest = max((t for t in TICKS if t <= min(every)), default=TICKS[0])
    highest = min((t for t in TICKS if t >= max(every)), default=TICKS[-1])
    ticks = [t for t in TICKS if min(lowest, 0.7) <= t <= max(highest, 2)]
    width = LEFT + (PANEL + GAP) * len(panels)
    height = TOP + ROW * len(networks) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 20, "Time of each peer, fastconv = 1 (right of the line: fastconv is faster)"),
    ]
    x = LEFT
    for engine, label in labels.items():
        parts.append(f'<circle cx="{x + 5}" cy="38" r="5" fill="{COLORS.get(engine, "#777")}"/>')
        parts.append(text(x + 14, 42, label))
        x += 34 + 7 * len(label)
    for number, network in enumerate(networks):
        y = TOP + ROW * number
        if number % 2 == 0:
            parts.append(
                f'<rect x="8" y="{y}" width="{width - 16}" height="{ROW}" fill="#f6f6f6"/>'
            )
        parts.append(text(LEFT - 12, y + ROW / 2 + 4, network, "end"))
    for number, (title, rows) in enumerate(panels):
        parts += panel(LEFT + (PANEL + GAP) * number, title, rows, labels, ticks)
    return "\n".join([*parts, "</svg>"]) + "\n"
