"""Whole inflorescences and rosettes.

One function per flower architecture named in `botany.py`. Each takes ``(rng, row, coat)`` and
returns a list of parts that grow along +y (`bromeliad` and `moss` face +z).
"""

import numpy as np
from coats import coat_like, plain, rgb, sphere_points
from plants_lipped import at
from surfaces import GOLDEN_ANGLE, beads, petals, place, strands, turn_to


def spiral_sites(count, low=-1.0, high=1.0, radius=0.2, taper=0.4):
    """Positions and outward directions of `count` florets round a stalk along +y, from the foot to the top."""
    q = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * GOLDEN_ANGLE
    out = np.stack([np.cos(angle), np.zeros(count), np.sin(angle)], -1)
    r = radius * (1 - (1 - taper) * q)
    return q, out * r[:, None] + np.stack([np.zeros(count), low + (high - low) * q, np.zeros(count)], -1), out


def grapes(rng, row, coat):
    count = int(rng.integers(44, 64))
    q, where, out = spiral_sites(count, -0.85, 0.85, 0.42, 0.22)
    size = 0.17 * (1 - 0.5 * q)
    tint = coat["base"] * (1 - q[:, None]) + coat["tip"] * q[:, None]
    urns = beads(rng, where, size, tint, 210, 0.1, (0.92, 1.1, 0.92))
    rims = beads(rng, where + out * size[:, None] * 0.75 - [0, 0.09, 0], size * 0.42, rgb(rng, "white skyblue"), 40)
    return [urns, rims, strands(rng, (0, -2.4, 0), (0, 0.9, 0), rgb(rng, "green"), radius=0.06, sag=0.02)]


def torch(rng, row, coat):
    """Overlapping bracts on a stalk: ginger, curcuma, cautleya."""
    count = int(rng.integers(*row["bracts"]))
    q, where, out = spiral_sites(count, -0.95, 0.62, 0.16, 0.5)
    parts = []
    foot = plain(rng, row["foot"]) if "foot" in row else coat
    for k in range(count):
        lower = "foot" in row and (q[k] < 0.45 or row.get("lipped"))
        bract = petals(
            rng,
            foot if lower else coat,
            1,
            length=0.62 - 0.22 * q[k],
            width=row["width"],
            shape="oval",
            elev=48 + 24 * q[k],
            bend=12 if "foot" not in row else -28,
            cup=0.7,
            r0=0.0,
        )
        turn = np.stack([out[k], np.cross([0, 1, 0], out[k]), [0, 1, 0]], -1)
        parts += place([bract], turn, where[k])
        if row.get("lipped") and rng.random() < 0.75:
            bloom = petals(rng, coat, 3, length=0.45, width=0.5, shape="spoon", elev=50, bend=-60, ruffle=0.3)
            parts += place(
                [bloom], turn_to(out[k] + [0, 0.5, 0], rng.uniform(0, 7))[0], where[k] + out[k] * 0.22 + [0, 0.1, 0]
            )
    return parts + [strands(rng, (0, -2.4, 0), (0, 0.6, 0), rgb(rng, "green"), radius=0.08, sag=0.02)]


def plume(rng, row, coat):
    """Feathery celosia: a cone of fine branches set with beads."""
    count = 420
    q = rng.random(count) ** 0.8
    angle = rng.uniform(0, 2 * np.pi, count)
    wide = 0.5 * (1 - q) ** 0.7 + 0.07
    reach = wide * rng.uniform(0.5, 1.15, count)
    start = np.stack([0.1 * reach * np.cos(angle), -1 + 1.85 * q, 0.1 * reach * np.sin(angle)], -1)
    end = start + np.stack([reach * np.cos(angle), 0.28 + 0.1 * rng.standard_normal(count), reach * np.sin(angle)], -1)
    dots = (start[:, None] + (end - start)[:, None] * rng.uniform(0.35, 1, (count, 7))[..., None]).reshape(-1, 3)
    return [
        strands(rng, start, end, coat["base"] * 0.8, tip=coat["tip"], radius=0.018, sag=0.06, jitter=0.15),
        beads(rng, dots + rng.normal(0, 0.02, dots.shape), 0.03, coat["tip"], 14, 0.16),
    ]


def bird(rng, row, coat):
    """Bird of paradise: a beak, orange sepals like a crest, a blue tongue."""
    side = rng.choice([-1, 1])
    beak = coat_like(coat, rgb(rng, "green olive"), edge=(rgb(rng, "crimson rosepink"), 0.3))
    parts = place(
        [
            petals(
                rng,
                beak,
                1,
                length=1.75,
                width=0.24,
                shape="lance",
                elev=8,
                bend=-10,
                cup=-1.4,
                r0=-0.35,
                azimuth=at(0),
            )
        ],
        turn_to((0, 0.35, 1))[0],
        (0, -0.45, 0),
    )
    fan = at(*(rng.uniform(42, 128, int(rng.integers(3, 6)))))
    for k, angle in enumerate(np.sort(fan)):
        blade = petals(
            rng,
            dict(coat, vein=(0.15, 3)),
            1,
            length=1.25,
            width=0.26,
            shape="lance",
            elev=0,
            bend=-12,
            fold=0.4,
            azimuth=angle,
        )
        parts += place([blade], turn_to((0, rng.normal(0, 0.25), 1))[0], (-0.1 + 0.12 * k, -0.4, 0.05 * k))
    tongue = coat_like(coat, rgb(rng, row["tongue"]))
    blue = petals(
        rng,
        tongue,
        2,
        length=[1.0, 0.85],
        width=0.15,
        shape="lance",
        fold=0.6,
        azimuth=at(36, 58) + rng.normal(0, 0.15, 2),
        z0=0.22,
    )
    parts += place([blue], np.eye(3), (0, -0.4, 0))
    return place(parts, np.diag([side, 1.0, 1.0]))


def bougainvillea(rng, row, coat):
    parts = []
    papery = dict(coat, vein=(0.28, 4))
    for _ in range(int(rng.integers(4, 9))):
        bracts = petals(
            rng, papery, 3, length=0.62, width=0.85, shape="spade", elev=32, cup=0.2, ruffle=0.2, jitter=0.1
        )
        tubes = petals(rng, plain(rng, "cream white"), 6, length=0.13, width=0.6, shape="round", elev=10, z0=0.3)
        spot = rng.uniform(-0.75, 0.75, 3) * [1, 1, 0.6]
        parts += place(
            [bracts, tubes, strands(rng, (0, 0, 0), (0, 0, 0.32), coat["tip"], radius=0.03)],
            turn_to(np.array([0, 0.1, 1.0]) + rng.normal(0, 0.5, 3), rng.uniform(0, 7))[0],
            spot,
        )
    return parts


def bromeliad(rng, row, coat):
    n = int(rng.integers(*row["n"]))
    q = np.arange(n) / (n - 1)
    green = plain(rng, "green darkgreen lime", vein=(0.1, 3))
    cut = int(n * rng.uniform(0.35, 0.6))
    look = {"width": 0.2, "shape": "lance", "cup": 0.6, "jitter": 0.1}
    angle = np.arange(n) * GOLDEN_ANGLE
    return [
        petals(rng, green, cut, length=1.15, elev=12 + 40 * q[:cut], bend=-34, azimuth=angle[:cut], **look),
        petals(
            rng,
            dict(coat, vein=(0.1, 3)),
            n - cut,
            length=0.95 - 0.5 * q[cut:],
            elev=18 + 62 * q[cut:],
            bend=-18,
            z0=0.1,
            azimuth=angle[cut:],
            **look,
        ),
        beads(rng, sphere_points(12, 0.8) * 0.15 + [0, 0, 0.25], 0.05, rgb(rng, "yellow white violet"), 50),
    ]


def moss(rng, row, coat):
    """Tillandsia: a ball of grey curling leaves."""
    count = int(rng.integers(70, 120))
    where = sphere_points(count) * 0.08
    ends = sphere_points(count) * rng.uniform(0.6, 1.1, (count, 1)) + rng.normal(0, 0.12, (count, 3))
    wiry = strands(rng, where, ends, coat["base"] * 0.8, tip=coat["tip"], radius=0.026, sag=0.13, jitter=0.16)
    stalks = strands(
        rng, (0, 0, 0.2), rng.normal(0, 0.4, (4, 3)) + [0, 0.8, 0.6], rgb(rng, "olive tan"), radius=0.014, sag=0.08
    )
    return [
        wiry,
        stalks,
        beads(rng, rng.normal(0, 0.35, (5, 3)) + [0, 0.7, 0.6], 0.05, rgb(rng, "violet lavender tan"), 50),
    ]


SPIKES = {f.__name__: f for f in (grapes, torch, plume, bird, bougainvillea, bromeliad, moss)}
