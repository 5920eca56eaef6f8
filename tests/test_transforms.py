"""Pipelines: shapes, ranges, agreement with torchvision's presets, and the way back for the eye."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision import transforms as v1
from torchvision.transforms import v2

import tlhelpers as tl

WEIGHTS = models.ResNet18_Weights.DEFAULT


def picture(width=96, height=80, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("make", [tl.eval_transform, tl.train_transform])
@pytest.mark.parametrize("size", [(96, 80), (40, 200), (64, 64), (10, 10)])
def test_pipelines_give_a_square_float_tensor(make, size):
    image = make(64)(picture(*size))
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32


def test_eval_repeats_itself_and_train_does_not():
    image = picture()
    assert torch.equal(tl.eval_transform(64)(image), tl.eval_transform(64)(image))
    pipeline = tl.train_transform(64)
    assert not torch.equal(pipeline(image), pipeline(image))
    torch.manual_seed(1)
    first = pipeline(image)
    torch.manual_seed(1)
    assert torch.equal(first, pipeline(image))


def test_eval_matches_the_weights_own_preset():
    image = picture(300, 260)
    size, mean, std = tl.from_weights(WEIGHTS)
    own = tl.eval_transform(size, mean, std, resize=256)(image)
    assert torch.allclose(own, WEIGHTS.transforms()(image), atol=1e-6)


def test_train_transform_for_uses_size_and_statistics_of_the_weights():
    image = tl.train_transform_for(WEIGHTS)(Image.new("RGB", (300, 300), (124, 116, 104)))
    assert image.shape == (3, 224, 224)
    assert image.abs().max() < 0.01, "the mean colour of ImageNet, turned and cropped, is 0 everywhere"
    big = models.EfficientNet_B1_Weights.IMAGENET1K_V2
    assert tl.from_weights(big)[0] == 240


def test_train_crop_keeps_most_of_the_picture():
    # a bright dot in the middle of a dark picture survives scale=(0.8, 1.0), whatever is drawn
    image = Image.new("RGB", (96, 96))
    image.paste((255, 255, 255), (40, 40, 56, 56))
    pipeline = tl.train_transform(64)
    assert all(pipeline(image).amax() > 1.5 for _ in range(20))


@pytest.mark.parametrize("bad", [None, "DEFAULT", models.resnet18])
def test_from_weights_refuses_what_is_not_a_weights_entry(bad):
    with pytest.raises(tl.CourseError, match="get_model_weights"):
        tl.from_weights(bad)


def test_from_weights_refuses_detection_weights():
    with pytest.raises(tl.CourseError, match="classification"):
        tl.from_weights(models.detection.SSDLite320_MobileNet_V3_Large_Weights.DEFAULT)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5, 0.5)), ((0.5,) * 3, (0.5, 0.0, 0.5))])
def test_impossible_statistics_are_refused(mean, std):
    with pytest.raises(tl.CourseError, match="std"):
        tl.eval_transform(64, mean, std)


def test_denormalize_undoes_normalize_for_one_and_for_many():
    plain = v2.Compose([v2.Resize(64), v2.CenterCrop(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    image = picture()
    back = tl.denormalize(tl.eval_transform(64)(image))
    assert torch.allclose(back, plain(image), atol=1e-6)
    assert torch.equal(tl.denormalize(torch.stack([tl.eval_transform(64)(image)] * 2))[1], back)


def test_denormalize_clamps_detaches_and_leaves_its_input():
    image = torch.full((3, 2, 2), 9.0, requires_grad=True)
    shown = tl.denormalize(image)
    assert shown.max() == 1 and not shown.requires_grad and image.max() == 9


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3), (1, 8, 8), (2, 1, 8, 8)])
def test_denormalize_names_a_wrong_shape(shape):
    with pytest.raises(tl.CourseError, match=r"channels first"):
        tl.denormalize(torch.zeros(shape))


def test_dataset_statistics_are_those_of_all_pixels():
    images = [torch.rand(3, 8 + i, 6) * (0.2 + 0.2 * i) for i in range(4)]
    mean, std = tl.dataset_statistics([(image, 0) for image in images])
    pixels = torch.cat([image.flatten(1) for image in images], dim=1)
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-5)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-5)
    of_single_images = torch.stack([image.flatten(1).std(1) for image in images]).mean(0)
    assert std[0] > of_single_images[0] + 0.02, "the mean of the images' own spreads is another, smaller number"


class Normalized(torch.utils.data.Dataset):
    transform = tl.eval_transform(8)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return torch.full((3, 2, 2), 0.5), 0


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (Normalized(), "before Normalize"),
        ([(torch.full((3, 2, 2), -1.0), 0)], "outside 0..1"),
        ([(torch.full((3, 2, 2), 128.0), 0)], "outside 0..1"),
        ([(Image.new("RGB", (2, 2)), 0)], "ToDtype"),
        ([(torch.zeros(3, 2, 2, dtype=torch.uint8), 0)], "ToDtype"),
        ([], "empty"),
    ],
)
def test_dataset_statistics_refuses_what_it_cannot_measure(dataset, says):
    with pytest.raises(tl.CourseError, match=says):
        tl.dataset_statistics(dataset)


def test_normalization_is_found_wherever_it_hides():
    normalize = v2.Normalize([0.1] * 3, [0.2] * 3)
    found = ((0.1,) * 3, (0.2,) * 3)
    assert tl.normalization_of(v1.Compose([v1.ToTensor(), v1.Normalize([0.1] * 3, [0.2] * 3)])) == found
    assert tl.normalization_of(torch.nn.Sequential(v2.CenterCrop(8), normalize)) == found
    assert tl.normalization_of(v2.Compose([v2.RandomApply([v2.Compose([normalize])])])) == found
    assert tl.has_normalize(WEIGHTS.transforms())
    for without in (None, v2.ToImage(), v2.Compose([v2.ToImage()]), lambda image: image):
        assert not tl.has_normalize(without)
