"""Heads of cats, dogs, deer, horses and monkeys: shapes facing +x, the skull's radius about 1."""

import numpy as np
from things_shapes import ellipsoid, extrude, limb, moved, striped, turn

BLACK = (0.04, 0.035, 0.035)


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


def _pupil(iris, slit=0.35):
    """An eye that looks along +x: iris, dark pupil, dark rim."""

    def look(local):
        x, y, z = local.T
        r = np.hypot(y * 0.7, z / max(slit, 0.1) * 0.5)
        colour = np.where((r < 0.38)[:, None], BLACK, iris)
        return np.where((x < 0.15)[:, None], BLACK, colour)

    return look


def cat_head(rng, face, base, mane):
    iris = pick(rng, (0.75, 0.7, 0.2), (0.45, 0.65, 0.25), (0.8, 0.55, 0.15), (0.35, 0.6, 0.8))
    tabby = rng.random() < 0.35
    skull = striped(face, face * 0.6, 0.5, 0.35, axis=2, wobble=0.15) if tabby else face
    muzzle = np.clip(face * 1.3 + 0.1, 0, 0.95) if rng.random() < 0.6 else face
    shapes = [ellipsoid((0, 0, 0), (0.95, 0.9, 1.02), skull), ellipsoid((0.2, -0.28, 0), (0.75, 0.58, 0.95), face)]
    shapes += [ellipsoid((0.78, -0.36, s * 0.2), (0.33, 0.25, 0.28), muzzle) for s in (-1, 1)]
    shapes.append(ellipsoid((0.7, -0.62, 0), (0.28, 0.18, 0.25), muzzle))
    shapes.append(ellipsoid((1.06, -0.2, 0), (0.12, 0.1, 0.14), pick(rng, (0.75, 0.42, 0.4), (0.25, 0.15, 0.14))))
    shapes.append(ellipsoid((1.04, -0.46, 0), (0.05, 0.14, 0.03), (0.2, 0.12, 0.1)))
    for s in (-1, 1):
        shapes.append(
            moved(
                ellipsoid((0, 0, 0), (0.2, 0.22, 0.26), _pupil(iris, rng.uniform(0.25, 0.7))),
                (0.76, 0.12, s * 0.42),
                turn(-s * 18),
            )
        )
        ear = [(-0.5, 0), (0.5, 0), (rng.uniform(-0.1, 0.1), 0.98)]
        outer = extrude(ear, 0.09, face * 0.9)
        inner = extrude(np.array(ear) * 0.62 + [0, 0.08], 0.03, (0.72, 0.5, 0.46))
        spread = turn(90 - s * 22, s * -16)
        for part, push in ((outer, 0), (inner, 0.12)):
            shapes.append(moved(part, (0.02 + push, 0.6, s * 0.62), spread))
    return shapes


def dog_head(rng, face, base, mane):
    long = rng.uniform(0.45, 1.15)
    muzzle = pick(rng, face, np.clip(face * 1.35, 0, 0.95), face * 0.45, np.array((0.9, 0.88, 0.84)))
    tip = np.array((0.72 + long, -0.38, 0))
    shapes = [ellipsoid((0, 0, 0), (0.95, 0.88, 0.85), face)]
    shapes.append(limb([(0.35, -0.22, 0), tip], [0.56, rng.uniform(0.32, 0.42)], muzzle))
    shapes.append(ellipsoid(tip + (0.28, 0.16, 0), (0.2, 0.17, 0.22), (0.05, 0.045, 0.045)))
    shapes.append(limb([(0.55, -0.62, 0), tip + (0.05, -0.28, 0)], [0.26, 0.2], muzzle * 0.8))
    if rng.random() < 0.4:  # tongue
        shapes.append(limb([tip + (0.1, -0.36, 0), tip + (0.22, -0.72, 0.05)], [0.16, 0.13], (0.85, 0.42, 0.45)))
    for s in (-1, 1):
        shapes.append(ellipsoid((0.74, 0.22, s * 0.4), (0.16, 0.16, 0.16), _pupil((0.25, 0.14, 0.08), 0.8)))
    ear = face * pick(rng, 1.0, 0.6, 0.75)
    if rng.random() < 0.6:  # hanging
        drop = rng.uniform(0.55, 1.0)
        shapes += [
            moved(ellipsoid((0, -drop * 0.6, 0), (0.36, drop, 0.14), ear), (-0.1, 0.45, s * 0.82), turn(0, 8, s * -12))
            for s in (-1, 1)
        ]
    else:  # pricked
        for s in (-1, 1):
            shapes.append(
                limb([(-0.15, 0.5, s * 0.5), (-0.2, 1.0, s * 0.62), (-0.18, 1.45, s * 0.66)], [0.36, 0.25, 0.04], ear)
            )
            shapes.append(limb([(0.12, 0.72, s * 0.54), (0.0, 1.15, s * 0.63)], [0.17, 0.04], (0.6, 0.45, 0.4)))
    return shapes


def deer_head(rng, face, base, mane):
    pale = np.clip(face * 1.5, 0, 0.92)
    shapes = [
        ellipsoid((0, 0, 0), (0.85, 0.72, 0.62), face),
        limb([(0.3, -0.08, 0), (1.1, -0.36, 0), (1.65, -0.52, 0)], [0.52, 0.36, 0.3], face),
    ]
    shapes += [
        ellipsoid((1.9, -0.5, 0), (0.14, 0.16, 0.2), BLACK),
        limb([(0.9, -0.6, 0), (1.7, -0.74, 0)], [0.2, 0.18], pale),
    ]
    for s in (-1, 1):
        shapes.append(ellipsoid((0.42, 0.16, s * 0.52), (0.17, 0.17, 0.12), BLACK))
        leaf = turn(0, 0, s * -rng.uniform(20, 45))
        shapes.append(moved(ellipsoid((0, 0, s * 0.55), (0.2, 0.3, 0.66), face * 0.9), (-0.42, 0.45, s * 0.4), leaf))
        shapes.append(moved(ellipsoid((0.13, -0.02, s * 0.58), (0.1, 0.2, 0.5), pale), (-0.42, 0.45, s * 0.4), leaf))
    if rng.random() < 0.6:
        shapes += _antlers(rng)
    return shapes


def _antlers(rng):
    bone = np.array((0.62, 0.5, 0.36)) * rng.uniform(0.7, 1.15)
    size, tines, shapes = rng.uniform(1.2, 2.7), int(rng.integers(1, 4)), []
    for s in (-1, 1):
        beam = [
            np.array((-0.2, 0.6, s * 0.28)),
            np.array((-0.5, 0.6 + 0.45 * size, s * (0.3 + 0.4 * size))),
            np.array((-0.1, 0.6 + size, s * (0.3 + 0.45 * size))),
        ]
        shapes.append(limb(beam, [0.13, 0.11, 0.05], bone))
        for k in range(tines):
            q = (k + 0.6) / (tines + 0.5)
            root = beam[0] * (1 - q) + beam[1] * q if q < 0.6 else beam[1]
            shapes.append(limb([root, root + (0.34 * size, 0.3 * size, s * 0.05)], [0.09, 0.03], bone))
    return shapes


def horse_head(rng, face, base, mane):
    shapes = [ellipsoid((0, 0, 0), (0.85, 0.85, 0.58), face)]
    shapes.append(limb([(0.25, 0.0, 0), (1.2, -0.75, 0), (1.9, -1.3, 0)], [0.66, 0.46, 0.4], face))
    dark = face * pick(rng, 1.0, 0.45)
    shapes.append(ellipsoid((2.0, -1.36, 0), (0.36, 0.36, 0.36), dark))
    if rng.random() < 0.45:  # a blaze
        shapes.append(limb([(0.62, 0.32, 0), (1.5, -0.42, 0), (2.1, -1.05, 0)], [0.3, 0.24, 0.22], (0.9, 0.89, 0.86)))
    for s in (-1, 1):
        shapes.append(ellipsoid((0.6, 0.05, s * 0.52), (0.17, 0.17, 0.12), BLACK))
        shapes.append(ellipsoid((2.2, -1.25, s * 0.25), (0.13, 0.1, 0.1), BLACK))
        shapes.append(limb([(-0.3, 0.68, s * 0.34), (-0.2, 1.35, s * 0.42)], [0.24, 0.04], face))
    shapes.append(ellipsoid((0.2, 0.7, 0), (0.5, 0.3, 0.28), mane))
    if rng.random() < 0.2:  # a halter
        for a, b, r in (((1.25, -0.72, 0), (1.35, -0.82, 0), 0.5),):
            shapes.append(limb([a, b], r, pick(rng, (0.7, 0.15, 0.15), (0.15, 0.25, 0.6), (0.2, 0.12, 0.08))))
    return shapes


def monkey_head(rng, base, face):
    """A round head with a bare, pale or dark face, the eyes close together, ears at the sides."""
    ruff = np.clip(base * pick(rng, 1.0, 1.0, 1.5, 0.6), 0, 0.9)
    shapes = [ellipsoid((-0.1, 0.08, 0), (0.92, 0.98, 0.95), base)]
    shapes.append(ellipsoid((0.05, -0.1, 0), (0.72, 0.82, 1.05), ruff))
    shapes.append(ellipsoid((0.42, 0.1, 0), (0.48, 0.58, 0.62), face))
    muzzle = np.clip(face * pick(rng, 1.0, 1.12, 0.85), 0, 0.95)
    push = rng.uniform(0.7, 0.9)
    shapes.append(ellipsoid((push, -0.36, 0), (0.42, 0.38, 0.46), muzzle))
    shapes += [ellipsoid((push + 0.37, -0.2, s * 0.1), (0.06, 0.05, 0.06), BLACK) for s in (-1, 1)]
    shapes.append(
        limb([(push + 0.3, -0.5, -0.26), (push + 0.38, -0.54, 0), (push + 0.3, -0.5, 0.26)], 0.035, face * 0.4)
    )
    shapes.append(limb([(0.8, 0.34, -0.38), (0.86, 0.36, 0), (0.8, 0.34, 0.38)], 0.12, face * 0.85))
    for s in (-1, 1):
        shapes.append(ellipsoid((0.84, 0.16, s * 0.23), (0.11, 0.12, 0.13), _pupil((0.35, 0.2, 0.1), 0.9)))
        big = rng.uniform(0.26, 0.36)
        shapes.append(ellipsoid((-0.05, 0.05, s * 1.02), (0.12, big, big * 0.75), face * 0.85))
    return shapes


HEADS = {"cat": cat_head, "dog": dog_head, "deer": deer_head, "horse": horse_head, "monkey": monkey_head}
