"""A dot chart as SVG: for each network, each peer's time over fastconv's."""

from html import escape

COLORS = {
    "onnxruntime": "#0072b2",
    "openvino": "#d55e00",
    "ncnn": "#009e73",
    "mnn": "#cc79a7",
    "torch": "#e69f00",
    "torch-channels-last": "#56b4e9",
}
ROW, LEFT, PANEL, GAP, TOP, BOTTOM = 22, 150, 300, 30, 74, 40
HIGHEST = 4.0  # what lies beyond is drawn at the edge, with its value


def text(x, y, value, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(value)}</text>'


def panel(left, title, rows, engines, highest):
    """Return the elements of one panel; rows are [(network, {engine: ratio})]."""
    bottom = TOP + ROW * len(rows)

    def at(ratio):
        return left + PANEL * min(ratio, highest) / highest

    parts = [text(left + PANEL / 2, TOP - 12, title, "middle", ' font-weight="bold"')]
    step = 0.5 if highest <= 3 else 1
    for i in range(round(highest / step) + 1):
        x = at(i * step)
        strong = 'stroke="#333"' if i * step == 1 else 'stroke="#ddd"'
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" {strong}/>')
        parts.append(text(x, bottom + 15, f"{i * step:g}", "middle"))
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
                if ratios[engine] > highest:
                    parts.append(text(x - 8, y + 4, f"{ratios[engine]:.1f}", "end"))
    return parts


def svg(panels, labels):
    """Return the picture.

    Args:
        panels: [(title, [(network, {engine: time over fastconv's})])], all with the same networks.
        labels: {engine: its name in the legend}, in the legend's order.
    """
    networks = [network for network, _ in panels[0][1]]
    every = [v for _, rows in panels for _, ratios in rows for v in ratios.values()]
    highest = min(HIGHEST, max(2.0, -(-max(every) // 0.5) * 0.5))
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
        parts += panel(LEFT + (PANEL + GAP) * number, title, rows, labels, highest)
    return "\n".join([*parts, "</svg>"]) + "\n"
