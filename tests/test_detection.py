"""Detectors: the new head, the training loop, the count of boxes found, and what a failed download says."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.detection import keypointrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers import detection


@pytest.fixture(scope="module")
def mini() -> tl.Course:
    return tl.Course("mini", torch.device("cpu"), 0, tl.data_dir(), Path("unused"))


@pytest.fixture
def full(tmp_path, monkeypatch) -> tl.Course:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tl.Course("full", torch.device("cpu"), 0, tl.data_dir(), tmp_path)


def scene(boxes, labels, seed=0):
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return image, {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels), "image_id": seed}


@pytest.fixture
def scenes():
    return [scene([[5, 5, 30, 30]], [1]), scene([[10, 20, 50, 60], [2, 2, 20, 20]], [3, 2], seed=1)]


@pytest.fixture
def small():
    """A detector that is quick: images stay 64 pixels."""
    torch.manual_seed(0)
    model = tl.small_faster_rcnn(4, weights=None)
    model.transform.min_size, model.transform.max_size = (64,), 64
    return model


def test_collate_keeps_scenes_apart(scenes):
    images, targets = tl.collate_scenes(scenes)
    assert isinstance(images, list) and [len(t["boxes"]) for t in targets] == [1, 2]


def test_a_loader_of_the_bundled_scenes_feeds_the_detector(mini):
    to_float = v2.ToDtype(torch.float32, scale=True)
    loader = tl.make_loader(tl.flower_scenes(mini, "val", to_float), 2, collate_fn=tl.collate_scenes)
    images, targets = next(iter(loader))
    torch.manual_seed(0)
    losses = tl.detector(mini, len(tl.scene_classes)).train()(images, targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_small_detector_holds_the_bundled_weights_and_frozen_batchnorm(mini):
    model, backbone = tl.detector(mini, 4), tl.resnet10(weights="DEFAULT")
    assert torch.equal(model.backbone.body.layer3[0].conv1.weight, backbone.layer3[0].conv1.weight)
    assert isinstance(model.backbone.body.bn1, FrozenBatchNorm2d)
    assert torch.equal(model.backbone.body.bn1.running_mean, backbone.bn1.running_mean)
    statistics = tl.ResNet10_Weights.DEFAULT.transforms()
    assert (model.transform.image_mean, model.transform.image_std) == (statistics.mean, statistics.std)


def test_training_on_two_scenes_lowers_the_loss_and_reports_each_part(scenes, capsys):
    torch.manual_seed(0)
    small = tl.small_faster_rcnn(4)
    small.transform.min_size, small.transform.max_size = (64,), 64
    optimizer = torch.optim.SGD(small.parameters(), lr=0.02, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000)
    loader = tl.make_loader(scenes, 2, train=True, collate_fn=tl.collate_scenes)
    history = tl.train_detector(small, loader, optimizer, 8, schedule)
    assert len(history) == 8 and schedule.last_epoch == 8
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    parts = [value for name, value in history[0].items() if name != "loss"]
    assert len(parts) == 4 and sum(parts) == pytest.approx(history[0]["loss"], rel=1e-5)
    assert capsys.readouterr().out.count("loss_classifier") == 8


def test_a_frozen_body_stays_as_it_is_bit_for_bit(small, scenes):
    tl.freeze(small.backbone.body)
    before = {name: value.clone() for name, value in small.backbone.body.state_dict().items()}
    optimizer = torch.optim.SGD(tl.trainable_parameters(small), lr=0.01)
    loader = tl.make_loader(scenes, 2, collate_fn=tl.collate_scenes)
    head = small.roi_heads.box_predictor.cls_score.weight.clone()
    tl.train_detector(small, loader, optimizer, 1, verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in small.backbone.body.state_dict().items())
    assert not torch.equal(head, small.roi_heads.box_predictor.cls_score.weight)


class _Exploding(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, targets=None):
        return {"a": self.weight * float("nan")}


def test_a_loss_that_is_no_number_stops_the_training_and_says_so(scenes):
    model = _Exploding()
    loader = tl.make_loader(scenes, 2, collate_fn=tl.collate_scenes)
    with pytest.raises(tl.CourseError, match="became nan in epoch 1"):
        tl.train_detector(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1)
    assert model.weight.item() == 1


def test_means_are_over_scenes_so_a_short_batch_counts_less():
    class Counting(_Exploding):
        def forward(self, images, targets):
            return {"size": self.weight * 0 + len(images)}

    model, samples = Counting(), [scene([[0, 0, 9, 9]], [1])] * 3
    history = tl.train_detector(
        model, tl.make_loader(samples, 2, collate_fn=tl.collate_scenes), torch.optim.SGD(model.parameters(), 0.1), 1,
        verbose=False,
    )  # fmt: skip
    assert history[0]["size"] == pytest.approx((2 * 2 + 1) / 3)


def test_detect_answers_in_eval_mode_and_puts_the_modes_back(small, scenes):
    small.train()
    small.backbone.eval()
    predictions, targets = tl.detect(small, tl.make_loader(scenes, 1, collate_fn=tl.collate_scenes))
    assert [sorted(p) for p in predictions] == [["boxes", "labels", "scores"]] * 2 and len(targets) == 2
    assert small.training and not small.backbone.training
    assert not any(p["scores"].requires_grad for p in predictions)


# --- what is looked at before the first step


def trained(model, loader, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    return tl.train_detector(model, loader, optimizer, 1, verbose=False)


class Untouched(nn.Module):
    """Has a head for four classes, and must never be asked."""

    def __init__(self):
        super().__init__()
        self.roi_heads = nn.Module()
        self.roi_heads.box_predictor = nn.Module()
        self.roi_heads.box_predictor.cls_score = nn.Linear(2, 4)

    def forward(self, images, targets=None):
        raise AssertionError("the network was asked")


@pytest.mark.parametrize("label", [-1, 0, 4, 90])
def test_a_label_that_the_head_does_not_know_never_reaches_the_network(label):
    loader = [([torch.rand(3, 8, 8)], [scene([[0, 0, 4, 4], [1, 1, 5, 5]], [1, label])[1]])]
    with pytest.raises(tl.CourseError, match=f"label {label}, this head knows 1 to 3.*the background counts too"):
        trained(Untouched(), loader)


def test_ssdlite_is_asked_for_its_classes_too(mini):
    model = tl.detector(mini, 4, "ssdlite320_mobilenet_v3_large")
    with pytest.raises(tl.CourseError, match="label 4, this head knows 1 to 3"):
        trained(model, [tl.collate_scenes([scene([[5, 5, 30, 30]], [4])] * 2)])


def test_scenes_without_a_flower_pass(small):
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert trained(small, [([torch.rand(3, 64, 64)], [empty])])[0]["loss"] > 0


@pytest.mark.parametrize("work", [trained, tl.detect])
@pytest.mark.parametrize(
    ("loader", "complaint"),
    [
        ([], "The loader yields nothing"),
        ([(torch.rand(1, 3, 8, 8), {"boxes": torch.zeros(1, 1, 4)})], "not stacked ones.*collate_scenes"),
        ([torch.rand(1, 3, 8, 8)], "not stacked ones"),
        ([([torch.zeros(3, 8, 8, dtype=torch.uint8)], [{}])], "images of floats.*not Tensor of torch.uint8"),
        ([([torch.rand(8, 8)], [{}])], "images of floats"),
        ([(["photo.jpg"], [{}])], "images of floats.*not str"),
        ([([torch.rand(3, 8, 8)], [])], "one target, a dictionary"),
        ([([torch.rand(3, 8, 8)], [torch.zeros(1, 4)])], "one target, a dictionary"),
    ],
)
def test_a_batch_of_the_wrong_kind_is_refused(work, loader, complaint):
    with pytest.raises(tl.CourseError, match=complaint):
        work(Untouched(), loader)


def test_a_forgotten_collate_fn_is_named_even_where_stacking_fails(scenes):
    loader = tl.make_loader(scenes, 2)
    with pytest.raises(RuntimeError, match="stack"):
        next(iter(loader))
    for work in (trained, tl.detect):
        with pytest.raises(tl.CourseError, match="collate_fn=tl.collate_scenes"):
            work(Untouched(), loader)


@pytest.mark.parametrize(
    "target",
    [{}, {"boxes": torch.zeros(1, 4)}, {"boxes": torch.zeros(1, 4), "labels": torch.tensor([1, 1])},
     {"boxes": torch.zeros(1, 4), "labels": torch.tensor([1.0])}],
)  # fmt: skip
def test_a_target_needs_boxes_and_labels(target):
    with pytest.raises(tl.CourseError, match=r"boxes \(n, 4\) and labels"):
        trained(Untouched(), [([torch.rand(3, 8, 8)], [target])])


def test_a_loader_that_is_used_up_is_no_success():
    class Fine(_Exploding):
        def forward(self, images, targets):
            return {"a": self.weight * 1}

    model = Fine()
    once = iter([([torch.rand(3, 8, 8)], [scene([[0, 0, 4, 4]], [1])[1]])])
    with pytest.raises(tl.CourseError, match="yields nothing"):
        tl.train_detector(model, once, torch.optim.SGD(model.parameters(), 0.1), 2, verbose=False)


def test_an_optimizer_of_another_network_is_refused_and_an_old_head_is_noted(small, scenes, capsys):
    loader = tl.make_loader(scenes, 2, collate_fn=tl.collate_scenes)
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    with pytest.raises(tl.CourseError, match="none of the model's trainable parameters"):
        trained(small, loader, other)
    before_the_head = torch.optim.SGD(small.parameters(), 0.01)
    tl.replace_box_head(small, 4)
    trained(small, loader, before_the_head)
    assert "was the head replaced later?" in capsys.readouterr().out


def test_ssdlite_cannot_train_on_one_scene_and_says_why(mini, scenes):
    model = tl.detector(mini, 4, "ssdlite320_mobilenet_v3_large")
    with pytest.raises(tl.CourseError, match="A training batch of a single image"):
        trained(model, tl.make_loader(scenes, 1, collate_fn=tl.collate_scenes))


# --- the head


@pytest.mark.parametrize("classes", [2, 5])
def test_the_new_head_of_faster_rcnn_gives_scores_and_boxes_for_every_class(small, classes):
    body = small.backbone.body.conv1.weight
    assert tl.replace_box_head(small, classes) is small
    predictor = small.roi_heads.box_predictor
    assert (predictor.cls_score.out_features, predictor.bbox_pred.out_features) == (classes, 4 * classes)
    assert small.backbone.body.conv1.weight is body


def test_the_new_head_of_ssdlite_trains_and_keeps_the_part_for_boxes(mini):
    torch.manual_seed(0)
    model = tl.detector(mini, 91, "ssdlite320_mobilenet_v3_large")
    boxes = model.head.regression_head
    tl.replace_box_head(model, 4)
    assert model.head.regression_head is boxes
    images, targets = tl.collate_scenes([scene([[5, 5, 30, 30]], [3]), scene([[10, 20, 50, 60]], [1], seed=1)])
    losses = model.train()(images, targets)
    assert set(losses) == {"bbox_regression", "classification"} and all(map(torch.isfinite, losses.values()))
    with torch.no_grad():
        answers = model.eval()(images)
    assert all(set(a["labels"].tolist()) <= {1, 2, 3} for a in answers)


@pytest.mark.parametrize("classes", [1, 0, True, 2.0, "4"])
def test_a_head_needs_the_background_and_a_class(small, classes):
    with pytest.raises(tl.CourseError, match="background counts as one"):
        tl.replace_box_head(small, classes)


def test_another_kind_of_network_is_named():
    with pytest.raises(tl.CourseError, match="Faster R-CNN and SSDLite, not ResNet"):
        tl.replace_box_head(models.resnet18(), 4)


@pytest.mark.parametrize("build", [maskrcnn_resnet50_fpn, keypointrcnn_resnet50_fpn])
def test_relatives_with_a_further_head_are_refused(build):
    model = build(weights=None, weights_backbone=None)
    with pytest.raises(tl.CourseError, match="Faster R-CNN and SSDLite, not (Mask|Keypoint)RCNN"):
        tl.replace_box_head(model, 4)
    assert model.roi_heads.box_predictor.cls_score.out_features > 1


def test_batchnorm_of_the_new_ssdlite_head_is_torchvisions(mini):
    model = tl.detector(mini, 4, "ssdlite320_mobilenet_v3_large")

    def settings(head):
        return {(m.momentum, m.eps) for m in head.modules() if isinstance(m, nn.BatchNorm2d)}

    heads = model.head.classification_head, model.head.regression_head
    assert settings(heads[0]) == settings(heads[1]) == {(0.03, 0.001)}


@pytest.mark.parametrize("classes", [0, 1, True, "4", 4.0, None])
def test_the_number_of_classes_is_looked_at_first_in_both_profiles(mini, full, monkeypatch, classes):
    def refuse(arch):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(detection, "load_default", refuse)
    for build in (
        lambda: tl.detector(mini, classes),
        lambda: tl.detector(full, classes),
        lambda: tl.detector(mini, classes, "ssdlite320_mobilenet_v3_large"),
        lambda: tl.small_faster_rcnn(classes, weights=None),
    ):
        with pytest.raises(tl.CourseError, match="background counts as one"):
            build()


# --- where the weights come from


def test_mini_never_asks_for_weights(mini, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(detection, "load_default", refuse)
    assert tl.detector(mini, 4, "ssdlite320_mobilenet_v3_large").head is not None


def test_full_loads_replaces_the_head_and_shrinks_the_images(full, monkeypatch):
    asked = []

    def load(arch):
        asked.append(arch)
        return tl.small_faster_rcnn(91, weights=None)

    monkeypatch.setattr(detection, "load_default", load)
    model = tl.detector(full, 4)
    assert asked == ["fasterrcnn_resnet50_fpn"] and model.roi_heads.box_predictor.cls_score.out_features == 4
    assert model.transform.min_size == (320,) and model.transform.max_size == 320


def test_in_full_all_layers_may_learn_although_torchvision_freezes_some(full, monkeypatch):
    def load(arch):
        model = models.get_model(arch, weights=None, weights_backbone=None)
        for name in (
            "conv1",
            "layer1",
        ):  # as torchvision does together with its weights
            getattr(model.backbone.body, name).requires_grad_(False)
        return model

    monkeypatch.setattr(detection, "load_default", load)
    model = tl.detector(full, 4)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == []
    tl.freeze(model.backbone.body)
    assert not any(p.requires_grad for p in model.backbone.body.parameters())


def test_a_failed_download_says_what_to_do(full, monkeypatch):
    def fail(arch):
        raise TimeoutError("timed out")

    monkeypatch.setattr(detection, "load_default", fail)
    with pytest.raises(tl.CourseError, match="weights of fasterrcnn_resnet50_fpn could not be loaded: the server stop"):
        tl.detector(full, 4)


@pytest.mark.parametrize("arch", ["resnet18", "deeplabv3_resnet50", "nonsense"])
def test_a_network_of_another_kind_lists_the_detectors(mini, arch):
    with pytest.raises(tl.CourseError, match=f"arch='{arch}' is not one of these: .*fasterrcnn_resnet50_fpn"):
        tl.detector(mini, 4, arch)


# --- counting


def answer(*rows):
    """Rows of (box, label, score)."""
    boxes, labels, scores = zip(*rows, strict=True) if rows else ([], [], [])
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.long),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }


A, B = [0, 0, 10, 10], [20, 20, 30, 30]
TRUE = {"boxes": torch.tensor([A, B], dtype=torch.float32), "labels": torch.tensor([1, 2])}


@pytest.mark.parametrize(
    ("given", "found", "wrong"),
    [
        (answer((A, 1, 0.9), (B, 2, 0.9)), 2, 0),
        (answer((A, 2, 0.9), (B, 2, 0.9)), 1, 1),  # the wrong class is no find
        (answer((A, 1, 0.9), (A, 1, 0.8)), 1, 1),  # nobody is found twice
        (answer((A, 1, 0.4), (B, 2, 0.9)), 1, 0),  # below the score it is not said
        (answer(([0, 0, 10, 5.1], 1, 0.9)), 1, 0),  # IoU 0.51
        (answer(([0, 0, 10, 4.9], 1, 0.9)), 0, 1),  # IoU 0.49
        (answer(), 0, 0),
    ],
)
def test_count_found(given, found, wrong):
    count = tl.count_found([given], [TRUE])
    assert (count.found, count.of, count.wrong) == (found, 2, wrong)


def test_the_surest_answer_chooses_first():
    near, exact = ([0, 0, 10, 8], 1, 0.7), (A, 1, 0.95)
    count = tl.count_found([answer(near, exact)], [TRUE])
    assert (count.found, count.wrong) == (1, 1)
    # of two answers on two overlapping flowers, each gets the free one
    pair = {"boxes": torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]]), "labels": torch.tensor([1, 1])}
    assert tl.count_found([answer(exact, near)], [pair]).found == 2


def test_shares_of_a_count():
    count = tl.count_found([answer((A, 1, 0.9), (A, 1, 0.8), (B, 1, 0.7))], [TRUE])
    assert (count.recall, count.precision) == (0.5, pytest.approx(1 / 3))
    assert str(count) == "1 of 2 found (50%), 2 wrong"
    nothing = tl.count_found([], [])
    assert nothing.recall != nothing.recall and nothing.precision != nothing.precision


def test_a_scene_without_flowers_makes_every_answer_wrong():
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert tl.count_found([answer((A, 1, 0.9))], [empty]).wrong == 1


def test_lists_of_different_length_are_refused():
    with pytest.raises(tl.CourseError, match="1 predictions but 0 targets"):
        tl.count_found([answer()], [])


@pytest.mark.parametrize("iou", [0, 0.0, -0.5, 1.01, float("nan")])
def test_an_overlap_of_nothing_is_no_find(iou):
    with pytest.raises(tl.CourseError, match="iou=.* must be above 0"):
        tl.count_found([answer(([50, 50, 60, 60], 1, 0.9))], [TRUE], iou=iou)


def test_a_perfect_overlap_may_be_asked_for():
    assert tl.count_found([answer((A, 1, 0.9), ([20, 20, 30, 29], 2, 0.9))], [TRUE], iou=1).found == 1
