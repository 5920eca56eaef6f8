"""The procedural source task on which the bundled backbones are trained: endless drawn images, 472 classes.

Nothing here is downloaded or copied, and no class is meant as a flower or an animal: the classes are abstract things
(though rosettes and jointed chains are among them).

    contour (200)      closed outlines r(angle) with 1 to 12-fold symmetry, each with its own filling
    texture (96)       noise of many spectra, gratings, lattices, Voronoi cells, dead leaves, growth rings
    line (80)          branching trees, spirals, cracks and jointed chains made of capsules
    arrangement (96)   so many parts of such a shape in a ring, a row, a grid, a cluster or a spiral

Two steps keep it cheap (2 ms per image on one core). ``build_bank`` draws 24 variants of every class once, as
two small grey images each: ``alpha`` (where the thing is) and ``tone`` (how light it is). ``Source.batch`` then pastes
such variants onto backgrounds under random pose, colour, light, blur, noise and occlusion. A batch depends on
``(seed, step)`` only, so training can stop and go on exactly where it was.

    python data/source.py grid.png        # look at it
"""

import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 80  # pixels of one bank image
VARIANTS = 24  # images of each class in the bank
COUNTS = {"contour": 200, "texture": 96, "line": 80, "arrangement": 96}
BANK_SEED = 2026
PALETTES = 24

_axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
X, Y = np.meshgrid(_axis, _axis)
RADIUS, ANGLE = np.hypot(X, Y), np.arctan2(Y, X)
FREQUENCY = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE) * SIDE, np.fft.fftfreq(SIDE) * SIDE)).astype(np.float32)


def class_names() -> list[str]:
    """The 472 class names in label order, such as ``contour 017``."""
    return [f"{family} {i:03d}" for family, count in COUNTS.items() for i in range(count)]


def _unit(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / (high - low + 1e-6), 0, 1)


def _noise(rng: np.random.Generator, spectrum: np.ndarray) -> np.ndarray:
    """White noise shaped by an amplitude spectrum, with mean 0 and standard deviation 1."""
    image = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * spectrum).real
    return (image - image.mean()) / (image.std() + 1e-6)


def _power(exponent: float) -> np.ndarray:
    return 1 / np.maximum(FREQUENCY, 1) ** exponent


# ---------------------------------------------------------------- textures: the class is (kind, level)


def _spectral(rng, level):
    exponent, finish, stretch = (0.5, 1.0, 1.6, 2.2)[level % 4], level // 4 % 3, 1 + 3 * (level // 12)
    fx, fy = np.meshgrid(np.fft.fftfreq(SIDE) * SIDE, np.fft.fftfreq(SIDE) * SIDE)
    image = _noise(rng, 1 / np.maximum(np.hypot(fx * stretch, fy), 1) ** exponent)
    return (_unit(image), np.float32(image > 0), _unit(-np.abs(image)))[finish]


def _spots(rng, level):
    centre, finish = (5, 9, 14, 20)[level % 4], level // 4
    image = _noise(rng, np.exp(-(((FREQUENCY - centre) / (0.22 * centre)) ** 2)))
    return 1 / (1 + np.exp(-8 * (image - (1.1, 0.0, -1.1)[finish])))


def _waves(rng, level):
    frequency, wave, warp = (3, 6, 10, 15)[level % 4], level // 4 % 2, level // 8
    phase = frequency * math.pi * X + rng.uniform(0, 7) + (0.0, 2.5)[warp] * _noise(rng, _power(2.5))
    return (0.5 + 0.5 * np.sin(phase), (phase / (2 * math.pi)) % 1)[wave]


def _lattice(rng, level):
    frequency, kind = (4, 8)[level % 2] * rng.uniform(0.9, 1.1), level // 2
    u, v = X * frequency + rng.uniform(0, 2), Y * frequency + rng.uniform(0, 2)
    row = np.floor(v)
    brick = np.maximum(np.abs((u / 2 + 0.5 * (row % 2)) % 1 - 0.5) * 1.1, np.abs(v % 1 - 0.5))
    hexagon = sum(np.cos(2 * math.pi * (u * math.cos(a) + v * math.sin(a))) for a in (0, 2.0944, 4.1888))
    dots = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    weave = np.where((np.floor(u) + row) % 2 > 0, np.sin(math.pi * (u % 1)), 0.7 * np.sin(math.pi * (v % 1)))
    return (
        (np.floor(u) + row) % 2,  # checks
        np.clip(9 * (0.47 - brick), 0, 1),  # bricks
        _unit(hexagon),
        np.clip(8 * (0.35 - dots), 0, 1),
        weave,
        0.5 * (np.floor(u) % 2) + 0.5 * (row % 2),  # plaid
        np.abs((u + np.abs(v % 2 - 1)) % 2 - 1),  # zigzag
        np.clip(8 * np.abs(dots - 0.33), 0, 1),  # little rings
    )[kind]


def _cells(rng, level):
    count, finish = (12, 30, 70)[level % 3], level // 3
    points, tones = rng.uniform(-1.1, 1.1, (count, 2)), rng.uniform(0, 1, count)
    distance = np.hypot(X[..., None] - points[:, 0], Y[..., None] - points[:, 1])
    first, second = np.partition(distance, 1, axis=-1)[..., :2].transpose(2, 0, 1)
    edge = np.clip((second - first) * math.sqrt(count) * 2, 0, 1)
    return (tones[distance.argmin(-1)] * np.minimum(1, 3 * edge), edge > 0.3, _unit(-first), _unit(second))[finish]


def _leaves(rng, level):
    law, shape = level % 3, level // 3
    image = np.full((SIDE, SIDE), 0.5)
    for _ in range((260, 160, 50)[law]):
        r = ((0.05, 0.09), (0.05, 0.5), (0.22, 0.5))[law]
        r = 1 / math.sqrt(rng.uniform(r[1] ** -2, r[0] ** -2))  # density of radii falls as 1/r^3
        dx, dy, a = X - rng.uniform(-1, 1), Y - rng.uniform(-1, 1), rng.uniform(0, math.pi)
        u, v = dx * math.cos(a) + dy * math.sin(a), dy * math.cos(a) - dx * math.sin(a)
        inside = (np.hypot(u, v), np.maximum(abs(u), abs(v)), np.hypot(u / 2.2, v * 2), abs(u) + abs(v))[shape] < r
        image = np.where(inside, rng.uniform(), image)
    return image


def _rings(rng, level):
    frequency, kind = (4, 9)[level % 2], level // 2
    centre = rng.uniform(-0.7, 0.7, 2)
    radius = np.hypot(X - centre[0], (Y - centre[1])) + (0.05, 0.12, 0.0)[kind] * _noise(rng, _power(2.2))
    angle = np.arctan2(Y - centre[1], X - centre[0])
    if kind == 2:
        return 0.5 + 0.5 * np.sin(frequency * (2 * angle + 2 * radius))
    return 0.5 + 0.5 * np.sin(frequency * math.pi * radius + (0, 3)[kind] * radius**2)


_TEXTURES = [(_spectral, 24), (_spots, 12), (_waves, 16), (_lattice, 16), (_cells, 12), (_leaves, 10), (_rings, 6)]
_TEXTURES = [(draw, level) for draw, count in _TEXTURES for level in range(count)]
assert len(_TEXTURES) == COUNTS["texture"]


def draw_texture(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One full-frame texture of class ``index``: alpha is 1 everywhere."""
    draw, level = _TEXTURES[index]
    return np.ones((SIDE, SIDE)), np.asarray(draw(rng, level), dtype=np.float32)


# ---------------------------------------------------------------- contours


def draw_contour(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One closed outline of class ``index`` with the class's filling."""
    own = np.random.default_rng([BANK_SEED, 1, index])  # what all variants of the class share
    fold = int(own.choice([1, 2, 3, 4, 5, 6, 7, 8, 10, 12]))
    kind, filling = int(own.integers(4)), int(own.integers(8))
    amplitude = own.normal(0, 1, 4) * np.array([0.30, 0.18, 0.10, 0.06]) * (1.0 if fold < 6 else 0.75)
    phases, sharp = own.uniform(0, 2 * math.pi, 4), own.uniform(0.35, 3.5)
    hole, rate, grain = own.uniform(0.2, 0.5) * (own.random() < 0.2), int(own.integers(2, 6)), int(own.integers(96))
    amplitude = amplitude + rng.normal(0, 0.02, 4)
    phases = phases + rng.normal(0, 0.12, 4)
    # The variant's own gentle warp, so that no two outlines of a class are equal.
    angle = ANGLE + 0.06 * rng.normal() * np.sin(ANGLE + rng.uniform(0, 7)) + 0.04 * rng.normal()
    if kind == 0:  # sinusoids on a circle
        outline = 1 + sum(
            a * np.cos((k + 1) * fold * angle + p) for k, (a, p) in enumerate(zip(amplitude, phases, strict=True))
        )
    elif kind == 1:  # superformula: from pointed stars to rounded polygons
        quarter = max(fold, 2) * angle / 4
        outline = (np.abs(np.cos(quarter)) ** (2 * sharp) + np.abs(np.sin(quarter)) ** (2 * sharp)) ** (-0.5 / sharp)
        outline = np.clip(outline, 0.3, 2.2) ** (1.4 if sharp < 1 else 0.9)
    elif kind == 2:  # lobes: |cos| raised to a power leaves deep clefts
        lobe = np.abs(np.cos(max(fold, 2) * angle / 2 + phases[0])) ** sharp
        outline = 0.35 + 0.25 * abs(amplitude[0]) + lobe
    else:  # an asymmetric outline with a notch
        outline = 1 + sum(
            a * np.cos((k + 1) * angle + p) for k, (a, p) in enumerate(zip(1.3 * amplitude, phases, strict=True))
        )
        outline = outline - 0.5 * np.exp(-(((np.sin((angle - phases[1]) / 2)) / 0.15) ** 2)) * (own.random() < 0.6)
    outline = np.maximum(outline, 0.12)
    outline = outline * 0.92 / outline.max()
    depth = RADIUS / outline  # 0 in the middle, 1 on the outline
    alpha = np.clip((outline - RADIUS) * SIDE / 2 + 0.5, 0, 1)
    if hole:
        alpha = alpha * np.clip((RADIUS - hole * outline.min() - 0.05) * SIDE / 2, 0, 1)
    fillings = (
        lambda: np.full_like(RADIUS, 0.5) + 0.15 * X,  # plain
        lambda: np.clip(depth, 0, 1),  # from the middle outwards
        lambda: 0.5 + 0.5 * np.cos(rate * math.pi * depth),  # rings that follow the outline
        lambda: 0.5 + 0.5 * np.cos(rate * 2 * angle + phases[2]),  # sectors
        lambda: draw_texture(grain, rng)[1],
        lambda: np.where(depth > 0.78, 0.0, 0.8),  # dark rim
        lambda: np.where(depth < 0.4, 0.05, 0.75) + 0.1 * np.cos(fold * angle),  # spot in the middle
        lambda: np.where(X * math.cos(phases[3]) + Y * math.sin(phases[3]) > 0, 0.9, 0.2),  # two halves
    )
    return alpha, fillings[filling]()


# ---------------------------------------------------------------- capsules: lines, chains and arrangements


def _capsules(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows (x0, y0, x1, y1, radius at start, radius at end, tone), later rows above earlier ones."""
    alpha, tone = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for x0, y0, x1, y1, r0, r1, t in parts.astype(np.float32):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((X - x0) * dx + (Y - y0) * dy) / (dx * dx + dy * dy + 1e-8), 0, 1)
        gap = r0 + (r1 - r0) * along - np.hypot(X - x0 - along * dx, Y - y0 - along * dy)
        cover = np.clip(gap * SIDE / 2 + 0.5, 0, 1)
        shade = t * np.clip(0.72 + 0.4 * gap / max(r0, r1, 0.02), 0, 1.1)  # rounder: darker towards the edge
        alpha, tone = np.maximum(alpha, cover), tone * (1 - cover) + shade * cover
    return alpha, tone


def _fit(parts: np.ndarray) -> np.ndarray:
    """Centre and scale parts to fill the frame."""
    ends = np.concatenate([parts[:, :2], parts[:, 2:4]])
    low, high = ends.min(0), ends.max(0)
    scale = 1.7 / max((high - low).max() + 2 * parts[:, 4:6].max(), 0.3)
    parts[:, [0, 2]] -= (low + high)[0] / 2
    parts[:, [1, 3]] -= (low + high)[1] / 2
    parts[:, :6] *= scale
    parts[:, 4:6] = np.maximum(parts[:, 4:6], 0.022)  # a pixel wide at least
    return parts


def draw_line(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One branching, spiral, cracked or jointed figure of class ``index``."""
    own = np.random.default_rng([BANK_SEED, 2, index])
    kind, rows = index % 4, []
    width, tone = own.uniform(0.02, 0.06), own.uniform(0.3, 1)
    if kind == 0:  # tree: every branch splits in two or three
        forks, spread, shrink, levels = int(own.integers(2, 4)), own.uniform(0.3, 0.9), own.uniform(0.55, 0.8), 4
        tips = [(0.0, 0.9, -math.pi / 2, 0.6, width * 1.6)]
        for _ in range(levels if forks == 3 else levels + 1):
            grown = []
            for x, y, a, length, w in tips:
                a = a + rng.normal(0, 0.08)
                x1, y1 = x + length * math.cos(a), y + length * math.sin(a)
                rows.append((x, y, x1, y1, w, w * 0.7, tone))
                turns = np.linspace(-spread, spread, forks)
                grown += [(x1, y1, a + t, length * shrink * rng.uniform(0.85, 1.1), w * 0.7) for t in turns]
            tips = grown
    elif kind == 1:  # spiral or arch of constant turn
        turn, steps, thick = own.uniform(0.08, 0.35), int(own.integers(20, 60)), own.uniform(0.5, 2.5)
        arms, growth = int(own.integers(1, 4)), own.uniform(1.0, 1.05)
        for arm in range(arms):
            x, y, a, step = 0.0, 0.0, arm * 2 * math.pi / arms, 0.08
            for i in range(steps):
                a, step = a + turn / growth**i + rng.normal(0, 0.03), step * growth
                x1, y1 = x + step * math.cos(a), y + step * math.sin(a)
                w = width * thick * (0.4 + i / steps)
                rows.append((x, y, x1, y1, w, w, tone * (0.6 + 0.4 * i / steps)))
                x, y = x1, y1
    elif kind == 2:  # main line with side lines at fixed gaps and angles
        sides, lean, reach = int(own.integers(3, 10)), own.uniform(0.4, 1.6), own.uniform(0.3, 0.8)
        taper, bent, both = own.uniform(0, 1), own.uniform(-0.5, 0.5), own.random() < 0.7
        bend = bent + rng.normal(0, 0.06)
        spine = [(bend * math.sin(math.pi * t), 0.9 - 1.8 * t) for t in np.linspace(0, 1, sides + 2)]
        for (x, y), (x1, y1) in pairwise(spine):
            rows.append((x, y, x1, y1, width, width, tone))
        for i, (x, y) in enumerate(spine[1:-1]):
            length = reach * (1 - taper * i / sides)
            for side in (-1, 1) if both else ((-1) ** i,):
                a = -math.pi / 2 + side * (lean + rng.normal(0, 0.06))
                end = x + length * math.cos(a), y + length * math.sin(a)
                rows.append((x, y, *end, width * 0.8, width * 0.4, 0.7 * tone))
    else:  # chain of round links, with joints bent at class-specific angles
        links, sizes = int(own.integers(2, 6)), own.uniform(0.12, 0.42, 5)
        bends, tones = own.uniform(-0.7, 0.7, 5), own.uniform(0.3, 1, 5)
        bars, bar_length = int(own.integers(0, 4)), own.uniform(0.3, 0.7)
        x, y, a = 0.0, 0.0, own.uniform(0, 6.28)
        for i in range(links):
            a += bends[i] + rng.normal(0, 0.08)
            x1, y1 = x + 1.3 * sizes[i] * math.cos(a), y + 1.3 * sizes[i] * math.sin(a)
            for b in range(bars if i % 2 else 0):
                for side in (-1, 1):
                    turn = a + side * (1.0 + 0.5 * b + rng.normal(0, 0.07))
                    end = x + bar_length * math.cos(turn), y + bar_length * math.sin(turn)
                    rows.insert(0, (x, y, *end, width, width * 0.6, 0.4))
            rows.append((x, y, x1, y1, sizes[i] * 0.8, sizes[i] * 0.8, tones[i]))
            x, y = x + 1.9 * sizes[i] * math.cos(a), y + 1.9 * sizes[i] * math.sin(a)
    return _capsules(_fit(np.array(rows)))


def draw_arrangement(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """So many parts of one shape, arranged as class ``index`` says."""
    own = np.random.default_rng([BANK_SEED, 3, index])
    layout, count = index % 6, (3, 4, 6, 9, 13, 18)[index // 6 % 6]
    stretch, size = own.choice([0.0, 0.5, 1.2]), own.uniform(0.75, 1.15)
    lean, tones, middle = own.uniform(0, math.pi), own.uniform(0.35, 1, 2), own.random() < 0.4
    turn = rng.normal(0, 0.15)
    i = np.arange(count)
    if layout == 0:  # ring
        a, r = 2 * math.pi * i / count + turn, np.full(count, 0.62)
        x, y, facing, room = r * np.cos(a), r * np.sin(a), a + (lean > 1.5) * math.pi / 2, 1.9 / count
    elif layout == 1:  # row
        x, y, facing, room = (
            np.linspace(-0.8, 0.8, count),
            0.15 * np.sin(3 * i + lean),
            np.full(count, lean),
            1.2 / count,
        )
    elif layout == 2:  # grid
        n = math.ceil(math.sqrt(count))
        x, y = (i % n - (n - 1) / 2) * 1.5 / n, (i // n - (n - 1) / 2) * 1.5 / n
        facing, room = np.full(count, lean), 0.6 / n
    elif layout == 3:  # cluster: parts overlap
        a, r = 2.4 * i + turn, 0.5 * np.sqrt((i + 0.5) / count)
        x, y, facing, room = r * np.cos(a), r * np.sin(a), a + lean, 0.75 / math.sqrt(count)
    elif layout == 4:  # spiral, parts growing outwards
        a = 0.75 * i * (12 / (count + 4)) + turn
        r = 0.15 + 0.65 * i / count
        x, y, facing, room = r * np.cos(a), r * np.sin(a), a + lean, (0.05 + 0.22 * i / count)
    else:  # two concentric rings, the inner one turned
        half = max(count // 2, 2)
        a = np.where(i < half, 2 * math.pi * i / half, 2 * math.pi * (i - half) / max(count - half, 1) + 0.4) + turn
        r = np.where(i < half, 0.32, 0.72)
        x, y, facing, room = r * np.cos(a), r * np.sin(a), a, 1.2 / half * np.where(i < half, 0.5, 1.0)
    radius = np.clip(room * size * np.ones(count), 0.08, 0.45) * (0.8 if stretch else 1.0)
    x, y = x + rng.normal(0, 0.02, count), y + rng.normal(0, 0.02, count)
    facing = facing + rng.normal(0, 0.1, count)
    dx, dy = stretch * radius * np.cos(facing), stretch * radius * np.sin(facing)
    narrow = radius / (1 + stretch)
    tone = np.where(i % 2 == 0, tones[0], tones[1]) * rng.uniform(0.9, 1.1, count)
    parts = np.stack([x - dx, y - dy, x + dx, y + dy, narrow, narrow * (0.5 if lean > 2 else 1), tone], 1)
    if middle:
        parts = np.concatenate([parts, [[0, 0, 0, 0, 0.16, 0.16, 0.15]]])
    return _capsules(parts)


def build_bank() -> torch.Tensor:
    """Draw the bank: uint8, classes × variants × 2 (alpha, tone) × 80 × 80. Takes about a minute on one core."""
    bank = torch.zeros(len(class_names()), VARIANTS, 2, SIDE, SIDE, dtype=torch.uint8)
    painters = {"contour": draw_contour, "texture": draw_texture, "line": draw_line, "arrangement": draw_arrangement}
    label = 0
    for family, count in COUNTS.items():
        for index in range(count):
            for variant in range(VARIANTS):
                rng = np.random.default_rng([BANK_SEED, 7, label, variant])
                image = np.stack(painters[family](index, rng))
                bank[label, variant] = torch.from_numpy((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
            label += 1
    return bank


def load_bank(cache: Path | None = None) -> torch.Tensor:
    """The bank, from ``data/.cache`` when it was drawn before (the folder is not part of the repository)."""
    cache = cache or Path(__file__).parent / ".cache"
    path = cache / f"source_bank_{BANK_SEED}.pt"
    if path.is_file():
        return torch.load(path, weights_only=True)
    bank = build_bank()
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    torch.save(bank, partial)
    partial.replace(path)
    return bank


# ---------------------------------------------------------------- batches


def _colours(n: int, hue: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """n × 3 stops × RGB: three lightness steps of hues near ``hue`` (n, in turns)."""
    hue = hue[:, None] + 0.04 * torch.randn(n, 3, generator=g)
    saturation = torch.rand(n, 3, generator=g) ** 0.7
    value = (torch.tensor([0.2, 0.55, 0.9]) + 0.13 * torch.randn(n, 3, generator=g)).clamp(0.02, 1)
    wheel = (hue[..., None] * 6 + torch.tensor([5.0, 3.0, 1.0])) % 6
    return value[..., None] * (1 - saturation[..., None] * torch.minimum(wheel, 4 - wheel).clamp(0, 1))


def _ramp(tone: torch.Tensor, stops: torch.Tensor) -> torch.Tensor:
    """Map grey n×1×h×w through three colour stops n×3×3 to n×3×h×w."""
    low, mid, high = (stops[:, i, :, None, None] for i in range(3))
    return low + (mid - low) * (2 * tone).clamp(max=1) + (high - mid) * (2 * tone - 1).clamp(min=0)


def _pose(n: int, scale: tuple[float, float], shift: float, g: torch.Generator, turn: float = 0.6) -> torch.Tensor:
    """Random affine maps (n×2×3) from picture to bank coordinates; ``scale`` is the object's size in the picture."""
    angle = turn * torch.randn(n, generator=g).clamp(-2, 2)
    size = torch.empty(n).uniform_(*scale, generator=g)
    aspect = torch.exp(0.14 * torch.randn(n, generator=g).clamp(-2, 2))
    flip = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    shear = 0.12 * torch.randn(n, generator=g).clamp(-2, 2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [
            torch.stack([flip * cos / aspect, flip * (sin + shear) / aspect], -1),
            torch.stack([-sin * aspect, cos * aspect], -1),
        ],
        1,
    ) / size.view(-1, 1, 1)
    centre = torch.empty(n, 2, 1).uniform_(-shift, shift, generator=g) * (1.15 - size.clamp(max=1.1)).view(-1, 1, 1)
    return torch.cat([rows, -rows @ centre], 2)


def _paste(images: torch.Tensor, pose: torch.Tensor, size: int, padding: str = "zeros") -> torch.Tensor:
    grid = F.affine_grid(pose, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images.float() / 255, grid, padding_mode=padding, align_corners=False)


class Source:
    """Endless labelled batches from a bank (see :func:`load_bank`).

    >>> images, labels = Source(bank).batch(seed=0, step=0, n=8, size=64)   # 8×3×64×64 in 0..1, labels 0..471
    """

    def __init__(self, bank: torch.Tensor):
        self.bank = bank
        first_texture = COUNTS["contour"]
        self.textures = range(first_texture, first_texture + COUNTS["texture"])
        own = torch.Generator().manual_seed(BANK_SEED)
        # Classes share 24 hues, so colour narrows a class down but never settles it.
        self.hue = torch.randint(PALETTES, (len(bank),), generator=own) / PALETTES

    def batch(
        self, seed: int, step: int, n: int = 64, size: int = 64, hard: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images n×3×size×size (float32, 0..1) and labels n (int64); the same for the same arguments.

        ``hard`` in 0..1 scales how often there is clutter, occlusion and blur, and how strong the noise is.
        """
        g = torch.Generator().manual_seed((seed * 1_000_003 + step) * 7919 + 17)
        variants = self.bank.shape[1]

        def chance(p: float) -> torch.Tensor:
            return (torch.rand(n, 1, 1, 1, generator=g) < p).float()

        def draw(low: int, high: int) -> torch.Tensor:
            return torch.randint(low, high, (n,), generator=g)

        labels = draw(0, len(self.bank))
        things = self.bank[labels, draw(0, variants)]
        is_texture = (labels >= self.textures.start) & (labels < self.textures.stop)

        # Background: a random texture in random colours, often smooth, darkened or lightened on one side.
        behind = self.bank[draw(self.textures.start, self.textures.stop), draw(0, variants), 1:]
        behind = _paste(behind, _pose(n, (0.9, 2.5), 0.5, g), size, "reflection")
        contrast = torch.rand(n, 1, 1, 1, generator=g)
        behind = 0.5 + (behind - 0.5) * contrast + 0.4 * (torch.rand(n, 1, 1, 1, generator=g) - 0.5)
        soft = F.avg_pool2d(F.pad(behind, (4, 4, 4, 4), mode="replicate"), 9, 1)
        behind = torch.where(chance(0.6) > 0, soft, behind).clamp(0, 1)
        picture = _ramp(behind, _colours(n, torch.rand(n, generator=g), g))

        # One other thing, small and behind, as clutter.
        other = self.bank[draw(0, self.textures.start), draw(0, variants)]
        other = _paste(other, _pose(n, (0.2, 0.45), 1.0, g), size)
        cover = other[:, :1] * chance(0.4 * hard)
        picture = picture * (1 - cover) + cover * _ramp(other[:, 1:], _colours(n, torch.rand(n, generator=g), g))

        # The thing itself. Half of the textures fill the frame, the others fill a random outline.
        large = _pose(n, (0.7, 1.1), 0.6, g)
        zoom = _pose(n, (1.0, 1.5), 0.3, g)
        mask = self.bank[torch.where(is_texture, draw(0, self.textures.start), labels), draw(0, variants), :1]
        pose = torch.where(is_texture[:, None, None], zoom, large)
        thing = _paste(things, pose, size, "reflection")
        alpha = _paste(things[:, :1], pose, size)
        outline = _paste(mask, large, size)
        full = (chance(0.5) > 0) | (outline.mean((1, 2, 3), keepdim=True) < 0.25)
        textured = torch.where(full, torch.ones_like(outline), outline)
        alpha = torch.where(is_texture[:, None, None, None], textured, alpha)
        # Three in four show the class's own hue; every one has its own lightness and saturation.
        hue = torch.where(chance(0.75).flatten() > 0, self.hue[labels], torch.rand(n, generator=g))
        shadow = torch.roll(alpha, (2, 2), (2, 3)) * 0.35 * chance(0.5)
        picture = picture * (1 - shadow)
        picture = picture * (1 - alpha) + alpha * _ramp(thing[:, 1:], _colours(n, hue, g))

        # Light from one side, blur, something in front, colour cast, noise.
        slope = _paste(
            torch.arange(256).view(1, 1, 1, 256).expand(n, 1, 256, 256).byte()[:, :, ::4, ::4],
            _pose(n, (1.5, 3.0), 0.3, g, turn=2.0),
            size,
            "border",
        )
        picture = picture * (1 + 0.7 * (slope - 0.5) * torch.rand(n, 1, 1, 1, generator=g))
        kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        kernel = (kernel[:, None] * kernel).expand(3, 1, 5, 5)
        blurred = F.conv2d(F.pad(picture, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
        picture = torch.lerp(picture, blurred, chance(0.35 * hard) * torch.rand(n, 1, 1, 1, generator=g))
        front = _paste(mask[torch.randperm(n, generator=g)], _pose(n, (0.15, 0.35), 1.0, g), size)
        front = front * chance(0.3 * hard)
        picture = picture * (1 - front) + front * torch.rand(n, 3, 1, 1, generator=g)
        cast = 1 + 0.12 * torch.randn(n, 3, 1, 1, generator=g)
        light = 0.1 * torch.randn(n, 1, 1, 1, generator=g)
        level = picture.mean((1, 2, 3), keepdim=True)
        contrast = torch.empty(n, 1, 1, 1).uniform_(0.6, 1.25, generator=g)
        picture = ((picture - level) * contrast + level + light) * cast
        grain = 0.06 * hard * torch.rand(n, 1, 1, 1, generator=g) ** 2
        picture = picture + grain * torch.randn(n, 1, size, size, generator=g)
        return picture.clamp(0, 1), labels


if __name__ == "__main__":
    from torchvision.utils import save_image

    save_image(Source(load_bank()).batch(seed=0, step=0, n=120)[0], sys.argv[1], nrow=15)
