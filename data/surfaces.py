"""Plant parts as point clouds: petals, tubes, strands, beads.

A *part* is a tuple ``(position, normal, colour)`` of three float64 arrays of shape (N, 3). A flower sits at the
origin and faces +z; one unit is about the radius of the open flower. Every part is sampled densely enough to leave
no gap at ``PIXELS`` points per unit, so that `scenes.render` only has to drop the points into a depth buffer.
"""

import numpy as np

PIXELS = 95  # samples per unit length; an image is 192 pixels wide before it is halved
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))

# (a, b, notch, teeth): half-width along the petal is s^a (1-s)^b; the tip is cut by a notch or by small teeth.
SHAPES = {
    "oval": (0.5, 0.5, 0, 0),
    "round": (0.55, 0.33, 0, 0),
    "pointed": (0.5, 0.85, 0, 0),
    "lance": (0.6, 1.2, 0, 0),
    "strap": (0.16, 0.2, 0.03, 0),
    "toothed": (0.3, 0.12, 0, 0.05),
    "spoon": (1.0, 0.38, 0, 0),
    "heart": (0.9, 0.33, 0.16, 0),
    "cleft": (0.9, 0.3, 0.38, 0),
    "fan": (1.0, 0.16, 0, 0.09),
    "wedge": (0.8, 0.14, 0, 0.02),
    "spade": (0.28, 0.9, 0, 0),
    "blade": (0.12, 0.6, 0, 0),
    "needle": (0.1, 0.9, 0, 0),
    "square": (0.25, 0.12, 0, 0),
}


def _noise(size=256, cutoff=20):
    """A (size, size) table of smooth noise that wraps round, mean 0, standard deviation 1."""
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency[None, :])
    white = np.random.default_rng(5).standard_normal((size, size))
    table = np.fft.ifft2(np.fft.fft2(white) * np.exp(-((radius / cutoff) ** 2))).real
    return (table - table.mean()) / table.std()


NOISE = _noise()  # one table for all petals: each looks at its own random place


def look_up(u, v):
    """Noise at (u, v); the smallest blotches are about one unit wide."""
    return NOISE[(u * 4).astype(np.int64) & 255, (v * 4).astype(np.int64) & 255]


def grid_normals(position):
    """Unit normals of surfaces given as grids (..., S, T, 3), turned to the side of larger z later on."""
    a, b = np.empty_like(position), np.empty_like(position)
    a[..., 1:-1, :, :] = position[..., 2:, :, :] - position[..., :-2, :, :]
    a[..., 0, :, :], a[..., -1, :, :] = a[..., 1, :, :], a[..., -2, :, :]
    b[..., 1:-1, :] = position[..., 2:, :] - position[..., :-2, :]
    b[..., 0, :], b[..., -1, :] = b[..., 1, :], b[..., -2, :]
    normal = np.stack(
        [
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
            a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
        ],
        -1,
    )
    return normal / (np.sqrt((normal**2).sum(-1, keepdims=True)) + 1e-12)


def paint(rng, s, t, coat, n):
    """Colours (n, S, T, 3) of n petals. `s` runs 0 (base) to 1 (tip), `t` -1 to 1 across, both broadcast to (n, S, T).

    `coat` holds RGB triples and numbers: base, tip, blend; optional eye (colour, extent), edge (colour, width),
    stripe (colour, width), spots (colour, share, cells), vein (strength, count), flush (colour, strength), jitter.
    """
    full = np.broadcast_shapes(np.shape(s), np.shape(t), (n, 1, 1))
    s, t = np.broadcast_to(s, full), np.broadcast_to(t, full)
    shift = rng.uniform(0, 64, (n, 1, 1, 2))
    mottle = look_up(s * 6 + shift[..., 0], t * 2.5 + 3 + shift[..., 1])
    mix = _step(s + 0.06 * mottle, coat.get("blend", 0.55) - 0.35, coat.get("blend", 0.55) + 0.35)[..., None]
    colour = coat["base"] * (1 - mix) + coat["tip"] * mix

    def lay(other, amount):
        nonlocal colour
        colour = colour + (other - colour) * amount[..., None]

    if "flush" in coat:
        lay(coat["flush"][0], coat["flush"][1] * _step(mottle, -0.6, 1.4))
    if "edge" in coat:
        other, width = coat["edge"]
        border = np.maximum(np.abs(t), (s - 0.5) * 2)
        lay(other, _step(border + 0.05 * mottle, 1 - 1.6 * width, 1 - 0.5 * width))
    if "stripe" in coat:
        other, width = coat["stripe"]
        lay(other, 1 - _step(np.abs(t) + 0.04 * mottle, 0.6 * width, 1.2 * width))
    if "eye" in coat:
        other, extent = coat["eye"]
        ragged = s + 0.03 * mottle + 0.12 * extent * np.abs(np.sin(9 * t + shift[..., 0]))
        lay(other, 1 - _step(ragged, 0.8 * extent, 1.15 * extent))
    if "spots" in coat:
        other, share, cells = coat["spots"]
        blot = look_up(2.5 * s * cells + shift[..., 1], 1.25 * (t + 1) * cells + shift[..., 0])
        lay(other, _step(blot, 2.2 - 2.6 * share, 2.6 - 2.6 * share) * _step(1 - s, 0.08, 0.3))
    if "checker" in coat:
        other, strength = coat["checker"]
        square = np.sin(9 * np.pi * s + 0.4 * mottle) * np.sin(3.2 * np.pi * t + 0.4 * mottle)
        lay(other, strength * _step(square, 0, 0.3))
    if "vein" in coat:
        strength, count = coat["vein"]
        line = np.abs(np.sin(np.pi * count * (t * (0.55 + 0.45 * s) + 0.02 * mottle)))
        colour = colour * (1 - strength * (1 - _step(line, 0.05, 0.45)) * (1 - 0.5 * s))[..., None]
    jitter = coat.get("jitter", 0.07)
    gain = 1 + jitter * rng.standard_normal((n, 1, 1, 1)) + 0.045 * mottle[..., None]
    return colour * gain + 0.25 * jitter * rng.standard_normal((n, 1, 1, 3))


def _step(x, low, high):
    """Smooth step from 0 at `low` to 1 at `high`."""
    y = np.clip((x - low) / (high - low), 0, 1)
    return y * y * (3 - 2 * y)


def flatten(position, colour, normal=None):
    """Turn grids into one part."""
    if normal is None:
        normal = grid_normals(position)
    return position.reshape(-1, 3), normal.reshape(-1, 3), np.broadcast_to(colour, position.shape).reshape(-1, 3)


def petals(
    rng,
    coat,
    n,
    *,
    length=1.0,
    width=0.4,
    shape="oval",
    elev=0.0,
    bend=0.0,
    cup=0.0,
    ruffle=0.0,
    r0=0.05,
    z0=0.0,
    azimuth=None,
    jitter=0.06,
    fold=0.0,
    swirl=0.0,
    wrap=0.0,
):
    """`n` petals round the z axis. Angles in degrees: `elev` 0 is flat, 90 upright; `bend` is added along the petal.

    Every number may be an array of length n (one value per petal). `width` is a share of `length`; `wrap` 1 lays the
    petal round the axis like the wall of a cup, 0 lets it stand out straight.
    """

    def column(value):
        return np.broadcast_to(np.asarray(value, float), (n,)).reshape(n, 1, 1)

    def wobble(size):
        return size * rng.standard_normal((n, 1, 1))

    a, b, notch, teeth = SHAPES[shape]
    length = column(length) * (1 + wobble(jitter))
    half = column(width) * length / 2 * (1 + wobble(jitter))
    density = PIXELS * coat.get("detail", 1.0)
    rows = int(np.clip(length.max() * density, 4, 200))
    columns = int(np.clip(2 * half.max() * density, 4, 200))
    s = ((np.arange(rows) + 0.5) / rows)[None, :, None]
    t = np.linspace(-1, 1, columns)[None, None, :]
    profile = s**a * (1 - s) ** b / ((a / (a + b)) ** a * (b / (a + b)) ** b)
    profile = np.maximum(profile, 0.14 * (1 - s))
    reach = 1 - notch * np.exp(-((t / 0.3) ** 2)) - teeth * (1 + np.cos(5 * np.pi * t + wobble(1))) / 2
    along = s * reach
    start = np.radians(column(elev)) + wobble(1.3 * jitter)
    turn = np.radians(column(bend)) + wobble(2.0 * jitter)
    turn = np.where(np.abs(turn) < 1e-3, 1e-3, turn)
    angle = start + turn * along
    r = column(r0) + length * (np.sin(angle) - np.sin(start)) / turn
    z = column(z0) + length * (np.cos(start) - np.cos(angle)) / turn
    across = t * profile * half + wobble(0.8 * jitter) * along**2 * length
    waves = rng.uniform(1.2, 2.6, (n, 1, 1)) * np.pi * 2
    lift = (column(cup) + wobble(jitter)) * profile * half * t**2 + half * profile * (
        column(fold) * np.abs(t) + column(swirl) * t
    )
    lift = lift + column(ruffle) * half * s * np.abs(t) ** 1.5 * np.sin(
        waves * s + rng.uniform(0, 7, (n, 1, 1)) + 2 * t
    )
    r, z = r - lift * np.sin(angle), z + lift * np.cos(angle)
    if azimuth is None:
        azimuth = np.arange(n) * 2 * np.pi / n
    phi = column(azimuth) + wobble(jitter * min(1.0, 6.0 / n)) + column(wrap) * across / np.maximum(r, 0.12)
    across = across * (1 - column(wrap))
    position = np.stack([r * np.cos(phi) - across * np.sin(phi), r * np.sin(phi) + across * np.cos(phi), z], -1)
    return flatten(position, paint(rng, s, t, coat, n))


def tube(rng, coat, *, depth=0.8, base=0.06, mouth=0.6, flare=3.0, lobes=5, lobing=0.1, belly=0.0, curl=0.0, teeth=0.0):
    """A funnel, bell or trumpet opening at z = 0 with its base at z = -depth; `flare` > 1 opens late, < 1 early."""
    density = PIXELS * coat.get("detail", 1.0)
    rows = int(np.clip((depth + mouth) * density, 6, 220))
    columns = int(np.clip(2 * np.pi * mouth * density * 1.1, 10, 640))
    fine = np.linspace(0, 1, 400)  # rows at equal steps along the wall, which bends sharply when `flare` is large
    wall = np.hypot(
        np.diff((mouth - base) * fine**flare + belly * np.sin(np.pi * fine)), np.diff(depth * (1 - fine) ** 1.2)
    )
    s = np.interp((np.arange(rows) + 0.5) / rows, np.append(0, wall.cumsum() / wall.sum()), fine)[None, :, None]
    theta = (np.arange(columns) * 2 * np.pi / columns)[None, None, :]
    t = 2 * ((theta * lobes / (2 * np.pi) + 0.5) % 1) - 1
    wave = np.cos(lobes * theta)
    r = base + (mouth - base) * s**flare + belly * np.sin(np.pi * s)
    r = r * (1 + lobing * wave * s**4 + 0.03 * np.sin(3 * theta + rng.uniform(0, 7)) * s)
    z = -depth * (1 - s) ** 1.2 + curl * s**6 + (0.5 * lobing * mouth + teeth) * wave * s**5
    r, z = np.broadcast_arrays(r, z)
    position = np.stack([r * np.cos(theta), r * np.sin(theta), z], -1)
    return flatten(position, paint(rng, s, t, coat, 1))


def beads(rng, centres, radius, colour, points=26, jitter=0.1, stretch=None):
    """Small balls at `centres` (K, 3); `colour` is one RGB triple or (K, 3); `stretch` (3,) makes ellipsoids."""
    centres = np.atleast_2d(centres)
    count = len(centres)
    index = np.arange(points) + 0.5
    height = 1 - 2 * index / points
    ring = np.sqrt(1 - height**2)
    unit = np.stack([ring * np.cos(index * GOLDEN_ANGLE), ring * np.sin(index * GOLDEN_ANGLE), height], -1)
    size = np.broadcast_to(np.asarray(radius, float), (count,))[:, None, None]
    offset = unit[None] * size * (1 if stretch is None else np.asarray(stretch))
    tint = np.broadcast_to(np.asarray(colour, float), (count, 3)) * (1 + jitter * rng.standard_normal((count, 1)))
    normal = np.broadcast_to(unit[None], offset.shape)
    return (centres[:, None] + offset).reshape(-1, 3), normal.reshape(-1, 3), np.repeat(tint, points, 0)


def solid(rng, coat, radii, centre=(0, 0, 0)):
    """One ellipsoid with painted skin (a bud, an ovary, a spadix)."""
    radii = np.asarray(radii, float)
    density = PIXELS * coat.get("detail", 1.0)
    rows = int(np.clip(radii.max() * density * 3, 8, 150))
    columns = int(np.clip(radii[:2].max() * density * 6.3, 10, 300))
    s = ((np.arange(rows) + 0.5) / rows)[None, :, None]
    theta = (np.arange(columns) * 2 * np.pi / columns)[None, None, :]
    polar = np.pi * (1 - s)
    unit = np.stack(
        np.broadcast_arrays(np.sin(polar) * np.cos(theta), np.sin(polar) * np.sin(theta), np.cos(polar)), -1
    )
    return flatten(np.asarray(centre) + unit * radii, paint(rng, s, 2 * ((theta / np.pi * 2) % 1) - 1, coat, 1))


def strands(rng, start, end, colour, *, radius=0.015, sag=0.1, tip=None, jitter=0.08):
    """Thin curved threads from `start` to `end`, both (K, 3); colour runs from `colour` to `tip`."""
    start, end = np.broadcast_arrays(np.atleast_2d(start).astype(float), np.atleast_2d(end).astype(float))
    count = len(start)
    reach = np.sqrt(((end - start) ** 2).sum(-1))
    rows = int(np.clip(reach.max() * PIXELS, 4, 240))
    ring = int(np.clip(radius * PIXELS * 5, 3, 24))
    s = ((np.arange(rows) + 0.5) / rows)[None, :, None, None]
    bow = sag * reach[:, None] * rng.standard_normal((count, 3))
    line = start[:, None, None] * (1 - s) + end[:, None, None] * s + 4 * s * (1 - s) * bow[:, None, None]
    angle = np.arange(ring) * 2 * np.pi / ring
    along = (end - start) / (reach[:, None] + 1e-9)
    helper = np.where(np.abs(along[:, 2:]) > 0.9, [[1.0, 0, 0]], [[0, 0, 1.0]])
    u = np.cross(along, helper)
    u /= np.sqrt((u**2).sum(-1, keepdims=True)) + 1e-9
    v = np.cross(along, u)
    around = np.cos(angle)[None, :, None] * u[:, None] + np.sin(angle)[None, :, None] * v[:, None]
    position = line + radius * around[:, None]
    tint = np.asarray(colour, float) * (1 - s) + np.asarray(colour if tip is None else tip, float) * s
    tint = tint * (1 + jitter * rng.standard_normal((count, 1, 1, 1)))
    return flatten(position, np.broadcast_to(tint, position.shape), np.broadcast_to(around[:, None], position.shape))


def turn_to(direction, roll=0.0):
    """Rotation matrices (K, 3, 3) that carry +z to `direction` (K, 3) after a `roll` about z in radians."""
    w = np.atleast_2d(np.asarray(direction, float))
    w = w / np.sqrt((w**2).sum(-1, keepdims=True))
    helper = np.where(np.abs(w[:, 1:2]) > 0.999, [[0, 0, -1.0]], [[0, 1.0, 0]])
    u = np.cross(helper, w)
    u /= np.sqrt((u**2).sum(-1, keepdims=True))
    v = np.cross(w, u)
    c, s = np.cos(roll) * np.ones(len(w)), np.sin(roll) * np.ones(len(w))
    return np.stack([c[:, None] * u + s[:, None] * v, -s[:, None] * u + c[:, None] * v, w], -1)


def place(parts, rotation, origin=(0, 0, 0), size=1.0):
    """The same parts, turned, scaled and moved."""
    return [(p * size @ rotation.T + np.asarray(origin), m @ rotation.T, c) for p, m, c in parts]
