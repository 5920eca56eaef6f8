"""The freeze slider, the schedule designer and the prediction browser: right numbers, quick answers, no traces."""

import base64
import copy
import io
import math
import random
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import FAMILIES, build, images
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset
from torchvision import models

import tlhelpers as tl
from tlhelpers import CourseError
from tlhelpers.explorers.cost import kept_for_backward, step_costs
from tlhelpers.explorers.freezing import explore_freezing
from tlhelpers.explorers.panel import png
from tlhelpers.explorers.predictions import LARGE, RIGHT, explore_predictions
from tlhelpers.explorers.schedules import explore_schedules


@pytest.fixture
def without_ipywidgets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)


def everything(model):
    """All that a look could change: numbers, flags, modes, gradients, and the random states."""
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "flags": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()),
    }


def assert_same(before, after):
    for name, tensor in before["state"].items():
        assert torch.equal(tensor, after["state"][name]), name
    for old, new in zip(before["gradients"], after["gradients"], strict=True):
        assert (old is None) == (new is None) and (old is None or torch.equal(old, new))
    assert [before[key] for key in ("flags", "modes", "hooks")] == [after[key] for key in ("flags", "modes", "hooks")]
    assert before["random"][:2] == after["random"][:2] and torch.equal(before["random"][2], after["random"][2])


def used_model(family="resnet"):
    """A network in the middle of a training: half frozen, mixed modes, a gradient here and there."""
    net = build(family)
    tl.freeze(tl.stages(net)[:2])
    net(images(4, 64)).sum().backward()
    tl.train_mode(net)
    return net


# ---- what a step costs


def test_bytes_kept_by_a_network_worked_out_by_hand():
    first, second, third = nn.Linear(4, 3), nn.Linear(3, 6), nn.Linear(6, 2)
    x, labels = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 0])
    besides = [x, labels, *first.parameters(), *second.parameters(), *third.parameters()]

    def forward():
        return F.cross_entropy(third(F.relu(second(F.relu(first(x))))), labels)

    # both ReLUs keep their result (5 x 3 and 5 x 6 float32), which the next layer shares; cross-entropy keeps its
    # log-probabilities (5 x 2) and the sum of the weights of its labels (one number)
    assert kept_for_backward(forward, besides)[1] == 4 * (15 + 30 + 10 + 1)
    first.requires_grad_(False)  # the second layer's weight still needs its input
    assert kept_for_backward(forward, besides)[1] == 4 * (15 + 30 + 10 + 1)
    second.requires_grad_(False)
    assert kept_for_backward(forward, besides)[1] == 4 * (30 + 10 + 1)
    third.requires_grad_(False)
    assert kept_for_backward(forward, besides)[1] == 0
    loss, _ = kept_for_backward(forward, besides)
    assert torch.equal(loss, forward())


def test_costs_against_independent_counts():
    net, batch = build("resnet"), images(4, 64)
    costs = step_costs(net, batch, seconds=0)
    assert [cost.start for cost in costs] == ["head", "layer3", "layer2", "layer1", "stem"]
    for cost in costs:
        twin = tl.unfreeze_from(copy.deepcopy(net), cost.start)
        assert cost.trainable == {stage.name: tl.count_parameters(stage)[1] for stage in tl.stages(twin)}
        trainable = tl.trainable_parameters(twin)
        numbers = sum(p.numel() for p in trainable)
        assert cost.gradients == 4 * numbers
        assert cost.state == 8 * numbers + 4 * len(trainable)  # AdamW: two averages each, and a counter for each tensor
        assert cost.bytes == cost.kept + cost.gradients + cost.state
        assert cost.seconds > 0 and cost.peak is None
    kept = [cost.kept for cost in costs]
    assert kept == sorted(kept) and len(set(kept)) == len(kept)
    # the head keeps its 4 x 256 inputs, cross-entropy 4 x 10 log-probabilities and one number
    assert kept[0] == 4 * (4 * 256 + 4 * 10 + 1)


def test_the_optimizer_is_the_one_asked_for():
    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    for cost in step_costs(build("resnet"), images(2, 64), sgd, seconds=0):
        assert cost.state == cost.gradients  # one momentum for each gradient


def test_batchnorm_that_moves_and_that_drifts():
    costs = {cost.start: cost for cost in step_costs(build("resnet"), images(4, 64), seconds=0)}
    assert costs["head"].moving == () and costs["head"].drifting == ("stem", "layer1", "layer2", "layer3")
    assert costs["layer2"].moving == ("layer2", "layer3") and costs["layer2"].drifting == ("stem", "layer1")
    assert costs["stem"].moving == ("stem", "layer1", "layer2", "layer3") and costs["stem"].drifting == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_slider(family):
    net = build(family)
    panel = explore_freezing(net, images(2, 32 if family.startswith("vit") else 64), seconds=0)
    panel.set(trained=1)
    head = tl.count_parameters(tl.stages(net)[-1])[0]
    assert not panel.error and f"{head:,} of {tl.count_parameters(net)[0]:,} parameters" in panel.status


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_peak_on_a_gpu_holds_at_least_what_was_counted():
    for cost in step_costs(build("resnet").cuda(), images(4, 64), seconds=0):
        assert cost.peak >= cost.gradients + cost.state


# ---- the freeze slider


def test_the_freeze_slider_changes_nothing():
    net, batch = used_model("efficientnet"), images(4, 64)  # its dropout draws random numbers
    given, before = batch.clone(), everything(net)
    with torch.no_grad():
        panel = explore_freezing(net, batch, seconds=0)
    for trained in (1, 3, len(tl.stages(net)) - 1):
        for mode in ("model.train()", "tl.train_mode(model)"):
            panel.set(trained=trained, mode=mode)
    assert_same(before, everything(net))
    assert torch.equal(given, batch)
    with torch.inference_mode():
        assert not explore_freezing(net, batch, seconds=0).error


def test_the_slider_starts_where_the_model_is():
    net = build("resnet")
    assert explore_freezing(net, images(2, 64), seconds=0).values["trained"] == 5
    tl.unfreeze_from(net, "layer3")
    assert explore_freezing(net, images(2, 64), seconds=0).values["trained"] == 2
    tl.freeze(net)
    assert explore_freezing(net, images(2, 64), seconds=0).values["trained"] == 1


def test_moving_the_slider_tells_another_story():
    net = build("resnet")
    panel = explore_freezing(net, images(4, 64), seconds=0)
    seen = {}
    for trained, start in enumerate(("head", "layer3", "layer2", "layer1", "stem"), start=1):
        panel.set(trained=trained)
        assert not panel.error
        twin = copy.deepcopy(net)
        exec(panel.picture.code, {"tl": tl, "torch": torch, "model": twin})
        total, learn = tl.count_parameters(tl.unfreeze_from(copy.deepcopy(net), start))
        assert tl.count_parameters(twin) == (total, learn)  # the code does what the picture says
        assert f"{learn:,} of {total:,} parameters learn" in panel.status
        assert "drift" not in panel.status.lower() and "DRIFTS" not in panel.picture.alt
        seen[png(panel.picture.image)] = panel.picture.alt
    assert len(seen) == len(set(seen.values())) == 5


def test_plain_train_mode_is_shown_as_the_mistake():
    panel = explore_freezing(build("resnet"), images(4, 64), seconds=0)
    panel.set(trained=3, mode="model.train()")
    assert panel.status.endswith("The frozen BatchNorm of stem, layer1 drifts.")
    assert panel.picture.alt.count("DRIFTS") == 2 and "say tl.train_mode(model)" in panel.picture.code
    panel.set(trained=5)  # nothing is frozen: then it is no mistake
    assert "drift" not in panel.status


def test_a_wrapper_around_a_network():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = build("efficientnet")

        def forward(self, x):
            return self.backbone(x)

    panel = explore_freezing(Wrapper(), images(2, 64), seconds=0)
    panel.set(trained=1)
    assert panel.picture.code.startswith('tl.unfreeze_from(model.backbone, "head")')


def test_made_up_images_do_for_a_first_look():
    net = build("efficientnet")
    before = torch.get_rng_state()
    panel = explore_freezing(net, seconds=0)
    assert "16 images of 64 x 64 pixels" in panel.status
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.zeros(3, 64, 64), "images must be a normalised batch"),
        (torch.zeros(1, 3, 64, 64), "at least 2 images"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "images must be a normalised batch"),
        ("photo.jpg", "not str"),
        (torch.zeros(2, 1, 64, 64), "does not go through this model"),
    ],
)
def test_images_that_do_not_fit(batch, words):
    with pytest.raises(CourseError, match=words):
        explore_freezing(build("resnet"), batch)


def test_an_unknown_network_is_refused():
    with pytest.raises(CourseError, match="does not know the network"):
        explore_freezing(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(2, 3, 2, 2))


# ---- the schedule designer


def curves(panel):
    """What is drawn: the name of each curve and its rates, one per step."""
    lines = [line for line in panel.picture.image.axes[0].lines if not line.get_label().startswith("_")]
    return {line.get_label(): np.asarray(line.get_ydata()) for line in lines}


def test_onecycle_against_its_formula():
    panel = explore_schedules(epochs=4, batches=10, rate=0.02, factor=0.1)
    panel.set(warmup=0.25, final=100)
    drawn = curves(panel)
    peak_at, last = 0.25 * 40 - 1, 39

    def between(a, b, share):
        return b + (a - b) / 2 * (1 + math.cos(math.pi * share))

    expected = [
        between(0.02 / 25, 0.02, step / peak_at)
        if step <= peak_at
        else between(0.02, 0.02 / 25 / 100, (step - peak_at) / (last - peak_at))
        for step in range(40)
    ]
    assert np.allclose(drawn["head"], expected)
    assert np.allclose(drawn["body"], 0.1 * np.array(expected))
    assert panel.status == (
        "OneCycle, 40 steps: the head starts at 0.0008, peaks at 0.02 in step 10 and ends at 8e-06. body: 0.1 of it."
    )


def test_cosine_against_its_formula():
    panel = explore_schedules(epochs=2, batches=10, rate=0.5, kind="cosine")
    panel.set(warmup=0.2)
    rise = [0.5 * (0.01 + 0.99 * step / 4) for step in range(4)]
    fall = [0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert np.allclose(curves(panel)["head"], rise + fall)
    panel.set(warmup=0.0)
    assert np.allclose(curves(panel)["head"], [0.25 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])
    assert "LinearLR" not in panel.picture.code


def test_steps_against_their_formula():
    panel = explore_schedules(epochs=6, batches=5, rate=0.1, factor=0.5, kind="step")
    panel.set(size=2, gamma=0.2)
    expected = np.array([0.1 * 0.2 ** (step // 10) for step in range(30)])
    assert np.allclose(curves(panel)["head"], expected) and np.allclose(curves(panel)["body"], expected / 2)
    assert 'step_scheduler_every="epoch"' in panel.picture.code


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # SequentialLR of PyTorch 2.7 about itself
@pytest.mark.parametrize("kind", ["OneCycle", "cosine", "step"])
def test_the_code_to_copy_makes_the_curves(kind):
    net = build("resnet")
    panel = explore_schedules(net, epochs=3, batches=7, rate=0.0123456, factor=0.3, kind=kind)
    assert "0.01235" in panel.picture.code  # a number to copy is short, and it is the one that is drawn
    names = {"tl": tl, "torch": torch, "model": net}
    exec(panel.picture.code, names)
    optimizer, rows = names["optimizer"], []
    for step in range(1, 22):
        rows.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if step < 21 and (kind != "step" or step % 7 == 0):
            names["scheduler"].step()
    drawn = curves(panel)
    assert [*reversed(drawn)] == [group["name"] for group in optimizer.param_groups]
    assert np.allclose(np.array(rows), np.array(list(reversed(drawn.values()))).T)


def test_only_stages_that_train_have_a_curve_and_the_model_is_left_alone():
    net = used_model()
    before = everything(net)
    panel = explore_schedules(net, rate=0.01, factor=0.5)
    for kind in ("cosine", "step", "OneCycle"):
        panel.set(kind=kind)
    assert [*curves(panel)] == ["head", "layer3", "layer2"]
    assert "layer2: 0.25 of it, layer3: 0.5 of it" in panel.status
    assert_same(before, everything(net))


def test_axis_and_controls_follow():
    panel = explore_schedules()
    axes = panel.picture.image.axes[0]
    assert axes.get_yscale() == "log" and {"body", "head"} <= {text.get_text() for text in axes.texts}
    styles = [line.get_linestyle() for line in axes.lines[:2]]
    assert len(set(styles)) == 2  # told apart without colours
    panel.set(log=False, epochs=5, batches=20)
    axes = panel.picture.image.axes[0]
    assert axes.get_yscale() == "linear" and "100 steps" in panel.status and axes.get_legend() is not None
    assert panel.controls["gamma"].layout.display == "none" and panel.controls["final"].layout.display is None
    panel.set(kind="step")
    assert panel.controls["gamma"].layout.display is None and panel.controls["final"].layout.display == "none"


def test_what_pytorch_cannot_do_is_said():
    panel = explore_schedules(epochs=1, batches=10)  # a warm-up of 0.1 x 10 steps
    assert "divides by zero" in panel.status
    panel.set(warmup=0.3)
    assert not panel.error
    panel.set(epochs=100, batches=1000)
    assert "more than 5,000" in panel.status


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "linear"}, "kind='linear' is unknown"),
        ({"epochs": 0}, "epochs=0 must be"),
        ({"batches": 2.5}, "batches=2.5 must be"),
        ({"epochs": 100, "batches": 100}, "more than 5,000 steps"),
        ({"rate": 0}, "rate=0 must be"),
        ({"factor": 2}, "factor=2 must lie"),
    ],
)
def test_schedules_that_cannot_work(options, words):
    with pytest.raises(CourseError, match=words):
        explore_schedules(**options)


def test_a_frozen_model_has_no_rates():
    net = build("resnet")
    tl.freeze(net)
    with pytest.raises(CourseError, match="Everything is frozen"):
        explore_schedules(net)


# ---- the prediction browser


CLASSES = ["daisy", "rose", "tulip", "iris"]


def made_up(n=30, seed=0):
    """Images, labels, and predictions of which some are wrong; shares have two digits, so filters are clear cuts."""
    source = torch.Generator().manual_seed(seed)
    pictures, labels = torch.rand(n, 3, 32, 32, generator=source), torch.arange(n) % 4
    shares = torch.rand(n, 4, generator=source) ** 3
    shares = shares / shares.sum(1, keepdim=True)
    return TensorDataset(pictures, labels), tl.Predictions(shares, labels, shares.argmax(1))


def four_classes():
    torch.manual_seed(0)
    return models.get_model("resnet10", num_classes=4).eval()


@pytest.fixture
def browser():
    dataset, predictions = made_up()
    return explore_predictions(four_classes(), dataset, CLASSES, predictions)


def shown(panel):
    """Numbers of the images that fit, by paging through all of them."""
    numbers, pages = [], int(re.search(r"Page \d+ of (\d+)", panel.status)[1])
    for page in range(1, pages + 1):
        panel.set(page=page)
        assert f"Page {page} of {pages}," in panel.status
        numbers += map(int, re.findall(r"\d+ \(number (\d+)\): predicted", panel.picture.alt))
    return numbers


def test_filters_against_counts_of_ones_own(browser):
    _, predictions = made_up()
    labels, guesses = predictions.labels.numpy(), predictions.predicted.numpy()
    sure = predictions.probabilities.max(1).values.numpy()
    assert shown(browser) == list(range(30))
    browser.set(kind="wrong")
    assert shown(browser) == np.flatnonzero(labels != guesses).tolist()
    browser.set(kind="right", true=2)
    expected = np.flatnonzero((labels == guesses) & (labels == 2)).tolist()
    assert shown(browser) == expected and len(expected) > 0
    browser.set(kind="all", true=-1, low=60, high=80)
    cut = np.round(100 * sure)
    expected = np.flatnonzero((cut >= 60) & (cut <= 80)).tolist()
    assert shown(browser) == expected and 0 < len(expected) < 30


def test_orders(browser):
    _, predictions = made_up()
    sure = predictions.probabilities.max(1).values
    loss = -predictions.probabilities[range(30), predictions.labels].log()
    browser.set(order="surest first")
    assert shown(browser) == (-sure).argsort(stable=True).tolist()
    browser.set(order="least sure first")
    assert shown(browser) == sure.argsort(stable=True).tolist()
    browser.set(order="largest loss first")
    assert shown(browser) == (-loss).argsort(stable=True).tolist()


def test_pages_end_and_begin_anew(browser):
    browser.set(page=3, image=12)
    assert "Page 3 of 3, image 6, number 29" in browser.status  # six images are left for the last page
    browser.controls["kind"].value = "wrong"  # as a hand would do it
    assert browser.values["page"] == browser.values["image"] == 1 and "Page 1 of" in browser.status
    browser.set(low=100, high=0)
    assert browser.status.startswith("None of the 30 predictions fits") and not browser.error


def test_words_say_what_is_right_and_wrong(browser):
    _, predictions = made_up()
    wrong = int((predictions.labels != predictions.predicted).nonzero()[0])
    browser.set(page=wrong // 12 + 1, image=wrong % 12 + 1)
    guess, truth = predictions.predicted[wrong], predictions.labels[wrong]
    share = predictions.probabilities[wrong].max()
    words = f"predicted {CLASSES[guess]} {share:.0%}, WRONG, truly {CLASSES[truth]}"
    assert words in browser.status and words in browser.picture.alt
    for place, part in enumerate(browser.picture.alt.split("below bars: ")[1].split(", ")[:3]):
        best = int(predictions.probabilities[wrong].argsort(descending=True)[place])
        assert part.startswith(CLASSES[best])


def test_grad_cam_stands_beside_the_image():
    dataset, predictions = made_up()
    model = four_classes()
    panel = explore_predictions(model, dataset, CLASSES, predictions, only="wrong", at="layer2")
    index = int(panel.status.split("number ")[1].split(" of")[0])
    image, label = dataset[index]
    for asked, target in (("the predicted class", predictions.predicted[index]), ("the true class", label)):
        panel.set(asked=asked)
        heat = tl.grad_cam(model, image[None], classes=int(target), at="layer2")[0]
        names = {"tl": tl, "model": model, "dataset": dataset}
        code = panel.picture.code.replace("tl.grad_cam(", "heat = tl.grad_cam(")
        exec(code, names)
        assert torch.equal(names["heat"][0], heat)
        left = RIGHT + LARGE + 6
        drawn = panel.picture.image.crop((left, 62, left + LARGE, 62 + LARGE)).resize((32, 32), Image.Resampling.BOX)
        # the inferno colours grow brighter with the map; the image in grey under it blurs that a little
        brightness = np.asarray(drawn.convert("L"), dtype=float) - 0.4 * 255 * image.mean(0).numpy()
        assert np.corrcoef(brightness.ravel(), heat.numpy().ravel())[0, 1] > 0.9


def test_a_network_without_maps_is_browsed_all_the_same():
    dataset, predictions = made_up()
    panel = explore_predictions(build("vit"), dataset, CLASSES, predictions)
    assert not panel.error and "predicted" in panel.status


def test_predictions_are_made_when_there_are_none():
    dataset, _ = made_up()
    model = four_classes()
    found = tl.predict(model, tl.make_loader(dataset, 16))
    panel = explore_predictions(model, dataset, CLASSES)
    sure = found.probabilities[0].max()
    assert f"predicted {CLASSES[found.predicted[0]]} {sure:.0%}" in panel.status


def test_the_browser_changes_nothing():
    dataset, _ = made_up()
    net = used_model()
    before = everything(net)
    panel = explore_predictions(net, dataset, [f"class {number}" for number in range(10)])
    for values in ({"page": 2}, {"asked": "the true class"}, {"kind": "wrong"}, {"true": 3}):
        panel.set(**values)
    assert not panel.error
    assert_same(before, everything(net))


def test_class_names_come_from_the_dataset():
    dataset, predictions = made_up()
    dataset.classes = CLASSES
    assert (
        CLASSES[int(predictions.predicted[0])] in explore_predictions(four_classes(), dataset, None, predictions).status
    )


def test_predictions_of_something_else_are_refused():
    dataset, predictions = made_up()
    model = four_classes()
    with pytest.raises(CourseError, match="does not know the names of its classes"):
        explore_predictions(model, dataset)
    with pytest.raises(CourseError, match="do not belong to a dataset of 20 images"):
        explore_predictions(model, made_up(20)[0], CLASSES, predictions)
    with pytest.raises(CourseError, match="loader that does not shuffle"):
        order = torch.arange(30).flip(0)
        shuffled = tl.Predictions(*(part[order] for part in vars(predictions).values()))
        explore_predictions(model, dataset, CLASSES, shuffled)
    with pytest.raises(CourseError, match="prediction 20 was made for class 1"):  # however late they differ
        order = torch.arange(30)
        order[20:22] = torch.tensor([21, 20])
        swapped = tl.Predictions(*(part[order] for part in vars(predictions).values()))
        explore_predictions(model, dataset, CLASSES, swapped)
    with pytest.raises(CourseError, match="5 class names"):
        explore_predictions(model, dataset, [*CLASSES, "lily"], predictions)
    with pytest.raises(CourseError, match="only='false' is unknown"):
        explore_predictions(model, dataset, CLASSES, predictions, only="false")
    with pytest.raises(CourseError, match="the images are normalised"):
        explore_predictions(model, TensorDataset(dataset.tensors[0] * 4 - 2, dataset.tensors[1]), CLASSES, predictions)


def test_a_late_mix_up_is_shown_in_the_panel():
    """A dataset that does not list its labels is checked image by image, as they are opened."""
    dataset, predictions = made_up()
    pairs = [dataset[place] for place in range(30)]
    pairs[20] = (pairs[20][0], 3)  # truly 0
    panel = explore_predictions(four_classes(), pairs, CLASSES, predictions)
    assert not panel.error
    panel.set(page=2)
    assert "prediction 20 was made for class 0" in panel.status


# ---- where there are no widgets


def test_picture_and_text_without_ipywidgets(without_ipywidgets):
    dataset, predictions = made_up()
    panels = [
        explore_freezing(build("efficientnet"), images(2, 64), seconds=0),
        explore_schedules(epochs=2, batches=12),
        explore_predictions(four_classes(), dataset, CLASSES, predictions),
    ]
    for panel in panels:
        bundle = panel._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "image/png"}
        assert panel.title in bundle["text/plain"] and panel.status in bundle["text/plain"]
        picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
        assert 480 <= picture.width <= 700 and picture.height > 200


def test_alt_texts_and_labels_are_there():
    dataset, predictions = made_up()
    panels = [
        explore_freezing(build("efficientnet"), images(2, 64), seconds=0),
        explore_schedules(build("resnet"), epochs=2, batches=12),
        explore_predictions(four_classes(), dataset, CLASSES, predictions),
    ]
    for panel in panels:
        assert len(panel.picture.alt) > 60 and panel.picture.status
        labels = [control.description for control in panel.controls.values()]
        assert all(labels) and len(set(labels)) == len(labels)


def test_static_objects_that_look_like_predictions_will_do():
    dataset, predictions = made_up()
    plain = SimpleNamespace(**vars(predictions))
    assert not explore_predictions(four_classes(), dataset, CLASSES, plain).error
