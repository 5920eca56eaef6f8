"""Segmentation networks: dilated stages, new heads, the loop over pixels, IoU per class; and pictures of scenes."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCN, FCNHead

import tlhelpers as tl
from tlhelpers import outlines


@pytest.fixture(scope="module")
def mini() -> tl.Course:
    return tl.Course("mini", torch.device("cpu"), 0, tl.data_dir(), Path("unused"))


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def pairs(n=4):
    """Images whose left half is class 1 and bright, the rest dark background."""
    images = torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2
    images[:, :, :, :32] += 1.5
    maps = torch.zeros(n, 64, 64, dtype=torch.long)
    maps[:, :, :32] = 1
    return list(zip(images, maps, strict=True))


# --- dilation


def test_a_dilated_stage_keeps_its_weights_and_the_size_of_its_maps():
    torch.manual_seed(0)
    body = tl.resnet10(weights=None).eval()
    weights = {name: value.clone() for name, value in body.layer3.state_dict().items()}
    x = torch.randn(1, 128, 32, 32)
    plain = body.layer3(x)
    wide = tl.dilate(body.layer3, 2)(x)
    assert plain.shape[-1] == 16 and wide.shape[-1] == 32
    assert all(torch.equal(value, weights[name]) for name, value in body.layer3.state_dict().items())
    # away from the border every second cell is what the stage said before: that is what dilation is for
    assert torch.allclose(wide[:, :, ::2, ::2][:, :, 3:-3, 3:-3], plain[:, :, 3:-3, 3:-3], atol=1e-4)


# --- heads


@pytest.mark.parametrize("build", [tl.small_deeplabv3, tl.small_lraspp])
def test_the_small_networks_hold_the_bundled_weights(build):
    model, backbone = build(4), tl.resnet10(weights="DEFAULT")
    assert torch.equal(model.backbone.layer3[0].conv1.weight, backbone.layer3[0].conv1.weight)
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 3, 64, 96))["out"].shape == (1, 4, 64, 96)


def test_torchvisions_deeplabv3_gets_two_new_heads(mini):
    torch.manual_seed(0)
    model = models.get_model("deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None, aux_loss=True)
    assert tl.replace_mask_head(model, 4) is model
    with torch.no_grad():
        scores = model.eval()(torch.zeros(1, 3, 64, 64))
    assert {name: value.shape[1] for name, value in scores.items()} == {"out": 4, "aux": 4}


def test_lraspp_keeps_all_but_the_two_last_layers(mini):
    model = models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)
    kept = model.classifier.cbr
    tl.replace_mask_head(model, 3)
    assert model.classifier.cbr is kept
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 3, 64, 64))["out"].shape == (1, 3, 64, 64)


def test_fcn_stays_an_fcn():
    body = IntermediateLayerGetter(tl.resnet10(weights=None), {"layer3": "out"})
    model = tl.replace_mask_head(FCN(body, FCNHead(256, 21)), 4)
    assert isinstance(model.classifier, FCNHead) and model.classifier[-1].out_channels == 4


@pytest.mark.parametrize("classes", [1, True, 3.0])
def test_a_head_needs_the_background_and_a_class(classes):
    with pytest.raises(tl.CourseError, match="background counts as one"):
        tl.replace_mask_head(tl.small_lraspp(4, weights=None), classes)


@pytest.mark.parametrize("classes", [0, 1, True, "4", None])
def test_the_number_of_classes_is_looked_at_first(mini, classes):
    for build in (
        lambda: tl.segmenter(mini, classes),
        lambda: tl.segmenter(mini, classes, "lraspp_resnet10"),
        lambda: tl.small_deeplabv3(classes, weights=None),
        lambda: tl.small_lraspp(classes, weights=None),
    ):
        with pytest.raises(tl.CourseError, match="background counts as one"):
            build()


def test_another_kind_of_network_is_named():
    with pytest.raises(tl.CourseError, match="DeepLabV3, FCN and LR-ASPP, not ResNet"):
        tl.replace_mask_head(models.resnet18(), 4)


def test_segmenter_by_name(mini):
    assert tl.segmenter(mini, 4).classifier[-1].out_channels == 4
    assert type(tl.segmenter(mini, 4, "lraspp_resnet10")).__name__ == "LRASPP"
    with pytest.raises(tl.CourseError, match="arch='resnet18' is not one of these: .*deeplabv3_resnet50"):
        tl.segmenter(mini, 4, "resnet18")


def test_full_takes_deeplab_with_resnet50_and_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    full, asked = tl.Course("full", torch.device("cpu"), 0, tl.data_dir(), tmp_path), []

    def fail(arch):
        asked.append(arch)
        raise TimeoutError("timed out")

    monkeypatch.setattr("tlhelpers.detection.load_default", fail)
    with pytest.raises(tl.CourseError, match="could not be loaded: the server stopped answering"):
        tl.segmenter(full, 4)
    assert asked == ["deeplabv3_resnet50"]


# --- training and measuring


def test_training_lowers_the_loss_and_finds_the_bright_half(mini, capsys):
    torch.manual_seed(0)
    model = tl.small_lraspp(2)
    tl.freeze(model.backbone)
    before = model.backbone.bn1.running_mean.clone()
    loader = tl.make_loader(pairs(), 2, train=True)
    losses = tl.train_segmenter(model, loader, torch.optim.AdamW(tl.trainable_parameters(model), 3e-3), 10)
    assert len(losses) == 10 and losses[-1] < 0.5 * losses[0]
    assert capsys.readouterr().out.count("loss") == 10
    assert torch.equal(model.backbone.bn1.running_mean, before)
    predicted, true = tl.segment(model, loader)
    assert predicted.shape == true.shape == (4, 64, 64)
    assert tl.mean_iou(tl.class_iou(predicted, true, 2)) > 0.7


class _Two(nn.Module):
    """An "out" and an "aux" head that give known losses."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images):
        zeros = torch.zeros(len(images), 4, 8, 8)
        return {"out": zeros + self.value * 0, "aux": zeros + self.value * 0}


def test_the_aux_head_counts_half():
    model = _Two()
    loader = [(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))]
    losses = tl.train_segmenter(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1, verbose=False)
    assert losses[0] == pytest.approx(1.5 * np.log(4), rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_training():
    model = _Two(float("nan"))
    loader = [(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))]
    with pytest.raises(tl.CourseError, match="became nan in epoch 1"):
        tl.train_segmenter(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1)


def trained(model, loader):
    return tl.train_segmenter(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1, verbose=False)


IMAGES, MAPS = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)


@pytest.mark.parametrize("number", [-1, 4, 255])
def test_a_class_that_the_network_does_not_name_is_refused(number):
    maps = MAPS.clone()
    maps[0, 0, 0] = number
    with pytest.raises(tl.CourseError, match=f"class {number}, this network names 0 to 3.*background counts too"):
        trained(_Two(), [(IMAGES, maps)])


def test_pixels_of_minus_100_do_not_count():
    maps = MAPS.clone()
    maps[:, :4] = -100
    assert trained(_Two(), [(IMAGES, maps)])[0] == pytest.approx(1.5 * np.log(4), rel=1e-5)
    said, true = torch.tensor([[1, 1, 0, 1]]), torch.tensor([[1, 0, 0, -100]])
    assert tl.class_iou(said, true, 2).tolist() == pytest.approx([1 / 2, 1 / 2])


@pytest.mark.parametrize("work", [trained, tl.segment])
@pytest.mark.parametrize(
    ("loader", "complaint"),
    [
        ([], "The loader yields nothing"),
        ([([IMAGES[0]], [{"labels": MAPS}])], "stacked images and class maps"),
        ([IMAGES], "stacked images and class maps"),
        ([((IMAGES * 255).to(torch.uint8), MAPS)], "images of floats.*not Tensor of torch.uint8"),
        ([(IMAGES[0], MAPS[0])], "images of floats"),
        ([(IMAGES, MAPS[:, :4])], "do not fit images"),
        ([(IMAGES, MAPS[:1])], "do not fit images"),
        ([(IMAGES, MAPS.float())], "class maps of torch.float32"),
    ],
)
def test_a_batch_of_the_wrong_kind_is_refused(work, loader, complaint):
    with pytest.raises(tl.CourseError, match=complaint):
        work(_Two(), loader)


def test_an_optimizer_of_another_network_is_refused():
    with pytest.raises(tl.CourseError, match="none of the model's trainable parameters"):
        tl.train_segmenter(_Two(), [(IMAGES, MAPS)], torch.optim.SGD(_Two().parameters(), 0.1), 1)


def test_deeplab_cannot_train_on_one_image_and_says_why():
    with pytest.raises(tl.CourseError, match="A training batch of a single image"):
        trained(tl.small_deeplabv3(2, weights=None), [(torch.rand(1, 3, 64, 64), pairs(1)[0][1][None])])


def test_segment_puts_the_modes_back():
    model = _Two().train()
    tl.segment(model, [(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))])
    assert model.training


def test_iou_per_class_by_counting():
    true = torch.tensor([[[0, 0, 1, 1]], [[2, 2, 2, 0]]])
    said = torch.tensor([[[0, 1, 1, 1]], [[2, 2, 0, 0]]])
    ious = tl.class_iou(said, true, 4)
    assert ious[:3].tolist() == pytest.approx([2 / 4, 2 / 3, 2 / 3])
    assert torch.isnan(ious[3])
    assert tl.mean_iou(ious) == pytest.approx((2 / 4 + 2 / 3 + 2 / 3) / 3)


def test_maps_of_different_shape_are_refused():
    with pytest.raises(tl.CourseError, match="cannot be compared"):
        tl.class_iou(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), 2)


def test_cross_entropy_over_pixels_is_what_the_lesson_says():
    scores, maps = torch.randn(2, 4, 5, 5), torch.randint(4, (2, 5, 5))
    by_hand = -scores.log_softmax(1).gather(1, maps[:, None]).mean()
    assert torch.allclose(F.cross_entropy(scores, maps), by_hand)


# --- pictures


def picture(axis):
    return np.asarray(axis.images[0].get_array())


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_boxes_are_drawn_where_they_are_in_the_colour_of_their_class():
    target = {"boxes": torch.tensor([[8.0, 8, 24, 24]]), "labels": torch.tensor([2])}
    ax = tl.show_boxes([torch.zeros(3, 32, 32)], [target], ["background", "daisy", "tulip"]).axes[0]
    drawn = picture(ax)
    assert drawn.shape == (96, 96, 3)
    assert drawn[60, 24].tolist() == rgb(outlines.OUTLINE[1])  # the left edge
    assert drawn[48, 48].tolist() == [0, 0, 0]  # inside nothing is painted
    assert [text.get_text() for text in ax.texts] == ["tulip"]


def test_answers_below_the_score_are_left_out_and_the_others_say_theirs():
    boxes = torch.tensor([[2.0, 2, 10, 10], [12, 12, 30, 30]])
    said = {"boxes": boxes, "labels": torch.tensor([1, 1]), "scores": torch.tensor([0.93, 0.2])}
    ax = tl.show_boxes([torch.zeros(3, 32, 32)], [said], ["background", "daisy"]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["daisy 0.93"]
    none = tl.show_boxes([torch.zeros(3, 32, 32)], [said], ["background", "daisy"], score=0.99).axes[0]
    assert not none.texts and picture(none).max() == 0


def test_masks_colour_the_pixels_of_a_class_and_leave_the_background():
    class_map = torch.zeros(8, 8, dtype=torch.long)
    class_map[:4] = 2
    figure = tl.show_masks([torch.zeros(3, 8, 8)], [class_map], ["background", "daisy", "tulip"], alpha=1.0)
    drawn = picture(figure.axes[0])
    assert drawn[0, 0].tolist() == rgb(outlines.OUTLINE[1]) and drawn[7, 7].tolist() == [0, 0, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["daisy", "tulip"]


def test_pictures_are_not_changed_by_drawing():
    image = torch.rand(3, 16, 16)
    before = image.clone()
    tl.show_masks([image], [torch.ones(16, 16, dtype=torch.long)], ["background", "daisy"])
    assert torch.equal(image, before)


def test_losses_get_a_line_each():
    figure = tl.plot_losses([{"box": 2.0, "loss": 3.0}, {"box": 1.0, "loss": 1.5}])
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[2.0, 1.0], [3.0, 1.5]]
    assert len(tl.plot_losses({"a": [1.0, 0.5], "b": [2.0]}).axes[0].lines) == 2


def test_losses_may_be_the_plain_list_of_train_segmenter():
    model = _Two()
    losses = tl.train_segmenter(model, [(IMAGES, MAPS)], torch.optim.SGD(model.parameters(), 0.1), 3, verbose=False)
    (line,) = tl.plot_losses(losses).axes[0].lines
    assert list(line.get_ydata()) == losses and list(line.get_xdata()) == [1, 2, 3]


def box(label):
    return {"boxes": torch.tensor([[1.0, 1, 5, 5]]), "labels": torch.tensor([label])}


@pytest.mark.parametrize("draw", [tl.show_boxes, tl.show_masks])
@pytest.mark.parametrize(
    ("number", "classes", "complaint"),
    [
        (2, ["background", "daisy"], "class 2 is to be drawn, but classes names only 0 to 1"),
        (1, ["daisy", "tulip"], "must name the background first"),
        (0, ["background"], "and at least one kind"),
        (0, [], "and at least one kind"),
        (1, "background", "must name the background first"),
    ],
)
def test_names_must_begin_with_the_background_and_reach_far_enough(draw, number, classes, complaint):
    what = box(number) if draw is tl.show_boxes else torch.full((8, 8), number)
    with pytest.raises(tl.CourseError, match=complaint):
        draw([torch.zeros(3, 8, 8)], [what], classes)


def test_names_of_torchvisions_weights_begin_with_the_background():
    names = models.detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    ax = tl.show_boxes([torch.zeros(3, 32, 32)], [box(1)], names).axes[0]
    assert [text.get_text() for text in ax.texts] == ["person"]


def test_one_class_beside_the_background_is_enough():
    figure = tl.show_masks([torch.zeros(3, 8, 8)], [torch.ones(8, 8, dtype=torch.long)], ["background", "a"], alpha=1.0)
    assert picture(figure.axes[0])[0, 0].tolist() == rgb(outlines.OUTLINE[0])


def test_a_map_must_have_the_size_of_its_image():
    with pytest.raises(tl.CourseError, match=r"shape \(4, 8\) does not fit an image of \(8, 8\) pixels"):
        tl.show_masks([torch.zeros(3, 8, 8)], [torch.zeros(4, 8, dtype=torch.long)], ["background", "a"])


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: tl.show_boxes([], [], ["background"]), "nothing to show"),
        (lambda: tl.show_boxes([torch.zeros(3, 8, 8)], [], ["background"]), "1 images but 0 sets of boxes"),
        (lambda: tl.show_masks([torch.zeros(3, 8, 8)], [], ["background"]), "1 images but 0 maps"),
        (
            lambda: tl.show_masks([torch.zeros(3, 8, 8)], [torch.zeros(8, 8)], ["background", "a"], titles=["a", "b"]),
            "1 images but 2 titles",
        ),
        (lambda: tl.show_masks([torch.zeros(8, 8)], [torch.zeros(8, 8)], ["background", "a"]), "cannot be shown"),
        (lambda: tl.show_masks([torch.zeros(3, 8, 8) - 2], [torch.zeros(8, 8)], ["background", "a"]), "are normal"),
        (lambda: tl.plot_losses([]), "no epoch was finished"),
        (lambda: tl.plot_losses({"a": []}), "no epoch was finished"),
    ],
)
def test_pictures_refuse_what_they_cannot_draw(call, complaint):
    with pytest.raises(tl.CourseError, match=complaint):
        call()
