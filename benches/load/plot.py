"""The pictures of `docs/load.md`, written as SVG by hand: two or three lines do not need a library."""

import math

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 20, 50
_COLOURS = ("#1f6fb2", "#c4561b", "#3f8f4f", "#7a4fa3")
_TEXT = 'font-family="sans-serif" font-size="13" fill="#222"'


def draw(found, folder):
    """Draws what there are figures for."""
    folder.mkdir(exist_ok=True)
    kinds = {"clear": "idle", "TLS 1.3, intercepted": "intercept 1.3", "TLS 1.2, intercepted": "intercept 1.2"}
    lines = {
        title: [(row["sessions"], row["bytes_each"] / 1024) for row in found[key]]
        for title, key in kinds.items() if key in found
    }
    if lines:
        picture = _chart(lines, "idle sessions held", "KiB of memory for each", logarithmic=True,
                         limit=(16, "limit for clear: 16 KiB"))
        (folder / "load-idle.svg").write_text(picture, encoding="utf-8")
    kinds = {"data.path relay": "short relay", "data.path kernel": "short kernel"}
    lines = {
        title: [(sample["sessions"] / 1000, sample["bytes"] / 2**20) for sample in found[key]["samples"]]
        for title, key in kinds.items() if key in found
    }
    if lines:
        picture = _chart(lines, "short sessions so far, in thousands", "MiB of memory of the process")
        (folder / "load-short.svg").write_text(picture, encoding="utf-8")


def _chart(lines, x_title, y_title, logarithmic=False, limit=None):
    points = [point for line in lines.values() for point in line]
    most_x = max(x for x, _ in points)
    least_x = min(x for x, _ in points) if logarithmic else 0
    most_y = _round_up(max([y for _, y in points] + ([limit[0]] if limit else [])) * 1.05)
    scale = math.log10 if logarithmic else float

    def at_x(x):
        span = scale(most_x) - scale(least_x) or 1
        return _LEFT + (scale(x) - scale(least_x)) / span * (_WIDTH - _LEFT - _RIGHT)

    def at_y(y):
        return _HEIGHT - _BOTTOM - y / most_y * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
             f'height="{_HEIGHT}" role="img" aria-label="{y_title}, by {x_title}">',
             f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>']
    for number in range(5):
        y = most_y * number / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end" {_TEXT}>{y:g}</text>')
    marks = sorted({x for x, _ in points}) if logarithmic else [most_x * number / 5 for number in range(6)]
    last = -100.0
    for x in marks:
        if at_x(x) - last < 45:
            continue
        last = at_x(x)
        parts.append(f'<line x1="{last:.1f}" x2="{last:.1f}" y1="{at_y(0):.1f}" y2="{at_y(0) + 5:.1f}" stroke="#222"/>')
        parts.append(f'<text x="{last:.1f}" y="{at_y(0) + 20:.1f}" text-anchor="middle" {_TEXT}>{_number(x)}</text>')
    if limit:
        y, words = at_y(limit[0]), limit[1]
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
                     'stroke-dasharray="6 4"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{y + 4:.1f}" {_TEXT}>{words}</text>')
    for colour, (title, line) in zip(_COLOURS, lines.items()):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        x, y = line[-1]
        parts.append(f'<text x="{at_x(x) + 8:.1f}" y="{at_y(y) + 4:.1f}" {_TEXT}>{title}</text>')
    parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at_y(0):.1f}" y2="{at_y(0):.1f}" stroke="#222"/>')
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle" {_TEXT}>{x_title}'
                 '</text>')
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle" {_TEXT}>{y_title}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _number(value):
    return f"{value:,.0f}".replace(",", " ")


def _round_up(value):
    """The next number of one digit and its half steps, for an axis of four equal parts."""
    size = 10 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if size * step >= value)
