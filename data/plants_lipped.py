"""Flowers with a left and a right: orchids, pansies, peas, snapdragons.

One function per flower architecture named in `botany.py`. Each takes ``(rng, row, coat)`` and
returns a list of parts, facing +z with the top at +y.
"""

import numpy as np
from centres import centre_parts, stamens
from coats import coat_like, plain, rgb
from surfaces import beads, petals, solid, strands, tube


def at(*degrees):
    """Azimuths in radians, 90 is the top of the flower."""
    return np.radians(np.array(degrees, float))


def moth_orchid(rng, row, coat):
    lip = rgb(rng, row["lip"])
    veins = dict(coat, vein=(row["vein"][0] * rng.uniform(0, 3), 7))
    return [
        petals(rng, veins, 3, length=0.88, width=0.58, shape="oval", elev=-2, z0=-0.05, azimuth=at(90, 218, 322)),
        petals(rng, veins, 2, length=0.98, width=1.12, shape="spoon", elev=6, cup=0.12, z0=0.02, azimuth=at(8, 172)),
        petals(
            rng,
            coat_like(coat, lip, eye=(rgb(rng, "yellow white"), 0.3)),
            3,
            length=[0.34, 0.34, 0.5],
            width=[0.8, 0.8, 0.5],
            shape="spoon",
            elev=[55, 55, 28],
            cup=0.8,
            z0=0.05,
            azimuth=at(20, 160, 270),
        ),
        solid(rng, plain(rng, "white pink cream"), (0.08, 0.1, 0.16), (0, 0.04, 0.12)),
    ]


def cattleya(rng, row, coat):
    lip = rgb(rng, row["lip"])
    return [
        petals(rng, coat, 3, length=0.98, width=0.32, shape="lance", elev=-3, z0=-0.05, azimuth=at(90, 222, 318)),
        petals(
            rng,
            dict(coat, vein=(0.08, 8)),
            2,
            length=1.0,
            width=0.78,
            shape="oval",
            elev=4,
            ruffle=0.4,
            azimuth=at(22, 158),
        ),
        petals(
            rng,
            coat_like(coat, lip, eye=(rgb(rng, "yellow gold"), 0.42)),
            1,
            length=0.98,
            width=1.0,
            shape="fan",
            elev=42,
            bend=-48,
            cup=0.4,
            ruffle=0.75,
            azimuth=at(270),
            z0=0.05,
        ),
        tube(rng, coat_like(coat, lip * 0.5 + coat["tip"] * 0.5), depth=0.3, base=0.1, mouth=0.2, flare=1.0, lobes=2),
    ]


def slipper(rng, row, coat):
    pouch = rgb(rng, row["lip"])
    veined = dict(coat, vein=(row["vein"][0], 6))
    return [
        petals(
            rng,
            veined,
            2,
            length=[0.95, 0.75],
            width=[0.95, 0.7],
            shape="spade",
            elev=[4, -8],
            cup=0.3,
            azimuth=at(90, 270),
        ),
        petals(
            rng,
            dict(veined, spots=(rgb(rng, "plum maroon"), 0.25, 8)),
            2,
            length=1.0,
            width=0.38,
            shape="strap",
            elev=4,
            bend=-18,
            ruffle=0.3,
            azimuth=at(-8, 188),
            z0=0.03,
        ),
        solid(rng, coat_like(coat, pouch, vein=(0.2, 5)), (0.3, 0.42, 0.3), (0, -0.34, 0.22)),
        solid(rng, coat_like(coat, pouch * 0.45), (0.18, 0.13, 0.06), (0, -0.08, 0.44)),
        solid(rng, plain(rng, "lime yellow cream"), (0.13, 0.11, 0.1), (0, 0.06, 0.3)),
    ]


def viola(rng, row, coat):
    face = dict(
        coat_like(coat, rgb(rng, row["face"] if rng.random() < 0.6 else "lilac white yellow violet")),
        eye=(rgb(rng, "yellow gold"), 0.26),
    )
    upper = dict(coat, vein=(0.1, 4))
    whisker = dict(face, vein=(0.75 * rng.uniform(0.4, 1.2), 5), blend=0.7)
    if rng.random() < 0.4:
        whisker["edge"] = (coat["tip"], 0.3)
    return [
        petals(rng, upper, 2, length=0.95, width=0.95, shape="spoon", elev=4, z0=-0.05, azimuth=at(62, 118)),
        petals(rng, whisker, 2, length=0.8, width=0.85, shape="spoon", elev=8, azimuth=at(-2, 182)),
        petals(rng, whisker, 1, length=0.86, width=1.25, shape="heart", elev=10, z0=0.05, azimuth=at(270)),
        solid(rng, plain(rng, "lime"), (0.05, 0.06, 0.05), (0, 0, 0.1)),
    ]


def pelargonium(rng, row, coat):
    lower = {k: v for k, v in coat.items() if k != "stripe"}
    return [
        petals(rng, coat, 2, length=1.0, width=0.66, shape="spoon", elev=14, azimuth=at(66, 114)),
        petals(rng, lower, 3, length=0.92, width=0.7, shape="spoon", elev=6, azimuth=at(205, 270, 335)),
        *centre_parts(rng, row["centre"]),
    ]


def azalea(rng, row, coat):
    clean = {k: v for k, v in coat.items() if k != "spots"}
    look = {
        "width": row["width"],
        "shape": row["shape"],
        "elev": row["elev"],
        "bend": row["bend"],
        "ruffle": row["ruffle"],
    }
    return [
        petals(rng, clean, 4, azimuth=at(18, 162, 234, 306), **look),
        petals(rng, coat, 1, azimuth=at(90), z0=0.02, **look),
        *centre_parts(rng, row["centre"]),
    ]


def alstroemeria(rng, row, coat):
    inner = coat_like(coat, rgb(rng, "yellow lemon cream"), spots=(rgb(rng, "maroon"), 0.55, 8))
    inner["tip"] = coat["tip"]
    return [
        petals(rng, coat, 3, length=1.0, width=0.72, shape="heart", elev=32, bend=-14, azimuth=at(30, 150, 270)),
        petals(rng, inner, 2, length=1.0, width=0.4, shape="oval", elev=36, bend=-24, azimuth=at(62, 118), z0=0.03),
        petals(rng, coat, 1, length=0.95, width=0.4, shape="oval", elev=36, bend=-20, azimuth=at(270), z0=0.03),
        *stamens(rng, 6, 0.7, "pink", "olive plum", 24),
    ]


def gaura(rng, row, coat):
    ends = np.stack([rng.normal(0, 0.28, 8), rng.uniform(-1.0, -0.5, 8), rng.uniform(0.2, 0.5, 8)], -1)
    return [
        petals(rng, coat, 4, length=0.95, width=0.6, shape="spoon", elev=8, r0=0.08, azimuth=at(15, 62, 118, 165)),
        strands(rng, (0, 0, 0), ends, rgb(rng, "white"), radius=0.014),
        beads(rng, ends, 0.05, rgb(rng, "bronze coral"), 40),
    ]


def canna(rng, row, coat):
    if rng.random() < 0.5:
        coat = dict(coat, spots=(rgb(rng, "yellow red scarlet"), 0.4, 8))
    azimuth = at(80, 130, 200, 320) + rng.normal(0, 0.25, 4)
    return [
        petals(
            rng,
            coat,
            4,
            length=[1.0, 0.9, 0.95, 1.0],
            width=[0.85, 0.7, 0.8, 0.75],
            shape="spoon",
            elev=[50, 40, 30, 30],
            bend=-50,
            ruffle=0.6,
            jitter=0.14,
            azimuth=azimuth,
        ),
        petals(rng, coat, 2, length=0.6, width=0.4, shape="oval", elev=66, bend=-50, ruffle=0.3),
    ]


def pea(rng, row, coat):
    wing = coat_like(coat, np.clip(coat["tip"] * rng.uniform(0.75, 1.2, 3), 0, 1))
    return [
        petals(
            rng,
            dict(coat, vein=(0.15, 8)),
            1,
            length=1.05,
            width=1.6,
            shape="heart",
            elev=62,
            bend=-58,
            ruffle=0.35,
            z0=-0.1,
            azimuth=at(90),
        ),
        petals(
            rng,
            wing,
            2,
            length=0.75,
            width=0.8,
            shape="spoon",
            elev=52,
            bend=14,
            cup=0.5,
            ruffle=0.2,
            azimuth=at(236, 304),
        ),
        petals(rng, wing, 1, length=0.5, width=0.55, shape="oval", elev=48, cup=1.5, azimuth=at(270), z0=0.02),
    ]


def twolip(rng, row, coat):
    palate = rgb(rng, "yellow gold lemon white")
    return [
        tube(rng, coat, depth=0.8, base=0.16, mouth=0.32, flare=1.0, lobes=2),
        petals(
            rng,
            coat,
            2,
            length=0.75,
            width=1.0,
            shape="spoon",
            elev=44,
            bend=-50,
            ruffle=0.3,
            azimuth=at(62, 118),
            r0=0.1,
        ),
        petals(
            rng,
            coat,
            3,
            length=0.68,
            width=0.85,
            shape="spoon",
            elev=20,
            bend=-60,
            ruffle=0.3,
            azimuth=at(215, 270, 325),
            r0=0.15,
        ),
        solid(rng, coat_like(coat, palate), (0.24, 0.17, 0.2), (0, -0.1, 0.16)),
    ]


def hooded(rng, row, coat):
    return [
        solid(rng, dict(coat, vein=(0.3, 3)), (0.44, 0.6, 0.42), (0, 0.42, 0.05)),
        petals(
            rng,
            dict(coat, vein=(0.2, 5)),
            2,
            length=0.72,
            width=1.0,
            shape="round",
            elev=48,
            cup=0.6,
            azimuth=at(-12, 192),
        ),
        petals(rng, coat, 2, length=0.68, width=0.45, shape="oval", elev=10, azimuth=at(244, 296)),
        solid(rng, coat_like(coat, coat["base"] * 0.4), (0.22, 0.16, 0.1), (0, 0.05, 0.3)),
        beads(rng, rng.normal(0, 0.07, (16, 3)) + [0, -0.05, 0.4], 0.04, rgb(rng, "olive black cream"), 26),
    ]


def gladiolus(rng, row, coat):
    blotch = dict(coat, stripe=(rgb(rng, "crimson white yellow cream"), 0.35 * rng.uniform(0.2, 1.2)))
    return [
        petals(
            rng,
            coat,
            3,
            length=1.0,
            width=0.72,
            shape="pointed",
            elev=46,
            bend=-34,
            ruffle=0.3,
            azimuth=at(30, 90, 150),
        ),
        petals(
            rng,
            blotch,
            3,
            length=0.95,
            width=0.62,
            shape="pointed",
            elev=44,
            bend=-48,
            ruffle=0.3,
            azimuth=at(215, 270, 325),
        ),
        *stamens(rng, 3, 0.6, "white", "violet cream", 14),
    ]


LIPPED = {
    f.__name__: f
    for f in (
        moth_orchid,
        cattleya,
        slipper,
        viola,
        pelargonium,
        azalea,
        alstroemeria,
        gaura,
        canna,
        pea,
        twolip,
        hooded,
        gladiolus,
    )
}
