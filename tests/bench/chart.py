"""A plot of costs over sizes, made of text: a panel for each axis, both scales logarithmic, each row relative to its first value."""
import math
from html import escape

WIDTH, PANEL_HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 340, 60, 330, 40, 40
COLOURS = ("#1f5fa8", "#c0392b", "#2e7d32", "#8e44ad", "#d35400", "#00838f", "#6d4c41", "#607d8b", "#ad1457", "#9e9d24")


def draw(axes):
    """The whole picture. It is white by itself, so that it can be read on dark pages too."""
    height = PANEL_HEIGHT * len(axes)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    for place, axis in enumerate(axes):
        parts += _panel(axis, place * PANEL_HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


def _panel(axis, offset):
    lines = [(row, points) for row in axis.rows.values() if row.drawn
             for points in [[(size, value / row.measured(axis.sizes)[0][1]) for size, value in row.measured(axis.sizes) if value > 0]]
             if len(points) > 1]
    sizes = axis.reached()
    ratios = [ratio for _, points in lines for _, ratio in points] or [1]
    # Whole powers of ten, at least from a half to twice the first value's.
    low, high = math.floor(math.log10(min(0.5, *ratios))), math.ceil(math.log10(max(2, *ratios)))
    bottom, top = offset + PANEL_HEIGHT - BOTTOM, offset + TOP
    first, last = math.log10(sizes[0]), math.log10(max(sizes[-1], sizes[0] * 2))

    def x(size):
        return LEFT + (math.log10(size) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(ratio):
        return bottom - (math.log10(ratio) - low) / (high - low) * (bottom - top)

    yield f'<text x="{LEFT}" y="{offset + 24}" font-weight="bold">Cost relative to the first, over {escape(axis.title)}</text>'
    for power in range(low, high + 1):
        level = y(10 ** power)
        stroke = "#888888" if power == 0 else "#dddddd"
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="{stroke}"/>'
        yield f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{10 ** power:g}</text>'
    for size in sizes:
        yield f'<line x1="{x(size):.1f}" x2="{x(size):.1f}" y1="{top}" y2="{bottom}" stroke="#eeeeee"/>'
        yield f'<text x="{x(size):.1f}" y="{bottom + 16}" text-anchor="middle">{size:,}</text>'
    # What would cost as much more as the size grows ends at the upper edge.
    most = min(10 ** high * sizes[0], sizes[-1])
    yield (f'<line x1="{x(sizes[0]):.1f}" y1="{y(1):.1f}" x2="{x(most):.1f}" y2="{y(most / sizes[0]):.1f}" stroke="#888888" '
           'stroke-dasharray="4 4"/>')
    yield f'<text x="{WIDTH - RIGHT + 16}" y="{top + 4}" fill="#666666">dashed: as the size</text>'
    for place, (row, points) in enumerate(lines):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x(size):.1f},{y(ratio):.1f}" for size, ratio in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x(size):.1f}" cy="{y(ratio):.1f}" r="3" fill="{colour}"/>' for size, ratio in points)
        yield f'<rect x="{WIDTH - RIGHT + 16}" y="{top + 14 + 18 * place}" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{WIDTH - RIGHT + 32}" y="{top + 23 + 18 * place}" fill="#222222">{escape(row.name)}</text>'
