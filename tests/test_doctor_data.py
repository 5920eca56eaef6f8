"""The training doctor on images, loaders, labels and what both sides share: each mistake planted, and none."""

import copy
import shutil
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torchvision import datasets, models, transforms
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers import diagnosis
from tlhelpers.diagnosis import images, labels, loaders, lookalikes, samples, sharing, values
from tlhelpers.session import data_dir

DATA = (images, loaders, labels, sharing)
CLASSES = 5
FLOWERS = data_dir() / "mini" / "five-flowers"
CELLS = data_dir() / "mini" / "microscopy"
FLOAT = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
FRAME = [v2.Resize(64), v2.CenterCrop(64)]
NORMALIZE = v2.Normalize(tl.IMAGENET_MEAN, tl.IMAGENET_STD)
EVAL, TRAIN = tl.eval_transform(64), tl.train_transform(64)
COLOURS_UNSEEN = "order of the colours: the images come without their files"


def seen_by(*files):
    """The doctor with these files of examinations only: the others have their own tests, and cost time."""

    def doctor(*setup):
        with mock.patch.object(diagnosis, "FILES", files):
            return diagnosis.doctor(*setup)

    return doctor


on_data, on_images, on_loaders, on_labels, on_sharing = (seen_by(*DATA), *(seen_by(file) for file in DATA))
TARGETS = tl.image_folder(FLOWERS).targets
INDEX = dict(zip(("train", "val", "test"), tl.stratified_split(TARGETS, (0.1, 0.07, 0.83)), strict=True))


def flowers(side, transform=EVAL, root=FLOWERS):
    return Subset(tl.image_folder(root, transform), INDEX[side])


def in_memory(dataset):
    pictures, targets = zip(*[dataset[i] for i in range(len(dataset))], strict=True)
    return TensorDataset(torch.stack(pictures), torch.tensor(targets))


def network(outputs=CLASSES, arch="resnet10", weights="DEFAULT", frozen=True):
    model = models.get_model(arch, weights=weights)
    if frozen:
        tl.freeze(model)
    return tl.replace_head(model, outputs)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def memory():
    """(training, validation) images of the flowers in memory: 60 and 40 of 5 classes."""
    return in_memory(flowers("train")), in_memory(flowers("val"))


def training(dataset, batch_size=8, **options):
    return tl.make_loader(dataset, batch_size, train=True, **options)


def validation(dataset, **options):
    return tl.make_loader(dataset, 32, **options)


def report_on(model, train=TRAIN, val=EVAL, doctor=on_images):
    """What is said about flowers from files that go through these transforms."""
    return doctor(model, training(flowers("train", train)), validation(flowers("val", val)))


def unexpected(report):
    return [text for text in report.skipped if not text.startswith(COLOURS_UNSEEN)]


# --- nothing is found where all is right


def right_setups(memory):
    train, val = memory
    network_, wide = network(), network(frozen=False)
    files = training(flowers("train", TRAIN)), validation(flowers("val"))
    rows = [tl.cache_features(network(), tl.make_loader(part, 32)) for part in memory]
    cached = tl.cache_images(flowers("train").dataset, TRAIN), tl.cache_images(flowers("val"), EVAL)
    mixing = training(train, collate_fn=tl.MixingCollate(CLASSES, mixup_alpha=0.2, cutmix_alpha=1.0))
    own = tl.dataset_statistics(flowers("train", v2.Compose([*FRAME, *FLOAT])))
    old = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor(), NORMALIZE])
    batches = [(train.tensors[0][i::6], train.tensors[1][i::6]) for i in range(6)]
    cells = tl.stratified_split(tl.image_folder(CELLS).targets, (0.1, 0.1, 0.8))[:2]
    cell_sides = [Subset(tl.image_folder(CELLS, EVAL), index) for index in cells]
    presets = models.get_model_weights("resnet10").DEFAULT.transforms()
    both = datasets.ImageFolder(FLOWERS, EVAL)
    random_sides = [DataLoader(both, 8, sampler=SubsetRandomSampler(INDEX[side])) for side in ("train", "val")]
    heads = nn.Linear(512, CLASSES), nn.Sequential(nn.Linear(512, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    row_loaders = training(rows[0]), validation(rows[1])
    return {
        "files": (network_, *files),
        "fine-tuning": (wide, *files),
        "in memory": (network_, training(train), validation(val)),
        "cached features": (heads[0], *row_loaders),
        "head with BatchNorm": (heads[1], *row_loaders),
        "cached images": (network_, training(Subset(cached[0], INDEX["train"])), validation(cached[1])),
        "cached and in memory": (network_, training(Subset(cached[0], INDEX["train"])), validation(val)),
        "mixed, smoothed loss": (wide, mixing, validation(val), None, nn.CrossEntropyLoss(label_smoothing=0.1)),
        "own statistics": (
            network_,
            *(tl.make_loader(flowers(s, tl.eval_transform(64, *own)), 8, train=s == "train") for s in ("train", "val")),
        ),
        "older transforms": (network_, training(flowers("train", old)), validation(flowers("val", old))),
        "preset": (network_, training(flowers("train", presets)), validation(flowers("val", presets))),
        "list of batches": (network_, batches, [val.tensors]),
        "cells": (network(6), training(cell_sides[0]), validation(cell_sides[1])),
        "from scratch, 0 to 1": (
            network(weights=None, frozen=False),
            *(
                tl.make_loader(flowers(s, v2.Compose([*FRAME, *FLOAT])), 8, train=s == "train")
                for s in ("train", "val")
            ),
        ),
        "larger images in validation": (network_, training(flowers("train", tl.train_transform(56))), files[1]),
        "one dataset, sides by sampler": (network_, random_sides[0], validation(flowers("val", EVAL))),
        "efficientnet": (network(arch="efficientnet_mini"), *files),
        "no validation": (network_, files[0]),
    }


def test_right_setups_give_no_finding(memory):
    for name, setup in right_setups(memory).items():
        report = on_data(*setup)
        assert report.codes == [], f"{name}: {report}"
        assert unexpected(report) == [], f"{name}: {report.skipped}"


def test_all_bundled_flowers_give_no_finding():
    sides = (tl.MiniFlowers102(split=split, transform=EVAL) for split in ("train", "val"))
    report = on_data(network(102), training(next(sides), 32), validation(next(sides)))
    assert report.codes == [] and report.skipped == ()


def test_nothing_changes():
    model, loss = network(frozen=False), nn.CrossEntropyLoss(label_smoothing=0.1)
    train = training(flowers("train", TRAIN), collate_fn=tl.MixingCollate(CLASSES))
    val = validation(flowers("val", TRAIN))
    optimizer = torch.optim.AdamW(model.parameters())
    before = copy.deepcopy(model.state_dict()), train.sampler.generator.get_state(), torch.get_rng_state()
    numpy_before = np.random.get_state()[1].tolist()
    diagnosis.doctor(model, train, val, optimizer, loss)
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), model.state_dict().values(), strict=True))
    assert torch.equal(before[1], train.sampler.generator.get_state()) and torch.equal(before[2], torch.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tolist()
    assert not any(module._forward_hooks for module in model.modules())


# --- values


NO_NORMALIZE = v2.Compose([*FRAME, *FLOAT])
TWICE = v2.Compose([*FRAME, *FLOAT, NORMALIZE, NORMALIZE])
UNSCALED = [*FRAME, v2.ToImage(), v2.ToDtype(torch.float32)]


def normalized_by(mean, std):
    return v2.Compose([*FRAME, *FLOAT, v2.Normalize(mean, std)])


@pytest.mark.parametrize(
    ("code", "transform"),
    [
        ("not-normalized", NO_NORMALIZE),
        ("normalized-twice", TWICE),
        ("normalized-twice", v2.Compose([EVAL, v2.Compose([v2.Normalize(tl.IMAGENET_MEAN, tl.IMAGENET_STD)])])),
        ("normalized-twice", transforms.Compose([models.ResNet18_Weights.DEFAULT.transforms(), NORMALIZE])),
        ("pixels-0-255", v2.Compose(UNSCALED)),
        ("pixels-0-255", v2.Compose([*UNSCALED, NORMALIZE])),
        ("pixels-0-255", v2.Compose([*FRAME, v2.PILToTensor()])),
        ("wrong-statistics", normalized_by(tl.IMAGENET_STD, tl.IMAGENET_MEAN)),
        ("wrong-statistics", normalized_by(tl.IMAGENET_MEAN[::-1], tl.IMAGENET_STD[::-1])),
        ("wrong-statistics", normalized_by([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])),
        ("wrong-statistics", normalized_by([0.0] * 3, [1.0] * 3)),
        ("wrong-statistics", normalized_by(tl.IMAGENET_MEAN, [0.05] * 3)),
        ("wrong-statistics", v2.Compose([*FRAME, *FLOAT, v2.Lambda(lambda x: x / 255), NORMALIZE])),
    ],
)
def test_odd_values_are_named(model, code, transform):
    report = report_on(model, transform, transform)
    assert code in report and set(report.codes) <= {code, "wrong-input-size"}
    assert "images run from" in report[code].seen or "Normalize" in report[code].seen
    if code != "wrong-statistics":
        some = in_memory(Subset(flowers("train", transform), range(0, 60, 5)))
        assert code in on_images(model, training(some)), "the same without a transform to be read"


def test_what_a_collate_function_does_to_the_values_counts(model):
    def prepared(some):
        pictures, numbers = default_collate(some)
        return NORMALIZE(pictures / 255), numbers

    plain = flowers("train", v2.Compose([*FRAME, v2.PILToTensor()]))
    assert on_images(model, training(plain, collate_fn=prepared)).codes == []
    assert on_images(model, training(plain)).codes == ["pixels-0-255"]


@pytest.mark.parametrize(
    "transform",
    [
        normalized_by([0.5] * 3, [0.5] * 3),
        normalized_by((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        v2.Compose([*UNSCALED, v2.Normalize([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])]),
        v2.Compose([*UNSCALED, v2.Normalize([0.0] * 3, [255.0] * 3), NORMALIZE]),
        v2.Compose([*FRAME, *FLOAT, NORMALIZE, v2.RandomErasing(p=0.0)]),
    ],
)
def test_other_ways_to_the_same_values_are_none_of_the_doctors_business(model, transform):
    assert report_on(model, transform, transform).codes == []


def test_a_side_that_is_prepared_differently_is_named(model):
    assert report_on(model, TRAIN, NO_NORMALIZE)["not-normalized"].seen.startswith("24 validation images")
    scratch = network(weights=None, frozen=False)
    assert "not-normalized" in report_on(scratch, TRAIN, NO_NORMALIZE)
    assert "not-normalized" not in report_on(scratch, NO_NORMALIZE, NO_NORMALIZE)
    differ = report_on(model, tl.train_transform(64, (0.5, 0.5, 0.4), (0.25, 0.25, 0.25)), EVAL)
    assert differ.codes == ["wrong-statistics"] and "validation by mean (0.485" in differ["wrong-statistics"].seen


def test_an_own_network_that_learned_on_0_to_1_may_go_on():
    own = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    own(torch.rand(4, 3, 64, 64))
    assert values.looks_trained(own) and report_on(own, NO_NORMALIZE, NO_NORMALIZE).codes == []
    tl.freeze(own[:2])  # whoever freezes a part means to keep what it has learned before
    assert report_on(own, NO_NORMALIZE, NO_NORMALIZE).codes == ["not-normalized"]


def test_a_network_that_normalises_itself_takes_plain_pixels(model):
    assert report_on(nn.Sequential(NORMALIZE, model), NO_NORMALIZE, NO_NORMALIZE).codes == []
    assert report_on(nn.Sequential(nn.BatchNorm2d(3), model), NO_NORMALIZE, NO_NORMALIZE).codes == []


def test_a_random_start_without_batchnorm_does_not_look_trained():
    as_in_vgg = nn.Conv2d(3, 64, 3)
    nn.init.kaiming_normal_(as_in_vgg.weight, mode="fan_out"), nn.init.zeros_(as_in_vgg.bias)
    for net in (nn.Sequential(nn.Conv2d(3, 64, 11)), nn.Sequential(as_in_vgg), models.squeezenet1_1()):
        assert not values.looks_trained(net)
        conv = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
        nn.init.normal_(conv.weight, std=0.5), nn.init.normal_(conv.bias)
        assert values.looks_trained(net)
    norm = nn.LayerNorm(4)
    assert not values.looks_trained(norm)
    nn.init.normal_(norm.weight)
    assert values.looks_trained(norm)


# --- colours


class Swapping(Dataset):
    """Reads files as OpenCV does: blue first. The list of files is all it says about itself."""

    def __init__(self, side, swapped=True):
        known = tl.image_folder(FLOWERS)
        self.paths, self.targets = ([entry[i] for entry in known.samples] for i in (0, 1))
        self.transform, self.swapped = (TRAIN if side == "train" else EVAL), swapped

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        pixels = np.array(Image.open(self.paths[index]).convert("RGB"))
        pixels = pixels[:, :, ::-1] if self.swapped else pixels
        return self.transform(Image.fromarray(np.ascontiguousarray(pixels))), self.targets[index]


def test_swapped_colours_are_seen_where_there_are_files(model):
    def on(swapped):
        sides = [Subset(Swapping(side, swapped), INDEX[side]) for side in ("train", "val")]
        return on_images(model, training(sides[0]), validation(sides[1]))

    assert on(swapped=True).codes == ["channels-swapped"] * 2 and on(swapped=False).codes == []
    flip = v2.Compose([EVAL, v2.Lambda(lambda image: image.flip(0))])
    only_val = report_on(model, TRAIN, flip)
    assert only_val.codes == ["channels-swapped"] and "validation" in only_val["channels-swapped"].seen
    cached = tl.cache_images(flowers("train"), flip)
    assert "channels-swapped" in on_images(model, training(cached))


def test_strong_colour_jitter_is_no_swap(model):
    jitter = v2.Compose([v2.ColorJitter(0.4, 0.4, 0.4, hue=0.5), TRAIN])
    assert report_on(model, jitter).codes == []


def test_swapped_colours_cannot_be_seen_without_files(model, memory):
    report = on_images(model, training(memory[0]), validation(memory[1]))
    assert any(text.startswith(COLOURS_UNSEEN) for text in report.skipped)


# --- size


def test_small_and_large_images_are_named(model):
    small, large = tl.eval_transform(32), tl.eval_transform(192)
    assert report_on(model, small, small).codes == ["wrong-input-size"]
    assert "trained at 64" in report_on(model, large, large)["wrong-input-size"].seen
    assert "v2.CenterCrop(64)" in report_on(model, small, small)["wrong-input-size"].fix
    assert "validation images of 192" in report_on(model, TRAIN, large)["wrong-input-size"].seen
    scratch = network(weights=None, frozen=False)
    assert report_on(scratch, small, small).codes == []


def test_maps_of_one_point_and_fixed_sizes_are_named(model):
    net = models.mobilenet_v3_small(num_classes=CLASSES)
    net.features[0][1].running_mean.fill_(0.1)  # as training leaves it
    small, fine = tl.eval_transform(32), tl.eval_transform(64)
    assert "1 x 1 point" in report_on(net, small, small)["wrong-input-size"].seen
    assert report_on(net, fine, fine).codes == []
    vit = models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=CLASSES)
    assert report_on(vit, fine, fine)["wrong-input-size"].severity == "error"
    assert report_on(vit, small, small).codes == []


# --- loaders


def test_augmented_validation_is_named(model):
    both = datasets.ImageFolder(FLOWERS, TRAIN)  # exercise 01.5
    sides = [Subset(both, INDEX[side]) for side in ("train", "val")]
    finding = on_loaders(model, training(sides[0]), validation(sides[1]))["validation-augmented"]
    assert "RandomResizedCrop" in finding.seen and "the training dataset" in finding.seen
    rare = v2.Compose([v2.RandomGrayscale(p=0.01), EVAL])
    assert report_on(model, TRAIN, rare, on_loaders).codes == ["validation-augmented"]
    noisy = v2.Compose([EVAL, lambda image: image + 0.01 * np.random.rand()])
    assert report_on(model, TRAIN, noisy, on_loaders).codes == ["validation-augmented"]
    cached = tl.cache_images(flowers("val"), TRAIN)
    report = on_loaders(model, training(flowers("train", TRAIN)), validation(cached))
    assert report.codes == ["validation-augmented"]
    still = v2.Compose([v2.RandomHorizontalFlip(p=0.0), EVAL])
    assert report_on(model, TRAIN, still, on_loaders).codes == []


def test_shuffled_validation_is_a_note(model, memory):
    train, val = memory
    shuffled = on_loaders(model, training(train), DataLoader(val, 16, shuffle=True))
    assert shuffled.codes == ["validation-shuffled"] and shuffled.worst == "note"
    drawn = DataLoader(val, 16, sampler=WeightedRandomSampler([1.0] * len(val), len(val)))
    assert on_loaders(model, training(train), drawn)["validation-shuffled"].severity == "warning"


def in_order(dataset, **options):
    return tl.make_loader(dataset, 8, **options)


def test_training_in_order_is_named(model, memory):
    train, val = memory
    report = on_loaders(model, in_order(train), validation(val))
    assert report.codes == ["training-not-shuffled"] and "sorted by class" in report["training-not-shuffled"].seen
    assert report.worst == "warning"
    once_shuffled = Subset(train, torch.randperm(60, generator=torch.Generator().manual_seed(0)).tolist())
    assert on_loaders(model, in_order(once_shuffled)).worst == "note"
    unlisted = [train[i] for i in range(60)]  # a plain list says nothing about its labels
    assert "sorted by class" in on_loaders(model, in_order(unlisted))["training-not-shuffled"].seen
    mixed = in_order(train, collate_fn=tl.MixingCollate(CLASSES))
    assert "training-not-shuffled" in on_loaders(model, mixed, validation(val))
    batches = list(in_order(train))
    assert "training-not-shuffled" in on_loaders(model, batches)


class Stream(IterableDataset):
    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


def test_orders_that_are_right_are_left_alone(model, memory):
    train = memory[0]
    one_class = TensorDataset(*train[:12])
    batch_sampler = BatchSampler(RandomSampler(train), 8, drop_last=False)
    weights = WeightedRandomSampler([1.0] * 60, 60)
    for loader in (
        DataLoader(train, 60),  # all images are one batch
        in_order(one_class),
        DataLoader(train, batch_sampler=batch_sampler),
        DataLoader(train, 8, sampler=weights),
        DataLoader(train, 8, sampler=RandomSampler(train, num_samples=100)),
        DataLoader(Stream([train[i] for i in torch.randperm(60)]), 8),
    ):
        assert "training-not-shuffled" not in on_loaders(model, loader)
    in_batches = DataLoader(train, batch_sampler=BatchSampler(SequentialSampler(train), 8, drop_last=False))
    assert "training-not-shuffled" in on_loaders(model, in_batches)


def test_mixed_validation_is_named(model, memory):
    train, val = memory
    mixed = validation(val, collate_fn=tl.MixingCollate(CLASSES))  # exercise 05.5
    report = on_loaders(model, training(train), mixed)
    assert report.codes == ["validation-mixed"] and "MixingCollate" in report["validation-mixed"].seen
    by_hand = validation(val, collate_fn=lambda some: v2.CutMix(num_classes=CLASSES)(*default_collate(some)))
    assert on_loaders(model, training(train), by_hand).codes == ["validation-mixed"]


def test_a_last_batch_of_one_image_is_named(memory):
    train = Subset(memory[0], range(0, 57))
    plain = DataLoader(train, 8, shuffle=True)
    tuned = network(frozen=False)
    report = on_loaders(tuned, plain)
    assert report.codes == ["single-image-batch"] and report.worst == "warning"
    assert "57 images in batches of 8" in report["single-image-batch"].seen
    with_norm = network()
    with_norm.fc = nn.Sequential(nn.Linear(512, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    assert on_loaders(with_norm, plain).worst == "error"
    assert on_loaders(tuned, DataLoader(train, 1, shuffle=True)).codes == ["single-image-batch"]
    batches = [memory[0][i::12] for i in range(12)] + [memory[0][:1]]
    assert "single-image-batch" in on_loaders(tuned, batches)
    for model, loader in (
        (network(), plain),  # all BatchNorm is frozen
        (tuned, training(train)),
        (tuned, DataLoader(train, 8, shuffle=True, drop_last=True)),
    ):
        assert on_loaders(model, loader).codes == []


# --- labels


def relabelled(dataset, change):
    return TensorDataset(dataset.tensors[0], change(dataset.tensors[1]))


def test_labels_outside_the_classes_are_named(model, memory):
    train, val = memory
    from_1 = [relabelled(part, lambda numbers: numbers + 1) for part in memory]
    report = on_labels(model, training(from_1[0]), validation(from_1[1]))
    assert report.codes == ["labels-from-1"] and "from 1 to 5" in report["labels-from-1"].seen
    kept = relabelled(train, lambda numbers: torch.where(numbers == 4, 77, numbers))
    assert on_labels(model, training(kept), validation(val)).codes == ["labels-out-of-range"]
    below = relabelled(train, lambda numbers: numbers - 1)
    assert "labels-out-of-range" in on_labels(model, training(below))
    assert "labels-out-of-range" in on_labels(model, training(train), validation(below))


def test_wrong_heads_are_told_from_wrong_labels(memory):
    too_small = on_labels(network(3), training(memory[0]), validation(memory[1]))
    assert too_small.codes == ["labels-out-of-range"] and "num_classes=5" in too_small["labels-out-of-range"].fix
    from_1 = [relabelled(part, lambda numbers: numbers + 1) for part in memory]
    assert on_labels(network(6), training(from_1[0]), validation(from_1[1])).codes == ["labels-from-1"]
    without_0 = some_of_each(memory[0], (0, 12, 12, 12, 12)), some_of_each(memory[1], (8,) * 5)
    part = on_labels(network(5), training(without_0[0], 7), validation(without_0[1]))
    assert part.codes == ["missing-classes"], "validation has images of class 0"


def test_labels_that_are_changed_on_the_way_are_read_changed():
    kept = {1: 0, 3: 1}
    sides = []
    for side, transform in (("train", TRAIN), ("val", EVAL)):
        dataset = tl.image_folder(FLOWERS, transform)
        rows = [i for i in INDEX[side] if dataset.targets[i] in kept]
        dataset.target_transform = kept.get
        sides.append(Subset(dataset, rows))
    assert on_labels(network(2), training(sides[0]), validation(sides[1])).codes == []
    sides[0].dataset.target_transform = {1: 1, 3: 2}.get
    assert "labels-from-1" in on_labels(network(2), training(sides[0]), validation(sides[1]))


def some_of_each(dataset, counts):
    rows = [
        row for label, n in enumerate(counts) for row in (dataset.tensors[1] == label).nonzero()[:n].flatten().tolist()
    ]
    return Subset(dataset, rows)


def test_imbalance_is_named_with_its_numbers(model, memory):
    train, val = memory
    few = some_of_each(train, (12, 12, 12, 12, 1))
    report = on_labels(model, training(few, 7), validation(val))
    assert report.codes == ["imbalanced-classes"]
    assert report["imbalanced-classes"].seen == "class 0 has 12 training images, class 4 has 1"
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 1.0, 1.0, 12.0]))
    assert on_labels(model, training(few, 7), validation(val), None, weighted).codes == []
    sampler = WeightedRandomSampler([1.0] * 48 + [12.0], 49)
    assert on_labels(model, DataLoader(few, 7, sampler=sampler), validation(val)).codes == []
    milder = some_of_each(train, (12, 12, 12, 12, 2))
    assert on_labels(model, training(milder, 7), validation(val)).codes == []


def test_missing_classes_are_named(model, memory):
    train, val = memory
    report = on_labels(model, training(some_of_each(train, (12, 12, 0, 12, 12)), 7), validation(val))
    assert report.codes == ["missing-classes"] and report.worst == "warning"
    only = [i for i in INDEX["train"] if TARGETS[i] != 4]
    named = on_labels(model, training(Subset(tl.image_folder(FLOWERS, TRAIN), only)), validation(flowers("val")))
    assert "no training image of 1 of 5 classes: tulip" in named["missing-classes"].seen
    unjudged = on_labels(model, training(train), validation(some_of_each(val, (8, 8, 8, 8, 0))))
    assert unjudged.codes == ["missing-classes"] and unjudged.worst == "note"


def smoothed(some, share=0.1):
    pictures, numbers = default_collate(some)
    return pictures, (1 - share) * F.one_hot(numbers, CLASSES).float() + share / CLASSES


def one_hot(some):
    return smoothed(some, share=0.0)


def test_soft_labels_where_numbers_are_needed(model, memory):
    train, val = training(memory[0], collate_fn=tl.MixingCollate(CLASSES)), validation(memory[1])
    for loss in (nn.NLLLoss(), F.nll_loss, partial(F.nll_loss, reduction="sum"), nn.MultiMarginLoss()):
        assert on_labels(model, train, val, None, loss).codes == ["soft-labels-need-indices"]
    assert on_labels(model, training(memory[0]), val, None, nn.NLLLoss()).codes == []
    for collate in (one_hot, smoothed):
        report = on_labels(model, train, validation(memory[1], collate_fn=collate))
        assert report.codes == ["soft-labels-need-indices"] and report.worst == "warning"


def test_smoothing_twice_is_told_from_mixing_and_smoothing(model, memory):
    val, in_loss = validation(memory[1]), nn.CrossEntropyLoss(label_smoothing=0.1)
    twice = training(memory[0], collate_fn=smoothed)  # exercise 05.6
    report = on_labels(model, twice, val, None, in_loss)
    assert report.codes == ["smoothed-twice"] and "0.19 in all" in report["smoothed-twice"].seen
    assert "smoothed-twice" in on_labels(model, twice, val, None, partial(F.cross_entropy, label_smoothing=0.1))
    assert on_labels(model, twice, val, None, nn.CrossEntropyLoss()).codes == []
    for collate in (one_hot, tl.MixingCollate(CLASSES, mixup_alpha=1.0)):
        assert on_labels(model, training(memory[0], collate_fn=collate), val, None, in_loss).codes == []

    def taught(some):
        pictures, numbers = default_collate(some)
        scores = F.one_hot(numbers, CLASSES) * 2 + torch.rand(len(numbers), CLASSES)
        return pictures, scores.softmax(1)

    assert on_labels(model, training(memory[0], collate_fn=taught), val, None, in_loss).codes == []


# --- the same images on both sides


def test_shared_images_are_named(model, memory):
    train, val = memory
    leaked = INDEX["val"][:30] + INDEX["train"][:3]
    files = tl.image_folder(FLOWERS, EVAL)
    one = on_sharing(model, training(Subset(files, INDEX["train"])), validation(Subset(files, leaked)))
    assert one.codes[0] == "shared-images" and "3 of 33 validation images" in one["shared-images"].seen
    two = on_sharing(model, training(flowers("train", TRAIN)), validation(Subset(files, leaked)))
    assert "3 of 33 validation images are training files" in two["shared-images"].seen
    equal = TensorDataset(*(torch.cat([a, b[:2]]) for a, b in zip(val.tensors, train.tensors, strict=True)))
    report = on_sharing(model, training(train), validation(equal))
    assert report.codes == ["shared-images"] and "2 of 42" in report["shared-images"].seen
    pixels = tl.cache_images(files, TRAIN)
    views = Subset(pixels, INDEX["train"]), Subset(pixels.with_transform(EVAL), leaked)
    assert "3 of 33" in on_sharing(model, training(views[0]), validation(views[1]))["shared-images"].seen
    sides = [SubsetRandomSampler(INDEX["train"]), SubsetRandomSampler(leaked)]
    assert "shared-images" in on_sharing(model, *(DataLoader(files, 8, sampler=sampler) for sampler in sides))
    batches = [(train.tensors[0][i::6], train.tensors[1][i::6]) for i in range(6)]
    assert "shared-images" in on_sharing(model, batches, [equal.tensors])


def test_shared_feature_rows_are_named():
    rows = [tl.cache_features(network(), tl.make_loader(flowers("train"), 32)) for _ in range(2)]
    report = on_sharing(nn.Linear(512, CLASSES), training(rows[0]), validation(rows[1]))
    assert report.codes == ["shared-images"] and "60 of 60" in report["shared-images"].seen


def test_copies_of_files_are_named(model, tmp_path):
    for side in ("train", "val"):
        for i in INDEX[side][::2]:
            path = tl.image_folder(FLOWERS).samples[i][0]
            folder = tmp_path / side / path.split("/")[-2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{i}.jpg")
    sides = [tmp_path / side for side in ("train", "val")]

    def report():
        datasets_ = [tl.image_folder(side, EVAL) for side in sides]
        return on_sharing(model, training(datasets_[0], 7), validation(datasets_[1]))

    assert report().codes == []
    shutil.copy(tl.image_folder(sides[0]).samples[0][0], sides[1] / "daisy" / "a_new_name.jpg")
    assert report().codes == ["shared-images"] and "daisy/a_new_name.jpg" in report()["shared-images"].seen


ALTERED = {
    "saved again": lambda image: image,
    "smaller": lambda image: image.resize((60, 60)),
    "cut": lambda image: image.crop((3, 2, 94, 93)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
}


@pytest.mark.parametrize("name", ALTERED)
def test_near_copies_are_named(model, tmp_path, name):
    shutil.copytree(FLOWERS, tmp_path / "val")
    others = tl.image_folder(tmp_path / "val", EVAL)
    for i in INDEX["train"][:3]:
        image = ALTERED[name](Image.open(tl.image_folder(FLOWERS).samples[i][0]))
        image.save(others.samples[INDEX["val"][i % 7]][0], quality=60)
    val = Subset(others, INDEX["val"])
    report = on_sharing(model, training(flowers("train", TRAIN)), validation(val))
    assert report.codes == ["near-identical-images"] and "3 of " in report["near-identical-images"].seen
    in_tensors = on_sharing(model, training(in_memory(flowers("train"))), validation(in_memory(val)))
    assert "near-identical-images" in in_tensors
    mixed = on_sharing(model, training(flowers("train", TRAIN)), validation(in_memory(val)))
    assert "near-identical-images" in mixed, "files against normalised tensors"


@pytest.mark.parametrize("root", [FLOWERS, CELLS, data_dir() / "mini" / "flowers-102"])
def test_bundled_drawings_are_not_taken_for_copies(root):
    squares = torch.stack([lookalikes._square_of(file) for file in sorted(map(str, root.rglob("*.jpg")))])
    assert _most_alike(squares) < lookalikes.ALIKE - 0.02


def _most_alike(squares, pairs=150):
    small = lookalikes._flattened(F.adaptive_avg_pool2d(squares, 8))
    likeness = (small @ small.T).triu(1)
    places = likeness.flatten().topk(pairs).indices
    return lookalikes._aligned(squares[places // len(squares)], squares[places % len(squares)]).max().item()


@pytest.mark.parametrize(("kept", "share"), [(1.0, 0.9), (0.95, 0.8), (0.9, 0.5)])
def test_how_much_may_be_cut_off_a_copy(tmp_path, kept, share):
    place, found = np.random.default_rng(0), 0
    files = [tl.image_folder(FLOWERS).samples[i][0] for i in range(0, 600, 15)]
    for file in files:
        image = Image.open(file)
        side = round(96 * kept)
        left, top = (int(number) for number in place.integers(0, 97 - side, 2))
        image.crop((left, top, left + side, top + side)).resize((70, 70)).save(tmp_path / "copy.jpg", quality=50)
        pair = [lookalikes._square_of(str(name))[None] for name in (file, tmp_path / "copy.jpg")]
        found += bool(lookalikes._aligned(*pair) > lookalikes.ALIKE)
    assert found / len(files) > share


@pytest.mark.real_data
def test_photographs_are_not_taken_for_copies(model, real_data):
    sides = [tl.image_folder(real_data / "hymenoptera" / side, EVAL) for side in ("train", "val")]
    report = on_sharing(network(2), training(sides[0]), validation(sides[1]))
    assert report.codes == [] and report.skipped == ()
    squares = torch.stack([lookalikes._square_of(file) for side in sides for file, _ in side.samples])
    assert _most_alike(squares) < lookalikes.ALIKE - 0.02


def test_of_large_files_fewer_are_opened(tmp_path):
    small, large = ([str(tmp_path / f"{name}{i}") for i in range(9)] for name in ("small", "large"))
    for file in small + large:
        with open(file, "wb") as empty:
            empty.truncate(40_000 if file in small else 4_000_000)
    assert [lookalikes._affordable(files) for files in (small, large, None)] == [1024, 128, 128]


def test_grey_and_even_images_are_not_compared(model, memory):
    grey = [TensorDataset(part.tensors[0].mean(1, keepdim=True).repeat(1, 3, 1, 1), part.tensors[1]) for part in memory]
    report = on_sharing(model, training(grey[0]), validation(grey[1]))
    assert report.codes == [] and any("without colours" in text for text in report.skipped)
    even = [torch.rand(20, 3, 1, 1).expand(-1, -1, 64, 64) + 1e-4 * torch.rand(20, 3, 64, 64) for _ in range(2)]
    sides = [TensorDataset(part - 0.5, torch.arange(20) % CLASSES) for part in even]
    assert "near-identical-images" not in on_sharing(model, training(sides[0]), validation(sides[1]))


# --- set-ups that cannot be looked into


def test_streams_and_odd_batches_are_said_to_be_unseen(model, memory):
    train = memory[0]
    stream = DataLoader(Stream([train[i] for i in torch.randperm(60)]), 8)
    report = on_data(model, stream, stream)
    assert report.codes == [] and all(":" in text for text in report.skipped)
    triples = [(train.tensors[0][:8], train.tensors[1][:8], torch.zeros(8))]
    assert any("pairs of tensors" in text for text in on_data(model, triples).skipped)


def test_an_own_sampler_shares_nothing_it_does_not_say(model, memory):
    class Own(torch.utils.data.Sampler):
        def __init__(self, rows):
            self.rows = rows

        def __iter__(self):
            return iter(self.rows)

        def __len__(self):
            return len(self.rows)

    order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).tolist()
    sides = [DataLoader(memory[0], 8, sampler=Own(rows)) for rows in (order[:40], order[40:])]
    assert on_data(model, *sides).codes == []


def test_transforms_of_wrappers_are_read():
    class Wrapper(Dataset):
        def __init__(self, dataset, transform):
            self.dataset, self.transform = dataset, transform

    inside = Subset(tl.image_folder(FLOWERS, v2.Compose([*FRAME, *FLOAT])), [0, 1])
    part = diagnosis.case.Part("training", DataLoader(Wrapper(inside, v2.Compose([NORMALIZE])), sampler=[0]))
    assert [type(step).__name__ for step in samples.all_steps(part)] == [
        "Resize",
        "CenterCrop",
        "ToImage",
        "ToDtype",
        "Normalize",
    ]
    choice = v2.RandomChoice([v2.ColorJitter(0.1), v2.Compose([v2.Resize(4)])])
    assert [type(step).__name__ for step in samples.steps_of(choice)] == ["RandomChoice", "ColorJitter", "Resize"]


# --- set-ups that are right and looked wrong, and others that looked right


def test_several_labels_per_image_are_no_mixture(memory):
    several = [
        TensorDataset(part.tensors[0], torch.randint(0, 2, (len(part), CLASSES), generator=seeded()).float())
        for part in memory
    ]
    report = on_data(network(), training(several[0]), validation(several[1]), None, nn.BCEWithLogitsLoss())
    assert report.codes == [], report
    in_order_ = on_loaders(network(), in_order(several[0]), validation(several[1]))
    assert "validation-mixed" not in in_order_ and not any("Error" in text for text in in_order_.skipped)
    assert samples.are_shares(torch.tensor([[0.5, 0.5]])) and not samples.are_shares(torch.tensor([[1.0, 1.0]]))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_one_score_per_image_says_nothing_about_classes(memory):
    binary = [relabelled(part, lambda numbers: numbers % 2) for part in memory]
    report = on_labels(network(1), training(binary[0]), validation(binary[1]), None, nn.BCEWithLogitsLoss())
    assert report.codes == [] and any("one score per image" in text for text in report.skipped)


@pytest.mark.parametrize(
    ("mark", "loss"),
    [
        (-100, nn.CrossEntropyLoss()),
        (-100, None),
        (255, nn.CrossEntropyLoss(ignore_index=255)),
        (255, partial(F.cross_entropy, ignore_index=255)),
    ],
)
def test_labels_that_the_loss_ignores_are_no_mistake(model, memory, mark, loss):
    marked = [
        relabelled(part, lambda numbers: torch.where(torch.arange(len(numbers)) % 7 == 0, mark, numbers))
        for part in memory
    ]
    assert on_labels(model, training(marked[0], 7), validation(marked[1]), None, loss).codes == []
    other = nn.CrossEntropyLoss(ignore_index=-1)
    assert "labels-out-of-range" in on_labels(model, training(marked[0], 7), validation(marked[1]), None, other)
    weights = [0.0 if i % 7 == 0 else 1.0 for i in range(60)]
    drawn = DataLoader(marked[0], 7, sampler=WeightedRandomSampler([weight + 0.1 for weight in weights], 60))
    assert on_labels(model, drawn, validation(marked[1]), None, loss).codes == []
    nothing = relabelled(memory[0], lambda numbers: torch.full_like(numbers, mark))
    assert on_labels(model, training(nothing), None, None, loss).codes == []


class Named(Dataset):
    """Rows in memory with the names of their classes."""

    def __init__(self, rows, classes):
        self.rows, self.classes, self.targets = rows, classes, rows.tensors[1].tolist()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        image, label = self.rows[index]
        return image, int(label)


def test_the_first_classes_of_a_larger_set_are_not_missing(memory):
    ten = [Named(part, [f"kind {i}" for i in range(10)]) for part in memory]
    assert on_labels(network(5), training(ten[0]), validation(ten[1])).codes == []
    wide = on_labels(network(10), training(ten[0]), validation(ten[1]))
    assert set(wide.codes) == {"missing-classes"} and "5 of 10 classes" in wide["missing-classes"].seen
    few = Subset(ten[0], [i for i, label in enumerate(ten[0].targets) if label != 2])
    assert (
        "1 of 5 classes: kind 2" in on_labels(network(5), training(few, 7), validation(ten[1]))["missing-classes"].seen
    )


def test_class_names_may_be_tuples(memory):
    synonyms = [("tench", "Tinca tinca"), ("church", "church building"), ("gas pump",), "parachute", ("ball", "golf")]
    rows = [i for i, label in enumerate(memory[0].tensors[1].tolist()) if label != 0]
    sides = Subset(Named(memory[0], synonyms), rows), Named(memory[1], synonyms)
    report = on_labels(network(), training(sides[0]), validation(sides[1]))
    assert "tench, Tinca tinca" in report["missing-classes"].seen and not any(
        "Error" in text for text in report.skipped
    )


def test_class_weights_in_a_partial_count(model, memory):
    few, val = some_of_each(memory[0], (12, 12, 12, 12, 1)), validation(memory[1])
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 12.0])
    for loss in (
        partial(F.cross_entropy, weight=weight),
        partial(partial(F.cross_entropy, weight=weight), reduction="sum"),
    ):
        assert on_labels(model, training(few, 7), val, None, loss).codes == []
    assert on_labels(model, training(few, 7), val, None, F.cross_entropy).codes == ["imbalanced-classes"]


def test_large_files_are_compared_whole(model, tmp_path):
    noise = np.random.default_rng(0)
    below = noise.integers(0, 256, (120, 224, 3), dtype=np.uint8)  # a BMP begins with its lowest row
    for side, count in (("train", 6), ("val", 4)):
        (tmp_path / side / "a").mkdir(parents=True)
        for i in range(count):
            above = noise.integers(0, 256, (104, 224, 3), dtype=np.uint8)
            Image.fromarray(np.concatenate([above, below])).save(tmp_path / side / "a" / f"{i}.bmp")

    def report():
        sides = [tl.image_folder(tmp_path / side, EVAL) for side in ("train", "val")]
        return on_sharing(model, training(sides[0], 3), validation(sides[1]))

    assert "shared-images" not in report()
    shutil.copy(tmp_path / "train" / "a" / "1.bmp", tmp_path / "val" / "a" / "copy.bmp")
    assert "1 of 5 validation images" in report()["shared-images"].seen


def drawings(count, seed):
    place, pictures = np.random.default_rng(seed), []
    for i in range(count):
        image = Image.new("RGB", (64, 64), "white")
        size, colour = int(place.integers(10, 22)), tuple(place.integers(0, 200, 3).tolist())
        x, y = place.integers(size, 64 - size, 2).tolist()
        box = (x - size, y - size, x + size, y + size)
        pen = ImageDraw.Draw(image)
        if i % 3 == 2:
            pen.polygon([(x, box[1]), (box[0], box[3]), (box[2], box[3])], fill=colour)
        else:
            (pen.ellipse if i % 3 else pen.rectangle)(box, fill=colour)
        pictures.append(v2.functional.to_image(image).float() / 255)
    return TensorDataset(torch.stack(pictures), torch.arange(count) % 3)


def test_drawings_that_all_look_alike_are_no_copies():
    for count in (60, 240):
        report = on_sharing(network(3), training(drawings(count, 0)), validation(drawings(60, 1)))
        assert report.codes == [] and any("training images" in text for text in report.skipped), report


class Arrays(Dataset):
    """As CIFAR10 of torchvision keeps its images: all in one array."""

    def __init__(self, data):
        self.data, self.targets = data, [i % 5 for i in range(len(data))]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return v2.functional.to_image(self.data[index]).float() / 255 - 0.5, self.targets[index]


class Wrapper(Dataset):
    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]


def test_arrays_and_wrappers_are_compared():
    noise = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    apart, half = (noise[:200], noise[200:]), (noise[:200], noise[150:250])
    joined = ConcatDataset([Arrays(noise[:50]), Subset(Arrays(noise), range(150, 200))])
    one = Arrays(noise)
    wrapped = [Wrapper(Subset(one, range(*ends))) for ends in ((0, 200), (150, 250))]
    for pair in ([Arrays(part) for part in half], wrapped, [Wrapper(Arrays(half[0])), joined]):
        report = on_sharing(network(), training(pair[0]), validation(pair[1]))
        shared = 100 if pair[1] is joined else 50
        assert f"{shared} of 100 validation images" in report["shared-images"].seen
    noise.flags.writeable = False  # as a file that is mapped into memory
    fine = [Wrapper(Arrays(part)) for part in apart]
    report = on_sharing(network(), training(fine[0]), validation(fine[1]))
    assert report.codes == [] and not any("images on both sides" in text for text in report.skipped)


def test_what_cannot_be_compared_is_said():
    class Hidden(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            return torch.rand(3, 32, 32) - 0.5, index % 5

    report = on_sharing(network(), training(Hidden()), validation(Hidden()))
    assert any("images on both sides" in text and "to compare" in text for text in report.skipped)


def test_rows_that_differ_in_few_values_are_told_apart():
    rows = torch.zeros(40, 3, 64, 64)
    rows[:, 1, 1, 1:41] = torch.eye(40)  # between the values of the first look
    assert len(set(sharing._hashes(rows.flatten(1)))) == 40
    for dtype in (torch.uint8, torch.float16, torch.bool, torch.float64):
        assert len(set(sharing._hashes(rows.flatten(1).to(dtype)))) == 40
        assert len(set(sharing._hashes(rows.flatten(1)[:, :50].to(dtype)))) == 1
    sides = [TensorDataset(part, torch.arange(20) % 5) for part in rows.split(20)]
    assert "shared-images" not in on_sharing(network(), training(sides[0]), validation(sides[1]))
    assert "shared-images" in on_sharing(network(), training(sides[0]), validation(Subset(sides[0], [3, 4])))


class Listed(Dataset):
    """Paths of many images, of which only the first and the last are there."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return torch.rand(3, 32, 32), 0


def test_many_paths_are_listed_once_and_not_asked_for(tmp_path):
    paths = [str(tmp_path / f"{i}.jpg") for i in range(30_000)]
    for place in (0, 24_999, 25_000, 29_999):
        Image.new("RGB", (8, 8)).save(paths[place])
    case = [
        diagnosis.case.Part(name, DataLoader(Listed(some)))
        for name, some in (("training", paths[:25_000]), ("validation", paths[25_000:]))
    ]
    with mock.patch.object(sharing.os.path, "getsize", side_effect=AssertionError("asked")):
        assert sharing._compared(diagnosis.case.Case(network(), *case)) == (0, [], "")
    assert samples.files_of(case[0]) is samples.files_of(case[0])
    twice = diagnosis.case.Part("validation", DataLoader(Listed(paths[24_999:])))
    assert sharing._compared(diagnosis.case.Case(network(), case[0], twice))[1] == [0]


def test_a_network_that_begins_with_batchnorm_takes_any_values():
    wide = [torch.randn(30, 1, 32, 32, generator=seeded()) * 700 for _ in range(2)]
    sides = [TensorDataset(part, torch.arange(30) % 5) for part in wide]
    body = [nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    assert on_images(nn.Sequential(nn.BatchNorm2d(1), *body), training(sides[0]), validation(sides[1])).codes == []
    plain = on_images(nn.Sequential(*body), training(sides[0]), validation(sides[1]))
    assert plain.codes == ["wrong-statistics"], "they are no pixels from 0 to 255"


def test_a_few_own_steps_do_not_make_a_pretrained_network(model):
    net = network(weights=None, frozen=False)
    assert report_on(net, NO_NORMALIZE, NO_NORMALIZE).codes == []
    for _ in range(3):
        net.train()(torch.rand(8, 3, 64, 64))
        assert report_on(net, NO_NORMALIZE, NO_NORMALIZE).codes == []
    small = tl.eval_transform(32)
    assert report_on(net, small, small).codes == []
    trained = network(frozen=False)
    assert report_on(trained, NO_NORMALIZE, NO_NORMALIZE).codes == ["not-normalized"]
    for norm in (module for module in trained.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.num_batches_tracked.zero_()  # as the older weights of torchvision have it
    trained.train()(torch.rand(8, 3, 64, 64))
    assert report_on(trained, NO_NORMALIZE, NO_NORMALIZE).codes == ["not-normalized"]


def test_two_sides_that_differ_are_said_to_differ():
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    pixels = torch.rand(40, 1, 28, 28, generator=seeded()) * 0.6
    numbers = torch.arange(40) % 10
    plain, normal = TensorDataset(pixels, numbers), TensorDataset((pixels - 0.3) / 0.17, numbers)
    found = on_images(grey, training(normal), validation(plain))["not-normalized"]
    assert "the training images differ: they are normalised" in found.seen
    assert found.fix.startswith("v2.Normalize(mean=[0.") and found.fix.count(",") == 2
    files = report_on(network(), TRAIN, NO_NORMALIZE)["not-normalized"]
    assert "differ" in files.seen and "[0.485, 0.456, 0.406]" in files.fix
