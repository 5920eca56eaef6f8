"""What sits in the middle of a flower: stamens, discs, coronas. Lists of parts, round the +z axis."""

import numpy as np
from coats import make_coat, plain, rgb, sphere_points
from surfaces import GOLDEN_ANGLE, beads, place, solid, strands, tube


def centre_parts(rng, centre):
    """Stamens, discs, coronas … for the list of tuples described in `botany.py`."""
    return [part for kind, *details in centre for part in CENTRES[kind](rng, *details)]


def disc(rng, radius, inside, rim, height):
    count = int(rng.integers(120, 190))
    i = np.arange(count) + 0.5
    share = np.sqrt(i / count)
    radius, height = radius * rng.uniform(0.85, 1.15), height * rng.uniform(0.6, 1.4)
    spots = np.stack(
        [
            radius * share * np.cos(i * GOLDEN_ANGLE),
            radius * share * np.sin(i * GOLDEN_ANGLE),
            height * (1 - share**2.5) + 0.05,
        ],
        -1,
    )
    ripe = 1 / (1 + np.exp(-(share - rng.uniform(0.35, 0.85)) * 14))[:, None]
    colour = rgb(rng, inside) * (1 - ripe) + rgb(rng, rim) * ripe
    size = radius / np.sqrt(count) * 0.95
    return [
        solid(rng, plain(rng, inside), (radius, radius, height + 0.04)),
        beads(rng, spots, size * rng.uniform(0.7, 1.2, count), colour, 22, 0.16, (1, 1, 1.5)),
    ]


def stamens(rng, count, length, filament, anther, spread):
    spread = np.radians(spread) * rng.uniform(0.8, 1.2)
    angle = np.arange(count) * (2 * np.pi / count if count < 15 else GOLDEN_ANGLE) + rng.uniform(0, 7)
    polar = spread * (np.full(count, 0.8) if count < 15 else np.sqrt(rng.random(count))) + 0.08 * rng.standard_normal(
        count
    )
    reach = length * rng.uniform(0.75, 1.1, count)
    ends = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)], -1) * reach[:, None]
    big = 0.05 if count < 15 else 0.028
    parts = [
        strands(rng, ends * 0.1, ends, rgb(rng, filament), radius=0.014, sag=0.05),
        beads(rng, ends, big * rng.uniform(0.7, 1.3, count), rgb(rng, anther), 30, 0.14, (1.3, 0.8, 0.8)),
    ]
    return parts


def knob(rng, radius, colour):
    return [solid(rng, plain(rng, colour), (radius, radius, radius * 0.9), (0, 0, 0.07))]


def corona(rng, colours, length, mouth, flare):
    coat = make_coat(rng, colours.split())
    coat["vein"] = (0.2, 1)
    length = length * rng.uniform(0.7, 1.15)
    cup = tube(
        rng,
        coat,
        depth=length,
        base=0.2,
        mouth=mouth * rng.uniform(0.9, 1.15),
        flare=flare,
        lobes=12,
        lobing=0.1,
        teeth=0.03,
    )
    return place([cup], np.eye(3), (0, 0, length)) + stamens(rng, 6, 0.42, "yellow", "gold", 14)


def threads(rng, count, length, inside, outside):
    angle = np.arange(count) * 2 * np.pi / count
    ring = np.stack([np.cos(angle), np.sin(angle), np.full(count, 0.12)], -1)
    a, b, c = rgb(rng, inside), rgb(rng, "white"), rgb(rng, outside)
    cut = [0.14, 0.36, 0.5, length * rng.uniform(0.9, 1.1)]
    return [
        strands(rng, ring * [x, x, 1], ring * [y, y, 1.2], tint, radius=0.012, sag=0.03, jitter=0.1)
        for x, y, tint in zip(cut[:-1], cut[1:], (a, b, c), strict=True)
    ]


def passion(rng, green, dark):
    five = np.stack([np.cos(np.arange(5) * 2 * np.pi / 5), np.sin(np.arange(5) * 2 * np.pi / 5), np.ones(5)], -1)
    three = np.stack([np.cos(np.arange(3) * 2.09 + 0.3), np.sin(np.arange(3) * 2.09 + 0.3), np.ones(3)], -1)
    return [
        strands(rng, (0, 0, 0.2), five * [0.3, 0.3, 0.4], rgb(rng, green), radius=0.03),
        beads(rng, five * [0.33, 0.33, 0.42], 0.075, rgb(rng, "lime yellow"), 80, 0.05, (1.4, 1.0, 0.6)),
        strands(rng, (0, 0, 0.3), three * [0.32, 0.32, 0.62], rgb(rng, dark), radius=0.026),
        beads(rng, three * [0.34, 0.34, 0.62], 0.065, rgb(rng, dark), 70),
    ]


def column(rng, length, anther):
    lean = np.array([rng.normal(0, 0.25), rng.normal(0, 0.25), 1.0]) * length
    share = rng.uniform(0.45, 0.95, 46)[:, None]
    around = rng.normal(0, 0.075, (46, 3)) * (0.6 + length / 2)
    return [
        strands(rng, (0, 0, 0), lean, rgb(rng, anther), radius=0.035, sag=0.02),
        beads(rng, lean * share + around, 0.032, rgb(rng, anther), 24, 0.1),
    ]


def pod(rng, radius, colour):
    seeds = sphere_points(16, 1.2) * [radius * 0.9, radius * 0.9, 0.02] + [0, 0, 0.33]
    return [
        solid(rng, plain(rng, colour), (radius, radius, 0.3), (0, 0, 0.05)),
        beads(rng, seeds, 0.03, rgb(rng, "gold"), 30),
    ]


def cone(rng, length, top, foot):
    i = np.arange(70)
    spots = np.stack([0.11 * np.cos(i * GOLDEN_ANGLE), 0.11 * np.sin(i * GOLDEN_ANGLE), i / 70 * length], -1)
    tint = np.where((i / 70 > 0.45)[:, None], rgb(rng, top), rgb(rng, foot))
    return [beads(rng, spots, 0.045, tint, 40)]


def cyathia(rng, count, green, tip):
    spots = sphere_points(count, 0.9) * [0.2, 0.2, 0.1] + [0, 0, 0.12]
    return [
        beads(rng, spots, 0.06, rgb(rng, green), 70),
        beads(rng, spots + [0.01, 0, 0.055], 0.032, rgb(rng, tip), 40),
    ]


CENTRES = {
    "disc": disc,
    "stamens": stamens,
    "knob": knob,
    "corona": corona,
    "threads": threads,
    "passion": passion,
    "column": column,
    "pod": pod,
    "cone": cone,
    "cyathia": cyathia,
}
