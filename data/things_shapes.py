"""Solid shapes as point clouds: ellipsoids, tapered limbs, boxes, extruded outlines, turned bodies, plates.

A shape is a function of one number, the samples per unit of length, and returns a part: (position, normal, colour),
three arrays of shape (N, 3), as `surfaces.py` has them. So a thing is described once, measured coarsely, and sampled
as finely as the picture needs. Axes: x to the right (things face +x), y up, z to the viewer. Nothing here is random.
A colour is an RGB triple in 0..1, or a function of the position (N, 3) in the shape's own axes that returns (N, 3).
"""

import numpy as np


def _paint(colour, local):
    value = colour(local) if callable(colour) else np.asarray(colour, float)
    return np.broadcast_to(value, local.shape)


def steps(low, high, length, dots):
    """Sample places in the middle of equal steps that are as short as `dots` per unit asks."""
    count = max(int(np.ceil(length * dots)), 2)
    return low + (high - low) * (np.arange(count) + 0.5) / count


def ellipsoid(centre, radii, colour):
    """Colour functions get the position on the unit sphere."""
    radii = np.broadcast_to(np.asarray(radii, float), 3)

    def sample(dots):
        a, b, c = sorted(radii)[::-1]
        count = int(
            4 * np.pi * ((a * b) ** 1.6 + (a * c) ** 1.6 + (b * c) ** 1.6) ** (1 / 1.6) / 3 ** (1 / 1.6) * dots**2
        )
        k = np.arange(max(count, 40)) + 0.5
        height = 1 - 2 * k / len(k)
        angle = np.pi * (1 + 5**0.5) * k
        ring = np.sqrt(1 - height**2)
        ball = np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], 1)
        return centre + ball * radii, _unit(ball / radii), _paint(colour, ball)

    return sample


def _unit(vectors):
    return vectors / (np.sqrt((vectors**2).sum(-1, keepdims=True)) + 1e-12)


def limb(points, radii, colour):
    """A round tube through `points` with a radius at each, its ends rounded.

    Colour functions get (share of the length, angle, radius).
    """
    points, radii = np.asarray(points, float), np.broadcast_to(np.asarray(radii, float), len(points))

    def sample(dots):
        lengths = np.sqrt((np.diff(points, axis=0) ** 2).sum(1)) + 1e-9
        knots = np.r_[0, np.cumsum(lengths)]
        along = steps(0, knots[-1], knots[-1], dots)
        centre = np.stack([np.interp(along, knots, points[:, k]) for k in range(3)], 1)
        radius = np.interp(along, knots, radii)
        if len(points) > 2:  # round the corners
            width = max(int(0.12 * len(along)), 1)
            kernel = np.ones(2 * width + 1) / (2 * width + 1)
            padded = np.pad(centre, ((width, width), (0, 0)), mode="edge")
            centre = np.stack([np.convolve(padded[:, k], kernel, "valid") for k in range(3)], 1)
        tangent = _unit(np.gradient(centre, axis=0))
        side = _unit(np.cross(tangent, np.where(np.abs(tangent[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])))
        third = np.cross(tangent, side)
        around = steps(0, 2 * np.pi, 2 * np.pi * radius.max(), dots)
        out = np.cos(around)[None, :, None] * side[:, None] + np.sin(around)[None, :, None] * third[:, None]
        position = centre[:, None] + out * radius[:, None, None]
        local = np.stack(np.broadcast_arrays((along / knots[-1])[:, None], around[None], radius[:, None]), -1)
        parts = [(position.reshape(-1, 3), out.reshape(-1, 3), _paint(colour, local.reshape(-1, 3)))]
        for end, spot in ((0, centre[0]), (-1, centre[-1])):
            tint = _paint(colour, np.array([[0.0 if end == 0 else 1.0, 0, radii[end]]]))[0]
            parts.append(ellipsoid(spot, radii[end], tint)(dots))
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    return sample


def extrude(outline, depth, colour, taper=None):
    """A flat outline (N, 2) in x and y, thickened to z = -depth .. depth. `taper(x, y)` scales the depth (0..1)."""
    outline = np.asarray(outline, float)

    def sample(dots):
        low, high = outline.min(0), outline.max(0)
        x, y = np.meshgrid(
            steps(low[0], high[0], high[0] - low[0], dots), steps(low[1], high[1], high[1] - low[1], dots)
        )
        inside = _inside(outline, x, y)
        x, y = x[inside], y[inside]
        wide = np.ones_like(x) if taper is None else taper(x, y)
        parts = []
        for sign in (-1, 1):
            position = np.stack([x, y, sign * depth * wide], 1)
            normal = np.broadcast_to([0, 0, float(sign)], position.shape)
            parts.append((position, normal, _paint(colour, position)))
        closed = np.vstack([outline, outline[:1]])
        for p, q in zip(closed[:-1], closed[1:], strict=True):
            length = np.hypot(*(q - p))
            if length < 1e-9:
                continue
            s = steps(0, 1, length, dots)
            t = steps(-1, 1, 2 * depth, dots)
            edge = p + s[:, None] * (q - p)
            wide = np.ones(len(s)) if taper is None else taper(edge[:, 0], edge[:, 1])
            position = np.concatenate(
                [
                    np.broadcast_to(edge[:, None], (len(s), len(t), 2)),
                    (depth * wide[:, None] * t[None])[..., None],
                ],
                -1,
            ).reshape(-1, 3)
            out = np.array([q[1] - p[1], p[0] - q[0], 0.0]) / length
            middle = (p + q) / 2
            if _inside(outline, *(middle + 1e-4 * out[:2])[:, None])[0]:
                out = -out
            parts.append((position, np.broadcast_to(out, position.shape), _paint(colour, position)))
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    return sample


def _inside(outline, x, y):
    inside = np.zeros(np.shape(x), bool)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, 0), strict=True):
        crosses = (ay > y) != (by > y)
        inside ^= crosses & (x < (bx - ax) * (y - ay) / np.where(by == ay, 1e-12, by - ay) + ax)
    return inside


def box(low, high, colour, taper=None):
    """A box between two corners."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    shape = extrude([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], (z1 - z0) / 2, colour, taper)
    return moved(shape, (0, 0, (z0 + z1) / 2))


def turned(profile, colour, axis_y=0.0, squeeze=1.0):
    """A body of revolution about the x axis: `profile` is rows of (x, radius). `squeeze` scales the width in z."""
    profile = np.asarray(profile, float)

    def sample(dots):
        lengths = np.hypot(*np.diff(profile, axis=0).T)
        knots = np.r_[0, np.cumsum(lengths)]
        along = steps(0, knots[-1], knots[-1], dots)
        x, r = np.interp(along, knots, profile[:, 0]), np.interp(along, knots, profile[:, 1])
        slope = np.gradient(r, along), np.gradient(x, along)
        around = steps(0, 2 * np.pi, 2 * np.pi * profile[:, 1].max(), dots)
        cos, sin = np.cos(around)[None], np.sin(around)[None]
        position = np.stack(
            np.broadcast_arrays(x[:, None], axis_y + r[:, None] * cos, squeeze * r[:, None] * sin), -1
        ).reshape(-1, 3)
        normal = np.stack(
            np.broadcast_arrays(-slope[0][:, None], slope[1][:, None] * cos, slope[1][:, None] * sin), -1
        ).reshape(-1, 3)
        return position, _unit(normal), _paint(colour, position)

    return sample


def plate(corners, colour, thick=0.01):
    """A flat four-sided plate. Colour functions get (share along the first edge, share across, 0)."""
    a, b, c, d = np.asarray(corners, float)  # a -> b along, a -> d across

    def sample(dots):
        u = steps(0, 1, max(np.linalg.norm(b - a), np.linalg.norm(c - d)), dots)
        v = steps(0, 1, max(np.linalg.norm(d - a), np.linalg.norm(c - b)), dots)
        u, v = (grid.reshape(-1, 1) for grid in np.meshgrid(u, v))
        position = a * (1 - u) * (1 - v) + b * u * (1 - v) + c * u * v + d * (1 - u) * v
        normal = _unit(np.cross(c - a, d - b)[None])
        local = np.concatenate([u, v, 0 * u], 1)
        both = [position + side * thick * normal for side in (-1, 1)]
        tint = _paint(colour, local)
        return (
            np.concatenate(both),
            np.concatenate([np.broadcast_to(side * normal, position.shape) for side in (-1, 1)]),
            np.concatenate([tint, tint]),
        )

    return sample


def wheel(x, y, z, radius, width, rim=(0.62, 0.62, 0.64)):
    """A wheel with its axle along z: tyre, rim, hub."""

    def tread(local):
        r = np.hypot(local[:, 0], local[:, 1]) / radius
        return np.where(
            (r < 0.62)[:, None], np.where((r < 0.2)[:, None], np.array(rim) * 0.6, rim), (0.06, 0.06, 0.065)
        )

    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    disc = extrude(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), width / 2, tread)
    return moved(disc, (x, y, z))


def moved(shape, offset=(0, 0, 0), turn=None, scale=1.0):
    """The shape scaled, turned by a 3 x 3 matrix, then shifted."""
    turn = np.eye(3) if turn is None else turn

    def sample(dots):
        position, normal, colour = shape(dots * scale)
        return scale * position @ turn.T + offset, normal @ turn.T, colour

    return sample


def turn(yaw=0.0, pitch=0.0, roll=0.0):
    """Rotation matrix in degrees: roll about x, pitch about z (nose up), then yaw about y (nose away from us)."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    return about_y @ about_z @ about_x


def lean(elevation):
    """Rotation for a camera `elevation` degrees above the thing: its top turns to the viewer."""
    a = np.radians(elevation)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def patches(first, second, share=0.4, scale=3.0, shift=0.0, soft=0.15):
    """A colour function: smooth blotches of `second` on `first`, covering about `share`."""
    first, second = np.array(first), np.array(second)

    def colour(local):
        x, y, z = (local * scale + shift).T
        wave = np.sin(1.7 * x + 1.3 * np.sin(1.1 * y + 0.7 * z)) + np.sin(1.9 * y + 1.2 * np.sin(1.4 * z + 0.5 * x))
        wave = wave + np.sin(1.5 * z + 1.1 * np.sin(1.6 * x))
        level = np.interp(share, [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1], [9, 1.6, 0.7, 0, -0.7, -1.6, -9])
        amount = np.clip((wave - level) / soft * 0.5 + 0.5, 0, 1)[:, None]
        return first + amount * (second - first)

    return colour


def striped(first, second, count, share=0.4, axis=0, wobble=0.3):
    """A colour function: `count` stripes of `second` per unit across `axis`."""
    first, second = np.array(first), np.array(second)

    def colour(local):
        along = local[:, axis] * count * 2 * np.pi + wobble * 3 * np.sin(4 * local[:, 1 - axis % 2] + 2 * local[:, 2])
        amount = np.clip((np.sin(along) - np.cos(np.pi * share)) * 2.5 + 0.5, 0, 1)[:, None]
        return first + amount * (second - first)

    return colour


def two_tone(top, bottom, level=0.0, soft=0.25):
    """A colour function: `top` above the height `level` of the shape's own axes, `bottom` below (a pale belly)."""
    top, bottom = top if callable(top) else np.array(top), np.array(bottom)

    def colour(local):
        amount = np.clip((local[:, 1] - level) / soft + 0.5, 0, 1)[:, None]
        upper = top(local) if callable(top) else top
        return bottom + amount * (upper - bottom)

    return colour
