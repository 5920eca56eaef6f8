"""Draw one of ten everyday things: class name + random numbers -> 96 x 96 RGB picture.

    >>> import numpy as np
    >>> render("car", np.random.default_rng(0)).shape
    (96, 96, 3)

The chain is `things_vehicles` and `things_animals` (solid shapes) -> pose and framing here -> `scenes` (depth buffer,
light) -> `things_grounds` (the place) -> a calm camera: almost no noise, so that the pictures pack well.
Nothing is copied from photographs.
"""

import numpy as np
from scenes import SIDE, light_up, random_light, splat
from scipy.ndimage import gaussian_filter
from things_animals import bird, cat, deer, dog, horse, monkey
from things_grounds import noise_at, place_of
from things_shapes import lean, turn
from things_vehicles import airplane, car, ship, truck

DRAW = {f.__name__: f for f in (airplane, bird, car, cat, deer, dog, horse, monkey, ship, truck)}
SMOOTH = ("airplane", "car", "ship", "truck")
PLACES = {  # far | near, as often as listed; "-" is no ground: the thing is in the air or above the horizon
    "airplane": "sky|- sky|- sky|- hills|- sky|road hills|road trees|road sky|grass sky|water town|road",
    "car": "town|road town|road trees|road hills|road trees|grass hills|dirt sky|road wall|floor sky|sand hills|snow",
    "truck": "town|road hills|road trees|road hills|dirt sky|road trees|dirt sky|sand hills|snow trees|grass town|road",
    "ship": "sky|water sky|water hills|water town|water hills|water trees|water",
    "cat": "wall|floor wall|floor wall|floor trees|grass leaves|grass town|road wall|dirt leaves|- wall|-",
    "dog": "wall|floor wall|floor trees|grass trees|grass hills|sand hills|snow town|road leaves|grass sky|sand wall|-",
    "deer": "trees|grass trees|litter trees|litter hills|grass hills|snow leaves|grass trees|snow trees|dirt",
    "horse": "hills|grass trees|grass trees|dirt hills|sand hills|snow sky|grass sky|sand wall|dirt trees|litter",
}


def render(name, rng):
    """A picture of the class `name` as uint8 (96, 96, 3), made from the generator `rng`."""
    if name not in DRAW:
        raise ValueError(f"no class named {name!r}; the ten are {', '.join(DRAW)}")
    made = DRAW[name](rng)
    shapes, pose = made if isinstance(made, tuple) else (made, {})
    places = pose.get("places", PLACES.get(name, "")).split()
    if name in ("cat", "dog") and "focus" not in pose:  # only a portrait does without ground
        places = [place for place in places if not place.endswith("-")]
    far, near = places[rng.integers(len(places))].split("|")
    near = None if near == "-" else near
    aloft = pose.get("aloft", name == "airplane" and near in (None, "water"))
    yaw, elevation = view(name, rng, aloft, pose)
    tilt = turn()
    if aloft:
        tilt = turn(0, rng.uniform(-18, 25), rng.normal(0, 30))
    matrix = lean(elevation) @ turn(yaw) @ tilt
    focus = pose.get("focus")
    points = np.concatenate([shape(14)[0] for shape in shapes]) @ matrix.T
    frame = points
    if focus is not None:  # a portrait: the frame is a ball round the head
        spot, radius = np.array(focus[0]) @ matrix.T, focus[1]
        frame = spot + radius * np.array([[1, 1, 0], [-1, -1, 0], [1, -1, 0], [-1, 1, 0]])
    low, high = frame.min(0), frame.max(0)
    scale = SIDE * rng.uniform(0.66, 1.02) / max(high[0] - low[0], high[1] - low[1])
    middle = (low + high) / 2
    slack = np.clip(SIDE - scale * (high - low)[:2], 0, None) / 2
    centre = SIDE / 2 + slack * rng.uniform(-0.7, 0.7, 2) + np.array([-middle[0], middle[1]]) * scale
    dots, shaggy = scale * 1.2, rng.uniform(0.02, 0.14)
    parts = []
    for shape in [*shapes, *pose.get("extra", [])]:
        position, normal, colour = shape(dots)
        if name not in SMOOTH:  # fur and feathers: streaks of light and dark
            hair = noise_at(position[:, 0] * 4 + position[:, 2] * 2, position[:, 1] * 9 + position[:, 2] * 5)
            colour = colour * (1 + shaggy * hair)[:, None]
        parts.append((position @ matrix.T, normal @ matrix.T, colour))
    colour, normal, depth = splat(parts, scale, centre)
    light = random_light(rng)
    foot = centre[1] - points[:, 1].min() * scale
    if aloft or near is None:
        horizon = SIDE * rng.uniform(0.6, 1.3)
    else:
        horizon = foot - scale * (0.22 + 0.03 * elevation) * rng.uniform(0.8, 1.6) - 4
    ground = place_of(rng, far, near, horizon)
    if near is not None and not aloft:
        ground = ground * (1 - shadow(parts, light, scale, centre, elevation))[..., None]
    lit = light_up(colour, normal, depth, light)
    image = np.where(np.isfinite(depth)[..., None], lit, ground)
    if rng.random() < 0.5:  # the mirror image
        image = image[:, ::-1]
    return camera(rng, image)


def view(name, rng, aloft, pose):
    """(yaw, camera elevation) in degrees: from the side, from three quarters, sometimes from the front or the rear."""
    if "yaw" in pose:
        return pose["yaw"] + rng.normal(0, 8), pose.get("elevation", rng.uniform(2, 18))
    yaw = rng.choice([rng.normal(0, 10), rng.uniform(-55, -20), rng.uniform(-65, 45)])
    if aloft:
        return rng.uniform(-70, 60), rng.uniform(-50, 40)
    return yaw, rng.uniform(2, 24) if name != "ship" else rng.uniform(2, 16)


def shadow(parts, light, scale, centre, elevation):
    """How dark the ground is under and behind the thing: its points sent along the light to the level of its feet."""
    points = np.concatenate([p for p, _, _ in parts])[::5]
    back = points @ lean(elevation)  # upright again
    floor = back[:, 1].min()
    d = light["direction"] @ lean(elevation)
    drop = np.clip((back[:, 1] - floor) / max(d[1], 0.35), 0, 1.6)
    down = back - drop[:, None] * d
    down[:, 1] = floor
    seen = down @ lean(elevation).T
    x, y = centre[0] + seen[:, 0] * scale, centre[1] - seen[:, 1] * scale
    inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
    count = np.bincount(y[inside].astype(int) * SIDE + x[inside].astype(int), minlength=SIDE * SIDE)
    dark = gaussian_filter(np.minimum(count.reshape(SIDE, SIDE), 1.0), 2.5)
    return np.clip(dark * 1.6, 0, 1) * (0.25 + 0.4 * light["sun"])


def camera(rng, image):
    """Lens, halving, exposure, colour, a trace of noise, and 128 levels in place of 256: the file packs better."""
    soft = rng.choice([0.4, 0.6, rng.uniform(0.6, 1.6)])
    image = gaussian_filter(image, (soft, soft, 0))
    image = image.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    image = np.clip(image, 0, None) * rng.uniform(0.85, 1.2) * (1 + rng.normal(0, 0.03, 3))
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    image = np.clip(image, 0, 1) ** rng.uniform(0.85, 1.2)
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * (rng.uniform(0.5, 1.1) if rng.random() < 0.93 else 0.0)
    image = image + rng.choice([0.0, 0.0, rng.uniform(0.002, 0.007)]) * rng.standard_normal(image.shape)
    return (np.round(np.clip(image, 0, 1) * 127) * 2).astype(np.uint8)
