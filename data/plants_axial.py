"""Flowers about an axis that are not plain rosettes: irises, spathes, thistles.

One function per flower architecture named in `botany.py`. Each takes ``(rng, row, coat)`` and
returns a list of parts, facing +z.
"""

import numpy as np
from centres import stamens
from coats import coat_like, plain, rgb, sphere_points
from plants_lipped import at
from surfaces import GOLDEN_ANGLE, beads, petals, place, solid, strands, tube, turn_to


def iris(rng, row, coat):
    fall = dict(coat, vein=(0.3, 6), eye=(rgb(rng, "white cream yellow"), 0.3 * rng.uniform(0.3, 1.2)))
    if rng.random() < 0.45 and row["beard"]:
        fall["base"] = fall["tip"] = rgb(rng, "plum violet white maroon gold")
    if row["mark"]:
        fall["eye"] = (rgb(rng, row["mark"][0]), row["mark"][1])
    wide = 0.85 if row["beard"] else 0.62
    parts = [
        petals(
            rng,
            fall,
            3,
            length=1.25,
            width=wide,
            shape="spoon",
            elev=38,
            bend=-150,
            ruffle=0.3 if row["beard"] else 0.1,
            azimuth=at(30, 150, 270),
        ),
        petals(
            rng,
            dict(coat, vein=(0.12, 7)),
            3,
            length=1.1 if row["beard"] else 0.6,
            width=wide,
            shape="oval",
            elev=42,
            bend=75,
            cup=0.5,
            ruffle=0.35,
            azimuth=at(90, 210, 330),
        ),
        petals(
            rng, coat, 3, length=0.5, width=0.4, shape="cleft", elev=48, bend=-30, azimuth=at(30, 150, 270), z0=0.06
        ),
    ]
    if row["beard"]:
        s = np.linspace(0.12, 0.5, 24)
        hair = np.stack([s, np.zeros(24), 0.1 + s * 0.55 - s**2 * 0.7], -1)
        fur = beads(rng, hair + rng.normal(0, 0.02, hair.shape), 0.05, rgb(rng, row["beard"]), 26)
        parts += [part for a in (30, 150, 270) for part in place([fur], _about_z(np.radians(a)))]
    return parts


def _about_z(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])


def columbine(rng, row, coat):
    cup = coat_like(coat, coat["tip"])
    outer = coat_like(coat, coat["base"])
    angle = np.arange(5) * 2 * np.pi / 5
    root = np.stack([0.25 * np.cos(angle), 0.25 * np.sin(angle), np.zeros(5)], -1)
    return [
        petals(rng, outer, 5, length=0.98, width=0.42, shape="pointed", elev=8, azimuth=angle + np.pi / 5),
        petals(rng, cup, 5, length=0.56, width=1.0, shape="spoon", elev=62, cup=0.9, r0=0.12, azimuth=angle),
        strands(rng, root, root * 1.9 - [0, 0, 1.1], outer["tip"], radius=0.04, sag=0.04),
        *stamens(rng, 26, 0.6, "lemon", "gold", 20),
    ]


def cyclamen(rng, row, coat):
    """Five twisted petals swept back: the mouth hangs, the petals stand up."""
    return [
        petals(rng, coat, 5, length=1.1, width=0.5, shape="oval", elev=-22, bend=-62, swirl=0.5, ruffle=0.15, r0=0.18),
        tube(rng, coat_like(coat, rgb(rng, "crimson magenta")), depth=0.16, base=0.2, mouth=0.2, flare=1, lobes=5),
    ]


def spathe(rng, row, coat):
    spike = rgb(rng, row["spadix"])
    k = np.arange(230)
    if row["rolled"]:
        funnel = tube(
            rng,
            dict(coat, base=coat["base"] * 0.9),
            depth=1.4,
            base=0.1,
            mouth=0.62,
            flare=1.9,
            lobes=1,
            lobing=0.26,
            curl=-0.1,
        )
        lip = petals(
            rng, coat, 1, length=0.75, width=1.1, shape="spade", elev=30, bend=-90, r0=0.42, z0=-0.12, azimuth=at(0)
        )
        parts, height, thick, lean = [funnel, lip], 0.95, 0.09, np.array([0.1, 0, 1.0])
        origin = np.array([0, 0, -0.85])
    else:
        coat = dict(coat, vein=(0.16, 4))
        parts = [
            petals(
                rng,
                coat,
                1,
                length=1.9,
                width=0.92,
                shape="spade",
                elev=6,
                bend=-20,
                cup=0.12,
                ruffle=0.08,
                r0=-0.62,
                azimuth=at(270),
            ),
            *place(
                [petals(rng, coat, 2, length=0.52, width=1.15, shape="round", elev=4, azimuth=at(54, 126))],
                np.eye(3),
                (0, 0.32, 0.02),
            ),
        ]
        height, thick = rng.uniform(0.65, 0.95), 0.085
        lean, origin = np.array([rng.normal(0, 0.15), rng.uniform(-0.6, 0.5), 0.85]), np.array([0, 0.3, 0.05])
    bumps = np.stack([thick * np.cos(k * GOLDEN_ANGLE), thick * np.sin(k * GOLDEN_ANGLE), k / 230 * height], -1)
    return parts + place(
        [
            beads(rng, bumps, 0.032, spike, 22, 0.1),
            solid(rng, plain(rng, row["spadix"]), (thick, thick, height / 2), (0, 0, height / 2)),
        ],
        turn_to(lean)[0],
        origin,
    )


def seaholly(rng, row, coat):
    n = int(rng.integers(*row["n"]))
    spiky = dict(coat, vein=(0.35, 3))
    head = sphere_points(190, 2.2) * [0.27, 0.27, 0.52] + [0, 0, 0.32]
    parts = [
        petals(
            rng,
            spiky,
            n,
            length=rng.uniform(0.7, 1.1, n),
            width=0.13,
            shape="lance",
            elev=18,
            bend=10,
            jitter=0.12,
            fold=0.5,
        )
    ]
    side = np.repeat(np.arange(n), 5)
    roots = (
        np.stack([np.cos(side * 2 * np.pi / n), np.sin(side * 2 * np.pi / n), np.full(5 * n, 0.32)], -1)
        * np.tile(np.linspace(0.3, 0.8, 5), n)[:, None]
    )
    return parts + [
        strands(rng, roots, roots * 1.12 + rng.normal(0, 0.09, roots.shape), coat["tip"], radius=0.014),
        beads(rng, head, 0.045, coat["base"], 34, 0.16),
        beads(rng, head * 1.07, 0.02, rgb(rng, "lavender white steel"), 14),
    ]


def thistle(rng, row, coat):
    """A ball of bracts with a brush of florets on top (axis +z)."""
    n = 60 if not row.get("big") else 46
    q = np.arange(n) / (n - 1)
    polar = np.pi * (0.92 - 0.62 * q)
    radius = 0.62 if row.get("big") else 0.5
    green = plain(rng, row["bracts"], jitter=0.1, edge=(rgb(rng, "plum olive tan"), 0.12))
    parts = [
        solid(rng, plain(rng, "darkgreen"), (radius * 0.92, radius * 0.92, radius * 0.95), (0, 0, -0.1)),
        petals(
            rng,
            green,
            n,
            length=0.55 if row.get("big") else 0.34,
            width=0.72 if row.get("big") else 0.3,
            shape="spade" if row.get("big") else "lance",
            elev=np.degrees(np.pi / 2 - polar) + (60 if row.get("big") else 42),
            bend=20 if row.get("big") else -40,
            cup=0.5,
            r0=radius * np.sin(polar),
            z0=radius * np.cos(polar) - 0.15,
            azimuth=np.arange(n) * GOLDEN_ANGLE,
        ),
    ]
    count = 330
    brush = sphere_points(count, rng.uniform(0.75, 1.2)) * rng.uniform(0.8, 1.1, (count, 1)) * row["tuft"] * 1.2
    return parts + [
        strands(
            rng,
            brush * 0.15 + [0, 0, 0.15],
            brush + [0, 0, 0.22],
            coat["base"] * 0.75,
            tip=coat["tip"],
            radius=0.014,
            sag=0.04,
            jitter=0.14,
        )
    ]


def globe(rng, row, coat):
    count = int(rng.integers(*row["count"]))
    where = sphere_points(count)
    star = [petals(rng, coat, 5, length=row["petal"], width=0.2, shape="lance", elev=32, bend=-45, r0=0.02, jitter=0.1)]
    parts = [solid(rng, coat_like(coat, coat["base"] * 0.55), (0.62, 0.62, 0.62))]
    for k in range(count):
        parts += place(star, turn_to(where[k], rng.uniform(0, 7))[0], where[k] * 0.7, rng.uniform(0.7, 1.05))
    return parts + [strands(rng, where * 0.6, where * 0.95, rgb(rng, "steel lavender grey"), radius=0.012)]


AXIAL = {f.__name__: f for f in (iris, columbine, cyclamen, spathe, seaholly, thistle, globe)}
