"""Colours of petals, leaves and centres, and the even spread of points that several flowers need."""

import numpy as np
from botany import PALETTE
from surfaces import GOLDEN_ANGLE


def rgb(rng, names, spread=0.06):
    """One colour out of a string of palette names, as RGB in 0..1 with a little variation."""
    name = names.split()[rng.integers(len(names.split()))]
    colour = np.array(PALETTE[name]) / 255
    spread = spread * (0.4 if colour.min() > 0.6 else 1)  # white stays white
    return np.clip(colour * (1 + spread * rng.standard_normal(3)) * (1 + spread * rng.standard_normal()), 0.01, 1)


def make_coat(rng, colours, row=None):
    """A petal coat (see `surfaces.paint`) of one morph ``inner>outer``, with the markings the row asks for."""
    morph = colours[rng.integers(len(colours))] if isinstance(colours, list) else colours
    inner, _, outer = morph.partition(">")
    base = rgb(rng, inner, 0.055)
    coat = {
        "detail": row.get("size", 1.0) * 1.1 if row and "head" in row else 1.0,
        "base": base,
        "tip": rgb(rng, outer, 0.055) if outer else base * rng.uniform(0.88, 1.12) * rng.uniform(0.97, 1.03, 3),
        "jitter": rng.uniform(0.03, 0.1),
        "blend": rng.normal(0.55, 0.1),
    }
    for key in ("eye", "edge", "stripe", "spots", "checker"):
        if row and key in row:
            coat[key] = (rgb(rng, row[key][0]), row[key][1] * rng.uniform(0.75, 1.25), *row[key][2:])
    if row and "vein" in row:
        coat["vein"] = (row["vein"][0] * rng.uniform(0.5, 1.5), row["vein"][1])
    if row and "blend" in row:
        coat["blend"] = row["blend"] + rng.normal(0, 0.06)
    if rng.random() < 0.35:  # weathered or flushed petals
        coat["flush"] = (coat["base"] * rng.uniform(0.7, 1.1) * rng.uniform(0.92, 1.05, 3), rng.uniform(0.2, 0.7))
    return coat


def plain(rng, names, **more):
    """A coat of one colour without markings."""
    colour = rgb(rng, names)
    return {"base": colour * 0.9, "tip": colour, **more}


def coat_like(coat, colour, **more):
    """The coat of the same plant in another colour."""
    return {"base": colour * 0.85, "tip": colour, "jitter": 0.06, **more}


def sphere_points(count, cap=np.pi):
    """`count` even directions on the part of the sphere within `cap` radians of +z."""
    i = np.arange(count) + 0.5
    z = 1 - (1 - np.cos(cap)) * i / count
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(i * GOLDEN_ANGLE), r * np.sin(i * GOLDEN_ANGLE), z], -1)
