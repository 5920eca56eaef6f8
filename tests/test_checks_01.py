"""The checks of lesson 01: right on the solution, wrong by name on typical mistakes, silent on the blank."""

from functools import partial

import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

import tlhelpers as tl

PRESETS = {
    "resize equals crop": partial(ImageClassification, crop_size=64, resize_size=64)(),
    "resize above crop": ResNet18_Weights.DEFAULT.transforms(),
}


def test_the_blanks_count_as_not_attempted():
    pictures = torch.rand(4, 3, 8, 8)
    assert tl.check("01.1", ...).state == "not attempted"
    assert tl.check("01.2", ...).state == "not attempted"
    assert tl.check("01.3", ..., ..., pictures).state == "not attempted"
    assert tl.check("01.3", torch.zeros(3), ..., pictures).state == "not attempted"
    assert tl.check("01.4", ..., PRESETS["resize above crop"]).state == "not attempted"
    assert tl.check("01.5", ..., ...).state == "not attempted"


def wrong(number: str, *answer: object) -> str:
    """Run a check that should say no; return its message."""
    result = tl.check(number, *answer)
    assert result.state == "wrong", result
    return result.message


# 01.1 the shortest side


@pytest.mark.parametrize("answer", [200 * 0.8**0.5, 178.9, 179, torch.tensor(178.885)])
def test_shortest_side_right(answer):
    assert tl.check("01.1", answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (160, "share of the area"),
        (128, "square root"),
        (0.894, "share of the side"),
        (32000, "square pixels"),
        (100, "is not it"),
        ("wide", "expects a number of pixels"),
    ],
)
def test_shortest_side_wrong(answer, named):
    assert named in wrong("01.1", answer)


# 01.2 black corners


def recipe(crop=80, degrees=15, final=64, order="crop rotate cut", **rotation):
    steps = {
        "crop": v2.RandomResizedCrop(crop, scale=(0.8, 1.0)),
        "rotate": v2.RandomRotation(degrees, **rotation),
        "cut": v2.CenterCrop(final),
        "flip": v2.RandomHorizontalFlip(),
        "float": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
    }
    return v2.Compose([steps[name] for name in order.split()])


@pytest.mark.parametrize(
    "pipeline",
    [
        recipe(),
        recipe(order="crop rotate flip cut"),
        recipe(crop=96),
        recipe(interpolation=v2.InterpolationMode.BILINEAR),
    ],
)
def test_black_corners_right(pipeline):
    assert tl.check("01.2", pipeline).state == "right"


@pytest.mark.parametrize(
    ("pipeline", "named"),
    [
        (recipe(crop=73), "black corners are left"),
        (recipe(order="crop cut rotate"), "the rotation comes last"),
        (recipe(order="rotate crop cut", crop=64), "black corners are left"),
        (recipe(degrees=5), "angle became smaller"),
        (recipe(order="crop cut"), "the rotation is gone"),
        (recipe(order="rotate cut"), "random crop is gone"),
        (recipe(final=48), "64 by 64"),
        (recipe(order="crop rotate cut float"), "PIL image"),
        (80, "rotation is gone"),
    ],
)
def test_black_corners_wrong(pipeline, named):
    assert named in wrong("01.2", pipeline)


# 01.3 statistics by hand


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    return (
        torch.rand(40, 3, 8, 8) * 0.3 + torch.rand(40, 3, 1, 1) * 0.5 + torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1)
    ).clamp(0, 1)


def test_statistics_right(pictures):
    mean, std = pictures.mean(dim=(0, 2, 3)), pictures.std(dim=(0, 2, 3))
    assert tl.check("01.3", mean, std, pictures).state == "right"
    assert tl.check("01.3", mean.tolist(), std.tolist(), pictures).state == "right"
    assert tl.check("01.3", mean.view(3, 1, 1), std.view(3, 1, 1), pictures).state == "right"
    assert tl.check("01.3", mean, pictures.std(dim=(0, 2, 3), correction=0), pictures).state == "right"


def test_statistics_wrong(pictures):
    mean, std = pictures.mean(dim=(0, 2, 3)), pictures.std(dim=(0, 2, 3))
    assert "one number for all colours" in wrong("01.3", pictures.mean(), pictures.std(), pictures)
    assert "whole picture" in wrong("01.3", pictures.mean(dim=0), std, pictures)
    assert "one number per image" in wrong("01.3", pictures.mean(dim=(1, 2, 3)), std, pictures)
    assert "shape (8,)" in wrong("01.3", pictures.mean(dim=(0, 1, 2)), std, pictures)
    assert "bytes" in wrong("01.3", 255 * mean, 255 * std, pictures)
    assert "the mean is off" in wrong("01.3", mean.flip(0), std, pictures)
    assert "single images" in wrong("01.3", mean, pictures.std(dim=(2, 3)).mean(dim=0), pictures)
    assert "variance" in wrong("01.3", mean, pictures.var(dim=(0, 2, 3)), pictures)
    assert "std is off" in wrong("01.3", mean, std + 0.1, pictures)
    assert "expects mean and std" in wrong("01.3", "a", "b", pictures)


# 01.4 the evaluation pipeline


def steps(preset, resize=None, crop=None, scale=True, normalize=1, before=()):
    return v2.Compose(
        [
            *before,
            v2.Resize(resize or preset.resize_size),
            v2.CenterCrop(crop or preset.crop_size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=scale),
            *[v2.Normalize(preset.mean, preset.std)] * normalize,
        ]
    )


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_evaluation_pipeline_right(preset):
    assert tl.check("01.4", steps(preset), preset).state == "right"
    assert tl.check("01.4", steps(preset, resize=preset.resize_size[0]), preset).state == "right"
    assert tl.check("01.4", preset, preset).state == "right"
    to_tensor_first = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), steps(preset)])
    assert tl.check("01.4", to_tensor_first, preset).state == "right"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_evaluation_pipeline_wrong(preset):
    size = preset.crop_size[0]
    assert "Normalize is missing" in wrong("01.4", steps(preset, normalize=0), preset)
    assert "scale=True is missing" in wrong("01.4", steps(preset, scale=False), preset)
    assert "both missing" in wrong("01.4", steps(preset, scale=False, normalize=0), preset)
    assert "normalised twice" in wrong("01.4", steps(preset, normalize=2), preset)
    assert "two runs give two results" in wrong("01.4", steps(preset, before=[v2.RandomRotation(15)]), preset)
    assert "squeezed" in wrong("01.4", steps(preset, resize=(size, size)), preset)
    assert "has shape" in wrong("01.4", steps(preset, crop=size // 2), preset)
    assert "still a PIL image" in wrong("01.4", v2.Resize(size), preset)
    assert "still bytes" in wrong("01.4", v2.Compose([v2.Resize(size), v2.ToImage()]), preset)
    no_floats = v2.Compose([v2.ToImage(), v2.Normalize(preset.mean, preset.std)])
    assert "Normalize needs floats" in wrong("01.4", no_floats, preset)
    swapped = v2.Compose([v2.CenterCrop(preset.crop_size), *steps(preset).transforms])
    assert "crop comes before" in wrong("01.4", swapped, preset)
    other = v2.Compose([*steps(preset, normalize=0).transforms, v2.Normalize([0.5] * 3, [0.5] * 3)])
    assert "compare mean, std" in wrong("01.4", other, preset)
    assert "expects a transform" in wrong("01.4", 64, preset)


# 01.5 two datasets


class Pictures(Dataset):
    """Twenty pictures in memory, with a transform like ImageFolder's."""

    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return 20

    def __getitem__(self, index):
        picture = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
        return (self.transform(picture) if self.transform else picture), index % 5


RANDOM = v2.Compose([v2.RandomResizedCrop(16), v2.ToImage()])
STILL = v2.Compose([v2.Resize(16), v2.ToImage()])
TRAIN, VAL = list(range(14)), list(range(14, 20))


def test_two_datasets_right():
    answer = Subset(Pictures(RANDOM), TRAIN), Subset(Pictures(STILL), VAL)
    assert tl.check("01.5", *answer).state == "right"
    assert tl.check("01.5", Subset(Pictures(RANDOM), TRAIN), Subset(Pictures(), VAL)).state == "right"


def test_two_datasets_wrong():
    shared, shared_still = Pictures(RANDOM), Pictures(STILL)
    train, val = Subset(Pictures(RANDOM), TRAIN), Subset(Pictures(STILL), VAL)
    assert "one dataset with one transform" in wrong("01.5", Subset(shared, TRAIN), Subset(shared, VAL))
    assert "not augmented any more" in wrong("01.5", Subset(shared_still, TRAIN), Subset(shared_still, VAL))
    assert "pipelines are swapped" in wrong("01.5", Subset(Pictures(STILL), TRAIN), Subset(Pictures(RANDOM), VAL))
    assert "still change" in wrong("01.5", train, Subset(Pictures(RANDOM), VAL))
    assert "do not change any more" in wrong("01.5", Subset(Pictures(STILL), TRAIN), val)
    assert "in both parts" in wrong("01.5", train, Subset(Pictures(STILL), range(20)))
    assert "parts are swapped" in wrong("01.5", Subset(Pictures(RANDOM), VAL), Subset(Pictures(STILL), TRAIN))
    assert "should be a torch.utils.data.Subset" in wrong("01.5", train, Pictures(STILL))
    assert "is empty" in wrong("01.5", train, Subset(Pictures(STILL), []))


def test_the_checks_leave_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    tl.check("01.2", recipe())
    tl.check("01.5", Subset(Pictures(RANDOM), TRAIN), Subset(Pictures(STILL), VAL))
    assert torch.equal(torch.get_rng_state(), before)
