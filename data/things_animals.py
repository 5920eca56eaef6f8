"""Cats, dogs, deer and horses (one four-legged plan), birds and monkeys: shapes about two units long, facing +x.

Each function returns (shapes, pose). A pose may name a `yaw` to be seen from, the `places` it can stand in, a `focus`
(spot, radius) for a portrait, `extra` shapes that do not count for the framing (a branch), and `aloft` for what flies.
"""

import numpy as np
from things_heads import HEADS, pick
from things_shapes import ellipsoid, extrude, limb, moved, patches, plate, striped, turn, two_tone

FUR = {  # coats: base, and what may lie on it
    "cat": [(0.1, 0.09, 0.09), (0.78, 0.5, 0.24), (0.5, 0.46, 0.42), (0.88, 0.86, 0.82), (0.62, 0.56, 0.48),
            (0.45, 0.34, 0.24), (0.36, 0.36, 0.38)],
    "dog": [(0.1, 0.09, 0.08), (0.8, 0.62, 0.38), (0.42, 0.26, 0.15), (0.88, 0.85, 0.8), (0.6, 0.42, 0.24),
            (0.5, 0.48, 0.46), (0.7, 0.4, 0.2)],
    "deer": [(0.58, 0.38, 0.22), (0.5, 0.34, 0.22), (0.44, 0.35, 0.27), (0.66, 0.46, 0.28)],
    "horse": [(0.42, 0.24, 0.13), (0.56, 0.33, 0.17), (0.12, 0.1, 0.09), (0.86, 0.84, 0.8), (0.55, 0.54, 0.53),
              (0.72, 0.55, 0.33), (0.28, 0.17, 0.11)],
}  # fmt: skip


def fur(rng, name):
    base = FUR[name][rng.integers(len(FUR[name]))]
    return np.clip(np.array(base) * rng.uniform(0.85, 1.15) + rng.normal(0, 0.015, 3), 0.03, 0.97)


def coat_of(rng, name):
    """The colour function of the body, the plain base, the colour of the legs' ends and of the head."""
    base = fur(rng, name)
    shift, dark, white = rng.uniform(0, 9), base * 0.5, np.array((0.9, 0.88, 0.84))
    look, feet, head = base, base, base
    kind = rng.random()
    if name == "cat":
        if kind < 0.4:
            look, head = striped(base, dark, 4.5, 0.42), base
        elif kind < 0.65:
            look = patches(base, white, rng.uniform(0.3, 0.6), 1.4, shift)
            feet = white
        elif kind < 0.75:  # Siamese
            base = np.array((0.86, 0.78, 0.66))
            look, feet, head = base, np.array((0.25, 0.18, 0.14)), base
    elif name == "dog":
        if kind < 0.3:
            look, feet = patches(base, white, rng.uniform(0.3, 0.6), 1.2, shift), white
        elif kind < 0.5:
            look, feet = two_tone(base, white if rng.random() < 0.5 else base * 1.5, -0.3, 0.5), white
        elif kind < 0.6:
            base = white
            look, feet, head = patches(white, (0.08, 0.07, 0.07), 0.22, 3.2, shift), white, white
    elif name == "deer":
        pale = np.clip(base * 1.55, 0, 0.92)
        upper = patches(base, white, 0.13, 5.5, shift, 0.3) if kind < 0.35 else base
        look, feet = two_tone(upper, pale, -0.45, 0.4), base * 0.8
    else:
        if kind < 0.15:
            look = patches(base, white, rng.uniform(0.35, 0.55), 1.0, shift)
        elif kind < 0.25:
            look = patches(base, base * 1.35, 0.3, 4, shift, 0.6)
        feet = pick(rng, base * 0.5, base * 0.5, white)
    return look, base, feet, head


PLANS = {  # lengths: torso half, height of the back, torso radius hip/belly/chest, leg radius, neck, head size
    "cat": dict(half=(0.46, 0.54), back=(0.56, 0.64), thick=(0.2, 0.21, 0.19), leg=0.075,
                neck=(0.16, 0.16, 0.16), head=0.21),
    "dog": dict(half=(0.44, 0.54), back=(0.62, 0.92), thick=(0.18, 0.18, 0.23), leg=0.08,
                neck=(0.2, 0.24, 0.16), head=0.185),
    "deer": dict(half=(0.46, 0.52), back=(0.98, 1.1), thick=(0.2, 0.2, 0.23), leg=0.046,
                 neck=(0.3, 0.42, 0.13), head=0.15),
    "horse": dict(half=(0.54, 0.6), back=(1.04, 1.14), thick=(0.27, 0.27, 0.28), leg=0.07,
                  neck=(0.38, 0.42, 0.19), head=0.17),
}  # fmt: skip


def _leg(joints, radius, look, end, hoof=None):
    """A leg through its joints, thinner towards the ground, with a paw or a hoof."""
    joints = np.array(joints, float)
    foot, count = joints[-1], len(joints)

    def tint(p):
        return np.where(p[:, :1] > 0.68, end, look)

    radii = (
        [radius * 1.8, radius * 1.25, radius * 0.85, radius * 0.72][-count:]
        if count == 4
        else [radius * 1.7, radius, radius * 0.72]
    )
    parts = [limb(joints, radii, tint)]
    if hoof is not None:
        parts.append(limb([foot, foot + (0.03, -0.03, 0)], radius * 0.9, hoof))
    else:
        parts.append(ellipsoid(foot + (0.04, 0.0, 0), (radius * 1.35, radius * 0.75, radius * 1.05), end))
    return parts


def four_legged(rng, name):
    plan, (look, base, feet, face) = PLANS[name], coat_of(rng, name)
    half, back = rng.uniform(*plan["half"]), rng.uniform(*plan["back"])
    thick = np.array(plan["thick"]) * rng.uniform(0.88, 1.14)
    leg = plan["leg"] * rng.uniform(0.85, 1.2)
    big, hoofed = plan["head"] * rng.uniform(0.92, 1.12), name in ("deer", "horse")
    hoof = (0.12, 0.1, 0.09) if hoofed else None
    poses = (
        ["stand", "stand", "walk"]
        + (["graze"] if hoofed else ["sit", "sit", "sit", "lie"])
        + (["lie"] if name == "deer" else [])
    )
    posture = poses[rng.integers(len(poses))]
    shapes, z = [], thick[2] * 0.55
    body = _on_body(look)
    if posture == "sit":
        hip, chest = np.array((-0.36, thick[0] + 0.02, 0)), np.array((0.12, back * 0.86, 0))
        shapes.append(limb([hip, (hip + chest) / 2 + (-0.06, 0.06, 0), chest], thick * [1.15, 1.1, 0.95], body))
        for s in (-1, 1):
            joints = [chest + (0.04, -0.08, s * z), (0.2, back * 0.4, s * z), (0.22, 0.05, s * z)]
            shapes += _leg(joints, leg, base, feet)
            shapes.append(ellipsoid((-0.26, 0.2, s * thick[0] * 0.85), (0.26, 0.2, 0.11), base))
            shapes.append(limb([(-0.2, 0.06, s * thick[0]), (0.08, 0.05, s * thick[0])], leg * 0.9, feet))
        shoulder, rump = chest, hip + (-0.12, 0, 0)
    elif posture == "lie":
        low = thick[1] * 0.95
        hip, chest = np.array((-half, low, 0)), np.array((half * 0.8, low * 1.1, 0))
        shapes.append(limb([hip, (0, low, 0), chest], thick, body))
        for s in (-1, 1):
            shapes.append(limb([chest + (0, -0.1, s * z), (half + 0.3, 0.06, s * z)], [leg * 1.5, leg], feet))
            shapes.append(ellipsoid((-half + 0.05, low * 0.85, s * thick[0] * 0.7), (0.27, low * 0.85, 0.13), base))
            shapes.append(limb([(-half, 0.05, s * thick[0]), (-half + 0.3, 0.05, s * thick[0] * 1.2)], leg * 0.9, feet))
        shoulder, rump = chest, hip
    else:
        hip, chest = np.array((-half, back - thick[0], 0)), np.array((half, back - thick[2] * 1.02, 0))
        loin = np.array((-half * 0.3, hip[1] + 0.02, 0))
        girth = np.array((half * 0.45, chest[1] - 0.03, 0))
        shapes.append(
            limb([hip, loin, girth, chest], [thick[0], thick[1] * 0.9, thick[2] * 1.04, thick[2] * 0.86], body)
        )
        if name == "horse":
            shapes.append(ellipsoid(hip + (0.03, 0.02, 0), (0.3, 0.29, 0.27), body))
        stride = rng.uniform(0.1, 0.24) if posture == "walk" else rng.uniform(0, 0.06)
        for k, s in enumerate((-1, 1)):
            step = stride * (1 if k else -1)
            x, y = chest[0] - 0.03, chest[1]
            bend = 0.05 if step > 0 and posture == "walk" else 0.0
            joints = [(x, y - 0.02, s * z), (x + step * 0.6 + bend, y * 0.48, s * z), (x + step, 0.04 + bend, s * z)]
            shapes += _leg(joints, leg, base, feet, hoof)
            x, y = hip[:2]
            joints = [(x, y, s * z), (x + 0.06 - step * 0.2, y * 0.66, s * z), (x - 0.12 - step * 0.6, y * 0.38, s * z)]
            shapes += _leg([*joints, (x - 0.06 - step, 0.04, s * z)], leg * 1.05, base, feet, hoof)
            shapes.append(ellipsoid((x + 0.02, y - 0.05, s * z * 0.9), (0.17, 0.24 * back, 0.1), base))
        shoulder, rump = chest, hip
    reach, rise, wide = (v * rng.uniform(0.85, 1.15) for v in plan["neck"])
    if posture == "graze":
        rise, reach = -shoulder[1] * 0.62, reach * 1.35
    elif rng.random() < 0.2 and not hoofed:
        rise *= 0.3
    top = shoulder + (reach, rise, 0)
    start = shoulder + (0.02, 0.06, 0)
    shapes.append(
        limb(
            [start, (start + top) / 2 + (0.02, 0.04 if rise > 0 else 0, 0), top],
            [thick[2] * 0.85, wide * 1.15, wide * 0.85],
            base,
        )
    )
    turned = rng.choice([rng.normal(0, 12), rng.uniform(-80, -35), rng.uniform(-60, 30)])
    nod = rng.uniform(-18, 12) if posture != "graze" else rng.uniform(-50, -25)
    kind, mane = HEADS[name], base * 0.35 if rng.random() < 0.7 else np.array((0.8, 0.75, 0.62))
    head = kind(rng, face, base, mane)
    place = top + np.array((0.06, 0.05, 0))
    shapes += [moved(part, place, turn(turned, nod), big) for part in head]
    shapes += _tail(rng, name, rump + (-0.1, 0.06, 0), base, mane, thick, posture)
    if name == "horse":  # the mane hangs on both sides of the crest
        for t in np.linspace(0.05, 1.0, 8):
            spot = start + t * (top - start) + (-wide * 0.62, wide * 0.45, 0)
            for s in (-1, 1):
                shapes.append(ellipsoid(spot + (0, -0.05, s * wide * 0.5), (0.07, 0.13, 0.05), mane))
        if rng.random() < 0.12:  # saddled
            shapes.append(ellipsoid((-0.02, back - 0.04, 0), (0.22, 0.1, thick[1] * 1.08), (0.25, 0.13, 0.08)))
    pose = {}
    if posture in ("sit", "lie") or name in ("cat", "dog"):
        if rng.random() < 0.6:
            pose["yaw"] = rng.uniform(-75, -10)
    if rng.random() < {"cat": 0.36, "dog": 0.36, "deer": 0.2, "horse": 0.22}[name]:  # a portrait
        pose["focus"] = (place, big * rng.uniform(2.0, 3.0) * (1.25 if hoofed else 1))
        pose["yaw"] = rng.uniform(-60, -15) - turned * 0.5
    return shapes, pose


def _on_body(look):
    """Colour functions of a torso get (share of length, angle, radius); patterns expect places on a unit body."""
    if not callable(look):
        return look

    def colour(local):
        share, angle, _ = local.T
        return look(np.stack([2 * share - 1, -np.cos(angle), np.sin(angle)], 1))  # angle 0 is the belly

    return colour


def _tail(rng, name, root, base, mane, thick, posture):
    if name == "cat":
        up = rng.uniform(-0.1, 0.75) if posture in ("stand", "walk") else -0.05
        points = [
            root,
            root + (-0.22, 0.1 * up, 0),
            root + (-0.38, 0.5 * up, 0.06),
            root + (-0.36, max(up, -root[1] + 0.08), 0.16),
        ]
        return [
            limb(points, [0.06, 0.055, 0.05, 0.04], striped(base, base * 0.55, 3, 0.4) if rng.random() < 0.4 else base)
        ]
    if name == "dog":
        kind = rng.random()
        if kind < 0.35:  # curled over the back
            return [
                limb(
                    [root, root + (-0.12, 0.2, 0), root + (0.02, 0.34, 0), root + (0.12, 0.24, 0.03)],
                    [0.07, 0.07, 0.06, 0.03],
                    base,
                )
            ]
        up = rng.uniform(-0.3, 0.35)
        return [
            limb(
                [root, root + (-0.2, up * 0.5, 0), root + (-0.42, up, 0)],
                [0.06, 0.06 + 0.05 * (kind > 0.7), 0.025],
                base,
            )
        ]
    if name == "deer":
        return [
            ellipsoid(root + (-0.04, -0.02, 0), (0.06, 0.1, 0.06), (0.9, 0.88, 0.82)),
            ellipsoid(root + (0.0, -0.1, 0), (0.06, 0.12, 0.12), (0.85, 0.8, 0.7)),
        ]
    drop = rng.uniform(0.55, 0.8)
    sway = rng.uniform(0.05, 0.25)
    return [
        limb(
            [
                root + (-0.02, 0.08, 0),
                root + (-0.14 - sway * 0.4, 0, 0),
                root + (-0.15 - sway, -drop * 0.6, 0),
                root + (-0.12 - sway, -drop, 0),
            ],
            [0.05, 0.08, 0.09, 0.03],
            mane,
        )
    ]


def cat(rng):
    return four_legged(rng, "cat")


def dog(rng):
    return four_legged(rng, "dog")


def deer(rng):
    return four_legged(rng, "deer")


def horse(rng):
    return four_legged(rng, "horse")


# ---------------------------------------------------------------- birds
PLUMAGE = [  # back, breast, wing, beak
    ((0.42, 0.32, 0.24), (0.7, 0.62, 0.5), (0.3, 0.22, 0.17), (0.3, 0.26, 0.2)),
    ((0.12, 0.12, 0.14), (0.12, 0.12, 0.14), (0.08, 0.08, 0.1), (0.85, 0.6, 0.1)),
    ((0.4, 0.42, 0.45), (0.75, 0.36, 0.18), (0.3, 0.3, 0.33), (0.25, 0.2, 0.15)),
    ((0.2, 0.4, 0.7), (0.85, 0.8, 0.72), (0.16, 0.3, 0.6), (0.15, 0.15, 0.15)),
    ((0.75, 0.12, 0.1), (0.8, 0.2, 0.15), (0.45, 0.1, 0.1), (0.85, 0.5, 0.2)),
    ((0.85, 0.72, 0.15), (0.9, 0.82, 0.3), (0.3, 0.3, 0.25), (0.8, 0.5, 0.3)),
    ((0.2, 0.5, 0.22), (0.45, 0.65, 0.25), (0.15, 0.4, 0.3), (0.75, 0.25, 0.15)),
    ((0.92, 0.92, 0.9), (0.94, 0.94, 0.92), (0.8, 0.81, 0.83), (0.9, 0.6, 0.15)),
    ((0.55, 0.57, 0.6), (0.62, 0.63, 0.66), (0.42, 0.44, 0.48), (0.2, 0.2, 0.2)),
]  # fmt: skip


def bird(rng):
    back, breast, wing, beak = (np.array(c) * rng.uniform(0.85, 1.15) for c in PLUMAGE[rng.integers(len(PLUMAGE))])
    kind = pick(rng, "perch", "perch", "perch", "fly", "fly", "swim", "swim", "wade", "ground")
    if kind == "fly":
        return _flying(rng, back, breast, wing, beak)
    if kind == "swim":
        return _swimming(rng)
    if kind == "wade":
        return _wading(rng)
    plump, up = rng.uniform(0.3, 0.42), rng.uniform(0.1, 0.9)
    axis = np.array((np.cos(up), np.sin(up), 0))
    body = two_tone(back, breast, rng.uniform(-0.2, 0.3), 0.35)
    frame = turn(0, np.degrees(up))
    shapes = [moved(ellipsoid((0, 0, 0), (0.55, plump, plump * 0.92), body), (0, 0, 0), frame)]
    head = axis * 0.48 + (0.06, 0.16, 0)
    size = rng.uniform(0.22, 0.28)
    cap = back if rng.random() < 0.6 else np.clip(rng.uniform(0, 1, 3), 0.05, 0.9) * 0.8
    shapes.append(limb([axis * 0.3 + (0, 0.05, 0), head], [plump * 0.85, size], breast))
    shapes.append(ellipsoid(head, size, two_tone(cap, breast, rng.uniform(-0.4, 0.2), 0.2)))
    length = rng.choice([rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.34)])
    tip = head + (size * 0.8 + length, -0.06 - 0.05 * rng.random(), 0)
    shapes.append(limb([head + (size * 0.7, -0.02, 0), tip], [0.085, 0.012], beak))
    shapes += [ellipsoid(head + (size * 0.55, 0.06, s * size * 0.76), 0.042, (0.03, 0.03, 0.03)) for s in (-1, 1)]
    for s in (-1, 1):  # folded wings, darker towards their end, with a bar
        bar = rng.random() < 0.4

        def tint(p, bar=bar):
            plain = np.where(p[:, :1] < -0.4, wing * 0.6, wing)
            return np.where((np.abs(p[:, :1] + 0.1) < 0.12) & bar, (0.85, 0.85, 0.82), plain)

        shapes.append(
            moved(ellipsoid((-0.16, 0.02, s * plump * 0.74), (0.5, plump * 0.62, 0.1), tint), (0, 0, 0), frame)
        )
    long = rng.uniform(0.4, 0.8)
    tail = [(-0.42, 0.07), (-0.45 - long, 0.03), (-0.45 - long, -0.06), (-0.42, -0.1)]
    shapes.append(
        moved(extrude(tail, rng.uniform(0.08, 0.16), wing * 0.8), (0, 0, 0), frame @ turn(0, -np.degrees(up) * 0.25))
    )
    foot = -plump - rng.uniform(0.1, 0.22)
    for s in (-1, 1):
        shapes.append(limb([(0.0, -plump * 0.8, s * 0.1), (0.04, foot, s * 0.1)], 0.025, beak * 0.8))
        shapes.append(limb([(-0.05, foot, s * 0.1), (0.12, foot, s * 0.1)], 0.025, beak * 0.8))
    pose = {
        "yaw": rng.choice([rng.uniform(-50, 25), rng.uniform(-80, 30)]),
        "places": "trees|grass hills|snow town|road sky|sand wall|dirt trees|litter sky|grass",
    }
    if kind == "perch":
        bark = np.array((0.35, 0.26, 0.18)) * rng.uniform(0.6, 1.3)
        lift = rng.uniform(-0.35, 0.35)
        thick = rng.uniform(0.05, 0.13)
        branch = [
            limb(
                [
                    (-3, foot - thick - lift, rng.uniform(-0.5, 0.5)),
                    (0, foot - thick, 0),
                    (3, foot - thick + lift + 0.3, rng.uniform(-0.5, 0.5)),
                ],
                thick,
                bark,
            )
        ]
        for _ in range(int(rng.integers(0, 3))):
            x = rng.uniform(-1, 1)
            branch.append(
                limb(
                    [(x, foot - thick, 0), (x + rng.normal(0, 0.4), foot + rng.uniform(-0.9, 0.7), rng.normal(0, 0.3))],
                    [thick * 0.6, 0.02],
                    bark,
                )
            )
        pose |= {"extra": branch, "places": "leaves|- leaves|- leaves|- sky|- trees|- town|-"}
    return shapes, pose


def _wing(rng, root, span, chord, lift, side, top, dark):
    """One spread wing: arched, bent back at the wrist, the long feathers of the hand apart like fingers."""
    arch, sweep, fingers = rng.uniform(0.1, 0.5), rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.4)
    bar = rng.uniform(0.35, 0.7)

    def sample(dots):
        u, v = np.meshgrid(np.linspace(0, 1, int(1.5 * span * dots)), np.linspace(0, 1, int(1.5 * chord * dots)))
        u, v = u.ravel(), v.ravel()
        lead = (
            root[0]
            + chord * 0.45
            + 0.16 * np.sin(np.pi * np.clip(u / 0.9, 0, 1))
            - sweep * np.clip(u - 0.45, 0, 1) ** 1.5
        )
        width = chord * (1 - 0.2 * u) * np.sqrt(np.clip(1 - u**6, 0, 1))
        ragged = fingers * np.clip(u - 0.5, 0, 1) * 2 * np.abs(np.sin(u * 26)) + 0.05 * np.abs(np.sin(u * 30))
        width = width * (1 - ragged)
        x = lead - v * width
        y = root[1] + lift * span * u - arch * span * u**2 + 0.04 * np.sin(np.pi * v)
        position = np.stack([x, y, side * (0.05 + span * u)], 1)
        normal = np.stack([0.2 * (0.5 - v), np.ones_like(u), -side * (lift - 2 * arch * u)], 1)
        tint = (
            np.where(((v > bar) | (u > 0.8))[:, None], dark, top)
            * (1 - 0.12 * (np.sin(u * 60) > 0.6) * (v > 0.3))[:, None]
        )
        return position, normal, tint

    return sample


def _flying(rng, back, breast, wing, beak):
    shapes = [ellipsoid((0, 0, 0), (0.5, 0.17, 0.17), two_tone(back, breast, -0.1, 0.3))]
    head = np.array((0.52, 0.06, 0))
    if rng.random() < 0.25:  # a goose: long neck
        head = np.array((0.85, 0.12, 0))
        shapes.append(limb([(0.35, 0.03, 0), head], [0.1, 0.06], back))
    shapes += [
        ellipsoid(head, (0.14, 0.12, 0.12), two_tone(back, breast, -0.2)),
        limb([head + (0.1, 0, 0), head + (0.28, -0.04, 0)], [0.05, 0.01], beak),
    ]
    shapes += [ellipsoid(head + (0.07, 0.03, s * 0.1), 0.025, (0.03, 0.03, 0.03)) for s in (-1, 1)]
    fan = rng.uniform(0.1, 0.24)
    shapes.append(
        plate([(-0.4, 0.02, -0.07), (-0.82, 0.0, -fan), (-0.82, 0.0, fan), (-0.4, 0.02, 0.07)], wing * 0.85, 0.02)
    )
    span, chord, lift = (
        rng.uniform(0.85, 1.2),
        rng.uniform(0.3, 0.46),
        rng.choice([rng.uniform(0.5, 1.1), rng.uniform(-0.2, 0.4)]),
    )
    dark, seed = pick(rng, wing * 0.5, wing * 0.5, back), int(rng.integers(2**32))
    for s in (-1, 1):
        wings = np.random.default_rng(seed)  # both sides alike
        shapes.append(_wing(wings, (0.08, 0.08), span, chord, lift, s, wing, dark))
    return shapes, {
        "aloft": True,
        "yaw": rng.uniform(-70, 50),
        "elevation": rng.uniform(-50, 45),
        "places": "sky|- sky|- sky|- hills|- trees|- sky|water",
    }


def _swimming(rng):
    duck = rng.random() < 0.6
    green = rng.random() < 0.5
    body, wing = ((0.55, 0.5, 0.45), (0.4, 0.33, 0.27)) if duck else ((0.93, 0.93, 0.92), (0.86, 0.86, 0.86))
    head_tone = (0.08, 0.3, 0.16) if duck and green else (0.5, 0.4, 0.3) if duck else body
    beak = (0.85, 0.65, 0.15) if duck else (0.9, 0.45, 0.12)
    shapes = [ellipsoid((0, 0.12, 0), (0.62, 0.27, 0.3), two_tone(wing, body, 0.2, 0.4))]
    shapes.append(limb([(-0.5, 0.2, 0), (-0.78, 0.32, 0)], [0.14, 0.03], wing))
    shapes += [ellipsoid((-0.1, 0.22, s * 0.2), (0.45, 0.2, 0.1), wing) for s in (-1, 1)]
    high = rng.uniform(0.42, 0.52) if duck else rng.uniform(0.85, 1.05)
    head = np.array((0.62 if duck else 0.66, high + 0.08, 0))
    points = (
        [(0.42, 0.2, 0), (0.55, high * 0.7, 0), head]
        if duck
        else [(0.45, 0.2, 0), (0.68, 0.42, 0), (0.5, high * 0.8, 0), (0.55, high + 0.03, 0), head]
    )
    radii = [0.16, 0.1, 0.1] if duck else [0.15, 0.09, 0.07, 0.07, 0.08]
    shapes.append(limb(points, radii, head_tone))
    size = 0.15 if duck else 0.12
    shapes += [
        ellipsoid(head, (size * 1.1, size, size), head_tone),
        limb([head + (0.1, -0.02, 0), head + (0.3, -0.06, 0)], [0.06, 0.035], beak),
    ]
    shapes += [ellipsoid(head + (0.08, 0.04, s * size * 0.85), 0.025, (0.03, 0.03, 0.03)) for s in (-1, 1)]
    return shapes, {"yaw": rng.uniform(-60, 50), "places": "trees|water sky|water hills|water leaves|water trees|grass"}


def _wading(rng):
    tone = np.array(pick(rng, (0.92, 0.92, 0.9), (0.93, 0.6, 0.6), (0.5, 0.54, 0.6))) * rng.uniform(0.9, 1.05)
    leg = np.array(pick(rng, (0.8, 0.35, 0.3), (0.2, 0.2, 0.2), (0.75, 0.6, 0.2)))
    shapes = [
        ellipsoid((0, 1.05, 0), (0.42, 0.2, 0.2), tone),
        ellipsoid((-0.15, 1.08, 0), (0.42, 0.16, 0.22), tone * 0.85),
    ]
    shapes.append(limb([(-0.4, 1.05, 0), (-0.68, 0.92, 0)], [0.13, 0.03], tone * 0.7))
    high = rng.uniform(1.6, 1.9)
    head = np.array((0.62, high, 0))
    shapes.append(
        limb(
            [(0.32, 1.1, 0), (0.56, 1.22, 0), (0.4, 1.45, 0), (0.48, high - 0.02, 0), head],
            [0.12, 0.07, 0.055, 0.05, 0.07],
            tone,
        )
    )
    shapes += [
        ellipsoid(head, (0.11, 0.085, 0.08), tone),
        limb([head + (0.08, 0, 0), head + (0.42, -0.1, 0)], [0.04, 0.01], leg),
    ]
    shapes += [ellipsoid(head + (0.05, 0.02, s * 0.07), 0.02, (0.03, 0.03, 0.03)) for s in (-1, 1)]
    for k, s in enumerate((-1, 1)):
        shapes.append(limb([(0, 0.9, s * 0.08), (-0.06 + 0.1 * k, 0.5, s * 0.08), (0.1 * k, 0, s * 0.08)], 0.024, leg))
    return shapes, {"yaw": rng.uniform(-50, 40), "places": "trees|water hills|water sky|sand leaves|grass trees|grass"}


# ---------------------------------------------------------------- monkeys
def monkey(rng):
    base, face = pick(
        rng,
        ((0.45, 0.33, 0.22), (0.82, 0.6, 0.5)),
        ((0.5, 0.42, 0.33), (0.8, 0.55, 0.46)),
        ((0.12, 0.1, 0.09), (0.36, 0.26, 0.2)),
        ((0.13, 0.11, 0.1), (0.72, 0.58, 0.46)),
        ((0.68, 0.34, 0.13), (0.5, 0.36, 0.28)),
        ((0.55, 0.54, 0.52), (0.16, 0.13, 0.12)),
        ((0.3, 0.2, 0.13), (0.88, 0.78, 0.66)),
    )
    base, face = np.array(base) * rng.uniform(0.85, 1.15), np.array(face) * rng.uniform(0.9, 1.08)
    skin, size = face * 0.9, rng.uniform(0.26, 0.32)
    posture = pick(rng, "sit", "sit", "sit", "hang", "walk", "cling")
    pale = np.clip(base * 1.5 + 0.05, 0, 0.9)
    shapes, extra, thick = [], [], rng.uniform(0.075, 0.095)
    pose = {"yaw": rng.uniform(-95, -35)}
    bark = np.array((0.36, 0.28, 0.2)) * rng.uniform(0.6, 1.3)

    def arm(a, b, c, r=1.0):
        shapes.append(limb([a, b, c], [thick * 1.25 * r, thick * r, thick * 0.75 * r], base))
        shapes.append(ellipsoid(c, (thick * 0.95, thick * 0.95, thick * 0.95), skin))

    if posture in ("sit", "cling"):
        shapes.append(limb([(-0.05, 0.28, 0), (0, 0.55, 0), (0.05, 0.85, 0)], [0.3, 0.29, 0.22], base))
        shapes.append(ellipsoid((0.12, 0.5, 0), (0.22, 0.3, 0.2), pale))
        head = np.array((0.14, 1.12, 0))
        for s in (-1, 1):
            arm(
                (0.02, 0.85, s * 0.22),
                (0.2, 0.5, s * rng.uniform(0.35, 0.5)),
                (0.42, rng.uniform(0.1, 0.6), s * rng.uniform(0.1, 0.36)),
            )
            shapes.append(
                limb([(0, 0.22, s * 0.2), (0.38, 0.48, s * 0.34), (0.36, 0.05, s * 0.3)], [0.17, 0.12, 0.075], base)
            )
            shapes.append(ellipsoid((0.45, 0.04, s * 0.3), (0.14, 0.05, 0.07), skin))
        end = np.array((-0.25, 0.15, 0.1))
        pose["places"] = "trees|grass leaves|dirt trees|litter hills|dirt wall|floor trees|dirt leaves|grass"
        if posture == "cling":
            extra.append(
                limb([(-3, -0.1, -0.4), (0, -0.08, 0), (3, rng.uniform(-0.8, 0.5), 0.3)], rng.uniform(0.09, 0.16), bark)
            )
            pose["places"] = "leaves|- leaves|- trees|- sky|-"
    elif posture == "hang":
        shapes.append(limb([(0, 0.2, 0), (0, 0.5, 0), (0.03, 0.8, 0)], [0.25, 0.25, 0.2], base))
        shapes.append(ellipsoid((0.1, 0.5, 0), (0.18, 0.28, 0.17), pale))
        head = np.array((0.12, 1.04, 0))
        side = rng.choice([-1, 1])
        arm((0, 0.8, side * 0.2), (0.02, 1.2, side * 0.36), (0.04, 1.62, side * 0.22))
        arm(
            (0, 0.8, -side * 0.2),
            (0.1, 0.62 + rng.uniform(0, 0.6), -side * 0.45),
            (0.15, rng.choice([0.25, 1.6]), -side * 0.4),
        )
        for s in (-1, 1):
            shapes.append(
                limb(
                    [(0, 0.15, s * 0.14), (0.3, -0.1, s * 0.25), (0.12 + rng.uniform(-0.1, 0.1), -0.45, s * 0.22)],
                    [0.15, 0.1, 0.07],
                    base,
                )
            )
            shapes.append(ellipsoid((0.16, -0.5, s * 0.22), (0.11, 0.05, 0.06), skin))
        end = np.array((-0.2, 0.1, 0))
        extra.append(
            limb(
                [(-0.4, 1.7, -3), (0.05, 1.68, 0), (0.3, 1.7 + rng.uniform(-0.4, 0.4), 3)], rng.uniform(0.05, 0.1), bark
            )
        )
        pose |= {"places": "leaves|- leaves|- leaves|- trees|- sky|-", "yaw": rng.uniform(-110, -60)}
    else:
        shapes.append(limb([(-0.5, 0.62, 0), (0, 0.66, 0), (0.4, 0.74, 0)], [0.2, 0.2, 0.21], base))
        head = np.array((0.68, 0.98, 0))
        step = rng.uniform(0.05, 0.2)
        for s in (-1, 1):
            arm((0.4, 0.68, s * 0.15), (0.42 + s * step * 0.5, 0.36, s * 0.17), (0.42 + s * step, 0.05, s * 0.16))
            shapes.append(
                limb(
                    [
                        (-0.5, 0.58, s * 0.14),
                        (-0.36 - s * step * 0.4, 0.34, s * 0.17),
                        (-0.5 - s * step, 0.05, s * 0.16),
                    ],
                    [0.16, 0.1, 0.07],
                    base,
                )
            )
            shapes.append(ellipsoid((-0.42 - s * step, 0.04, s * 0.16), (0.12, 0.05, 0.06), skin))
        end = np.array((-0.62, 0.66, 0))
        pose |= {
            "places": "trees|grass trees|litter hills|dirt leaves|grass town|road wall|floor",
            "yaw": rng.uniform(-60, 15),
        }
    if posture in ("sit", "walk", "hang", "cling") and rng.random() < 0.75:
        curl = rng.choice([-1, 1])
        drop = -0.35 if posture in ("hang", "cling") else 0.5
        shapes.append(
            limb(
                [
                    end,
                    end + (-0.35, 0.1 * drop, 0.15 * curl),
                    end + (-0.6, drop * 0.8, 0.3 * curl),
                    end + (-0.45, drop * 1.3, 0.42 * curl),
                    end + (-0.3, drop * 1.1, 0.4 * curl),
                ],
                [0.06, 0.055, 0.05, 0.045, 0.035],
                base,
            )
        )
    away = -pose["yaw"] - 90 if posture == "walk" else 0.0
    turned = rng.normal(0, 20) + (away * 0.8 if rng.random() < 0.7 else 0)
    shapes += [moved(part, head, turn(turned, rng.uniform(-12, 10)), size) for part in HEADS["monkey"](rng, base, face)]
    if posture == "sit" or posture == "cling":
        shapes.append(limb([(0.05, 0.85, 0), head], [0.18, size * 0.7], base))
    else:
        shapes.append(limb([(0.35 if posture == "walk" else 0.03, 0.8, 0), head], [0.16, size * 0.6], base))
    if rng.random() < 0.32:
        pose["focus"] = (head, size * rng.uniform(1.7, 2.6))
    pose["extra"] = extra
    return shapes, pose
