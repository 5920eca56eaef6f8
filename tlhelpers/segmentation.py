"""Segmentation: a network that names every pixel. A new head for it, the training loop of lesson 08, and IoU per class.

torchvision's segmentation networks take a normalised batch, as classifiers do, and return a dictionary: "out" holds one
score per class and pixel, DeepLabV3's "aux" the same from an earlier layer, which helps training and is dropped later.
Class 0 is the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import FCN, LRASPP, DeepLabV3
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from .backbones import resnet10
from .detection import network_for
from .freezing import preserved_modes, train_mode
from .models import device_of
from .scene_checks import IGNORED, check_map, check_num_classes, map_batches, note_optimizer, single_image_explained
from .session import Course, CourseError

FULL_SEGMENTER = "deeplabv3_resnet50"


def dilate(layer: nn.Module, rate: int) -> nn.Module:
    """Undo the stride of a stage of a ResNet and set its 3 x 3 filters `rate` pixels apart instead; return the stage.

    The weights stay, each filter sees as far as before, and the maps keep their size: the atrous trick of DeepLab
    (Chen et al. 2017, arXiv 1706.05587). torchvision's replace_stride_with_dilation does it for bottleneck blocks only.

    >>> layer = dilate(resnet10(weights=None).layer3, 2)
    >>> layer(torch.zeros(1, 128, 16, 16)).shape
    torch.Size([1, 256, 16, 16])
    """
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            if module.kernel_size == (3, 3) and module.stride == (1, 1):
                module.dilation = module.padding = (rate, rate)
            module.stride = (1, 1)  # the filter that had the stride keeps its own pixels together
    return layer


def small_deeplabv3(num_classes: int, weights: WeightsEnum | str | None = "DEFAULT") -> DeepLabV3:
    """Return torchvision's DeepLabV3 around the bundled resnet10, for scenes of 128 pixels.

    Its third stage is dilated, so that the maps have one cell for 8 x 8 pixels, the fourth is left out; the head is
    DeepLab's with 64 channels instead of 256. No "aux". `num_classes` counts the background. arXiv 1706.05587.

    >>> small_deeplabv3(4, weights=None).eval()(torch.zeros(1, 3, 128, 128))["out"].shape
    torch.Size([1, 4, 128, 128])
    """
    check_num_classes(num_classes)
    body = resnet10(weights=weights)
    dilate(body.layer3, 2)
    head = nn.Sequential(ASPP(256, [2, 4, 6], out_channels=64), nn.Conv2d(64, num_classes, 1))
    return DeepLabV3(IntermediateLayerGetter(body, {"layer3": "out"}), head)


def small_lraspp(num_classes: int, weights: WeightsEnum | str | None = "DEFAULT") -> LRASPP:
    """Return torchvision's LR-ASPP around the bundled resnet10: a coarse map made finer by an early one.

    `num_classes` counts the background. Howard et al. 2019 (MobileNetV3), arXiv 1905.02244.

    >>> small_lraspp(4, weights=None).eval()(torch.zeros(1, 3, 128, 128))["out"].shape
    torch.Size([1, 4, 128, 128])
    """
    check_num_classes(num_classes)
    body = IntermediateLayerGetter(resnet10(weights=weights), {"layer2": "low", "layer3": "high"})
    return LRASPP(body, low_channels=128, high_channels=256, num_classes=num_classes)


SMALL = {"deeplabv3_resnet10": small_deeplabv3, "lraspp_resnet10": small_lraspp}


def segmenter(course: Course, num_classes: int, arch: str | None = None) -> nn.Module:
    """Return a segmentation network with a new head for `num_classes` (background included), on the course's device.

    In full: torchvision's `arch` (default DeepLabV3 with ResNet-50) with its weights, trained on COCO's photographs
    with the 20 classes of Pascal VOC, downloaded once. In mini: "deeplabv3_resnet10" (default) or "lraspp_resnet10",
    both around the bundled network, or any of torchvision's with random weights, since nothing is downloaded. Raises
    CourseError when the weights cannot be had.

    >>> course = Course("mini", torch.device("cpu"), 0, None, None)
    >>> type(segmenter(course, 4, "lraspp_resnet10")).__name__
    'LRASPP'
    """
    check_num_classes(num_classes)
    arch = arch or course.pick(mini="deeplabv3_resnet10", full=FULL_SEGMENTER)
    if arch in SMALL:
        return SMALL[arch](num_classes).to(course.device)
    return replace_mask_head(network_for(course, arch, models.segmentation), num_classes).to(course.device)


def replace_mask_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Put new layers that name the pixels into a DeepLabV3, FCN or LR-ASPP; return the model.

    `num_classes` counts the background. DeepLabV3 and FCN get a whole new head, and a new "aux" head where they have
    one; of LR-ASPP only the two last layers are new. Build the optimizer later.

    >>> replace_mask_head(small_lraspp(21, weights=None), 4).classifier.low_classifier.out_channels
    4
    """
    check_num_classes(num_classes)
    if isinstance(model, LRASPP):
        head = model.classifier
        for name in ("low_classifier", "high_classifier"):
            new = nn.Conv2d(getattr(head, name).in_channels, num_classes, 1)
            setattr(head, name, new.to(device_of(model)))
    elif isinstance(model, (DeepLabV3, FCN)):
        new_head = DeepLabHead if isinstance(model, DeepLabV3) else FCNHead
        model.classifier = new_head(_channels_in(model.classifier), num_classes).to(device_of(model))
        if model.aux_classifier is not None:
            model.aux_classifier = FCNHead(_channels_in(model.aux_classifier), num_classes).to(device_of(model))
    else:
        raise CourseError(f"replace_mask_head knows DeepLabV3, FCN and LR-ASPP, not {type(model).__name__}.")
    return model


def _channels_in(head: nn.Module) -> int:
    return next(module.in_channels for module in head.modules() if isinstance(module, nn.Conv2d))


def train_segmenter(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    scheduler: Any = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    verbose: bool = True,
) -> list[float]:
    """Train for some epochs and return the mean loss of each: cross-entropy over pixels, plus half of it for "aux".

    The loader gives images (N, 3, H, W), normalised, and maps of class numbers (N, H, W); a pixel of class -100 does
    not count. Frozen parts stay in eval mode; `scheduler` steps after every batch. Raises CourseError when the loss is
    no finite number, for a loader that gives nothing or something else, for classes that the network does not name, for
    an optimizer that holds nothing of the model, and for a batch of one image where BatchNorm cannot train on it.

    >>> model = nn.Linear(2, 1)
    >>> train_segmenter(model, [], torch.optim.SGD(model.parameters(), 0.1), epochs=0)
    []
    """
    note_optimizer(model, optimizer)
    device, history = device_of(model), []
    for epoch in range(1, epochs + 1):
        train_mode(model)
        total, images_seen = 0.0, 0
        for images, maps in map_batches(loader):
            with single_image_explained():
                scores = model(images.to(device))
            check_map(maps, scores["out"].shape[1])  # before the maps go to the GPU
            maps = maps.to(device)
            loss = loss_fn(scores["out"], maps)
            if "aux" in scores:
                loss = loss + 0.5 * loss_fn(scores["aux"], maps)
            if not torch.isfinite(loss):
                raise CourseError(f"the loss became {loss.item()} in epoch {epoch}: try a tenth of the learning rate.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            total, images_seen = total + loss.item() * len(images), images_seen + len(images)
        history.append(total / images_seen)
        if verbose:
            print(f"epoch {epoch:2}/{epochs}  loss {history[-1]:.3f}")
    return history


@torch.no_grad()
def segment(model: nn.Module, loader: Iterable) -> tuple[Tensor, Tensor]:
    """Return (predicted, true) class numbers of every pixel, both (N, H, W), on the CPU; modes are put back.

    Raises CourseError for a loader that gives nothing, or no images (N, 3, H, W) of floats with maps of their size.

    >>> class Zeros(nn.Module):
    ...     def forward(self, images): return {"out": torch.zeros(len(images), 4, 8, 8)}
    >>> segment(Zeros(), [(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))])[0].shape
    torch.Size([2, 8, 8])
    """
    device, predicted, true = device_of(model), [], []
    with preserved_modes(model):
        model.eval()
        for images, maps in map_batches(loader):
            predicted.append(model(images.to(device))["out"].argmax(dim=1).cpu())
            true.append(maps.cpu())
    return torch.cat(predicted), torch.cat(true)


def class_iou(predicted: Tensor, true: Tensor, num_classes: int) -> Tensor:
    """Return the IoU of each class over all pixels of all images: where both agree, by where either says so.

    Shape (num_classes,), nan for a class that occurs in neither. Pixels whose true class is -100
    do not count. (Pascal VOC's measure, Everingham et al. 2010.)

    >>> class_iou(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 1]]), 2)
    tensor([0.5000, 0.6667])
    """
    if predicted.shape != true.shape:
        raise CourseError(f"maps of shapes {tuple(predicted.shape)} and {tuple(true.shape)} cannot be compared.")
    rows = []
    for number in range(num_classes):
        said, is_so = (predicted == number) & (true != IGNORED), true == number
        rows.append((said & is_so).sum() / (said | is_so).sum())
    return torch.stack(rows)


def mean_iou(ious: Tensor | Sequence[float]) -> float:
    """Return the mean over the classes that occur, background included.

    >>> round(mean_iou([0.5, float("nan"), 1.0]), 2)
    0.75
    """
    return torch.as_tensor(ious).nanmean().item()
