"""Airplanes, cars, ships and trucks: each function returns the shapes of one thing, about two units long, facing +x."""

import numpy as np
from things_shapes import box, ellipsoid, extrude, limb, moved, plate, turned, wheel

PAINTS = [
    (0.78, 0.1, 0.1), (0.1, 0.2, 0.55), (0.85, 0.86, 0.87), (0.62, 0.64, 0.66), (0.07, 0.07, 0.08), (0.9, 0.72, 0.1),
    (0.1, 0.36, 0.2), (0.85, 0.4, 0.08), (0.32, 0.5, 0.68), (0.42, 0.12, 0.14), (0.72, 0.66, 0.54), (0.93, 0.93, 0.9),
]  # fmt: skip
GLASS = (0.1, 0.13, 0.17)


def paint(rng):
    return np.clip(np.array(PAINTS[rng.integers(len(PAINTS))]) * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3), 0, 1)


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


# ---------------------------------------------------------------- cars
CARS = {  # outline of the side view from the rear bumper over the roof to the nose; belt line, roof line, length share
    "sedan": ([(-1, .2), (-1, .45), (-.93, .54), (-.62, .57), (-.38, .8), (.12, .81), (.42, .57),
               (.88, .5), (.99, .4), (1, .2)], .57, .81),
    "hatch": ([(-.86, .2), (-.88, .5), (-.8, .6), (-.68, .86), (.1, .89), (.42, .61), (.8, .54),
               (.9, .42), (.9, .2)], .6, .89),
    "suv": ([(-.96, .26), (-.97, .62), (-.92, .68), (-.84, 1.0), (.14, 1.02), (.38, .7),
             (.88, .64), (.97, .52), (.97, .26)], .69, 1.02),
    "sport": ([(-1, .18), (-1, .46), (-.9, .5), (-.5, .55), (-.2, .68), (.1, .68), (.42, .47),
               (.85, .38), (1, .28), (1, .18)], .48, .68),
    "old": ([(-.86, .22), (-.88, .42), (-.78, .58), (-.62, .66), (-.45, .88), (-.1, .92),
             (.16, .86), (.3, .62), (.62, .56), (.84, .42), (.88, .22)], .62, .92),
    "van": ([(-1, .24), (-1, .98), (-.94, 1.04), (.42, 1.05), (.78, .68), (.97, .58), (1, .44), (1, .24)], .66, 1.05),
}  # fmt: skip


def car(rng):
    kind = pick(rng, "sedan", "sedan", "hatch", "hatch", "suv", "sport", "old", "van")
    outline, belt, roof = CARS[kind]
    outline = np.array(outline) * [rng.uniform(0.92, 1.06), rng.uniform(0.94, 1.08)]
    belt, roof = belt * outline[:, 1].max() / roof, outline[:, 1].max()
    coat = paint(rng)
    top = pick(rng, coat, coat, coat, np.array((0.06, 0.06, 0.07)), np.array((0.9, 0.9, 0.88)))
    half = rng.uniform(0.38, 0.44)
    radius = rng.uniform(0.17, 0.2) + (0.04 if kind == "suv" else 0)
    rear, front = outline[:, 0].min() + rng.uniform(0.36, 0.42), outline[:, 0].max() - rng.uniform(0.34, 0.4)
    pillars = [rng.uniform(-0.2, -0.1), rng.uniform(-0.6, -0.5)]
    sill = outline[0, 1] + 0.05
    trim = pick(rng, coat, np.array((0.12, 0.12, 0.13)), np.array((0.7, 0.7, 0.7)))

    def look(p):
        x, y, z = p.T
        colour = np.where((y > roof - 0.06)[:, None], top, coat)
        glass = (y > belt + 0.02) & (y < roof - 0.05)
        for pillar in pillars:
            glass &= (np.abs(x - pillar) > 0.022) | (np.abs(z) < 0.7 * half)
        glass &= ~((np.abs(z) > half * 0.8) & (kind == "van") & (x < pillars[0]))
        colour = np.where(glass[:, None], GLASS, colour)
        colour = np.where((y < sill)[:, None], trim * 0.6, colour)
        line = (np.abs(x - pillars[0]) < 0.008) & (y < belt) & (y > sill)
        colour = np.where((line | ((np.abs(y - belt * 0.82) < 0.008) & (np.abs(x) < 0.6)))[:, None], coat * 0.7, colour)
        for at in (rear, front):
            colour = np.where((np.hypot(x - at, y - radius) < radius * 1.16)[:, None], (0.03, 0.03, 0.03), colour)
        nose, tail = x > outline[:, 0].max() - 0.05, x < outline[:, 0].min() + 0.04
        plate_ = (np.abs(z) < 0.12) & (y < belt * 0.66) & (y > belt * 0.5)
        colour = np.where((nose & (np.abs(z) < half * 0.5) & (y < belt * 0.82))[:, None], (0.08, 0.08, 0.09), colour)
        colour = np.where(((nose | tail) & plate_)[:, None], (0.85, 0.85, 0.8), colour)
        lamp = (np.abs(z) > half * 0.6) & (y > belt * 0.62) & (y < belt * 0.86)
        colour = np.where((nose & lamp)[:, None], (0.98, 0.97, 0.86), colour)
        return np.where((tail & lamp)[:, None], (0.75, 0.05, 0.05), colour)

    def narrow(x, y):
        return 1 - 0.22 * np.clip((y - belt) / (roof - belt), 0, 1) - 0.1 * np.clip((np.abs(x) - 0.75) / 0.25, 0, 1)

    parts = [extrude(outline, half, look, narrow)]
    rim = pick(rng, (0.62, 0.62, 0.64), (0.8, 0.8, 0.82), (0.2, 0.2, 0.2))
    parts += [wheel(x, radius, side * (half - 0.06), radius, 0.14, rim) for x in (rear, front) for side in (-1, 1)]
    nose = outline[:, 0].max()
    parts += [
        ellipsoid((nose - 0.06, belt * 0.74, s * half * 0.76), (0.05, 0.045, 0.06), (0.97, 0.96, 0.86)) for s in (-1, 1)
    ]
    parts += [
        box((0.2, belt + 0.01, s * half - 0.03), (0.27, belt + 0.07, s * half + 0.09 * (s > 0) + 0.05), coat * 0.8)
        for s in (1,)
    ]
    return parts


# ---------------------------------------------------------------- trucks
def _cab(rng, x0, x1, low, high, half, coat, nose=0.0):
    """A lorry's cab: windscreen, side window, grille, lamps. `nose` is the length of a bonnet in front of it."""
    window = low + (high - low) * rng.uniform(0.5, 0.58)
    outline = [(x0, low), (x0, high), (x1 - 0.06, high), (x1, window), (x1, low)]

    def look(p):
        x, y, z = p.T
        side = (np.abs(z) > half * 0.9) & (x > x0 + (x1 - x0) * 0.35) & (x < x1 - 0.05)
        front = (x > x1 - 0.08) & (np.abs(z) < half * 0.88)
        glass = (y > window) & (y < high - 0.07) & (side | front)
        colour = np.where(glass[:, None], GLASS, coat)
        if not nose:
            grille = (x > x1 - 0.02) & (np.abs(z) < half * 0.6) & (y < window - 0.1)
            colour = np.where(grille[:, None], (0.1, 0.1, 0.11), colour)
        door = (np.abs(x - x0 - (x1 - x0) * 0.32) < 0.008) & (np.abs(z) > half * 0.9)
        colour = np.where(door[:, None], coat * 0.6, colour)
        return np.where((y < low + 0.06)[:, None], (0.15, 0.15, 0.16), colour)

    parts = [extrude(outline, half, look)]
    if nose:
        bonnet = [
            (x1 - 0.02, low),
            (x1 - 0.02, window),
            (x1 + nose * 0.9, window - 0.06),
            (x1 + nose, window - 0.12),
            (x1 + nose, low),
        ]

        def chrome(p):
            grille = (p[:, :1] > x1 + nose - 0.02) & (np.abs(p[:, 2:]) < half * 0.55)
            return np.where(grille, (0.55, 0.55, 0.56), coat)

        parts.append(extrude(bonnet, half * 0.8, chrome))
        parts += [
            limb([(x0 + 0.02, window, s * half), (x0 + 0.02, high + 0.22, s * half)], 0.025, (0.6, 0.6, 0.6))
            for s in (-1, 1)
        ]
    front = x1 + nose
    parts += [ellipsoid((front, low + 0.13, s * half * 0.7), (0.03, 0.04, 0.055), (0.98, 0.96, 0.85)) for s in (-1, 1)]
    parts += [
        box(
            (x1 - 0.03, window, s * (half + 0.04) - 0.02),
            (x1 + 0.01, window + 0.15, s * (half + 0.04) + 0.02),
            (0.08, 0.08, 0.08),
        )
        for s in (-1, 1)
    ]
    return parts


def _load(rng, kind, x0, x1, low, half):
    """What the truck carries, from x0 to x1."""
    coat, second = paint(rng), paint(rng)
    if kind == "box":
        high = low + rng.uniform(0.6, 0.78)
        band = rng.uniform(0.2, 0.7)
        style = rng.integers(3)

        def look(p):
            share = (p[:, 1] - low) / (high - low)
            colour = np.broadcast_to(coat, p.shape)
            if style == 1:
                colour = np.where((np.abs(share - band) < 0.12)[:, None], second, colour)
            if style == 2:
                colour = np.where((np.sin(p[:, 0] * 60) > 0.2)[:, None], coat * 0.82, colour)
            edge = (np.abs(share - 0.5) > 0.46) | (np.minimum(p[:, 0] - x0, x1 - p[:, 0]) < 0.02)
            return np.where(edge[:, None], coat * 0.65, colour)

        return [box((x0, low, -half), (x1, high, half), look)]
    if kind == "tank":
        r = 0.3
        silver = pick(rng, (0.75, 0.76, 0.78), (0.85, 0.85, 0.83), tuple(coat))

        def bands(p):
            return np.where(np.abs(np.sin(p[:, :1] * 9)) < 0.12, np.array(silver) * 0.6, silver)

        body = turned(
            [(x0, 0.02), (x0 + 0.03, r * 0.8), (x0 + 0.08, r), (x1 - 0.08, r), (x1 - 0.03, r * 0.8), (x1, 0.02)],
            bands,
            low + r,
            1.25,
        )
        return [
            body,
            box((x0 + 0.05, low - 0.04, -half * 0.8), (x1 - 0.05, low + 0.05, half * 0.8), (0.15, 0.15, 0.15)),
        ]
    if kind == "dump":
        high = low + rng.uniform(0.36, 0.46)

        def ribs(p):
            return np.where(np.sin(p[:, :1] * 24) > 0.6, coat * 0.65, coat)

        tub = extrude([(x0 + 0.02, low), (x0 - 0.06, high), (x1, high + 0.08), (x1, low)], half, ribs)
        heap = ellipsoid(
            ((x0 + x1) / 2, high - 0.03, 0),
            ((x1 - x0) * 0.42, rng.uniform(0.08, 0.2), half * 0.85),
            pick(rng, (0.42, 0.32, 0.22), (0.62, 0.55, 0.42), (0.4, 0.4, 0.4)),
        )
        return [tub, heap]
    if kind == "logs":
        parts = [box((x0, low, -half), (x1, low + 0.06, half), (0.2, 0.2, 0.2))]
        for row in range(3):
            for k in range(4 - row):
                z = (k - (3 - row) / 2) * 0.2
                tone = np.array((0.5, 0.36, 0.22)) * rng.uniform(0.7, 1.15)
                parts.append(limb([(x0, low + 0.15 + 0.17 * row, z), (x1, low + 0.15 + 0.17 * row, z)], 0.095, tone))
        return parts
    # fire engine: red, with lockers and a ladder
    red, high = np.array((0.75, 0.07, 0.06)), low + 0.5

    def lockers(p):
        x, y, z = p.T
        share = (y - low) / (high - low)
        panel = (share > 0.3) & (share < 0.85) & (np.abs(((x - x0) * 4) % 1 - 0.5) < 0.4) & (np.abs(z) > half * 0.95)
        colour = np.where(panel[:, None], (0.7, 0.71, 0.72), red)
        return np.where((np.abs(share - 0.15) < 0.07)[:, None], (0.95, 0.93, 0.8), colour)

    ladder = [
        limb([(x0 - 0.1, high + 0.08, z), (x1 + 0.35, high + 0.2, z)], 0.025, (0.8, 0.8, 0.8)) for z in (-0.12, 0.12)
    ]
    return [box((x0, low, -half), (x1, high, half), lockers), *ladder]


def truck(rng):
    coat, half = paint(rng), rng.uniform(0.3, 0.34)
    kind = pick(rng, "box", "box", "box", "tank", "dump", "logs", "fire", "pickup")
    radius = rng.uniform(0.12, 0.14)
    if kind == "pickup":
        return _pickup(rng, coat)
    if kind == "fire":
        coat = np.array((0.75, 0.07, 0.06))
    long = kind in ("tank", "logs") or (kind == "box" and rng.random() < 0.55)
    nose = rng.uniform(0.2, 0.26) if long and rng.random() < 0.45 else 0.0
    front = 1.0 - nose
    cab = front - rng.uniform(0.36, 0.44)
    high = rng.uniform(0.78, 0.9) if kind != "dump" else 0.72
    parts = _cab(rng, cab, front, 0.16, high, half, coat, nose)
    parts += _load(rng, kind, -1.0 if long else rng.uniform(-0.8, -0.6), cab - 0.04, 0.28, half + 0.01)
    parts.append(box((-0.95 if long else -0.6, 0.14, -0.2), (front - 0.05, 0.27, 0.2), (0.1, 0.1, 0.11)))
    axles = [front + nose - 0.2, cab - 0.12, cab - 0.42] if long else [front - 0.2, -0.3]
    axles += [-0.85, -0.55] if long else ([-0.6] if rng.random() < 0.5 else [])
    parts += [wheel(x, radius, s * (half - 0.05), radius, 0.13) for x in axles for s in (-1, 1)]
    if kind == "fire":
        parts += [
            ellipsoid((front - 0.2, high + 0.02, z), (0.05, 0.04, 0.06), (0.15, 0.3, 0.95)) for z in (-0.15, 0.15)
        ]
    return parts


def _pickup(rng, coat):
    """The truck that is easiest to take for a car."""
    half, radius = 0.38, rng.uniform(0.19, 0.23)
    cab0, cab1, belt, roof = rng.uniform(-0.4, -0.2), rng.uniform(0.4, 0.46), 0.64, 0.98
    outline = [(-1, .28), (-1, .62), (cab0, .64), (cab0 + 0.06, .97), (cab1 - 0.28, .98), (cab1, .66),
               (.93, .6), (.98, .5), (.98, .28)]  # fmt: skip

    def look(p):
        x, y, z = p.T
        glass = (
            (y > belt + 0.03) & (y < roof - 0.06) & ((np.abs(x - (cab0 + cab1) / 2 + 0.1) > 0.02) | (np.abs(z) < 0.2))
        )
        colour = np.where(glass[:, None], GLASS, coat)
        bed = (x < cab0 - 0.02) & (x > -0.95) & (np.abs(z) < half * 0.85) & (y > 0.6)
        colour = np.where(bed[:, None], (0.12, 0.12, 0.12), colour)
        for at in (-0.62, 0.62):
            colour = np.where((np.hypot(x - at, y - radius) < radius * 1.16)[:, None], (0.03, 0.03, 0.03), colour)
        colour = np.where(((x > 0.95) & (np.abs(z) < half * 0.6))[:, None], (0.12, 0.12, 0.12), colour)
        seam = (np.abs(x - cab0) < 0.012) & (y < belt)
        return np.where((seam | (y < 0.33))[:, None], coat * 0.4, colour)

    def narrow(x, y):
        return 1 - 0.2 * np.clip((y - belt) / (roof - belt), 0, 1)

    parts = [extrude(outline, half, look, narrow)]
    parts += [wheel(x, radius, s * (half - 0.06), radius, 0.15) for x in (-0.62, 0.62) for s in (-1, 1)]
    parts += [ellipsoid((0.97, 0.5, s * half * 0.75), (0.03, 0.05, 0.06), (0.97, 0.96, 0.86)) for s in (-1, 1)]
    if rng.random() < 0.5:  # something in the bed
        parts.append(box((-0.9, 0.6, -0.25), (cab0 - 0.15, rng.uniform(0.72, 0.9), 0.25), paint(rng)))
    return parts


# ---------------------------------------------------------------- airplanes
def airplane(rng):
    kind = pick(rng, "airliner", "airliner", "airliner", "prop", "prop", "fighter")
    return {"airliner": _airliner, "prop": _prop, "fighter": _fighter}[kind](rng)


def _both(corners, colour, thick=0.012):
    """A plate and its mirror image on the other side."""
    corners = np.array(corners, float)
    return [plate(corners, colour, thick), plate(corners * [1, 1, -1], colour, thick)]


def _airliner(rng):
    body = pick(rng, (0.93, 0.93, 0.94), (0.93, 0.93, 0.94), (0.8, 0.82, 0.85), tuple(paint(rng)))
    livery, r = paint(rng), rng.uniform(0.1, 0.125)
    belly = pick(rng, body, (0.6, 0.62, 0.65), tuple(livery))
    stripe, low = rng.random() < 0.5, rng.uniform(-0.3, -0.05)

    def look(p):
        x, y, z = p.T
        colour = np.where((y < low * r * 2)[:, None], belly, body)
        if stripe:
            colour = np.where((np.abs(y + 0.03) < 0.02)[:, None], livery, colour)
        windows = (np.abs(y - 0.03) < 0.014) & (np.sin(x * 85) > -0.2) & (x > -0.7) & (x < 0.75)
        cockpit = (x > 0.86) & (x < 0.93) & (y > 0.02) & (y < 0.075)
        colour = np.where((windows | cockpit)[:, None], (0.08, 0.1, 0.14), colour)
        return np.where((x < -0.75)[:, None], livery, colour) if stripe else colour

    parts = [
        turned(
            [
                (-1, 0.015),
                (-0.9, r * 0.4),
                (-0.6, r * 0.95),
                (-0.5, r),
                (0.72, r),
                (0.88, r * 0.8),
                (0.97, r * 0.4),
                (1, 0.01),
            ],
            look,
        )
    ]
    if rng.random() < 0.6:  # wheels down
        for x, z in ((0.72, 0), (-0.02, 0.14), (-0.02, -0.14)):
            parts += [
                limb([(x, -r, z * 0.8), (x, -r - 0.1, z)], 0.016, (0.6, 0.6, 0.6)),
                ellipsoid((x, -r - 0.12, z), (0.045, 0.045, 0.03), (0.06, 0.06, 0.06)),
            ]
    grey, sweep = np.array((0.72, 0.74, 0.77)), rng.uniform(0.3, 0.5)
    span, dihedral = rng.uniform(0.85, 1.05), rng.uniform(0.05, 0.15)
    parts += _both(
        [
            (0.22, -0.04, 0.06),
            (0.22 - sweep - 0.1, dihedral, span),
            (0.1 - sweep - 0.1, dihedral, span),
            (-0.16, -0.04, 0.06),
        ],
        grey,
        0.014,
    )
    parts += _both([(-0.72, 0.05, 0.03), (-0.9, 0.1, 0.36), (-1.0, 0.1, 0.36), (-0.92, 0.05, 0.03)], grey)
    parts.append(plate([(-0.66, 0.06, 0), (-0.92, 0.46, 0), (-1.06, 0.46, 0), (-0.94, 0.04, 0)], livery, 0.014))
    shine = pick(rng, (0.8, 0.81, 0.83), tuple(livery))
    for z in [0.33] if rng.random() < 0.7 else [0.3, 0.56]:
        for side in (-1, 1):
            x = 0.2 - 0.4 * z
            parts.append(
                moved(
                    turned(
                        [(-0.14, 0.03), (-0.1, 0.05), (0.06, 0.062), (0.1, 0.055), (0.101, 0.01)],
                        lambda p: np.where((p[:, 0] > 0.098)[:, None], (0.05, 0.05, 0.06), shine),
                    ),
                    (x, -0.1 + dihedral * z * 0.6, side * z),
                )
            )
    return parts


def _prop(rng):
    coat, trim = paint(rng), paint(rng)
    high = rng.random() < 0.5

    def look(p):
        x, y, z = p.T
        colour = np.where((np.abs(y + 0.02) < 0.025)[:, None], trim, coat)
        glass = (x > 0.05) & (x < 0.46) & (y > 0.07)
        return np.where(glass[:, None], GLASS, colour)

    parts = [
        turned(
            [(-0.95, 0.02), (-0.5, 0.1), (0.05, 0.18), (0.3, 0.18), (0.5, 0.13), (0.78, 0.12), (0.8, 0.02)],
            look,
            0,
            0.85,
        )
    ]
    y = 0.19 if high else -0.1
    parts += _both([(0.42, y, 0.02), (0.38, y + 0.06, 1.05), (0.12, y + 0.06, 1.05), (0.06, y, 0.02)], coat, 0.02)
    if high:
        parts += [limb([(0.2, -0.12, s * 0.12), (0.25, y + 0.02, s * 0.55)], 0.014, coat * 0.7) for s in (-1, 1)]
    elif rng.random() < 0.35:  # a biplane
        parts += _both([(0.48, 0.26, 0.0), (0.44, 0.28, 0.95), (0.2, 0.28, 0.95), (0.16, 0.26, 0.0)], trim, 0.02)
        parts += [limb([(0.3, y, s * 0.7), (0.33, 0.27, s * 0.7)], 0.014, (0.3, 0.25, 0.2)) for s in (-1, 1)]
    parts += _both([(-0.72, 0.04, 0.02), (-0.78, 0.04, 0.38), (-0.96, 0.04, 0.38), (-0.98, 0.04, 0.02)], coat)
    parts.append(plate([(-0.68, 0.05, 0), (-0.86, 0.36, 0), (-1.02, 0.36, 0), (-0.98, 0.02, 0)], trim, 0.015))
    parts.append(ellipsoid((0.82, 0, 0), (0.06, 0.045, 0.045), trim * 0.8))
    blade, a = rng.uniform(0.24, 0.3), rng.uniform(0, np.pi)
    tip = np.array([0, np.cos(a), np.sin(a)]) * blade
    parts.append(limb([np.array([0.83, 0, 0]) - tip, np.array([0.83, 0, 0]) + tip], 0.016, (0.12, 0.12, 0.12)))
    if rng.random() < 0.7:
        for x, z in ((0.25, 0.24), (0.25, -0.24), (0.68, 0)):
            parts += [
                limb([(x, -0.12, z * 0.5), (x, -0.27, z)], 0.014, (0.3, 0.3, 0.3)),
                ellipsoid((x, -0.29, z), (0.06, 0.06, 0.025), (0.06, 0.06, 0.06)),
            ]
    return parts


def _fighter(rng):
    grey = np.array(
        pick(rng, (0.5, 0.53, 0.56), (0.36, 0.4, 0.4), (0.42, 0.43, 0.36), (0.2, 0.26, 0.45))
    ) * rng.uniform(0.9, 1.15)
    dark = grey * 0.75

    def look(p):
        x, y, _ = p.T
        metal = np.where((x < -0.85)[:, None], (0.12, 0.12, 0.12), grey)
        return np.where(((x > 0.35) & (x < 0.62) & (y > 0.055))[:, None], (0.12, 0.16, 0.2), metal)

    parts = [
        turned(
            [(-0.95, 0.08), (-0.85, 0.1), (-0.3, 0.12), (0.2, 0.11), (0.6, 0.08), (0.85, 0.035), (1.05, 0.005)],
            look,
            0,
            1.25,
        )
    ]
    parts.append(ellipsoid((0.46, 0.08, 0), (0.17, 0.075, 0.06), (0.14, 0.19, 0.25)))
    span = rng.uniform(0.5, 0.65)
    parts += _both([(0.25, 0, 0.06), (-0.42, 0, span), (-0.6, 0, span), (-0.62, 0, 0.06)], grey, 0.012)
    parts += _both([(-0.68, 0, 0.08), (-0.92, 0, 0.36), (-1.05, 0, 0.36), (-0.98, 0, 0.08)], dark)
    if rng.random() < 0.5:
        parts += _both([(-0.5, 0.08, 0.11), (-0.78, 0.4, 0.2), (-0.94, 0.4, 0.2), (-0.9, 0.08, 0.11)], dark)
    else:
        parts.append(plate([(-0.4, 0.1, 0), (-0.82, 0.44, 0), (-1.0, 0.44, 0), (-0.92, 0.08, 0)], dark))
    parts += [
        limb([(-0.35, -0.04, s * span * 0.75), (0.1, -0.04, s * span * 0.75)], 0.02, (0.85, 0.85, 0.85))
        for s in (-1, 1)
    ]
    return parts


# ---------------------------------------------------------------- ships
def _hull(length, beam, low, stern, bow, colour, flare=0.35):
    """A hull from the water (y = 0) to the deck; the deck rises from `stern` to `bow` high."""

    def sample(dots):
        s = np.linspace(0, 1, max(int(2.2 * length * dots), 8))
        v = np.linspace(0, 1, max(int(1.6 * max(bow, stern) * dots), 6))
        s, v = (g.ravel() for g in np.meshgrid(s, v))
        half = beam * np.clip(np.minimum(1, 0.75 + 2 * s), 0, 1) * np.clip((1 - s) / 0.38, 0, 1) ** 0.6
        deck = stern + (bow - stern) * np.clip((s - 0.3) / 0.7, 0, 1) ** 2
        rake = 0.16 * np.clip((s - 0.7) / 0.3, 0, 1) * v
        x = (2 * s - 1) * length + rake * length
        width = half * (1 - flare + flare * v)
        parts = []
        for side in (-1, 1):
            position = np.stack([x, low + v * (deck - low), side * width], 1)
            slope = np.clip((s - 0.6) / 0.4, 0, 1)
            normal = _side(slope, side)
            parts.append((position, normal, colour(np.stack([x, v, position[:, 1]], 1))))
        t = np.tile(np.linspace(-1, 1, max(int(2 * beam * dots), 8)), 1)
        s2 = np.linspace(0, 1, max(int(2.2 * length * dots), 8))
        s2, t = (g.ravel() for g in np.meshgrid(s2, t))
        half2 = beam * np.clip(np.minimum(1, 0.75 + 2 * s2), 0, 1) * np.clip((1 - s2) / 0.38, 0, 1) ** 0.6
        deck2 = stern + (bow - stern) * np.clip((s2 - 0.3) / 0.7, 0, 1) ** 2 - 0.02
        x2 = (2 * s2 - 1) * length + 0.16 * np.clip((s2 - 0.7) / 0.3, 0, 1) * length
        position = np.stack([x2, deck2, t * half2], 1)
        parts.append(
            (position, np.broadcast_to([0, 1.0, 0], position.shape), np.broadcast_to((0.5, 0.42, 0.34), position.shape))
        )
        back = np.linspace(-1, 1, max(int(2 * beam * dots), 8)), np.linspace(0, 1, max(int(1.4 * stern * dots), 6))
        t, v = (g.ravel() for g in np.meshgrid(*back))
        position = np.stack(
            [np.full_like(t, -length), low + v * (stern - low), 0.75 * beam * t * (1 - flare + flare * v)], 1
        )
        parts.append(
            (
                position,
                np.broadcast_to([-1.0, 0, 0], position.shape),
                colour(np.stack([position[:, 0], v, position[:, 1]], 1)),
            )
        )
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    return sample


def _side(slope, side):
    return np.stack([0.7 * slope, 0 * slope - 0.15, side * (1 - 0.5 * slope)], 1)


def _decks(x0, x1, low, floors, half, colour, step=0.1, shrink=0.04):
    """White storeys with rows of windows, each a little shorter than the one below."""
    parts = []
    for k in range(floors):
        y = low + k * step

        def look(p, y=y):
            row = (np.abs(p[:, 1] - y - step * 0.55) < step * 0.2) & (
                np.sin(p[:, 0] * 70) + np.sin(p[:, 2] * 70) * 0 > -0.3
            )
            return np.where((row & (p[:, 1] < y + step * 0.95))[:, None], (0.13, 0.16, 0.2), colour)

        parts.append(box((x0 + k * shrink, y, -half + k * 0.02), (x1 - k * shrink, y + step, half - k * 0.02), look))
    return parts


def ship(rng):
    kind = pick(rng, "cargo", "cargo", "cruise", "cruise", "sail", "sail", "war", "boat", "boat")
    coat, red = paint(rng), np.array((0.5, 0.14, 0.1))
    white = np.array((0.92, 0.92, 0.9))

    def hull_paint(upper, water=0.16, line=None):
        def look(p):
            colour = np.where((p[:, 1] < water)[:, None], red, upper)
            if line is not None:
                colour = np.where((p[:, 1] > 0.86)[:, None], line, colour)
            return colour

        return look

    if kind == "sail":
        height, wood = rng.uniform(1.4, 1.75), np.array((0.5, 0.34, 0.2))
        parts = [_hull(0.75, 0.17, -0.06, 0.13, 0.2, hull_paint(pick(rng, white, coat, wood), 0.1))]
        parts.append(limb([(0.1, 0.1, 0), (0.1, height, 0)], 0.016, (0.75, 0.72, 0.66)))
        cloth = pick(rng, white, white, white, paint(rng), np.array((0.6, 0.25, 0.15)))
        belly = rng.uniform(0.06, 0.2) * rng.choice([-1, 1])
        parts.append(_sail((0.08, 0.3), (0.08, height - 0.05), (-0.7, 0.32), belly, cloth))
        if rng.random() < 0.8:
            parts.append(_sail((0.78, 0.24), (0.12, height * 0.88), (0.05, 0.28), belly, pick(rng, cloth, white)))
        parts.append(limb([(0.1, 0.3, 0), (-0.72, 0.32, 0)], 0.014, (0.6, 0.5, 0.4)))
        parts.append(box((-0.35, 0.14, -0.09), (0.05, 0.22, 0.09), white))
        return parts
    if kind == "war":
        grey = np.array((0.5, 0.54, 0.57)) * rng.uniform(0.85, 1.1)
        parts = [_hull(1.0, 0.15, -0.05, 0.15, 0.26, hull_paint(grey, 0.06))]
        parts += [
            box((-0.35, 0.14, -0.1), (0.3, 0.3, 0.1), grey * 0.95),
            box((0.02, 0.3, -0.09), (0.25, 0.45, 0.09), grey),
            box((-0.3, 0.3, -0.07), (-0.1, 0.42, 0.07), grey * 0.8),
        ]
        parts += [
            limb([(0.1, 0.4, 0), (0.08, 0.85, 0)], 0.02, grey * 0.8),
            limb([(0.09, 0.65, -0.1), (0.09, 0.65, 0.1)], 0.015, grey * 0.8),
            limb([(-0.2, 0.4, 0), (-0.2, 0.66, 0)], 0.018, grey * 0.8),
        ]
        for x in (0.5, -0.6):
            parts += [
                ellipsoid((x, 0.2, 0), (0.09, 0.07, 0.08), grey),
                limb([(x, 0.22, 0), (x + (0.22 if x > 0 else -0.2), 0.25, 0)], 0.014, grey * 0.7),
            ]
        return parts
    if kind == "cruise":
        line, floors = paint(rng), int(rng.integers(3, 6))
        parts = [_hull(1.0, 0.16, -0.05, 0.17, 0.25, hull_paint(pick(rng, white, white, coat), 0.1, line))]
        parts += _decks(-0.88, rng.uniform(0.4, 0.6), 0.16, floors, 0.13, white, rng.uniform(0.075, 0.1), 0.05)
        top = 0.16 + floors * 0.085
        for k in range(int(rng.integers(1, 3))):
            x = -0.35 + 0.35 * k
            parts.append(
                extrude([(x, top), (x - 0.05, top + 0.22), (x + 0.1, top + 0.22), (x + 0.13, top)], 0.06, line)
            )
        parts.append(limb([(0.3, top - 0.05, 0), (0.28, top + 0.25, 0)], 0.012, white * 0.8))
        return parts
    if kind == "cargo":
        parts = [_hull(1.0, 0.16, -0.05, 0.2, 0.28, hull_paint(coat, 0.22))]
        bridge = rng.uniform(-0.9, -0.8)
        floors = int(rng.integers(3, 5))
        parts += _decks(bridge, bridge + 0.22, 0.18, floors, 0.13, white, 0.1, 0.0)
        parts.append(box((bridge - 0.02, 0.18, -0.05), (bridge + 0.05, 0.3 + floors * 0.1, 0.05), paint(rng)))
        if rng.random() < 0.65:  # containers
            for x in np.arange(bridge + 0.28, 0.68, 0.19):
                for row in range(int(rng.integers(1, 4))):
                    for z in (-0.07, 0.07):
                        parts.append(
                            box(
                                (x, 0.19 + row * 0.095, z - 0.065),
                                (x + 0.175, 0.28 + row * 0.095, z + 0.065),
                                paint(rng) * 0.9,
                            )
                        )
        else:  # hatches and cranes
            for x in (-0.35, 0.05, 0.45):
                parts += [
                    box((x - 0.15, 0.19, -0.1), (x + 0.12, 0.25, 0.1), (0.45, 0.3, 0.22)),
                    limb([(x + 0.16, 0.2, 0), (x + 0.16, 0.6, 0)], 0.02, (0.8, 0.7, 0.3)),
                    limb([(x + 0.16, 0.35, 0), (x - 0.1, 0.62, 0)], 0.013, (0.8, 0.7, 0.3)),
                ]
        return parts
    parts = [
        _hull(0.8, 0.24, -0.06, 0.17, 0.34, hull_paint(coat, 0.1, pick(rng, white, paint(rng))))
    ]  # a tug or a trawler
    x = rng.uniform(-0.35, 0.05)
    cabin = pick(rng, white, white, paint(rng))
    parts += _decks(x - 0.15, x + 0.32, 0.17, int(rng.integers(1, 3)), 0.15, cabin, 0.2, 0.04)
    parts += [limb([(x - 0.02, 0.4, 0), (x - 0.04, rng.uniform(0.9, 1.2), 0)], 0.018, (0.35, 0.3, 0.25))]
    if rng.random() < 0.6:
        parts.append(limb([(x - 0.03, 0.45, 0), (x - 0.55, 0.85, 0)], 0.014, (0.35, 0.3, 0.25)))
    else:
        parts.append(limb([(x - 0.25, 0.2, 0), (x - 0.27, 0.62, 0)], 0.06, paint(rng)))
    parts += [ellipsoid((x2, 0.12, 0.22), (0.06, 0.06, 0.03), (0.05, 0.05, 0.05)) for x2 in (-0.5, -0.25, 0.0)]
    return parts


def _sail(foot, head, clew, belly, colour):
    """A triangular sail that the wind fills towards z."""
    a, b, c = (np.array([*point, 0.0]) for point in (foot, head, clew))

    def sample(dots):
        n = max(int(1.4 * max(np.linalg.norm(b - a), np.linalg.norm(c - a)) * dots), 6)
        u, v = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
        u, v = u[u + v <= 1], v[u + v <= 1]
        position = a + u[:, None] * (b - a) + v[:, None] * (c - a)
        position[:, 2] += belly * 4 * v * (1 - u - v)
        normal = np.stack([belly * 2 * (v - 0.3), 0 * v + 0.1, np.ones_like(v)], 1)
        seams = np.where((np.abs((position[:, 1] * 5) % 1) < 0.06)[:, None], 0.88, 1.0)
        return position, normal, np.broadcast_to(colour, position.shape) * seams

    return sample
