"""Round flowers: daisies, poppies, roses, tulips, bells.

One function per flower architecture named in `botany.py`. Each takes ``(rng, row, coat)`` and
returns a list of parts, facing +z.
"""

import numpy as np
from centres import centre_parts, stamens
from coats import plain, rgb, sphere_points
from surfaces import GOLDEN_ANGLE, beads, petals, place, strands, tube, turn_to


def radial(rng, row, coat):
    """Petals in whorls, or a golden-angle spiral for double flowers; the centre of the row on top."""
    n = int(rng.integers(row["n"][0], row["n"][1] + 1))
    layers = row.get("layers", 1)
    elev, bend = row.get("elev", 5), row.get("bend", 0)
    mood = rng.normal(0, 6)  # a flower opens wider or closes
    look = {
        "width": row["width"] * rng.uniform(0.86, 1.14),
        "shape": row["shape"],
        "cup": row.get("cup", 0.12),
        "ruffle": row.get("ruffle", 0.06) * rng.uniform(0.5, 1.5),
        "jitter": row.get("jitter", 0.06) * rng.uniform(0.6, 1.4),
        "fold": row.get("fold", 0),
        "swirl": row.get("swirl", 0) * rng.uniform(0.5, 1.2),
    }
    r0, inner = row.get("r0", 0.06), row.get("inner", 1.0)
    parts = []
    if row.get("spiral"):
        coat = dict(coat, detail=coat["detail"] * (0.8 if n > 30 else 1.0))  # half of each petal is hidden
        q = np.arange(n) / (n - 1)
        parts.append(
            petals(
                rng,
                coat,
                n,
                length=1 + (inner - 1) * q,
                elev=elev + mood + (row.get("elev_in", elev) - elev) * q,
                bend=bend,
                r0=r0 * (1 - 0.6 * q),
                z0=0.16 * q,
                azimuth=np.arange(n) * GOLDEN_ANGLE,
                **look,
            )
        )
    else:
        for layer in range(layers):
            q = layer / max(layers - 1, 1)
            count = max(n // layers, 2) if layers > 1 else n
            azimuth = (np.arange(count) + 0.5 * layer + rng.uniform(-0.05, 0.05)) * 2 * np.pi / count
            alternate = 0.02 * (np.arange(count) % 2)
            parts.append(
                petals(
                    rng,
                    coat,
                    count,
                    length=1 + (inner - 1) * q,
                    r0=r0,
                    azimuth=azimuth,
                    z0=0.05 * layer + alternate,
                    elev=elev + mood + (row.get("elev_in", elev + 4) - elev) * q,
                    bend=bend,
                    **look,
                )
            )
    if "sepals" in row:
        green, count = row["sepals"]
        parts.append(
            petals(rng, plain(rng, green), count, length=0.8, width=0.35, shape="pointed", elev=-6, z0=-0.12, r0=0.2)
        )
    if row.get("mist"):
        ends = sphere_points(46, 1.7) * rng.uniform(0.9, 1.35, (46, 1))
        parts.append(strands(rng, (0, 0, -0.15), ends[14:], rgb(rng, "green darkgreen"), radius=0.014, sag=0.12))
    return parts + centre_parts(rng, row.get("centre", []))


def tulip(rng, row, coat):
    """Six petals that go out, then up: an egg or a cup, seen from the side and now and then from above."""
    parts = []
    openness = rng.uniform(-30, 14) if rng.random() < 0.3 else rng.uniform(0, 18)
    if rng.random() < 0.35:
        coat["eye"] = (rgb(rng, "yellow black lemon"), 0.2)
    if rng.random() < 0.25:
        coat["edge"] = (rgb(rng, "white yellow cream"), 0.14)
    coat["vein"] = (0.1, 9)
    for layer in range(2):
        azimuth = (np.arange(3) + 0.5 * layer) * 2 * np.pi / 3
        parts.append(
            petals(
                rng,
                coat,
                3,
                length=1.75,
                width=0.72,
                shape="oval",
                elev=22 + 5 * layer,
                bend=76 + openness,
                cup=0.2,
                wrap=0.85,
                r0=0.12 - 0.03 * layer,
                azimuth=azimuth,
                ruffle=0.06,
                jitter=0.04,
            )
        )
    parts = place(parts, np.eye(3), (0, 0, -0.55))
    inside = place(stamens(rng, 6, 0.4, "lime", "black plum gold", 25), np.eye(3), (0, 0, -0.5))
    return parts + inside


def rose(rng, row, coat):
    """Broad petals in a spiral: the outer ones roll back, the inner ones wrap round the bud."""
    n = int(rng.integers(*row["n"]))
    q = np.arange(n) / (n - 1)
    openness = rng.uniform(0.55, 1.0)
    coat = dict(coat, vein=(0.06, 9), jitter=0.04)
    coat["base"] = coat["base"] * 0.86
    lean = 26 + (1 - openness) * 40
    return [
        petals(
            rng,
            coat,
            n,
            length=1.0 - 0.42 * q,
            width=1.12,
            shape="round",
            elev=lean + (86 - lean) * q**0.6,
            bend=-50 * openness * (1 - q) ** 0.7 - 8,
            cup=0.25 * (1 - q),
            wrap=0.35 + 0.65 * q,
            swirl=0.22,
            ruffle=0.1,
            r0=0.05 + 0.16 * (1 - q),
            z0=0.05 * q,
            azimuth=np.arange(n) * GOLDEN_ANGLE,
            jitter=0.06,
        )
    ]


def dandelion(rng, row, coat):
    """A hundred toothed straps; now and then the seed clock."""
    if rng.random() < row["clock"]:
        ends = sphere_points(120) * rng.uniform(0.82, 0.92, (120, 1))
        parts = [
            strands(rng, ends * 0.2, ends, rgb(rng, "white ivory"), radius=0.01, sag=0.02),
            beads(rng, ends * 0.26, 0.03, rgb(rng, "tan"), 16),
            beads(rng, np.zeros((1, 3)), 0.2, rgb(rng, "tan"), 300),
        ]
        tufts = (ends[:, None] + 0.17 * rng.standard_normal((120, 9, 3))).reshape(-1, 3)
        return parts + [strands(rng, np.repeat(ends, 9, 0), tufts, rgb(rng, "white"), radius=0.007, sag=0.02)]
    n = int(rng.integers(*row["n"]))
    q = np.arange(n) / (n - 1)
    closing = rng.uniform(0, 26)
    coat = dict(coat, jitter=0.07, base=coat["base"] * [0.98, 0.9, 0.8])
    return [
        petals(
            rng,
            coat,
            n,
            length=(1 - 0.66 * q) * rng.uniform(0.9, 1.06, n),
            width=0.095 + 0.08 * q,
            shape="toothed",
            elev=-6 + closing + 80 * q**1.5,
            bend=12,
            r0=0.03,
            z0=0.12 * q,
            azimuth=np.arange(n) * GOLDEN_ANGLE,
            cup=0.3,
            jitter=0.08,
        ),
        petals(rng, plain(rng, "green olive"), 16, length=0.62, width=0.2, shape="pointed", elev=-30, z0=-0.1),
    ]


def bells(rng, row, coat):
    """Funnels, trumpets and bells."""
    coat = dict(coat)
    if "throat" in row:
        coat["base"] = rgb(rng, row["throat"])
        coat["blend"] = 0.45
    if "star" in row and rng.random() < 0.3:
        coat["stripe"] = (rgb(rng, "white blush violet"), row["star"])
    spread = rng.uniform(0.88, 1.12)
    parts = [
        tube(
            rng,
            coat,
            depth=row["depth"],
            mouth=row["mouth"] * spread,
            flare=row["flare"] * rng.uniform(0.85, 1.2),
            lobes=row["lobes"],
            lobing=row["lobing"] * rng.uniform(0.7, 1.3),
            belly=row.get("belly", 0),
            curl=-0.12 if row.get("open") else 0.02,
            teeth=row.get("teeth", 0) + (0.05 if row.get("ruffled") else 0),
        )
    ]
    sepals = petals(
        rng,
        plain(rng, "green darkgreen"),
        5,
        length=0.4,
        width=0.4,
        shape="pointed",
        elev=70,
        r0=0.06,
        z0=-row["depth"] - 0.05,
    )
    inside = place(
        centre_parts(rng, row.get("centre", [("knob", 0.05, "cream")])), np.eye(3), (0, 0, -0.3 * row["depth"])
    )
    return parts + [sepals] + inside


def florets(rng, row, coat):
    """Pincushion: a ring of large outer petals, a cushion of small florets and pale pins."""
    outer = dict(row, n=row["n"], shape="toothed", width=0.5, elev=4, ruffle=0.5, jitter=0.12, centre=[])
    parts = radial(rng, dict(outer, layers=2, inner=0.8), coat)
    dome = sphere_points(46, 1.35) * [0.52, 0.52, 0.25]
    small = petals(rng, coat, 4, length=0.12, width=0.8, shape="round", elev=25)
    for k in range(46):
        parts += place([small], turn_to(dome[k] * [1, 1, 3], rng.uniform(0, 7))[0], dome[k])
    pins = sphere_points(40, 1.3) * [0.6, 0.6, 0.42]
    return parts + [beads(rng, pins, 0.028, rgb(rng, row["pins"]), 22)]


def masterwort(rng, row, coat):
    parts = [
        petals(
            rng,
            dict(coat, vein=(0.35, 4)),
            int(rng.integers(*row["n"])),
            length=1,
            width=0.34,
            shape="pointed",
            elev=14,
            cup=0.3,
            r0=0.1,
        )
    ]
    ends = sphere_points(90, 1.25) * [0.55, 0.55, 0.6] * rng.uniform(0.7, 1.1, (90, 1))
    return parts + [
        strands(rng, ends * 0.1, ends, rgb(rng, "blush white"), radius=0.01),
        beads(rng, ends, 0.034, rgb(rng, "white blush crimson"), 26, 0.15),
    ]


def protea(rng, row, coat):
    n = int(rng.integers(*row["n"]))
    q = np.arange(n) / (n - 1)
    parts = [
        petals(
            rng,
            dict(coat, vein=(0.12, 5)),
            n,
            length=1.05 - 0.15 * q,
            width=0.32,
            shape="pointed",
            elev=14 + 44 * q,
            bend=18,
            cup=0.6,
            r0=0.2 - 0.08 * q,
            z0=0.1 * q,
            azimuth=np.arange(n) * GOLDEN_ANGLE,
        )
    ]
    ends = sphere_points(260, 1.25) * [0.5, 0.5, 0.62]
    return parts + [
        strands(rng, ends * 0.35, ends, rgb(rng, "blush white"), tip=rgb(rng, "white pink"), radius=0.016, sag=0.03)
    ]


def shaggy(rng, row, coat):
    """Bee balm: curved tubular florets in an untidy whorl above leafy bracts."""
    n = int(rng.integers(*row["n"]))
    q = np.arange(n) / (n - 1)
    parts = [
        petals(
            rng,
            dict(coat, jitter=0.12),
            n,
            length=rng.uniform(0.6, 1.08, n),
            width=0.13,
            shape="spoon",
            r0=0.12,
            jitter=0.15,
            elev=-12 + 92 * q + 8 * rng.standard_normal(n),
            bend=rng.uniform(-75, 10, n),
            cup=1.2,
            azimuth=np.arange(n) * GOLDEN_ANGLE,
        ),
        petals(rng, plain(rng, "green plum"), 8, length=0.7, width=0.4, shape="pointed", elev=-12, z0=-0.1),
    ]
    ends = sphere_points(30, 1.3) * rng.uniform(0.85, 1.15, (30, 1))
    return parts + [
        strands(rng, ends * 0.5, ends, coat["tip"], radius=0.01),
        beads(rng, sphere_points(40, 1.2) * 0.2, 0.06, rgb(rng, "maroon green"), 40),
    ]


ROUND = {f.__name__: f for f in (radial, tulip, rose, dandelion, bells, florets, masterwort, protea, shaggy)}
