"""Draw a flower: botany row + random numbers -> 96 x 96 RGB photograph.

    >>> import numpy as np
    >>> render("sunflower", np.random.default_rng(0)).shape
    (96, 96, 3)

The chain is `botany` (what the plant looks like) -> `plants_*` (surfaces in space) -> pose, foliage, a
second blossom -> `scenes` (depth buffer, light, shadows, background, camera). Nothing is copied from photographs.
"""

import numpy as np
from botany import BY_NAME
from coats import make_coat, plain, rgb, sphere_points
from plants_axial import AXIAL
from plants_lipped import LIPPED
from plants_round import ROUND
from plants_spikes import SPIKES, spiral_sites
from scenes import GROUNDS, SIDE, develop, light_up, random_ground, random_light, splat
from surfaces import petals, place, solid, strands, turn_to

BUILDERS = {**ROUND, **LIPPED, **AXIAL, **SPIKES}
UPRIGHT = {"grapes", "torch", "plume", "bird", "bougainvillea"}
SIDE_KINDS = {
    "iris": (52, 82),
    "thistle": (45, 88),
    "globe": (20, 90),
    "seaholly": (35, 75),
    "tulip": (52, 88),
    "columbine": (20, 75),
    "cyclamen": (100, 135),
    "bromeliad": (10, 60),
    "protea": (10, 60),
    "shaggy": (10, 65),
}
VIEWS = {"face": (0, 48), "tilt": (12, 66), "side": (42, 84), "nod": (95, 128)}
LEAVES = {  # foliage: shape, width, length, how many, colours
    "broad": ("oval", 0.5, 1.3, 5, "green darkgreen"),
    "lance": ("lance", 0.26, 1.4, 7, "green olive"),
    "grass": ("blade", 0.09, 2.2, 9, "green grey lime"),
    "fern": ("lance", 0.12, 0.9, 16, "green olive darkgreen"),
    "round": ("round", 1.0, 0.8, 5, "green darkgreen"),
    "grey": ("lance", 0.3, 1.2, 7, "grey olive"),
    "pad": ("round", 1.0, 1.5, 3, "darkgreen green"),
    "spade": ("spade", 0.8, 1.3, 4, "green darkgreen"),
}


def blossom(rng, row, coat):
    """One blossom of the row, facing +z (or growing along +y for `UPRIGHT` kinds)."""
    return BUILDERS[row["kind"]](rng, row, coat)


def plant(rng, row):
    """The part of the plant in the picture: a single blossom in its pose, or a head of several. World coordinates."""
    coat = make_coat(rng, row["colours"], row)
    head = row.get("head")
    if head is None:
        return pose(rng, row, blossom(rng, row, coat))
    count = int(rng.integers(head[1][0], head[1][1] + 1))
    size = row.get("size", {"spike": 0.42, "umbel": 0.42, "cluster": 0.66}[head[0]])
    shapes = [blossom(rng, row, make_coat_again(rng, coat)) for _ in range(min(count, 3))]
    if head[0] == "spike":
        return spike(rng, row, shapes, count, size)
    parts = []
    if head[0] == "umbel":
        towards = sphere_points(count, rng.uniform(0.8, 1.35)) + rng.normal(0, 0.1, (count, 3))
        for k in range(count):
            floret = shapes[k % len(shapes)]
            parts += place(
                floret,
                turn_to(towards[k], rng.uniform(0, 7))[0],
                towards[k] * [0.85, 0.85, 0.6],
                size * rng.uniform(0.85, 1.1),
            )
        ends = towards * [0.8, 0.8, 0.55]
        parts.append(strands(rng, (0, 0, -0.5), ends, rgb(rng, "green olive"), radius=0.022))
        return place(parts, turn_to(tilt(rng, *VIEWS[row.get("view", "face")]), rng.uniform(0, 7))[0])
    for k in range(count):
        away = rng.uniform(0.42, 0.75) if count > 1 else 0.0
        angle = k * 2 * np.pi / count + rng.normal(0, 0.3)
        spot = away * np.array([np.cos(angle), np.sin(angle), 0.4 * rng.standard_normal()])
        single = pose(rng, row, shapes[k % len(shapes)])
        parts += place(single, np.eye(3), spot, size if count > 1 else 1.0)
    return parts


def make_coat_again(rng, coat):
    """A sister blossom: nearly the same colours."""
    gain = rng.uniform(0.9, 1.08)
    return dict(coat, base=coat["base"] * gain, tip=coat["tip"] * gain)


def spike(rng, row, shapes, count, size):
    """Florets round an upright stalk, small and closed at the top."""
    q, where, out = spiral_sites(count, -1.0, 0.85, 0.34, 0.35)
    nod = row["kind"] == "bells"
    parts = [strands(rng, (0, -2.6, 0), (0, 1.1, 0), rgb(rng, "green olive"), radius=0.05, sag=0.015)]
    for k in range(count):
        direction = out[k] * [1, 1, 0.6] + [0, (-0.55 if nod else 0.1), 0.75] + rng.normal(0, 0.12, 3)
        if q[k] < rng.uniform(0.72, 0.95):
            parts += place(
                shapes[k % len(shapes)],
                turn_to(direction, rng.normal(0, 0.15))[0],
                where[k] + direction * 0.15,
                size * (1.05 - 0.45 * q[k]),
            )
        else:
            parts.append(
                solid(rng, plain(rng, "lime green"), (0.07, 0.12, 0.07), where[k] * [0.5, 1, 0.5] + [0, 0.12, 0.03])
            )
    return place(parts, turn_to((rng.normal(0, 0.25), rng.normal(0, 0.2), 1), rng.normal(0, 0.14))[0])


def tilt(rng, low, high):
    """A unit vector `low` to `high` degrees from the viewer, mostly leaning up (where the light is)."""
    angle = np.radians(low + (high - low) * rng.random() ** 1.1)
    about = np.pi / 2 + rng.normal(0, 0.75 if high > 60 else 1.6)
    return np.array([np.sin(angle) * np.cos(about), np.sin(angle) * np.sin(about), np.cos(angle)])


def pose(rng, row, parts):
    """Turn a blossom as it is seen, and give it its stalk."""
    kind = row["kind"]
    if kind in UPRIGHT:
        return place(parts, turn_to((rng.normal(0, 0.3), rng.normal(0, 0.2), 1), rng.normal(0, 0.18))[0])
    if kind in LIPPED or kind == "spathe":
        facing = tilt(rng, 0, 42)
        return place(parts, turn_to(facing, rng.normal(0, 0.2))[0])
    view = row.get("view", "face")
    if kind == "bells" and not row.get("open"):
        view = "tilt" if view == "tilt" else "side"
    facing = tilt(rng, *SIDE_KINDS.get(kind, VIEWS[view]))
    if kind in SIDE_KINDS or view == "side":
        facing[1] = abs(facing[1])
    if view == "nod" or kind == "cyclamen":
        facing = np.array([0.4 * facing[0], -abs(facing[1]), abs(facing[2])])
    end = -facing * 0.6 + np.array([rng.normal(0, 0.4), -2.6, -0.5])
    stalk = strands(
        rng,
        -facing * 0.1,
        end,
        rgb(rng, "green olive" if not row.get("twig") else "brown bronze"),
        radius=rng.uniform(0.03, 0.06),
        sag=0.03,
    )
    return [*place(parts, turn_to(facing, rng.uniform(0, 2 * np.pi))[0]), stalk]


def foliage(rng, row):
    """Leaves round and behind the blossom; sometimes those of another plant, sometimes one in front."""
    name = row["leaf"] if rng.random() < 0.8 else list(LEAVES)[rng.integers(len(LEAVES))]
    if name == "none" or rng.random() < 0.15:
        return []
    shape, width, length, count, colours = LEAVES[name]
    coat = plain(
        rng,
        "plum maroon darkgreen" if row.get("dark") else colours,
        vein=(0.22, 3),
        jitter=0.1,
        stripe=(rgb(rng, "lime"), 0.05),
    )
    parts = []
    for _ in range(int(rng.integers(2, count + 3))):
        leaf = petals(
            rng,
            coat,
            1,
            length=length * rng.uniform(0.6, 1.2),
            width=width,
            shape=shape,
            elev=rng.uniform(-10, 40),
            bend=rng.uniform(-70, 10),
            fold=0.25,
            ruffle=0.15,
            azimuth=0.0,
        )
        heading = rng.normal(np.pi / 2, 0.5) if name == "grass" else rng.uniform(0, 2 * np.pi)
        root = np.array([rng.normal(0, 0.7), rng.normal(-0.3, 0.6), rng.uniform(-1.6, -0.75)])
        if name == "grass":
            root[1] -= 1.4
        spin = turn_to((rng.normal(0, 0.4), rng.normal(0.2, 0.4), 1), heading)[0]
        parts += place([leaf], spin, root)
    return parts


def compose(rng, row):
    """All parts of the picture, and scale and centre of the view."""
    main = plant(rng, row)
    points = np.concatenate([p for p, _, _ in main])
    points = points[points[:, 1] > -1.0]
    low, high = np.quantile(points[:, :2], [0.01, 0.99], axis=0)
    extent = max(high - low)
    scale = min(SIDE * rng.uniform(0.6, 1.08) / extent, 98.0)  # no closer than the sampling of the surfaces allows
    middle = (low + high) / 2
    centre = SIDE / 2 + SIDE * rng.normal(0, 0.06, 2) + np.array([-middle[0], middle[1]]) * scale
    parts = main + place(foliage(rng, row), np.eye(3), (middle[0], middle[1], 0), extent / 2)
    if rng.random() < 0.22:  # a second blossom further back
        angle = rng.uniform(0, 2 * np.pi)
        spot = np.array([1.25 * np.cos(angle), 1.25 * np.sin(angle), -rng.uniform(0.7, 1.5)]) * extent / 2
        parts += place(plant(rng, row), np.eye(3), spot, rng.uniform(0.6, 0.9))
    return parts, scale, centre


def render(name, rng):
    """A photograph of the flower `name` (a row of `botany`) as uint8 (96, 96, 3), made from the generator `rng`."""
    if name not in BY_NAME:
        raise ValueError(f"no flower named {name!r}; botany.py lists {len(BY_NAME)} names such as 'sunflower'")
    row = BY_NAME[name]
    parts, scale, centre = compose(rng, row)
    colour, normal, depth = splat(parts, scale, centre)
    ground = row.get("ground") if rng.random() < 0.7 else None
    ground = random_ground(rng, ground or list(GROUNDS)[rng.integers(len(GROUNDS))])
    lit = light_up(colour, normal, depth, random_light(rng))
    image = np.where(np.isfinite(depth)[..., None], lit, ground)
    return develop(rng, image, depth)
