"""The bundled world: all files as listed, the right sizes, and the same bytes again from the seed."""

import io
import json
import random
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
sys.path.insert(0, str(DATA))

import build_images  # noqa: E402
import manifest  # noqa: E402
import measure  # noqa: E402
import source  # noqa: E402


def listed():
    return json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))


def test_every_file_is_as_the_manifest_says():
    assert manifest.differences() == []


def test_manifest_notices_what_is_wrong(tmp_path):
    (tmp_path / "mini").mkdir()
    for name in "abc":
        (tmp_path / "mini" / f"{name}.jpg").write_bytes(name.encode())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.digests(tmp_path)))
    assert manifest.differences(tmp_path) == []
    (tmp_path / "mini" / "a.jpg").unlink()
    (tmp_path / "mini" / "b.jpg").write_bytes(b"other")
    (tmp_path / "mini" / "d.jpg").write_bytes(b"d")
    assert manifest.differences(tmp_path) == [
        "mini/a.jpg is missing",
        "mini/d.jpg is not listed",
        "mini/b.jpg was changed",
    ]


def test_sizes_stay_small():
    sizes = {p: p.stat().st_size for p in manifest.bundled_files()}
    assert max(sizes.values()) < 12_000_000
    # git packs the two files of bare pixels to half their size; all else is packed already
    bare = {p: size for p, size in sizes.items() if p.name.endswith("_X.bin")}
    packed = sum(len(zlib.compress(p.read_bytes())) for p in bare)
    assert packed <= 9_000_000 and sum(bare.values()) <= 17_000_000
    assert sum(sizes.values()) - sum(bare.values()) + packed <= 40_000_000


def test_nothing_is_missing_or_superfluous():
    expected = {f"mini/{path}" for name in build_images.SETS for path in build_images.paths(name)}
    expected |= {"weights/resnet10.pth", "weights/efficientnet_mini.pth", "weights/vgg9_bn.pth"}
    assert set(listed()) == expected


def test_flowers_splits_hold_ten_of_each_class():
    from scipy.io import loadmat

    root = DATA / "mini" / "flowers-102"
    labels = loadmat(root / "imagelabels.mat")["labels"].ravel()
    splits = loadmat(root / "setid.mat")
    assert len(labels) == 3060 and labels.min() == 1 and labels.max() == 102
    parts = [splits[name].ravel() for name in ("trnid", "valid", "tstid")]
    for part in parts:
        assert np.bincount(labels[part - 1], minlength=103)[1:].tolist() == [10] * 102
    assert len(np.unique(np.concatenate(parts))) == 3060


@pytest.mark.parametrize("name, classes", [("five-flowers", 5), ("microscopy", 6)])
def test_folder_sets_hold_120_of_each_class(name, classes):
    folders = [p for p in (DATA / "mini" / name).iterdir() if p.is_dir()]
    assert len(folders) == classes
    assert {len(list(folder.glob("*.jpg"))) for folder in folders} == {120}


def some_images():
    chosen = random.Random(0)
    for name in build_images.SETS:
        images = [path for path in build_images.paths(name) if path.endswith(".jpg")]
        yield from chosen.sample(images, 4 if images else 0)  # tests/test_stl10.py looks into the file without images


@pytest.mark.parametrize("path", list(some_images()))
def test_an_image_is_drawn_again_from_its_seed(path):
    kept, drawn = (DATA / "mini" / path).read_bytes(), build_images.build_one(path)
    again, bundled = (np.asarray(Image.open(io.BytesIO(b)), dtype=float) for b in (drawn, kept))
    assert bundled.shape == ((128, 128, 3) if path.startswith("meadow") else (96, 96, 3))
    # Another JPEG library or processor may round differently; the picture must be the same.
    assert drawn == kept or np.abs(again - bundled).mean() < 1.0


@pytest.mark.parametrize("path", ["flowers-102/imagelabels.mat", "flowers-102/setid.mat"])
def test_the_tables_are_rebuilt_byte_for_byte(path):
    assert build_images.build_one(path) == (DATA / "mini" / path).read_bytes()


def test_all_images_can_be_decoded_and_are_no_two_alike():
    digests = [digest for name, digest in listed().items() if name.endswith(".jpg")]
    assert len(set(digests)) == len(digests)
    for name in random.Random(1).sample(sorted(listed()), 60):
        if name.endswith(".jpg"):
            with Image.open(DATA / name) as image:
                side = 128 if "/meadow/" in name else 96
                assert image.size == (side, side) and image.mode == "RGB"
                image.load()


@pytest.fixture(scope="module")
def small_source():
    """The source task on a bank of four variants in place of 24: quick to draw, the same code."""
    painters = (source.draw_contour, source.draw_texture, source.draw_line, source.draw_arrangement)
    bank = torch.zeros(472, 1, 2, source.SIDE, source.SIDE, dtype=torch.uint8)
    label = 0
    for painter, count in zip(painters, source.COUNTS.values(), strict=True):
        for index in range(0, count, 12):  # every twelfth class; the others stay blank
            image = np.stack(painter(index, np.random.default_rng([0, index])))
            assert image.shape == (2, source.SIDE, source.SIDE) and np.isfinite(image).all()
            assert 0 <= np.clip(image, 0, 1).min() and image[0].max() > 0.5
            bank[label + index, 0] = torch.from_numpy((np.clip(image, 0, 1) * 255).astype(np.uint8))
        label += count
    return source.Source(bank)


def test_a_source_batch_depends_on_seed_and_step_only(small_source):
    first, labels = small_source.batch(seed=3, step=11, n=16, size=48)
    torch.manual_seed(99)
    small_source.batch(seed=0, step=0, n=4)
    again, same = small_source.batch(seed=3, step=11, n=16, size=48)
    assert torch.equal(first, again) and torch.equal(labels, same)
    other, different = small_source.batch(seed=3, step=12, n=16, size=48)
    assert not torch.equal(first, other) and not torch.equal(labels, different)
    assert first.shape == (16, 3, 48, 48) and first.dtype == torch.float32
    assert 0 <= first.min() and first.max() <= 1 and torch.isfinite(first).all()


def test_source_classes_are_named_and_abstract():
    names = source.class_names()
    assert len(names) == len(set(names)) == 472
    assert {name.split()[0] for name in names} == {"contour", "texture", "line", "arrangement"}


def test_the_same_variant_is_drawn_again_from_its_seed():
    first, second = (source.draw_contour(17, np.random.default_rng([1, 2])) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], source.draw_contour(17, np.random.default_rng([1, 3]))[0])


def test_the_data_card_shows_what_was_measured():
    results = json.loads(measure.RESULTS.read_text(encoding="utf-8"))
    assert measure.table(results) in measure.CARD.read_text(encoding="utf-8")
    for arch in measure.ARCHS:
        flowers = {s: measure.summary(results, f"flowers-102|{arch}|{s}") for s in measure.STRATEGIES}
        mean = {strategy: figure[0] for strategy, figure in flowers.items()}
        for strategy in ("scratch", "random frozen", "frozen", "fine-tuned"):
            assert flowers[strategy][2] == 3, f"{arch} {strategy}: three seeds"
        assert mean["frozen"] >= 2 * max(mean["random frozen"], mean["scratch"])
        assert mean["fine-tuned"] >= mean["frozen"] + 5
        assert max(mean.values()) <= 97
