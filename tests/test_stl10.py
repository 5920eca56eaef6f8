"""STL-10: the bundled drawings in the original's files, and the real set with planted archives and failing servers."""

import errno
import hashlib
import io
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import Site
from PIL import Image
from torchvision.datasets import STL10

import tlhelpers as tl
from tlhelpers.session import Course
from tlhelpers.stl10 import IMAGE_BYTES, LabelledSTL10

DATA = Path(__file__).resolve().parent.parent / "data"
sys.path.insert(0, str(DATA))

import build_images  # noqa: E402
import render_things  # noqa: E402

BUNDLED = DATA / "mini" / "stl10_binary"
NAMES = "airplane bird car cat deer dog horse monkey ship truck".split()
ARCHIVE = "stl10_binary.tar.gz"


def course_of(profile, downloads):
    return Course(profile, torch.device("cpu"), 0, tl.data_dir(), downloads)


# ---------------------------------------------------------------- the bundled set
def test_the_files_are_the_original_ones_and_small_enough():
    assert {file.name for file in BUNDLED.iterdir()} == {
        *(f"{split}_{kind}.bin" for split in ("train", "test") for kind in "Xy"),
        "class_names.txt",
        "fold_indices.txt",
    }
    assert (BUNDLED / "train_X.bin").stat().st_size == 400 * 3 * 96 * 96 < 12e6
    assert (BUNDLED / "test_X.bin").stat().st_size == 200 * 3 * 96 * 96
    assert (BUNDLED / "class_names.txt").read_text().split() == NAMES
    assert b"\r" not in (BUNDLED / "fold_indices.txt").read_bytes()


@pytest.mark.parametrize("split, each", [("train", 40), ("test", 20)])
def test_labels_count_from_one_in_the_file_and_from_zero_in_the_dataset(split, each):
    raw = np.fromfile(BUNDLED / f"{split}_y.bin", np.uint8)
    things = tl.MiniSTL10(split=split)
    assert np.bincount(raw, minlength=11).tolist() == [0] + [each] * 10
    assert things.targets == [int(label) - 1 for label in raw] == [things[i][1] for i in range(len(things))]
    assert things.classes == list(tl.STL10_CLASSES) == NAMES
    assert len(set(raw[:20])) > 5, "the classes come shuffled, not one after the other"


def test_torchvision_s_own_class_reads_the_bundled_files(monkeypatch):
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    original, ours = STL10(DATA / "mini", "test"), tl.MiniSTL10(split="test")
    assert original.classes == ours.classes and np.array_equal(original.data, ours.data)
    assert isinstance(ours, STL10)


def test_pixels_stand_column_after_column():
    index = 7
    plane = np.fromfile(BUNDLED / "train_X.bin", np.uint8)[index * IMAGE_BYTES : (index + 1) * IMAGE_BYTES]
    image = np.asarray(tl.MiniSTL10()[index][0])
    assert image.shape == (96, 96, 3)
    assert np.array_equal(plane.reshape(3, 96, 96).transpose(2, 1, 0), image)
    assert plane[1] == image[1, 0, 0] and plane[96] == image[0, 1, 0]


def test_images_are_upright():
    """Pictures with a sky are lighter above than below, and not lighter on one side."""
    things = tl.MiniSTL10()
    ships = np.stack([np.asarray(things[i][0], float) for i, k in enumerate(things.targets) if k == 8])
    above, below = ships[:, :20].mean(), ships[:, -20:].mean()
    assert above > below + 20
    assert abs(ships[:, :, :20].mean() - ships[:, :, -20:].mean()) < 20


def test_every_image_is_a_picture_and_no_two_are_alike():
    images = np.concatenate([tl.MiniSTL10(split=split).data for split in ("train", "test")])
    assert images.dtype == np.uint8 and images.shape == (600, 3, 96, 96)
    assert len({image.tobytes() for image in images}) == 600
    assert images.reshape(600, -1).std(1).min() > 6


def test_a_class_is_not_given_away_by_its_mean_colour():
    """A nearest-mean rule on colours alone must stay far from solving the set."""
    train, test = tl.MiniSTL10(), tl.MiniSTL10(split="test")
    colours = [part.data.reshape(len(part), 3, -1).mean(2) for part in (train, test)]
    means = np.stack([colours[0][np.array(train.targets) == k].mean(0) for k in range(10)])
    nearest = ((colours[1][:, None] - means) ** 2).sum(2).argmin(1)
    assert np.mean(nearest == np.array(test.targets)) < 0.35


@pytest.mark.parametrize("fold", [0, 9])
def test_a_fold_is_a_balanced_part_of_the_training_images(fold):
    part = tl.MiniSTL10(folds=fold)
    assert np.bincount(part.targets).tolist() == [8] * 10
    lines = (BUNDLED / "fold_indices.txt").read_text().splitlines()
    whole = tl.MiniSTL10()
    indices = [int(index) for index in lines[fold].split()]
    assert len(lines) == 10 and len(set(indices)) == 80
    assert part.targets == [whole.targets[i] for i in indices]


def test_transforms_are_applied():
    things = tl.MiniSTL10(transform=np.asarray, target_transform=lambda k: -k)
    image, label = things[0]
    assert isinstance(image, np.ndarray) and label == -tl.MiniSTL10().targets[0]


def test_stl10_in_mini_splits_and_gives_statistics(tmp_path):
    course = course_of("mini", tmp_path / "nothing")
    things = tl.stl10(course)
    assert isinstance(things, tl.MiniSTL10) and not (tmp_path / "nothing").exists()
    train, val = tl.stratified_split(things.targets, (0.8, 0.2))
    assert (len(train), len(val)) == (320, 80)


@pytest.mark.parametrize("split", ["val", "unlabeled", "train+unlabeled", "Test"])
@pytest.mark.parametrize("profile", ["mini", "full"])
def test_another_split_is_refused_before_anything_is_loaded(split, profile, tmp_path):
    with pytest.raises(tl.CourseError, match="'train' or 'test'"):
        tl.stl10(course_of(profile, tmp_path / "downloads"), split)
    with pytest.raises(tl.CourseError, match="'train' or 'test'"):
        tl.MiniSTL10(split=split)
    assert not (tmp_path / "downloads").exists()


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(BUNDLED, tmp_path / "stl10_binary")
    return tmp_path


@pytest.mark.parametrize("name", ["test_X.bin", "train_y.bin", "class_names.txt"])
def test_a_missing_file_is_named(copy, name):
    (copy / "stl10_binary" / name).unlink()
    with pytest.raises(tl.CourseError, match=rf"{name}.*git checkout"):
        tl.MiniSTL10(copy)


def test_a_cut_or_changed_file_is_named(copy):
    file = copy / "stl10_binary" / "train_X.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(tl.CourseError, match="399 images and 27548 bytes more, 400 labels"):
        tl.MiniSTL10(copy)
    file.write_bytes(whole[: 10 * IMAGE_BYTES])
    with pytest.raises(tl.CourseError, match="found 10 images and 0 bytes more"):
        tl.MiniSTL10(copy)
    file.write_bytes(whole)
    labels = copy / "stl10_binary" / "train_y.bin"
    labels.write_bytes(bytes([0]) + labels.read_bytes()[1:])
    with pytest.raises(tl.CourseError, match="label from 1 to 10"):
        tl.MiniSTL10(copy)
    assert len(tl.MiniSTL10(copy, "test")) == 200, "the other split is whole"


# ---------------------------------------------------------------- made again from the seed
@pytest.mark.parametrize("file", ["train_y.bin", "test_y.bin", "class_names.txt", "fold_indices.txt"])
def test_labels_names_and_folds_are_rebuilt_byte_for_byte(file):
    assert build_images.build_one(f"stl10_binary/{file}") == (BUNDLED / file).read_bytes()


@pytest.mark.parametrize("split, index", [("train", 0), ("train", 399), ("test", 11), ("test", 140)])
def test_an_image_is_drawn_again_from_its_seed(split, index):
    kept = np.asarray(tl.MiniSTL10(split=split)[index][0]).astype(int)
    drawn = build_images.stl10_image(split, index).astype(int)
    # another NumPy may round differently; the picture must be the same
    assert np.abs(drawn - kept).mean() < 1.0


@pytest.mark.parametrize("name", NAMES)
def test_each_thing_is_drawn_from_its_generator_alone_and_varies(name):
    first, again, other = (render_things.render(name, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8 and first.std() > 6
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_an_unknown_thing_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="monkey"):
        render_things.render("ape", np.random.default_rng(0))


# ---------------------------------------------------------------- the real set, planted
@pytest.fixture
def real(monkeypatch):
    """A tiny archive in the real layout, torchvision's class told its checksums and given a server on this machine."""
    rng = np.random.default_rng(0)
    files = {"class_names.txt": "\n".join(NAMES).encode(), "fold_indices.txt": b"0 1 2\n" * 10}
    for split, labels in (("train", [1, 10, 3]), ("test", [2, 9])):
        files[f"{split}_X.bin"] = rng.integers(0, 256, (len(labels), 3, 96, 96), dtype=np.uint8).tobytes()
        files[f"{split}_y.bin"] = bytes(labels)
    files["unlabeled_X.bin"] = bytes(2 * IMAGE_BYTES)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = buffer.getvalue()
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(LabelledSTL10, "train_list", [[f"train_{kind}.bin", md5[f"train_{kind}.bin"]] for kind in "Xy"])
    monkeypatch.setattr(LabelledSTL10, "test_list", [[f"test_{kind}.bin", md5[f"test_{kind}.bin"]] for kind in "Xy"])
    monkeypatch.setattr(LabelledSTL10, "tgz_md5", hashlib.md5(packed).hexdigest())
    sites = []

    def serve(**trouble):
        site = Site({ARCHIVE: packed}, **trouble)
        monkeypatch.setattr(LabelledSTL10, "url", site.url + ARCHIVE)
        sites.append(site)
        return site

    serve.files = files
    yield serve
    for site in sites:
        site.close()


@pytest.fixture
def course(tmp_path):
    return course_of("full", tmp_path / "downloads")


def left_over(course):
    return sorted(path.name for path in course.downloads.glob("*")) if course.downloads.is_dir() else []


def test_the_real_set_is_announced_fetched_once_and_kept_without_what_no_lesson_reads(real, course, capsys):
    site = real()
    train = tl.stl10(course, "train")
    said = capsys.readouterr().out
    assert said.count("2.6 GB") == 1 and str(course.downloads) in said and "once" in said
    test = tl.stl10(course, "test", transform=lambda image: image.size)
    assert type(train) is type(test) is LabelledSTL10 and isinstance(train, STL10)
    assert train.targets == [0, 9, 2] and test.targets == [1, 8] and train.classes == NAMES
    assert test[1] == ((96, 96), 8) and isinstance(train[0][0], Image.Image)
    expected = np.frombuffer(real.files["train_X.bin"], np.uint8)[:IMAGE_BYTES].reshape(3, 96, 96)
    assert np.array_equal(np.asarray(train[0][0]), expected.transpose(2, 1, 0))
    assert left_over(course) == ["stl10_binary"], "the archive is gone"
    assert "unlabeled_X.bin" not in {file.name for file in (course.downloads / "stl10_binary").iterdir()}
    site.close()  # what is there needs no server
    assert len(tl.stl10(course, "test")) == 2 and capsys.readouterr().out == ""


def test_a_set_that_was_unpacked_by_hand_is_used(real, course, capsys):
    real().close()
    folder = course.downloads / "stl10_binary"
    folder.mkdir(parents=True)
    for name, content in real.files.items():
        (folder / name).write_bytes(content)
    assert tl.stl10(course).targets == [0, 9, 2] and capsys.readouterr().out == ""
    assert (folder / "unlabeled_X.bin").exists(), "what the learner put there stays"


@pytest.mark.parametrize("trouble", ["cut", "damage"])
def test_a_download_that_goes_wrong_leaves_nothing_and_never_mixes(trouble, real, course, capsys):
    site = real(**{trouble: [ARCHIVE]})
    assert isinstance(tl.stl10(course, "train"), tl.MiniSTL10)
    said = capsys.readouterr().out
    assert "cut short or damaged" in said and "bundled mini STL-10" in said and "2.6 GB" in said
    assert left_over(course) == []
    site.__dict__.update(cut=set(), damage=set())
    assert isinstance(tl.stl10(course, "test"), tl.MiniSTL10), "one split bundled: the other one too"
    assert type(tl.stl10(course_of("full", course.downloads), "train")) is LabelledSTL10, "a new start tries again"


def test_no_server_at_all(real, course, capsys):
    real().close()
    assert isinstance(tl.stl10(course), tl.MiniSTL10)
    assert "no connection" in capsys.readouterr().out and left_over(course) == []


def test_an_archive_that_lacks_a_file_is_not_taken_for_complete(real, course, monkeypatch, capsys):
    """torchvision checks the archive, unpacks it and ignores what it then finds."""
    real()
    lists = LabelledSTL10.test_list
    monkeypatch.setattr(LabelledSTL10, "test_list", [lists[0], ["test_y.bin", "0" * 32]])
    assert isinstance(tl.stl10(course), tl.MiniSTL10)
    assert "cut short or damaged" in capsys.readouterr().out and left_over(course) == []


def test_a_damaged_copy_is_fetched_again(real, course):
    real()
    tl.stl10(course)
    file = course.downloads / "stl10_binary" / "test_X.bin"
    file.write_bytes(file.read_bytes()[:-5])
    assert tl.stl10(course, "test").targets == [1, 8]
    assert file.read_bytes() == real.files["test_X.bin"]


def test_too_little_room_is_found_before_the_download(real, course, monkeypatch, capsys):
    real()
    usage = shutil.disk_usage(course.data)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=5_000_000_000))
    monkeypatch.setattr(LabelledSTL10, "download", lambda self: pytest.fail("the download was started"))
    assert isinstance(tl.stl10(course), tl.MiniSTL10)
    assert "the disk is full" in capsys.readouterr().out and left_over(course) == []


def test_an_interrupt_leaves_nothing_and_is_not_swallowed(real, course, monkeypatch):
    real()

    def interrupted(self):
        (Path(self.root) / ARCHIVE).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelledSTL10, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tl.stl10(course)
    assert left_over(course) == [] and "stl10" not in course.fallen_back


def test_a_disk_that_fills_up_on_the_way_is_named(real, course, monkeypatch, capsys):
    real()

    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LabelledSTL10, "download", full)
    assert isinstance(tl.stl10(course), tl.MiniSTL10)
    assert "the disk is full" in capsys.readouterr().out and left_over(course) == []


def test_the_real_checksums_are_torchvision_s_own():
    assert [entry for entry in STL10.train_list if "unlabeled" not in entry[0]] == LabelledSTL10.train_list
    assert LabelledSTL10.test_list == STL10.test_list and LabelledSTL10.tgz_md5 == STL10.tgz_md5
