"""Build every bundled image from its seed: `python data/build_images.py [--only SET] [--out FOLDER]`.

Each file is a function of its relative path alone, so one file can be rebuilt without the others:

    >>> len(build_one("five-flowers/rose/0001.jpg")) > 1000
    True
"""

import argparse
import io
import sys
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # works as a script and as an imported file
    sys.path.insert(0, str(HERE))

import render_domain  # noqa: E402
import render_flowers  # noqa: E402
import render_meadow  # noqa: E402
import render_things  # noqa: E402
from botany import FLOWERS  # noqa: E402
from scenes import jpeg  # noqa: E402

SEED = 20240917
PER_SPLIT = 10  # images per class in each of the train, validation and test splits of Flowers-102
PER_CLASS = 120  # images per class of the two ImageFolder sets
FIVE = {
    "daisy": "oxeye daisy",
    "dandelion": "common dandelion",
    "rose": "rose",
    "sunflower": "sunflower",
    "tulip": "tulip",
}
PER_THING = {"train": 40, "test": 20}  # images per class of the set in STL-10's layout
SETS = ("flowers-102", "five-flowers", "microscopy", "stl10_binary", "meadow")


def generator(*words):
    """A random generator that depends on nothing but `words` (a CRC, since Python's own hash changes per process)."""
    return np.random.default_rng([SEED, *(zlib.crc32(str(word).encode()) for word in words)])


def flowers102_tables():
    """Labels (1-based, in file order) and the image numbers of each split, as the original .mat files hold them."""
    classes, total = len(FLOWERS), len(FLOWERS) * 3 * PER_SPLIT
    order = generator("flowers-102", "order").permutation(total)  # order[i]: which slot image i+1 shows
    labels = order // (3 * PER_SPLIT) + 1
    turn = order % (3 * PER_SPLIT) // PER_SPLIT
    assert np.bincount(labels)[1:].tolist() == [3 * PER_SPLIT] * classes
    by_class = np.argsort(order, kind="stable") + 1  # splits list their images class by class, as the original does
    names = ("trnid", "valid", "tstid")
    return labels, {name: by_class[turn[by_class - 1] == k] for k, name in enumerate(names)}


def mat_bytes(tables):
    """A MATLAB file of 1 x N uint16 rows whose header holds a fixed text instead of today's date."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {name: np.asarray(values, np.uint16)[None] for name, values in tables.items()})
    text = b"MATLAB 5.0 MAT-file, written by data/build_images.py"
    return text.ljust(116) + buffer.getvalue()[116:]


def stl10_labels(split):
    """Class numbers 0..9 of the images of "train" or "test", in file order: equally many of each, shuffled."""
    labels = np.repeat(np.arange(len(render_things.DRAW)), PER_THING[split])
    return generator("stl10_binary", split, "order").permutation(labels)


def stl10_image(split, index):
    """One image of the set in STL-10's layout as uint8 (96, 96, 3), drawn without the others."""
    name = list(render_things.DRAW)[stl10_labels(split)[index]]
    return render_things.render(name, generator("stl10_binary", split, index))


def stl10_folds():
    """Ten lines of training image numbers, 8 of each class: the original has ten folds of 1,000 of its 5,000."""
    labels, lines = stl10_labels("train"), []
    for fold in range(10):
        rng = generator("stl10_binary", "fold", fold)
        chosen = [rng.choice(np.flatnonzero(labels == k), 8, replace=False) for k in range(10)]
        lines.append(" ".join(str(index) for index in rng.permutation(np.concatenate(chosen))))
    return lines


def stl10_bytes(file):
    """The bytes of one file in STL-10's layout: images plane after plane, each column after column; labels from 1."""
    if file == "class_names.txt":
        return ("\n".join(render_things.DRAW) + "\n").encode()
    if file == "fold_indices.txt":
        return ("\n".join(stl10_folds()) + "\n").encode()
    split, kind = file.removesuffix(".bin").split("_")
    if kind == "y":
        return (stl10_labels(split) + 1).astype(np.uint8).tobytes()
    images = [stl10_image(split, index) for index in range(len(stl10_labels(split)))]
    return np.stack(images).transpose(0, 3, 2, 1).tobytes()


def paths(name):
    """The relative paths of one of `SETS`."""
    if name == "meadow":
        return render_meadow.paths()
    if name == "stl10_binary":
        files = [f"{split}_{kind}.bin" for split in PER_THING for kind in "Xy"]
        return [f"{name}/{file}" for file in sorted([*files, "class_names.txt", "fold_indices.txt"])]
    if name == "flowers-102":
        count = len(FLOWERS) * 3 * PER_SPLIT
        return [f"{name}/jpg/image_{k:05d}.jpg" for k in range(1, count + 1)] + [
            f"{name}/imagelabels.mat",
            f"{name}/setid.mat",
        ]
    if name in SETS:
        folders = FIVE if name == "five-flowers" else render_domain.DOMAIN_CLASSES
        return [f"{name}/{folder}/{k:04d}.jpg" for folder in folders for k in range(1, PER_CLASS + 1)]
    raise ValueError(f"unknown set {name!r}: choose from {', '.join(SETS)}")


def build_one(path):
    """The bytes of one bundled file, given its path relative to data/mini, such as `microscopy/rod_cells/0007.jpg`."""
    path = Path(path).as_posix()
    name, *rest = path.split("/")
    if path not in paths(name):
        raise ValueError(f"{path} is not one of the files of {name}, such as {paths(name)[0]}")
    if path.endswith(".mat"):
        labels, splits = flowers102_tables()
        return mat_bytes({"labels": labels} if rest == ["imagelabels.mat"] else splits)
    if name == "stl10_binary":
        return stl10_bytes(rest[0])
    if name == "meadow":
        return render_meadow.file_bytes(path)
    rng = generator(path)
    if name == "flowers-102":
        labels, _ = flowers102_tables()
        flower = FLOWERS[labels[int(path[-9:-4]) - 1] - 1]["name"]
        return jpeg(render_flowers.render(flower, rng))
    if name == "five-flowers":
        return jpeg(render_flowers.render(FIVE[rest[0]], rng))
    return jpeg(render_domain.render(rest[0], rng))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETS, help="build one set")
    parser.add_argument("--out", type=Path, default=HERE / "mini", help="folder to write to (default: data/mini)")
    options = parser.parse_args(arguments)
    for name in [options.only] if options.only else SETS:
        files, size = paths(name), 0
        for path in sorted(files, key=lambda path: path.endswith(".jpg")):  # the small tables first
            target = options.out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            content = build_one(path)
            target.write_bytes(content)
            size += len(content)
        print(f"{name}: {len(files)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
