"""The image builder: a file follows from its path alone, and the sets on disk have the promised layout."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
sys.path.insert(0, str(DATA))

import build_images  # noqa: E402
import render_domain  # noqa: E402
import render_flowers  # noqa: E402
from botany import BY_NAME, FLOWERS, PALETTE  # noqa: E402

from tlhelpers.datasets import FLOWERS102_CLASSES, MiniFlowers102  # noqa: E402

SAMPLES = [
    "flowers-102/jpg/image_00001.jpg",
    "five-flowers/tulip/0120.jpg",
    "microscopy/rod_cells/0007.jpg",
    "flowers-102/imagelabels.mat",
    "flowers-102/setid.mat",
]


def picture(name, *seed):
    module = render_domain if name in render_domain.DOMAIN_CLASSES else render_flowers
    return module.render(name, np.random.default_rng(list(seed)))


@pytest.mark.parametrize("path", SAMPLES)
def test_a_file_on_disk_is_rebuilt_byte_for_byte(path):
    assert build_images.build_one(path) == (DATA / "mini" / path).read_bytes()


def test_a_file_does_not_depend_on_the_process_that_builds_it():
    code = "import build_images as b, sys; sys.stdout.buffer.write(b.build_one('five-flowers/rose/0003.jpg'))"
    environment = {"PYTHONHASHSEED": "17", "OMP_NUM_THREADS": "1"}
    other = subprocess.run([sys.executable, "-c", code], cwd=DATA, env=environment, capture_output=True, check=True)
    assert other.stdout == build_images.build_one("five-flowers/rose/0003.jpg")


@pytest.mark.parametrize("name", ["sunflower", "round_cells"])
def test_same_seed_same_pixels_other_seed_other_pixels(name):
    first, again, other = picture(name, 1), picture(name, 1), picture(name, 2)
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_rendering_leaves_the_global_random_state_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    picture("oxeye daisy", 0)
    assert np.random.random() == expected


@pytest.mark.parametrize("name", list(BY_NAME))
def test_every_flower_can_be_built(name):
    for position, normal, colour in render_flowers.plant(np.random.default_rng(5), BY_NAME[name]):
        assert position.shape == normal.shape == colour.shape and position.shape[1] == 3 and len(position)
        assert np.isfinite(position).all() and np.isfinite(normal).all() and np.isfinite(colour).all()


@pytest.mark.parametrize("name", ["bird of paradise", "tulip", *render_domain.DOMAIN_CLASSES])
def test_a_picture_is_96_pixels_of_rgb_with_something_on_it(name):
    pixels = picture(name, 5)
    assert pixels.shape == (96, 96, 3) and pixels.dtype == np.uint8
    assert pixels.std() > 6


def test_the_table_names_the_classes_of_flowers102_in_order():
    assert tuple(row["name"] for row in FLOWERS) == tuple(FLOWERS102_CLASSES)
    assert len(BY_NAME) == 103  # 102 and the tulip of the five-class set


def test_every_colour_in_the_table_is_in_the_palette():
    morphs = {name for row in BY_NAME.values() for colour in row["colours"] for name in colour.split(">")}
    assert morphs <= set(PALETTE)


def test_splits_are_disjoint_and_balanced():
    labels, splits = build_images.flowers102_tables()
    assert labels.shape == (3060,) and not np.all(np.diff(labels) >= 0)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1, 3061))
    for numbers in splits.values():
        assert np.array_equal(labels[numbers - 1], np.repeat(np.arange(1, 103), 10))


def test_mat_file_holds_no_date_and_reads_back():
    from scipy.io import loadmat

    content = build_images.mat_bytes({"labels": [1, 2, 3]})
    assert content == build_images.mat_bytes({"labels": [1, 2, 3]})
    assert b"Created on" not in content[:116] and b"Platform" not in content[:116]
    assert loadmat(io.BytesIO(content))["labels"].tolist() == [[1, 2, 3]]


def test_sets_on_disk_are_complete():
    expected = {path for name in build_images.SETS for path in build_images.paths(name)}
    mini = DATA / "mini"
    found = {path.relative_to(mini).as_posix() for path in mini.rglob("*") if path.is_file()}
    assert found == expected
    assert sum((mini / path).stat().st_size for path in found) < 34e6


def test_no_image_appears_twice():
    contents = [path.read_bytes() for path in (DATA / "mini").rglob("*.jpg")]
    assert len(contents) == 3060 + 600 + 720 + 110 == len(set(contents))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_torchvision_reads_the_flowers(split):
    dataset = MiniFlowers102(split=split)
    assert len(dataset) == 1020
    image, label = dataset[1019]
    assert image.size == (96, 96) and image.mode == "RGB" and label == 101


def test_images_of_the_folders_open_as_rgb():
    for path in [
        *(DATA / "mini" / "five-flowers").glob("*/0060.jpg"),
        *(DATA / "mini" / "microscopy").glob("*/0060.jpg"),
    ]:
        with Image.open(path) as image:
            assert image.mode == "RGB" and image.size == (96, 96)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="sunflower"):
        render_flowers.render("sunflwer", np.random.default_rng(0))
    with pytest.raises(ValueError, match="rod_cells"):
        render_domain.render("cells", np.random.default_rng(0))
    with pytest.raises(ValueError, match="five-flowers"):
        build_images.build_one("six-flowers/rose/0001.jpg")
    with pytest.raises(ValueError, match="image_00001"):
        build_images.build_one("flowers-102/jpg/image_99999.jpg")
    with pytest.raises(SystemExit):
        build_images.main(["--only", "nothing"])
