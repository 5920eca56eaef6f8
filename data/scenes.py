"""From point clouds to a photograph: depth buffer, light, shadows, background, lens, sensor, JPEG."""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE = 192  # rendered at twice the size of the finished image; render_meadow draws wider scenes


def splat(parts, scale, centre, side=SIDE):
    """Drop points into a depth buffer. Returns colour and normal (side, side, 3) and depth, -inf if empty."""
    position = np.concatenate([p for p, _, _ in parts])
    z = position[:, 2]
    lens = scale / (1 - np.clip(z, -3, 2) * 0.09)  # nearer parts look a little larger
    x, y = centre[0] + position[:, 0] * lens, centre[1] - position[:, 1] * lens
    inside = np.flatnonzero((x >= 0) & (x < side) & (y >= 0) & (y < side))
    pixel = y[inside].astype(np.int64) * side + x[inside].astype(np.int64)
    z = z[inside] * scale
    depth = np.full(side * side, -np.inf)
    np.maximum.at(depth, pixel, z)
    front = z > depth[pixel] - 0.8
    pixel, inside = pixel[front], inside[front]
    normal = np.concatenate([m for _, m, _ in parts])[inside]
    colour = np.concatenate([c for _, _, c in parts])[inside]
    normal = np.where(normal[:, 2:] < 0, -normal, normal)
    channels = np.concatenate([colour, normal], 1).T.copy()
    weight = np.bincount(pixel, minlength=side * side)
    sums = np.stack([np.bincount(pixel, channels[k], side * side) for k in range(6)], -1)
    mean = sums / np.maximum(weight, 1)[:, None]
    mean, depth = _fill_pinholes(mean.reshape(side, side, 6), depth.reshape(side, side))
    return mean[..., :3], mean[..., 3:], depth


def _fill_pinholes(values, depth):
    """Close gaps between samples: a pixel far behind at least five of its eight neighbours gets their mean."""
    side = len(depth)
    padded = np.pad(depth, 1, constant_values=-np.inf)
    near = np.stack([padded[i : i + side, j : j + side] for i in range(3) for j in range(3) if (i, j) != (1, 1)])
    front = near > depth + 3
    hole = np.flatnonzero((front.sum(0) >= 5).ravel())
    row, column = np.divmod(hole, side)
    weight = front.reshape(8, -1)[:, hole].astype(float)
    total = weight.sum(0)
    steps = [(i - 1, j - 1) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    new_values, new_depth = np.zeros((len(hole), 6)), np.zeros(len(hole))
    for (i, j), w in zip(steps, weight, strict=True):
        y, x = np.clip(row + i, 0, side - 1), np.clip(column + j, 0, side - 1)
        new_values += values[y, x] * w[:, None]
        new_depth += np.where(w > 0, depth[y, x], 0)
    values, depth = values.copy(), depth.copy()
    values[row, column] = new_values / total[:, None]
    depth[row, column] = new_depth / total
    return values, depth


def light_up(colour, normal, depth, light):
    """Shade the visible surface: sky light, sun, light through thin petals, contact shadows and crevices."""
    filled = np.isfinite(depth)
    near = gaussian_filter(np.where(filled, depth, depth[filled].min() if filled.any() else 0), 0.9)
    length = np.sqrt((normal**2).sum(-1)) + 1e-6
    facing = (normal @ light["direction"]) / length
    sun = np.clip(facing, 0, 1) + 0.35 * np.clip(-facing, 0, 1)
    dx, dy = light["direction"][0], -light["direction"][1]
    shadow = np.zeros_like(near)
    for step in (2, 5, 9, 15):
        rise = step * light["direction"][2] / max(np.hypot(dx, dy), 0.25) * 0.8
        above = _shift(near, step * dx / max(np.hypot(dx, dy), 1e-6), step * dy / max(np.hypot(dx, dy), 1e-6)) - near
        shadow = np.maximum(shadow, np.clip((above - rise - 1.5) / 5, 0, 1))
    shadow = gaussian_filter(shadow, 1.2)
    crevice = np.zeros_like(near)
    for radius in (2.5, 7):
        crevice += np.clip((gaussian_filter(near, radius) - near) / (2.2 * radius), 0, 1)
    ambient = light["ambient"] * (0.8 + 0.2 * normal[..., 1] / length) * (1 - 0.5 * np.clip(crevice, 0, 1))
    amount = ambient + light["sun"] * sun * (1 - 0.68 * shadow)
    glint = light["sun"] * 0.13 * np.clip(facing, 0, 1) ** 14 * (1 - shadow)
    return colour * amount[..., None] * light["tint"] + glint[..., None]


def _shift(image, dx, dy):
    i, j = int(round(dy)), int(round(dx))
    padded = np.pad(image, 20, mode="edge")
    return padded[20 + i : 20 + i + len(image), 20 + j : 20 + j + len(image)]


def random_light(rng):
    """Sun direction, its strength against the sky, and the colour of the light."""
    azimuth, height = rng.uniform(0.1, 0.9) * np.pi, rng.uniform(0.35, 1.3)
    sunny = rng.uniform(0.25, 0.85)
    warmth = rng.normal(0, 0.06)
    return {
        "direction": np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]),
        "sun": sunny,
        "ambient": 1.1 - 0.62 * sunny,
        "tint": np.array([1 + warmth, 1 + rng.normal(0, 0.022), 1 - warmth]) * rng.uniform(0.85, 1.12),
    }


GROUNDS = {  # name: palette of the blurred background
    "leaves": [(52, 86, 34), (84, 120, 48), (30, 54, 24), (110, 140, 62), (20, 34, 18)],
    "meadow": [(120, 150, 60), (92, 130, 52), (150, 170, 86), (70, 104, 44)],
    "shade": [(16, 26, 14), (30, 44, 22), (8, 12, 8), (44, 52, 30)],
    "soil": [(92, 70, 52), (120, 98, 76), (62, 48, 38), (140, 120, 98), (60, 80, 40)],
    "litter": [(110, 84, 56), (150, 122, 84), (74, 56, 40), (48, 40, 30), (70, 92, 46)],
    "sky": [(150, 186, 222), (186, 208, 230), (120, 164, 212), (206, 218, 226)],
    "stone": [(128, 126, 122), (160, 156, 150), (96, 94, 92), (84, 96, 72)],
    "studio": [(12, 12, 12), (24, 22, 24), (8, 10, 10)],
    "bright": [(206, 210, 200), (222, 222, 216), (180, 194, 164), (170, 180, 160)],
    "water": [(44, 66, 60), (70, 92, 84), (26, 42, 44), (104, 122, 110)],
}


def random_ground(rng, name, side=64, full=SIDE, others=0.4):
    """A blurred natural background (full, full, 3): dead leaves of the palette, stalks, glints, other blossoms."""
    palette = np.array(GROUNDS[name], float) / 255
    rows, columns = np.mgrid[0:side, 0:side]
    image = np.ones((side, side, 3)) * palette[rng.integers(len(palette))]
    size = rng.uniform(3, 10)
    for _ in range(rng.integers(18, 46)):
        x, y = rng.uniform(-8, side + 8, 2)
        angle, long, wide = rng.uniform(0, np.pi), size * rng.uniform(0.7, 2.6), size * rng.uniform(0.25, 1)
        if name in ("meadow", "leaves") and rng.random() < 0.4:
            long, wide, angle = long * 3.5, wide * 0.35, np.pi / 2 + rng.normal(0, 0.45)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        colour = palette[rng.integers(len(palette))] * rng.uniform(0.7, 1.25)
        inside = (u / long) ** 2 + (np.abs(v) / wide) ** 1.6 < 1
        image[inside] = colour * (1 + 0.25 * np.clip(v[inside, None] / wide, -1, 1))
    blossoms = rng.integers(2, 8) if rng.random() < others else 0
    tone = rng.uniform(0.35, 1, 3)
    for _ in range(blossoms):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(2, 7.5)
        image[np.hypot(columns - x, rows - y) < radius] = np.clip(tone + rng.normal(0, 0.06, 3), 0, 1)
    blur = rng.choice([rng.uniform(0.8, 1.5), rng.uniform(1.5, 3.5), rng.uniform(3.5, 6)])
    image = gaussian_filter(image, (blur, blur, 0))
    if rng.random() < 0.3:  # out-of-focus sparkles
        for _ in range(rng.integers(4, 16)):
            x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(1.5, 4)
            disc = 1 / (1 + np.exp((np.hypot(columns - x, rows - y) - radius) * 2))
            image = image + disc[..., None] * rng.uniform(0.06, 0.3) * np.array([1, 1, 0.8])
    slope = rng.normal(0, 0.22, 2)
    image = image * (1 + slope[0] * (columns / side - 0.5) + slope[1] * (rows / side - 0.5))[..., None]
    grain = gaussian_filter(rng.standard_normal((side, side)), rng.uniform(0.5, 1.6))
    image = image * (1 + rng.uniform(0, 0.16) * grain)[..., None]
    return gaussian_filter(np.repeat(np.repeat(image, full // side, 0), full // side, 1), (1, 1, 0)) * rng.uniform(
        0.7, 1.15
    )


def develop(rng, image, depth, veil=0.3):
    """Lens, sensor and file: depth of field, halving, exposure, white balance, noise. Returns uint8, half the size."""
    filled = np.isfinite(depth)
    focus = np.quantile(depth[filled], rng.uniform(0.6, 0.95)) if filled.any() else 0.0
    away = np.clip((np.abs(np.where(filled, depth, focus) - focus) - 25) / 70, 0, 1)
    away = gaussian_filter(away, 2)[..., None] * rng.uniform(0.2, 1)
    image = image * (1 - away) + gaussian_filter(image, (4, 4, 0)) * away
    if rng.random() < veil:
        image = _veil(rng, image)
    soft = rng.choice([0.3, 0.6, rng.uniform(0.6, 1.7)])
    image = gaussian_filter(image, (soft, soft, 0))
    image = image.reshape(len(image) // 2, 2, len(image) // 2, 2, 3).mean((1, 3))
    image = np.clip(image, 0, None) * rng.uniform(0.9, 1.3) * (1 + rng.normal(0, 0.03, 3))
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)  # highlights roll off
    image = np.clip(image, 0, 1) ** rng.uniform(0.85, 1.2)
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * rng.uniform(0.6, 1.12)
    noise = rng.uniform(0.004, 0.022)
    image = (
        image + noise * rng.standard_normal(image.shape) * (0.5 + image) + 0.5 * noise * rng.standard_normal(grey.shape)
    )
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _veil(rng, image):
    """A blade or leaf close to the lens, far out of focus."""
    rows, columns = np.mgrid[0 : len(image), 0 : len(image)] / len(image)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(0.3, 0.62) * rng.choice([-1, 1])
    v = (columns - 0.5) * np.cos(angle) + (rows - 0.5) * np.sin(angle) - offset
    u = (rows - 0.5) * np.cos(angle) - (columns - 0.5) * np.sin(angle)
    width = rng.uniform(0.04, 0.16) * (1 - 0.5 * u**2)
    cover = 1 / (1 + np.exp((np.abs(v) - width) / 0.014)) * rng.uniform(0.6, 1)
    colour = np.array(GROUNDS["leaves"][rng.integers(5)]) / 255 * rng.uniform(0.8, 1.4)
    return image * (1 - cover[..., None]) + colour * cover[..., None]


def jpeg(pixels, quality=85):
    """JPEG bytes of a uint8 (H, W, 3) array."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
