"""Draw a meadow with one to five flowers, and say which pixel belongs to which: the detection and segmentation set.

    >>> image, owner, kinds = render(np.random.default_rng(0))
    >>> image.shape, owner.shape, len(kinds) - int(owner.max())
    ((128, 128, 3), (128, 128), 0)

Blossoms, light and camera are those of `render_flowers` and `scenes`. Each flower is dropped into a depth buffer of its
own; where several cover a pixel, the foremost is seen and owns it. The masks are exact and hold the visible part only.

python data/build_images.py --only meadow     # write data/mini/meadow
python data/render_meadow.py sheet.png        # 40 scenes, each with its masks beside it, to look at
"""

import functools
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # works as a script and as an imported file
    sys.path.insert(0, str(HERE))

from botany import BY_NAME  # noqa: E402
from coats import plain  # noqa: E402
from render_flowers import plant  # noqa: E402
from scenes import develop, jpeg, light_up, random_ground, random_light, splat  # noqa: E402
from surfaces import PIXELS, petals, place, turn_to  # noqa: E402

WIDE = 256  # drawn at twice the size of the finished 128 pixels
CLASSES = ("daisy", "sunflower", "tulip")  # labels 1, 2, 3; 0 is the background
ROWS = {"daisy": "oxeye daisy", "sunflower": "sunflower", "tulip": "tulip"}
RADIUS = {"daisy": (20, 38), "sunflower": (30, 58), "tulip": (26, 46)}  # half the width of a blossom, drawn pixels
COUNTS = {"train": 80, "val": 30}
LEAST_VISIBLE = 0.4  # share of a blossom that has to be seen, by the other flowers and the frame
LEAST_PIXELS = 90  # finished pixels a blossom has to own


def blossoms(rng):
    """One to five flowers, far ones first: (class number from 1, blossom parts, stalk parts), in drawn pixels.

    The stalk is no part of a flower's mask: it is meadow, as the grass is.
    """
    count = rng.choice([1, 2, 3, 4, 5], p=[0.12, 0.22, 0.28, 0.22, 0.16])
    found = []
    for _ in range(count):
        kind = int(rng.integers(len(CLASSES)))
        radius = rng.uniform(*RADIUS[CLASSES[kind]])
        *flower, stalk = plant(rng, BY_NAME[ROWS[CLASSES[kind]]])
        points = np.concatenate([p for p, _, _ in flower])
        low, high = np.quantile(points, [0.01, 0.99], axis=0)
        size = 2 * radius / max(high[:2] - low[:2])
        margin = 0.55 * radius
        x, y = rng.uniform(margin, WIDE - margin), rng.uniform(margin, WIDE - 1.2 * margin)
        # lower in the picture is nearer, as in a meadow seen from above
        spot = np.array([x, -y, 0.3 * (y - WIDE / 2) + rng.normal(0, 8)])
        move = spot - (low + high) / 2 * size
        found.append((y, kind + 1, place(flower, np.eye(3), move, size), place([stalk], np.eye(3), move, size)))
    return [one[1:] for one in sorted(found, key=lambda one: one[0])]


def grass(rng):
    """Blades of grass from the lower edge up, most of them behind the flowers."""
    parts = []
    for _ in range(int(rng.integers(10, 34))):
        size = rng.uniform(70, 190)
        # as many points as pixels on the way up, or the blade would be a dotted line
        coat = plain(rng, "green olive lime darkgreen", vein=(0.22, 3), jitter=0.1, detail=1.5 * size / PIXELS)
        bend, width = rng.uniform(-60, 10), rng.uniform(0.03, 0.075)
        blade = petals(rng, coat, 1, width=width, shape="blade", bend=bend, fold=0.25, ruffle=0.1, azimuth=0.0)
        spin = turn_to((rng.normal(0, 0.3), rng.normal(0.2, 0.3), 1), rng.normal(np.pi / 2, 0.3))[0]
        root = (rng.uniform(-20, WIDE + 20), -WIDE - rng.uniform(-30, 60), rng.uniform(-110, 45))
        parts += place([blade], spin, root, size)
    return parts


def layer(parts):
    """Colour, normal and depth of `parts` given in drawn pixels (x to the right, y up from the upper edge)."""
    # splat() widens what is near by up to a fifth for single blossoms; here a unit is the whole picture
    return splat([(p / WIDE, n, c) for p, n, c in parts], WIDE, (0, 0), WIDE)


def scene(rng):
    """One arrangement: colour, normal, depth (WIDE, WIDE), owner (0 meadow, k the k-th flower), class of each."""
    while True:
        flowers = blossoms(rng)
        blades = grass(rng)
        layers = [layer(blades + [part for _, _, stalk in flowers for part in stalk])]
        layers += [layer(flower) for _, flower, _ in flowers]
        depth = np.stack([d for _, _, d in layers])
        there = np.isfinite(depth)
        # what is in front hides the other whole, since nothing grows through a petal: of two flowers the lower one is,
        # a blade of grass where it is nearer than the flower's nearest point, a stalk never
        owner = (there * np.arange(len(layers))[:, None, None]).max(0)
        owner[layer(blades)[2] > depth.max((1, 2))[owner]] = 0
        seen = np.bincount(owner.ravel(), minlength=len(layers))[1:]
        if (seen >= 4 * LEAST_PIXELS).all() and (seen >= LEAST_VISIBLE * there[1:].sum((1, 2))).all():
            break
    pick = owner[None, ..., None]
    colour = np.take_along_axis(np.stack([c for c, _, _ in layers]), pick, 0)[0]
    normal = np.take_along_axis(np.stack([n for _, n, _ in layers]), pick, 0)[0]
    return colour, normal, np.take_along_axis(depth, owner[None], 0)[0], owner, [kind for kind, _, _ in flowers]


def render(rng):
    """A photograph uint8 (128, 128, 3), its owner map uint8 (128, 128) and the class number of every flower in it."""
    colour, normal, depth, owner, kinds = scene(rng)
    ground = random_ground(rng, ["meadow", "leaves", "shade"][rng.choice(3, p=[0.55, 0.35, 0.1])], full=WIDE, others=0)
    lit = light_up(colour, normal, depth, random_light(rng))
    image = np.where(np.isfinite(depth)[..., None], lit, ground)
    return develop(rng, image, depth, veil=0), halve(owner), kinds


def halve(owner):
    """The owner of every 2 x 2 block: the flower that holds at least half of it, else the meadow."""
    rows, columns = (side // 2 for side in owner.shape)
    blocks = owner.reshape(rows, 2, columns, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    votes = np.stack([(blocks == k).sum(1) for k in range(owner.max() + 1)], 1)
    votes[:, 0] -= 1  # a draw between flower and meadow goes to the flower
    return votes.argmax(1).reshape(rows, columns).astype(np.uint8)


@functools.cache
def drawn(split, number):
    """Scene `number` (from 1) of a split, made from a generator that depends on nothing but the two."""
    from build_images import generator

    return render(generator("meadow", split, number))


def paths():
    """The relative paths of all files, the small table last."""
    numbered = [(split, f"{k:04d}") for split, count in COUNTS.items() for k in range(1, count + 1)]
    scenes = [f"meadow/{split}/{kind}" for split, k in numbered for kind in (f"images/{k}.jpg", f"masks/{k}.png")]
    return [*scenes, "meadow/annotations.json"]


def file_bytes(path):
    """The bytes of one of `paths()`."""
    if path == "meadow/annotations.json":
        flowers = {split: {f"{k:04d}": names(split, k) for k in range(1, n + 1)} for split, n in COUNTS.items()}
        return (json.dumps({"classes": list(CLASSES), "flowers": flowers}, indent=1) + "\n").encode()
    _, split, folder, file = path.split("/")
    image, owner, _ = drawn(split, int(file[:4]))
    if folder == "images":
        return jpeg(image)
    buffer = io.BytesIO()
    Image.fromarray(owner).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def names(split, number):
    """The class of every flower of a scene, in the order of the numbers in its mask."""
    return [CLASSES[kind - 1] for kind in drawn(split, number)[2]]


def sheet(path, rows=5, columns=8):
    """A contact sheet: the scenes, and beside each its outlines in the colour of the class."""
    tints = np.array([(0, 0, 0), (0, 114, 255), (255, 0, 160), (0, 230, 230)], np.uint8)
    canvas = np.zeros((rows * 130, columns * 260, 3), np.uint8)
    for k in range(rows * columns):
        image, owner, kinds = drawn("train", k + 1)
        edge = np.zeros_like(owner, bool)
        edge[1:] |= owner[1:] != owner[:-1]
        edge[:, 1:] |= owner[:, 1:] != owner[:, :-1]
        marked = np.where((owner > 0)[..., None], image // 2 + tints[np.array([0, *kinds])[owner]] // 2, image)
        marked[edge] = 255
        y, x = k // columns * 130, k % columns * 260
        canvas[y : y + 128, x : x + 128], canvas[y : y + 128, x + 128 : x + 256] = image, marked
    Image.fromarray(canvas).save(path)


if __name__ == "__main__":
    sheet(sys.argv[1])
