"""Every check of lesson 08: says right to the solution, names the mistake in wrong answers, knows a blank."""

import pytest
import torch
from answers import assert_wrong, result
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import box_iou

import tlhelpers as tl


@pytest.mark.parametrize("number", ["08.1", "08.2", "08.3", "08.4"])
def test_blanks(number):
    assert result(number, ...).state == "not attempted"
    assert result(number, lambda *given: ...).state == "not attempted"
    assert result(number, lambda *given: None).state == "not attempted"
    assert result(number, 3).state == "wrong"


def test_blanks_as_the_notebook_leaves_them():
    def iou_per_class(predicted, true, classes):
        ious = []
        for number in range(classes):
            said, is_so = predicted == number, true == number  # noqa: F841
            ious.append(...)
        return torch.tensor(ious)

    assert result("08.4", iou_per_class).state == "not attempted"
    assert result("08.2", lambda image, boxes: (image.flip(-1), ...)).state == "not attempted"


def test_an_error_of_another_kind_is_no_blank():
    assert_wrong("08.4", "the check cannot work", lambda p, t, n: torch.tensor([[1.0], [1.0, 2.0]]))
    assert_wrong("08.4", "the check cannot work", lambda p, t, n: p @ torch.zeros(7))


# --- 08.1 IoU of two boxes


def overlap_with(clamp=True, shared_twice=False, one_area=False, plus=0.0, only_shared=False):
    def overlap(a, b):
        def area(box):
            return (box[2] - box[0] + plus) * (box[3] - box[1] + plus)

        width = torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0]) + plus
        height = torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1]) + plus
        if clamp:
            width, height = width.clamp(min=0), height.clamp(min=0)
        shared = width * height
        if only_shared:
            return shared
        if one_area:
            return shared / area(a)
        return shared / (area(a) + area(b) - (0 if shared_twice else shared))

    return overlap


def test_overlap_right():
    assert result("08.1", overlap_with()).state == "right"
    assert result("08.1", lambda a, b: box_iou(a[None], b[None]).item()).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (overlap_with(clamp=False), "clamp it at 0"),
        (overlap_with(shared_twice=True), "counted twice"),
        (overlap_with(one_area=True), "one box only"),
        (overlap_with(plus=1.0), "without + 1"),
        (overlap_with(only_shared=True), "shared area in pixels"),
        (lambda a, b: a - b, "return one number"),
        (lambda a, b: 0.5, "it gives 0.5000"),
    ],
)
def test_overlap_wrong(answer, mistake):
    assert_wrong("08.1", mistake, answer)


@pytest.mark.parametrize(("clamped", "where"), [("height", "for a box right of it"), ("width", "for a box below it")])
def test_clamping_only_one_side_is_noticed(clamped, where):
    def overlap(a, b):
        width = torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])
        height = torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])
        if clamped == "width":
            width = width.clamp(min=0)
        else:
            height = height.clamp(min=0)
        shared = width * height
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    assert_wrong("08.1", where, overlap)
    assert_wrong("08.1", "clamp it at 0", overlap)


# --- 08.2 boxes flip along


def flip_with(change):
    def flip_scene(image, boxes):
        moved = boxes.clone()
        return image.flip(-1), change(moved, image.shape[-1], image.shape[-2])

    return flip_scene


def right_flip(moved, width, height):
    moved[:, [0, 2]] = width - moved[:, [2, 0]]
    return moved


def swapped(moved, width, height):
    moved[:, [0, 2]] = width - moved[:, [0, 2]]
    return moved


def minus_one(moved, width, height):
    moved[:, [0, 2]] = width - 1 - moved[:, [2, 0]]
    return moved


def up_down(moved, width, height):
    moved[:, [1, 3]] = height - moved[:, [3, 1]]
    return moved


def in_place(image, boxes):
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image.flip(-1), boxes


def test_flip_right():
    assert result("08.2", flip_with(right_flip)).state == "right"
    assert result("08.2", flip_with(lambda moved, *size: right_flip(moved.int(), *size))).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (flip_with(lambda moved, width, height: moved), "before the flip"),
        (flip_with(swapped), "x0 is larger than x1"),
        (flip_with(minus_one), "one pixel too far left"),
        (flip_with(lambda moved, *size: minus_one(moved.int(), *size)), "one pixel too far left"),
        (flip_with(up_down), "top to bottom"),
        (flip_with(lambda moved, width, height: moved + 3), "should become 22, 5, 28, 12"),
        (in_place, "boxes.clone()"),
        (lambda image, boxes: (image, boxes), "not flipped any more"),
        (lambda image, boxes: (image.flip(-2), boxes), "left to right, as before"),
        (lambda image, boxes: boxes, "return two things"),
    ],
)
def test_flip_wrong(answer, mistake):
    assert_wrong("08.2", mistake, answer)


# --- 08.3 the background is a class


def head_with(scores, shift, change=lambda labels: labels):
    return lambda width, kinds: (FastRCNNPredictor(width, scores), change(kinds + shift))


def test_head_and_labels_right():
    assert result("08.3", head_with(4, 1)).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (head_with(3, 0), "Every daisy is trained to be background"),
        (head_with(4, 0), "labels from 1"),
        (head_with(3, 1), "raise an error"),
        (head_with(5, 1), "the head gives 5 scores"),
        (head_with(4, 2), "should become labels 1, 3, 2, 1"),
        (head_with(4, 1, torch.Tensor.float), "whole numbers"),
        (lambda width, kinds: (torch.nn.Linear(width, 4), kinds + 1), "should be a FastRCNNPredictor"),
        (lambda width, kinds: FastRCNNPredictor(width, 4), "return two things"),
    ],
)
def test_head_and_labels_wrong(answer, mistake):
    assert_wrong("08.3", mistake, answer)


# --- 08.4 IoU per class


def iou_with(share):
    def iou_per_class(predicted, true, classes):
        return torch.tensor([float(share(predicted == c, true == c)) for c in range(classes)])

    return iou_per_class


def per_image(mean):
    def iou_per_class(predicted, true, classes):
        return mean(torch.stack([tl.class_iou(p, t, classes) for p, t in zip(predicted, true, strict=True)]))

    return iou_per_class


def test_iou_per_class_right():
    assert result("08.4", tl.class_iou).state == "right"
    assert result("08.4", iou_with(lambda said, so: (said & so).sum() / (said | so).sum())).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (iou_with(lambda said, so: (said & so).sum() / so.sum()), "the true pixels only"),
        (iou_with(lambda said, so: (said & so).sum() / said.sum()), "the answered pixels only"),
        (iou_with(lambda said, so: (said & so).sum() / (said.sum() + so.sum())), "counted twice"),
        (iou_with(lambda said, so: (said == so).float().mean()), "not this class"),
        (iou_with(lambda said, so: 2 * (said & so).sum() / (said.sum() + so.sum())), "that is Dice"),
        (per_image(lambda each: each.mean(0)), "mean over the images"),
        (per_image(lambda each: each.nanmean(0)), "mean over the images"),
        (per_image(lambda each: each.nan_to_num(0).mean(0)), "mean over the images"),
        (per_image(lambda each: each.nan_to_num(1).mean(0)), "mean over the images"),
        (lambda p, t, n: tl.class_iou(p, t, n).mean(), "1 numbers for three classes"),
        (iou_with(lambda said, so: 0.3), "on the example it gives 0.30, 0.30, 0.30"),
    ],
)
def test_iou_per_class_wrong(answer, mistake):
    assert_wrong("08.4", mistake, answer)
