"""Image files of every kind, class folders, the bundled sets, the stratified split, the loaders."""

import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import Flowers102

import tlhelpers as tl
from tlhelpers.session import Course


def save(path, mode="RGB", size=(12, 8), colour=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size) if colour is None else Image.new(mode, size, colour)
    image.save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("daisy", "rose"):
        for number in range(4):
            save(tmp_path / name / f"{number}.jpg", colour=(200, 20 * number, 30))
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "ending"), [("L", "png"), ("P", "png"), ("CMYK", "jpg"), ("RGBA", "png"), ("1", "png"), ("LA", "png")]
)
def test_images_of_every_mode_become_rgb(tmp_path, mode, ending):
    image = tl.load_image(save(tmp_path / f"x.{ending}", mode))
    assert image.mode == "RGB" and image.size == (12, 8)


def test_transparent_parts_become_white(tmp_path):
    image = tl.load_image(save(tmp_path / "x.png", "RGBA", colour=(10, 200, 10, 0)))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2))
    palette.save(tmp_path / "p.gif", transparency=0)
    assert tl.load_image(tmp_path / "p.gif").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_greyscale_keeps_its_shades(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "x.png")
    assert [value[0] for value in np.asarray(tl.load_image(tmp_path / "x.png"))[0]] == [0, 128, 255]


def test_a_photo_taken_sideways_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to see it upright"
    assert tl.load_image(save(tmp_path / "x.jpg", size=(12, 8), exif=exif)).size == (8, 12)


def break_file(kind, path):
    if kind == "text":
        path.write_text("this is no picture")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(("kind", "workers"), [("text", 0), ("empty", 0), ("cut short", 0), ("cut short", 1)])
def test_an_undecodable_image_is_named_by_its_path(folder, kind, workers):
    break_file(kind, folder / "rose" / "2.jpg")
    dataset = tl.image_folder(folder, tl.eval_transform(8))
    with pytest.raises(tl.CourseError, match=r"rose.2\.jpg"):
        list(tl.make_loader(dataset, num_workers=workers))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(tl.CourseError, match="gone.jpg"):
        tl.load_image(tmp_path / "gone.jpg")


def test_image_folder_is_torchvisions_with_files_in_order(folder):
    dataset = tl.image_folder(folder)
    assert dataset.classes == ["daisy", "rose"] and dataset.targets == [0] * 4 + [1] * 4
    image, label = dataset[5]
    assert image.mode == "RGB" and label == 1


def test_image_folder_reads_capital_endings_and_deeper_folders(folder):
    save(folder / "tulip" / "spring" / "A.JPG")
    save(folder / "tulip" / "b.PNG")
    dataset = tl.image_folder(str(folder))
    assert dataset.targets.count(dataset.class_to_idx["tulip"]) == 2


def test_hidden_files_and_folders_are_ignored(folder):
    (folder / "rose" / "._0.jpg").write_bytes(b"macOS")
    (folder / ".DS_Store").write_bytes(b"macOS")
    save(folder / "rose" / ".ipynb_checkpoints" / "0-checkpoint.jpg")
    save(folder / ".ipynb_checkpoints" / "0.jpg")
    save(folder / "__MACOSX" / "rose" / "0.jpg")
    (folder / "notes.txt").write_text("hello")
    dataset = tl.image_folder(folder)
    assert dataset.classes == ["daisy", "rose"] and len(dataset) == 8


def test_a_hidden_folder_above_the_root_does_not_hide_the_images(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("x") / ".cache" / "flowers"
    save(elsewhere / "daisy" / "0.jpg")
    assert len(tl.image_folder(elsewhere)) == 1


def test_an_empty_class_folder_is_named(folder):
    (folder / "lily").mkdir()
    with pytest.raises(tl.CourseError, match="lily.*empty"):
        tl.image_folder(folder)
    (folder / "lily" / "a.heic").write_bytes(b"x")
    with pytest.raises(tl.CourseError, match=r"lily.*1 x \.heic.*jpg"):
        tl.image_folder(folder)


def test_folders_of_the_wrong_shape_are_explained(tmp_path, folder):
    with pytest.raises(tl.CourseError, match="no folder .*nowhere"):
        tl.image_folder(tmp_path / "nowhere")
    with pytest.raises(tl.CourseError, match="holds no folders"):
        tl.image_folder(folder / "rose")
    save(tmp_path / "outer" / "train" / "rose" / "0.jpg")
    save(tmp_path / "outer" / "val" / "rose" / "0.jpg")
    with pytest.raises(tl.CourseError, match="splits train, val"):
        tl.image_folder(tmp_path / "outer")


def test_class_names_are_torchvisions():
    assert len(tl.FLOWERS102_CLASSES) == len(set(tl.FLOWERS102_CLASSES)) == 102
    assert list(tl.FLOWERS102_CLASSES) == Flowers102.classes


def plant_flowers(root, labels, train, val, test, size=(12, 8)):
    from scipy.io import savemat

    base = root / "flowers-102"
    for number in range(1, len(labels) + 1):
        save(base / "jpg" / f"image_{number:05d}.jpg", size=size)
    savemat(base / "imagelabels.mat", {"labels": np.array([labels])})
    savemat(base / "setid.mat", {"trnid": np.array([train]), "valid": np.array([val]), "tstid": np.array([test])})


def test_mini_flowers_reads_torchvisions_layout(tmp_path):
    plant_flowers(tmp_path, [1, 102, 50, 7], [2, 1], [3, 1], [4, 1])
    train = tl.MiniFlowers102(tmp_path, transform=tl.eval_transform(8), target_transform=lambda label: -label)
    assert isinstance(train, Flowers102) and train.targets == [101, 0]
    assert train[0][0].shape == (3, 8, 8) and train[0][1] == -101
    assert train.classes[train.targets[0]] == "blackberry lily"
    assert tl.MiniFlowers102(tmp_path, "val", download=True).targets == [49, 0]
    with pytest.raises(ValueError, match="split"):
        tl.MiniFlowers102(tmp_path, "validation")


def test_mini_flowers_refuses_labels_off_by_one_and_missing_files(tmp_path):
    plant_flowers(tmp_path, [1, 103], [1, 2], [1, 2], [1, 2])
    with pytest.raises(tl.CourseError, match="0 to 102"):
        tl.MiniFlowers102(tmp_path)
    plant_flowers(tmp_path, [0, 102], [1, 2], [1, 2], [1, 2])
    with pytest.raises(tl.CourseError, match="-1 to 101"):
        tl.MiniFlowers102(tmp_path)
    (tmp_path / "flowers-102" / "setid.mat").unlink()
    with pytest.raises(tl.CourseError, match="flowers-102 must hold"):
        tl.MiniFlowers102(tmp_path)


def test_sets_come_from_the_course(tmp_path):
    course = Course("mini", torch.device("cpu"), 0, tmp_path, tmp_path / "downloads")
    plant_flowers(tmp_path / "mini", [1, 2, 3], [1, 2], [2, 3], [3, 1])
    save(tmp_path / "mini" / "five-flowers" / "rose" / "0001.jpg")
    save(tmp_path / "mini" / "microscopy" / "cells" / "0001.jpg")
    assert tl.flowers102(course, "test").targets == [2, 0]
    assert tl.five_flowers(course).classes == ["rose"] and tl.microscopy(course).classes == ["cells"]
    assert not course.downloads.exists()


def shares(targets, part):
    counts = Counter(targets[index] for index in part)
    return [counts[label] for label in sorted(set(targets))]


def test_split_is_complete_disjoint_stratified_and_repeatable():
    targets = [index % 3 for index in range(60)] + [0] * 40
    parts = tl.stratified_split(targets, seed=1)
    assert sorted(sum(parts, [])) == list(range(100))
    assert [shares(targets, part) for part in parts] == [[36, 12, 12], [12, 4, 4], [12, 4, 4]]
    assert tl.stratified_split(targets, seed=1) == parts != tl.stratified_split(targets, seed=2)
    assert all(part == sorted(part) and isinstance(part[0], int) for part in parts)


@pytest.mark.parametrize("count", [3, 4, 5, 7, 10, 11])
def test_every_part_sees_every_class_however_few_images(count):
    targets = [0] * count + [1] * count
    parts = tl.stratified_split(torch.tensor(targets), (0.8, 0.1, 0.1))
    assert all(min(shares(targets, part)) >= 1 for part in parts)
    assert sum(map(len, parts)) == 2 * count


@pytest.mark.parametrize(
    ("targets", "fractions", "says"),
    [
        ([0] * 9 + [1] * 2, (0.6, 0.2, 0.2), "class 1 has 2 images"),
        ([0] * 9, (0.6, 0.2), "sum to 1"),
        ([0] * 9, (1.2, -0.2), "above 0"),
        ([], (0.5, 0.5), "class number"),
        (torch.zeros(3, 2), (0.5, 0.5), "class number"),
        (TensorDataset(torch.zeros(4)), (0.5, 0.5), "dataset.targets"),
    ],
)
def test_split_refuses_what_cannot_be_split(targets, fractions, says):
    with pytest.raises(tl.CourseError, match=says):
        tl.stratified_split(targets, fractions)


def test_split_opens_no_image(folder):
    dataset = tl.image_folder(folder)
    for path, _ in dataset.samples:
        open(path, "wb").close()
    assert len(tl.stratified_split(dataset.targets, (0.5, 0.5))[0]) == 4
    with pytest.raises(tl.CourseError, match="dataset.targets"):
        tl.stratified_split(dataset)


def order(loader, epochs=2):
    return [torch.cat([batch[0] for batch in loader]).tolist() for _ in range(epochs)]


def numbers(count):
    return TensorDataset(torch.arange(count))


def test_training_order_is_the_seeds_with_and_without_workers():
    alone = order(tl.make_loader(numbers(23), 5, train=True, seed=3))
    assert alone == order(tl.make_loader(numbers(23), 5, train=True, seed=3, num_workers=2))
    assert alone[0] != alone[1], "every epoch has another order"
    assert alone != order(tl.make_loader(numbers(23), 5, train=True, seed=4))
    assert sorted(alone[0]) == list(range(23))


def test_training_order_does_not_depend_on_other_random_numbers():
    first = order(tl.make_loader(numbers(23), 5, train=True))
    torch.rand(7)
    assert order(tl.make_loader(numbers(23), 5, train=True)) == first


def test_validation_keeps_the_order_and_every_image():
    assert order(tl.make_loader(numbers(9), 4), 1) == [list(range(9))]


@pytest.mark.parametrize(
    ("count", "batch_size", "train", "sizes"),
    [
        (9, 4, True, [4, 4]),  # a last batch of one image stops BatchNorm
        (9, 4, False, [4, 4, 1]),
        (10, 4, True, [4, 4, 2]),
        (1, 4, True, [1]),  # dropping the only batch would train on nothing
        (3, 1, True, [1, 1, 1]),
        (5, 1, True, [1] * 5),
    ],
)
def test_a_single_left_over_image_is_dropped_in_training_only(count, batch_size, train, sizes):
    assert [len(batch[0]) for batch in tl.make_loader(numbers(count), batch_size, train)] == sizes


def test_workers_start_anew_for_each_epoch():
    # a worker that lives on keeps random numbers that no checkpoint knows
    assert not tl.make_loader(numbers(4), num_workers=1).persistent_workers


@pytest.mark.parametrize(
    "options", [{"dataset": []}, {"batch_size": 0}, {"num_workers": -1}, {"dataset": Subset(numbers(3), [])}]
)
def test_loader_refuses_empty_datasets_and_impossible_numbers(options):
    with pytest.raises(tl.CourseError, match="empty|at least"):
        tl.make_loader(**{"dataset": numbers(4), **options})


def test_a_dataset_can_be_sent_to_a_spawned_worker(folder):
    # macOS and Windows start workers anew: a lambda, a local class or an open file in the dataset would fail there
    dataset = Subset(tl.image_folder(folder, tl.train_transform(8)), [0, 5])
    copy = pickle.loads(pickle.dumps(dataset))
    assert [copy[index][1] for index in range(2)] == [0, 1]


class Draws(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return random.random(), np.random.rand(), torch.rand(()).item()


def test_workers_draw_different_numbers_each_and_every_epoch():
    loader = tl.make_loader(Draws(), batch_size=1, num_workers=2)
    drawn = [batch[part].item() for _ in range(2) for batch in loader for part in range(3)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_bundled_flowers_have_ten_images_of_every_class_in_every_split(split):
    flowers = tl.MiniFlowers102(split=split)
    assert Counter(flowers.targets) == dict.fromkeys(range(102), 10)
    image, label = flowers[517]
    assert image.size == (96, 96) and image.mode == "RGB" and label == flowers.targets[517]


def test_bundled_flower_splits_share_no_image():
    splits = [set(tl.MiniFlowers102(split=split)._image_files) for split in ("train", "val", "test")]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 3060


def test_bundled_folders_have_120_images_per_class():
    course = tl.start(profile="mini", device="cpu")
    for dataset, classes in ((tl.five_flowers(course), 5), (tl.microscopy(course), 6)):
        assert Counter(dataset.targets) == dict.fromkeys(range(classes), 120)
        assert dataset[0][0].size == (96, 96)
