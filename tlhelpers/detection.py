"""Detection: a network that answers with boxes. A new head for it, and the training loop of lesson 08.

torchvision's detectors behave unlike its classifiers: they take a list of images with pixels in 0..1 (and normalise
them by themselves), in train mode they want the targets as well and return a dictionary of losses, in eval mode they
return boxes. Class 0 is the background, so three kinds of flowers make num_classes=4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteClassificationHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from .backbones import resnet10
from .downloads import DOWNLOAD_ERRORS, why_download_failed
from .freezing import preserved_modes, train_mode, unfreeze
from .loading import UnpicklingError, load_default
from .models import device_of
from .scene_checks import check_labels, check_num_classes, note_optimizer, scene_batches, single_image_explained
from .session import Course, CourseError

FULL_DETECTOR = "fasterrcnn_resnet50_fpn"
FULL_SIDE = 320  # pixels: what the large Faster R-CNN enlarges the scenes to; its anchors start at 32


def collate_scenes(samples: Sequence[tuple[Any, dict]]) -> tuple[list, list]:
    """Make a batch of scenes: a list of images and a list of targets, since each scene has its own number of boxes.

    >>> collate_scenes([("image 1", {"boxes": 3}), ("image 2", {"boxes": 1})])
    (['image 1', 'image 2'], [{'boxes': 3}, {'boxes': 1}])
    """
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def small_faster_rcnn(num_classes: int, weights: WeightsEnum | str | None = "DEFAULT") -> FasterRCNN:
    """Return torchvision's Faster R-CNN around the bundled resnet10, for scenes of 128 pixels.

    Three feature maps (strides 8, 16, 32) and a fourth pooled from the last, with one anchor size each: 16, 32, 48 and
    64 pixels. BatchNorm is frozen, as in torchvision's own detectors: a few scenes per batch are too few for its
    statistics. `num_classes` counts the background. Ren et al. 2015, arXiv 1506.01497; Lin et al. 2016, 1612.03144.

    >>> small_faster_rcnn(4, weights=None).roi_heads.box_predictor.cls_score.out_features
    4
    """
    check_num_classes(num_classes)
    body, channels = resnet10(weights=weights, norm_layer=FrozenBatchNorm2d), 64
    backbone = BackboneWithFPN(body, {"layer2": "0", "layer3": "1", "layer4": "2"}, [128, 256, 512], channels)
    return FasterRCNN(
        backbone,
        min_size=128,
        max_size=128,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (48,), (64,)), ((0.7, 1.0, 1.4),) * 4),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(channels * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, num_classes),
        # a scene holds a handful of flowers: fewer proposals than for photographs of streets
        rpn_pre_nms_top_n_train=200, rpn_post_nms_top_n_train=100, rpn_batch_size_per_image=64,
        rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_test=50, box_batch_size_per_image=32, box_detections_per_img=20,
    )  # fmt: skip


def detector(course: Course, num_classes: int, arch: str | None = None) -> nn.Module:
    """Return a detector with a new head for `num_classes` (background included), on the course's device.

    In full: torchvision's `arch` (default Faster R-CNN with ResNet-50) with its weights from COCO, downloaded once. In
    mini: `small_faster_rcnn`, or, when `arch` is named, that network with random weights, since nothing is downloaded.
    All of it may learn: torchvision hands out its pretrained ResNet-50 with the stem and the first stage frozen, here
    they are free (its frozen BatchNorm has no parameters). Use `freeze(model.backbone.body)` for less. Raises
    CourseError when the weights cannot be had, or for a network `replace_box_head` does not know.

    >>> course = Course("mini", torch.device("cpu"), 0, None, None)
    >>> type(detector(course, 4)).__name__
    'FasterRCNN'
    """
    check_num_classes(num_classes)
    if course.profile == "mini" and arch is None:
        return small_faster_rcnn(num_classes).to(course.device)
    model = network_for(course, arch or FULL_DETECTOR, models.detection)
    if isinstance(model, FasterRCNN):
        model.transform.min_size, model.transform.max_size = (FULL_SIDE,), FULL_SIDE
    unfreeze(model)
    return replace_box_head(model, num_classes).to(course.device)


def network_for(course: Course, arch: str, family: Any) -> nn.Module:
    """Return `arch` of `family` (models.detection or models.segmentation): default weights in full, random in mini."""
    if arch not in models.list_models(module=family):
        raise CourseError(f"arch={arch!r} is not one of these: {', '.join(models.list_models(module=family))}.")
    if course.profile == "mini":
        return models.get_model(arch, weights=None, weights_backbone=None)
    try:
        return load_default(arch)
    except (*DOWNLOAD_ERRORS, UnpicklingError) as error:
        raise CourseError(
            f"The weights of {arch} could not be loaded: {why_download_failed(error)}. "
            "Run this again with a network, or start with the bundled networks: tl.start(profile='mini')."
        ) from error


def replace_box_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Put a new layer that names the boxes into a Faster R-CNN or an SSDLite; return the model.

    `num_classes` counts the background. In Faster R-CNN the same layer also corrects each box per class, so that part
    is new as well; SSDLite corrects boxes for all classes alike and keeps it. Build the optimizer later.

    >>> replace_box_head(small_faster_rcnn(91, weights=None), 4).roi_heads.box_predictor.cls_score
    Linear(in_features=256, out_features=4, bias=True)
    """
    check_num_classes(num_classes)
    # Mask and Keypoint R-CNN are Faster R-CNNs with one more head, whose classes would no longer fit
    if isinstance(model, FasterRCNN) and not isinstance(model, (MaskRCNN, KeypointRCNN)):
        width = model.roi_heads.box_predictor.cls_score.in_features
        model.roi_heads.box_predictor = FastRCNNPredictor(width, num_classes).to(device_of(model))
    elif isinstance(model, SSD) and isinstance(model.head.classification_head, SSDLiteClassificationHead):
        branches = model.head.classification_head.module_list  # one for each feature map: depthwise block, 1 x 1
        channels = [branch[1].in_channels for branch in branches]
        anchors = model.anchor_generator.num_anchors_per_location()
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)  # as in the rest of torchvision's network
        new = SSDLiteClassificationHead(channels, anchors, num_classes, norm)
        model.head.classification_head = new.to(device_of(model))
    else:
        raise CourseError(f"replace_box_head knows Faster R-CNN and SSDLite, not {type(model).__name__}.")
    return model


def train_detector(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    scheduler: Any = None,
    verbose: bool = True,
) -> list[dict[str, float]]:
    """Train for some epochs and return one dictionary per epoch: each of the detector's losses, and their sum "loss".

    The means are over the scenes. Frozen parts stay in eval mode; `scheduler` steps after every batch. Raises
    CourseError when a loss is no finite number, for a loader that gives nothing or stacked images, for labels that the
    head does not know, and for an optimizer that holds nothing of the model.

    >>> model = nn.Linear(2, 1)
    >>> train_detector(model, [], torch.optim.SGD(model.parameters(), 0.1), epochs=0)
    []
    """
    note_optimizer(model, optimizer)
    device, history = device_of(model), []
    for epoch in range(1, epochs + 1):
        train_mode(model)
        sums, scenes = {}, 0
        for images, targets in scene_batches(loader):
            check_labels(model, targets)
            with single_image_explained():
                losses = model([image.to(device) for image in images], [_on(target, device) for target in targets])
            loss = sum(losses.values())
            if not torch.isfinite(loss):
                raise CourseError(f"the loss became {loss.item()} in epoch {epoch}: try a tenth of the learning rate.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            scenes += len(images)
            for name, value in {**losses, "loss": loss}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(images)
        history.append({name: value / scenes for name, value in sums.items()})
        if verbose:
            print(f"epoch {epoch:2}/{epochs}  " + "  ".join(f"{k} {v:.3f}" for k, v in history[-1].items()))
    return history


def _on(target: dict, device: torch.device) -> dict:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in target.items()}


@torch.no_grad()
def detect(model: nn.Module, loader: Iterable) -> tuple[list[dict[str, Tensor]], list[dict]]:
    """Return (predictions, targets) of all scenes, on the CPU; the model's modes are put back.

    A prediction holds `boxes` (n, 4) as x0, y0, x1, y1 in pixels, `labels` (n,) and `scores` (n,), the best first.
    Raises CourseError for a loader that gives nothing, stacked images, or images that are no floats.

    >>> class Nothing(nn.Module):
    ...     def forward(self, images): return [{"boxes": torch.zeros(0, 4)} for _ in images]
    >>> detect(Nothing(), [([torch.rand(3, 8, 8)], [{"image_id": 7}])])
    ([{'boxes': tensor([], size=(0, 4))}], [{'image_id': 7}])
    """
    device, predictions, truth = device_of(model), [], []
    with preserved_modes(model):
        model.eval()
        for images, targets in scene_batches(loader):
            found = model([image.to(device) for image in images])
            predictions += [_on(prediction, torch.device("cpu")) for prediction in found]
            truth += list(targets)
    return predictions, truth
