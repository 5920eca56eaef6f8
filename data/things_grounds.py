"""Places for things: what lies far away above the horizon, and the ground below it, each as (SIDE, SIDE, 3)."""

import numpy as np
from scenes import SIDE
from scipy.ndimage import gaussian_filter, map_coordinates
from surfaces import NOISE

ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(float)


def _noise(rng, scale_x, scale_y, octaves=3):
    """Smooth noise of mean 0 and deviation near 1; blotches of about `scale` pixels."""
    total, weight = np.zeros((SIDE, SIDE)), 0.0
    for k in range(octaves):
        shift = rng.uniform(0, 64, 2)
        total += noise_at(2**k * 0.7 * COLUMNS / scale_x + shift[0], 2**k * 0.7 * ROWS / scale_y + shift[1]) / 2**k
        weight += 1 / 4**k
    return total / np.sqrt(weight)


def noise_at(u, v):
    """The noise table of `surfaces` between its entries too; blotches about one unit wide."""
    places = np.stack(np.broadcast_arrays(u, v)) * 4
    return map_coordinates(NOISE, places, order=1, mode="grid-wrap")


def _mix(a, b, share):
    return np.asarray(a) * (1 - share[..., None]) + np.asarray(b) * share[..., None]


def sky(rng, horizon):
    kind = rng.choice(["clear", "clouds", "clouds", "grey", "evening"])
    top, low = {
        "clear": ((0.2, 0.42, 0.74), (0.66, 0.79, 0.9)),
        "clouds": ((0.3, 0.5, 0.78), (0.7, 0.8, 0.9)),
        "grey": ((0.6, 0.63, 0.67), (0.78, 0.8, 0.82)),
        "evening": ((0.36, 0.36, 0.55), (0.95, 0.66, 0.42)),
    }[kind]
    reach = max(horizon, SIDE * 0.5)
    image = _mix(
        np.array(top) * rng.uniform(0.85, 1.15),
        np.array(low) * rng.uniform(0.9, 1.05),
        np.clip(ROWS / reach, 0, 1) ** 1.2,
    )
    if kind in ("clouds", "grey", "evening"):
        clouds = _noise(rng, rng.uniform(30, 80), rng.uniform(14, 40))
        cover = np.clip((clouds - rng.uniform(-0.3, 0.9)) / 1.1, 0, 1) * 0.85
        image = _mix(image, np.array((0.95, 0.95, 0.96)) if kind != "evening" else np.array((0.85, 0.62, 0.55)), cover)
    return image


def _ridge(rng, horizon, height, rough):
    """Row of the skyline for each column."""
    x = np.arange(SIDE)
    line = sum(rng.normal(0, 1 / k) * np.sin(x / SIDE * k * rough + rng.uniform(0, 7)) for k in range(1, 7))
    return horizon - height * (0.6 + 0.4 * np.tanh(line))


def trees(rng, horizon):
    image = sky(rng, horizon)
    season = rng.choice(["green", "green", "dark", "autumn"])
    palette = {
        "green": [(0.16, 0.3, 0.1), (0.28, 0.42, 0.16), (0.1, 0.2, 0.07)],
        "dark": [(0.08, 0.15, 0.08), (0.14, 0.22, 0.12), (0.04, 0.08, 0.04)],
        "autumn": [(0.5, 0.32, 0.1), (0.42, 0.2, 0.08), (0.3, 0.32, 0.12)],
    }[season]
    edge = _ridge(rng, horizon, rng.choice([SIDE * 0.25, SIDE * 0.6, SIDE * 1.2]), 9)
    leaf, big = _noise(rng, 12, 12, 3), _noise(rng, 40, 40, 2)
    wood = _mix(palette[0], palette[1], np.clip(0.5 + 0.5 * leaf, 0, 1))
    wood = _mix(wood, palette[2], np.clip(0.4 * big + 0.25, 0, 1))
    for _ in range(int(rng.integers(0, 7))):  # trunks
        x, width = rng.uniform(0, SIDE), rng.uniform(2, 8)
        trunk = np.clip(1.5 - np.abs(COLUMNS - x - 2 * np.sin(ROWS / 30)) / width, 0, 1)
        wood = _mix(wood, np.array((0.22, 0.17, 0.12)) * rng.uniform(0.6, 1.5), trunk * 0.9)
    return _mix(image, wood, np.clip((ROWS - edge[None] + 4 * leaf) / 3, 0, 1))


def hills(rng, horizon):
    image = sky(rng, horizon)
    for k in range(int(rng.integers(1, 4))):
        edge = _ridge(rng, horizon, SIDE * rng.uniform(0.08, 0.4) / (k + 1), rng.uniform(3, 12))
        tone = np.array([(0.42, 0.5, 0.6), (0.4, 0.46, 0.4), (0.28, 0.38, 0.22)][k]) * rng.uniform(0.85, 1.15)
        image = _mix(image, tone, np.clip((ROWS - edge[None]) / 2, 0, 1))
    return image


def town(rng, horizon):
    image, x = sky(rng, horizon), -10.0
    while x < SIDE:
        width, height = rng.uniform(14, 50), rng.uniform(20, 130)
        wall = np.array(
            [(0.6, 0.55, 0.5), (0.5, 0.5, 0.52), (0.62, 0.4, 0.32), (0.75, 0.72, 0.66)][rng.integers(4)]
        ) * rng.uniform(0.7, 1.1)
        inside = (COLUMNS > x) & (COLUMNS < x + width) & (ROWS > horizon - height)
        image[inside] = wall
        window = inside & ((COLUMNS - x) % 11 > 5) & ((ROWS - horizon + height) % 14 > 7)
        image[window] = wall * rng.choice([0.45, 0.6, 1.25])
        x += width * rng.uniform(0.9, 1.3)
    return image


def wall(rng, horizon):
    tone = np.array(
        [
            (0.82, 0.78, 0.7),
            (0.7, 0.74, 0.76),
            (0.78, 0.68, 0.6),
            (0.6, 0.66, 0.58),
            (0.5, 0.45, 0.42),
            (0.86, 0.85, 0.83),
        ][rng.integers(6)]
    )
    image = (
        np.ones((SIDE, SIDE, 3))
        * tone
        * rng.uniform(0.75, 1.1)
        * (1 + 0.25 * (COLUMNS / SIDE - 0.5) * rng.normal())[..., None]
    )
    for _ in range(int(rng.integers(0, 4))):  # furniture, curtains, frames
        x0, y0 = rng.uniform(-40, SIDE - 10), rng.uniform(-60, horizon - 20)
        x1, y1 = x0 + rng.uniform(20, 110), y0 + rng.uniform(20, 130)
        image[(COLUMNS > x0) & (COLUMNS < x1) & (ROWS > y0) & (ROWS < y1)] = (
            rng.uniform(0.15, 0.85) * 0.5 + rng.uniform(0, 0.3, 3) + tone * 0.2
        )
    return image


def leaves(rng, horizon):
    """Foliage close by, out of focus."""
    light, dark = np.array((0.42, 0.56, 0.2)) * rng.uniform(0.7, 1.2), np.array((0.08, 0.16, 0.06))
    image = _mix(dark, light, np.clip(0.45 + 0.4 * _noise(rng, 24, 24, 3), 0, 1))
    return _mix(image, (0.85, 0.9, 0.85), np.clip(_noise(rng, 34, 34, 2) - 1.1, 0, 0.8))


FAR = {f.__name__: f for f in (sky, trees, hills, town, wall, leaves)}


def ground(rng, kind, horizon):
    """The ground from the horizon down, its pattern growing towards the viewer. Above the horizon it means nothing."""
    near = np.clip((ROWS - horizon) / max(SIDE - horizon, 40), 0.02, None)
    shift = rng.uniform(0, 64, 2)
    u, v = (COLUMNS - SIDE / 2) / SIDE / (0.25 + near), 1 / (0.25 + near)
    fine = noise_at(u * 9 + shift[0], v * 12 + shift[1]) * np.clip(near * 2.5, 0.2, 1)
    wide = noise_at(u * 2.5 + shift[1], v * 3 + shift[0])
    if kind == "grass":
        tone = np.array([(0.3, 0.45, 0.14), (0.42, 0.5, 0.2), (0.55, 0.5, 0.26)][rng.choice(3, p=[0.5, 0.3, 0.2])])
        image = tone * (1 + 0.17 * fine + 0.12 * wide)[..., None]
    elif kind == "road":
        image = np.array((0.4, 0.4, 0.41)) * rng.uniform(0.6, 1.25) * (1 + 0.03 * fine + 0.05 * wide)[..., None]
        if rng.random() < 0.7:
            row = rng.uniform(0.25, 0.95)
            mark = np.clip(1.6 - np.abs(near - row) / (0.02 + 0.015 * row), 0, 1)
            mark = mark * ((u * 3 + shift[0]) % 1 < rng.choice([0.55, 1.0]))
            image = _mix(image, np.array((0.85, 0.84, 0.78)), mark * 0.8)
        if rng.random() < 0.5:  # a verge at the far side
            image = _mix(image, np.array((0.34, 0.42, 0.2)), np.clip((rng.uniform(0.05, 0.2) - near) * 60, 0, 1))
    elif kind == "sand":
        image = np.array((0.78, 0.69, 0.52)) * rng.uniform(0.8, 1.1) * (1 + 0.05 * fine + 0.06 * wide)[..., None]
    elif kind == "snow":
        image = np.array((0.86, 0.89, 0.94)) * (1 + 0.03 * fine + 0.05 * wide)[..., None]
    elif kind == "water":
        tone = np.array(
            [(0.16, 0.32, 0.44), (0.1, 0.26, 0.36), (0.3, 0.4, 0.42), (0.2, 0.42, 0.5)][rng.integers(4)]
        ) * rng.uniform(0.8, 1.2)
        ripple = noise_at(u * 4 + shift[0], v * 26 + shift[1])
        image = tone * (1 + 0.16 * ripple + 0.05 * wide)[..., None]
        image = _mix(
            image, np.array((0.78, 0.84, 0.88)), np.clip(ripple - 1.2, 0, 1) * 0.5 + 0.35 * np.clip(0.35 - near, 0, 1)
        )
    elif kind == "litter":
        image = np.array((0.36, 0.27, 0.17)) * rng.uniform(0.8, 1.2) * (1 + 0.25 * fine + 0.1 * wide)[..., None]
        image = _mix(image, np.array((0.28, 0.38, 0.14)), np.clip(0.6 * wide, 0, 0.8))
    elif kind == "dirt":
        image = np.array((0.56, 0.45, 0.33)) * rng.uniform(0.8, 1.15) * (1 + 0.07 * fine + 0.08 * wide)[..., None]
    else:  # floor: boards, tiles or carpet
        tone = np.array(
            [(0.5, 0.34, 0.2), (0.66, 0.52, 0.36), (0.6, 0.58, 0.55), (0.45, 0.2, 0.18), (0.3, 0.36, 0.44)][
                rng.integers(5)
            ]
        )
        image = tone * rng.uniform(0.8, 1.2) * (1 + 0.05 * fine)[..., None]
        if rng.random() < 0.6:
            line = np.clip(1.3 - np.abs(((u * rng.uniform(2, 5) + shift[0]) % 1) - 0.5) * 24, 0, 1)
            image = _mix(image, tone * 0.55, line * 0.7)
    return image


def place_of(rng, far, near, horizon):
    """Far and near put together, out of focus by a random amount."""
    image = FAR[far](rng, horizon)
    blur = rng.uniform(0.8, 3.5)
    image = gaussian_filter(image, (blur, blur, 0))
    if near is not None:
        below = np.clip((ROWS - horizon) / rng.uniform(1, 4), 0, 1)
        image = _mix(image, gaussian_filter(ground(rng, near, horizon), (0.7, 0.7, 0)), below)
    return image * rng.uniform(0.85, 1.12)
