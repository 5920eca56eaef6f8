"""Draw stained cells under a microscope: six classes, 96 x 96 RGB, far from photographs of flowers.

    >>> import numpy as np
    >>> render("round_cells", np.random.default_rng(0)).shape
    (96, 96, 3)

The stain (and bright field, dark field or phase contrast) is drawn apart from the class, so colour says nothing; the
classes differ in shape and in how cells lie together, and neighbours in the list below are easy to mix up.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 192
DOMAIN_CLASSES = [
    "branching_filaments",
    "budding_cells",
    "chained_cells",
    "clustered_cells",
    "rod_cells",
    "round_cells",
]
STAINS = {  # absorbed light per channel at full thickness, after Beer and Lambert
    "violet": (0.75, 1.2, 0.35),
    "eosin": (0.12, 0.9, 0.55),
    "methylene": (1.3, 0.6, 0.16),
    "malachite": (1.1, 0.3, 0.7),
    "iodine": (0.35, 0.7, 1.3),
    "grey": (0.7, 0.7, 0.7),
    "safranin": (0.15, 1.1, 0.9),
}


def _draw_cell(canvas, x, y, long, wide, angle, rng, bend=0.0):
    """Add the optical thickness of one cell (an ellipse or bent rod) to `canvas` and to its rim and nucleus layers."""
    reach = int(long + wide + 4)
    x0, x1, y0, y1 = (
        max(int(x) - reach, 0),
        min(int(x) + reach, SIDE),
        max(int(y) - reach, 0),
        min(int(y) + reach, SIDE),
    )
    if x0 >= x1 or y0 >= y1:
        return
    rows, columns = np.mgrid[y0:y1, x0:x1]
    u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    v = v - bend * u**2 / long
    spine = np.clip(u, -(long - wide), long - wide) if long > wide else 0
    distance = np.hypot(u - spine, v) / wide
    body = 1 / (1 + np.exp((distance - 1) * wide / 1.3))
    canvas["body"][y0:y1, x0:x1] += body * rng.uniform(0.7, 1.2)
    canvas["rim"][y0:y1, x0:x1] += np.exp(-(((distance - 0.93) * wide / 1.8) ** 2))
    if canvas["nuclei"]:
        far = np.hypot(u - rng.normal(0, 0.2) * wide, v - rng.normal(0, 0.2) * wide) / (canvas["nuclei"] * wide)
        canvas["core"][y0:y1, x0:x1] += 1 / (1 + np.exp((far - 1) * wide / 2.5))


def round_cells(canvas, rng, size):
    for _ in range(int(rng.integers(7, 26))):
        wide = size * rng.uniform(0.75, 1.25)
        _draw_cell(canvas, *rng.uniform(0, SIDE, 2), wide * rng.uniform(1, 1.12), wide, rng.uniform(0, 7), rng)


def budding_cells(canvas, rng, size):
    """Round cells, about half of them with a smaller one growing out of the side."""
    for _ in range(int(rng.integers(6, 18))):
        x, y = rng.uniform(0, SIDE, 2)
        wide, angle = size * rng.uniform(0.75, 1.2), rng.uniform(0, 7)
        _draw_cell(canvas, x, y, wide * rng.uniform(1, 1.2), wide, angle, rng)
        if rng.random() < 0.6:
            bud = wide * rng.uniform(0.4, 0.75)
            gap = wide + 0.75 * bud
            _draw_cell(canvas, x + gap * np.cos(angle), y + gap * np.sin(angle), bud * 1.1, bud, angle, rng)


def chained_cells(canvas, rng, size):
    """Beads on a string: each next cell a little off the last direction."""
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(10, SIDE - 10, 2)
        angle, wide = rng.uniform(0, 7), size * rng.uniform(0.5, 0.75)
        for _ in range(int(rng.integers(4, 13))):
            _draw_cell(canvas, x, y, wide * rng.uniform(1, 1.2), wide * rng.uniform(0.9, 1.05), angle, rng)
            x, y, angle = x + 1.85 * wide * np.cos(angle), y + 1.85 * wide * np.sin(angle), angle + rng.normal(0, 0.4)


def clustered_cells(canvas, rng, size):
    """Grape-like clumps: each next cell beside one already there."""
    for _ in range(int(rng.integers(1, 5))):
        wide = size * rng.uniform(0.5, 0.75)
        spots = [rng.uniform(20, SIDE - 20, 2)]
        for _ in range(int(rng.integers(5, 20))):
            angle = rng.uniform(0, 7)
            spots.append(spots[rng.integers(len(spots))] + 1.75 * wide * np.array([np.cos(angle), np.sin(angle)]))
        for x, y in spots:
            _draw_cell(canvas, x, y, wide * rng.uniform(1, 1.15), wide * rng.uniform(0.9, 1.05), rng.uniform(0, 7), rng)


def rod_cells(canvas, rng, size):
    heading, order = rng.uniform(0, 7), rng.uniform(0.1, 2)
    for _ in range(int(rng.integers(7, 26))):
        wide = size * rng.uniform(0.36, 0.5)
        _draw_cell(
            canvas,
            *rng.uniform(0, SIDE, 2),
            wide * rng.uniform(2.2, 4.6),
            wide,
            heading + rng.normal(0, order),
            rng,
            rng.normal(0, 0.12),
        )


def branching_filaments(canvas, rng, size):
    """Hyphae: walks that keep their heading, fork now and then, and show cross walls."""
    wide = size * rng.uniform(0.26, 0.42)
    tips = [(*rng.uniform(0, SIDE, 2), rng.uniform(0, 7)) for _ in range(int(rng.integers(2, 5)))]
    for _ in range(int(rng.integers(18, 40))):
        x, y, angle = tips.pop(0)
        if not (-20 < x < SIDE + 20 and -20 < y < SIDE + 20):
            x, y, angle = *rng.uniform(0, SIDE, 2), rng.uniform(0, 7)
        long = wide * rng.uniform(2.2, 4.4)
        _draw_cell(canvas, x + long * np.cos(angle), y + long * np.sin(angle), long * 1.05, wide, angle, rng)
        x, y = x + 1.9 * long * np.cos(angle), y + 1.9 * long * np.sin(angle)
        tips.append((x, y, angle + rng.normal(0, 0.22)))
        if rng.random() < 0.22:
            tips.append((x, y, angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)))


DRAW = {
    function.__name__: function
    for function in (branching_filaments, budding_cells, chained_cells, clustered_cells, rod_cells, round_cells)
}


def render(name, rng):
    """A micrograph of the class `name` as uint8 (96, 96, 3), made from the generator `rng`."""
    if name not in DRAW:
        raise ValueError(f"no class named {name!r}; the domain-shift set has {', '.join(DRAW)}")
    canvas = {key: np.zeros((SIDE, SIDE)) for key in ("body", "rim", "core")}
    canvas["nuclei"] = rng.choice([0, rng.uniform(0.3, 0.65)])
    size = rng.uniform(9, 21)
    DRAW[name](canvas, rng, size)
    if rng.random() < 0.5:  # debris that belongs to no class
        for _ in range(int(rng.integers(2, 9))):
            dust = rng.uniform(1.5, 5)
            _draw_cell(canvas, *rng.uniform(0, SIDE, 2), dust * rng.uniform(1, 3), dust, rng.uniform(0, 7), rng)
    body = 1.25 * np.tanh(canvas["body"] / 1.25)
    grain = gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(1, 3))
    body = body * (1 + rng.uniform(0.5, 2.5) * grain)
    return _photograph(rng, body, np.tanh(canvas["rim"]), np.tanh(canvas["core"]), _flaws(rng))


def _flaws(rng):
    """Uneven mounting fluid: smooth blotches and a lamp that is not centred."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    blotch = gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(8, 30))
    lamp = ((rows - rng.normal(0, 0.25)) ** 2 + (columns - rng.normal(0, 0.25)) ** 2) * rng.uniform(0, 0.9)
    return rng.uniform(0, 0.12) * blotch / blotch.std() + lamp


def _photograph(rng, body, rim, core, flaws):
    names = list(STAINS)
    first, second = (np.array(STAINS[names[rng.integers(len(names))]]) * rng.uniform(0.8, 1.2, 3) for _ in range(2))
    blur = rng.choice([0.5, rng.uniform(0.5, 1.5), rng.uniform(1.5, 3.2)])
    body, rim, core = (gaussian_filter(layer, blur) for layer in (body, rim, core))
    rim_share, core_share, depth = rng.uniform(-0.25, 0.9), rng.uniform(0.3, 1.4), rng.uniform(0.35, 1.1)
    thick = (body + rim_share * rim)[..., None] * first * depth + (core * core_share)[..., None] * second * depth
    mode = rng.choice(["bright field", "bright field", "bright field", "dark field", "phase contrast"])
    if mode == "dark field":
        image = np.array([0.05, 0.055, 0.07]) * (1 - flaws[..., None]) + (1 - np.exp(-1.1 * thick)) * rng.uniform(
            0.8, 1.2
        )
    else:
        image = (0.9 - 0.35 * flaws)[..., None] * np.exp(-thick) * rng.uniform(0.93, 1.05, 3)
        image = image * np.exp(-(rng.uniform(0, 0.35) * second))  # the stain also tints the fluid
    if mode == "phase contrast":
        halo = gaussian_filter(body, 5) - gaussian_filter(body, 1.5)
        image = 0.45 + 0.25 * (image - image.mean()) + (1.5 * halo - 0.35 * rim)[..., None] * rng.uniform(0.7, 1.1, 3)
    image = image.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    image = image * rng.uniform(0.85, 1.1) + rng.uniform(0.006, 0.03) * rng.standard_normal(image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
