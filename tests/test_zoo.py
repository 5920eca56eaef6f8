"""Networks side by side: blueprints, MACs, the stopwatch, the table; probes and the leaderboard."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchvision import models

import tlhelpers as tl
from tlhelpers import probing, zoo
from tlhelpers.session import CourseError

HEADS = {
    "vgg16": "classifier[6]",
    "squeezenet1_1": "classifier[1]",
    "resnet18": "fc",
    "resnet50": "fc",
    "mobilenet_v3_large": "classifier[3]",
    "efficientnet_b0": "classifier[1]",
    "vit_b_16": "heads.head",
    "swin_t": "head",
    "convnext_tiny": "classifier[2]",
}


def test_a_blueprint_takes_no_memory_and_no_random_numbers():
    before = torch.get_rng_state()
    vgg = tl.blueprint("vgg16", num_classes=5)
    assert all(parameter.is_meta for parameter in vgg.parameters())
    assert sum(parameter.numel() for parameter in vgg.classifier[6].parameters()) == 5 * 4097
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(CourseError, match="no classifier 'resnet19'"):
        tl.blueprint("resnet19")


@pytest.mark.parametrize("name", zoo.FAMILIES)
def test_every_family_has_a_head_stages_and_the_published_work(name):
    network = tl.blueprint(name)
    assert tl.head_place(network) == HEADS[name]
    assert sum(p.numel() for stage in tl.stages(network) for p in stage.parameters()) == sum(
        p.numel() for p in network.parameters()
    )
    weights = models.get_model_weights(name).DEFAULT
    assert weights.meta["num_params"] == sum(p.numel() for p in network.parameters())
    assert tl.count_macs(network) / 1e9 == pytest.approx(weights.meta["_ops"], abs=1e-3)
    assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] > 50  # no empty cell in the table
    tl.replace_head(network, 5)
    assert network(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 5)


def test_macs_by_hand_and_nothing_changed():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten(), nn.LazyLinear(5)
    )
    network(torch.zeros(2, 3, 9, 9))
    network.train()
    random, buffers = torch.get_rng_state(), network[1].running_mean.clone()
    assert tl.count_macs(network, size=9) == 4 * 4 * 8 * 27 + 4 * 4 * 8 * 5
    assert network.training and torch.equal(buffers, network[1].running_mean)
    assert torch.equal(random, torch.get_rng_state())


class Watched(nn.Module):
    """Moves a clock by nine seconds in its first pass and by one in each later one."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 2))
        self.now, self.modes = 0.0, []

    def forward(self, images):
        self.now += 1.0 if self.modes else 9.0
        self.modes.append((self.training, torch.is_grad_enabled()))
        return self.body(images)


@pytest.mark.parametrize("backward", [False, True])
def test_images_per_second_warms_up_counts_images_and_leaves_no_trace(backward):
    network, images = Watched(), torch.rand(4, 3, 2, 2)
    network.eval()
    network.body[2].weight.grad = torch.ones(2, 12)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    speed = tl.images_per_second(network, images, backward, seconds=3, clock=lambda: network.now)
    assert speed == 4.0  # the slow first pass is not in it
    assert network.modes == [(backward, backward)] * 4
    assert not network.training and torch.equal(network.body[2].weight.grad, torch.ones(2, 12))
    assert network.body[2].bias.grad is None
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_images_per_second_wants_a_batch_and_something_that_trains():
    with pytest.raises(CourseError, match="not the shape \\(3, 8, 8\\)"):
        tl.images_per_second(nn.Flatten(), torch.zeros(3, 8, 8))
    with pytest.raises(CourseError, match="nothing in this model trains"):
        tl.images_per_second(nn.Flatten(), torch.zeros(2, 3, 8, 8), backward=True)


def test_the_fastest_pass_counts():
    times = iter([0.0, 4.0, 5.0, 8.0, 10.0])  # passes of 4, 1, 3 and 2 seconds
    assert tl.images_per_second(nn.Flatten(), torch.zeros(6, 3, 2, 2), seconds=9, clock=lambda: next(times)) == 6.0


class Interrupted(Watched):
    """Its third pass is stopped by the learner while the gradients are computed."""

    def forward(self, images):
        scores = super().forward(images)
        if len(self.modes) == 3:
            scores.register_hook(self.stop)
        return scores

    def stop(self, gradient):
        raise KeyboardInterrupt


def test_an_interrupted_stopwatch_leaves_a_network_that_can_be_trained():
    network, images = Interrupted(), torch.rand(4, 3, 2, 2)
    network.eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        tl.images_per_second(network, images, backward=True, seconds=9, clock=lambda: network.now)
    assert len(network.modes) == 3 and not network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    network.body(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_attention_is_counted_in_a_frozen_network_too():
    vit = models.VisionTransformer(image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32)
    with_gradients = tl.count_macs(vit, size=32)
    tokens, width = 1 + (32 // 8) ** 2, 16
    by_hand = 16 * 3 * 8 * 8 * width  # 16 patches of 8 x 8 pixels become tokens
    by_hand += tokens * width * (3 * width + width) + 2 * tokens * tokens * width  # attention and its products
    by_hand += 2 * tokens * width * 32 + width * 1000  # the two layers of the block, and the head
    assert with_gradients == by_hand
    tl.freeze(vit)
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        assert tl.count_macs(vit, size=32) == by_hand
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_table_and_plot():
    rows = tl.family_table(["squeezenet1_1", "mobilenet_v3_small"], size=64, seconds=0.0)
    assert [row.name for row in rows] == ["squeezenet1_1", "mobilenet_v3_small"]
    assert all(row.forward > 0 and row.backward > 0 and row.macs > 1e6 for row in rows)
    lines = tl.format_families(rows).splitlines()
    assert len(lines) == 3 and "58.18" in lines[1] and "67.67" in lines[2] and "classifier[3]" in lines[2]
    assert len({len(line) for line in lines}) == 1  # the columns stand below their names
    figure = tl.plot_families(rows)
    assert [text.get_text() for text in figure.axes[0].texts] == ["mobilenet_v3_small", "squeezenet1_1"]
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "log"]


def test_table_complaints():
    with pytest.raises(CourseError, match="not a device"):
        tl.family_table(["squeezenet1_1"], device="gpu")
    with pytest.raises(CourseError, match="cannot be built for 100 pixels"):
        tl.family_table(["vit_b_16"], size=100)
    with pytest.raises(CourseError, match="no rows"):
        tl.plot_families([])
    with pytest.raises(CourseError, match="no scores"):
        tl.plot_leaderboard({})
    with pytest.raises(CourseError, match="no classifier 'deeplabv3_resnet50'"):
        tl.blueprint("deeplabv3_resnet50")  # would fetch its backbone
    headless = tl.blueprint("resnet18")
    headless.fc = nn.Identity()
    with pytest.raises(CourseError, match="no head"):
        tl.head_place(headless)
    with pytest.raises(CourseError, match="at least 2"):
        tl.family_table(["squeezenet1_1"], batch=1)
    with pytest.raises(CourseError, match="no classifier 'nothing'"):
        tl.family_table(["nothing"])
    with pytest.raises(CourseError, match="resnet10 has no accuracy on ImageNet"):
        tl.family_table(["resnet10"])


# --- probes


def coloured(n=60, classes=3, noise=0.0):
    """Images whose class is the brightest colour; with enough noise nothing can be told."""
    labels = torch.arange(n) % classes
    images = torch.zeros(n, 3, 32, 32)
    images[torch.arange(n), labels] = 1.0
    images += noise * torch.randn(n, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(images, labels)
    data.targets = labels.tolist()
    return data


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return models.squeezenet1_1()


def test_a_probe_learns_what_can_be_learned_and_nothing_else(network):
    [(probe, easy)] = tl.probe_parts(network, coloured())
    [(_, hopeless)] = tl.probe_parts(network, coloured(noise=100.0))
    assert easy == 1.0 and hopeless < 0.8
    assert probe.C in probing.PROBE_CS
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_judging_rows_neither_fit_nor_choose(network, monkeypatch):
    seen = []

    def spy(train, val, Cs):
        seen.append((len(train), len(val)))
        return real(train, val, Cs)

    real = probing.linear_probe
    monkeypatch.setattr(probing, "linear_probe", spy)
    found = tl.probe_parts(network, coloured(60), seeds=[0, 1])
    assert seen == [(36, 12), (36, 12)] and len(found) == 2  # 12 of 60 images are left for the judgement


def test_a_part_of_the_images_keeps_the_classes(network):
    [(probe, _)] = tl.probe_parts(network, coloured(90), images=30)
    assert sorted(probe.model.classes_.tolist()) == [0, 1, 2]
    with pytest.raises(CourseError, match="dataset.targets"):
        tl.probe_parts(network, TensorDataset(torch.zeros(4, 3, 32, 32), torch.zeros(4)))


@pytest.fixture
def course():
    return tl.Course("mini", torch.device("cpu"), 0, tl.data_dir(), Path("unused"))


def test_targets_hold_no_test_image_and_know_their_labels(course):
    counts = {"Flowers102": (2040, 102), "five flowers": (600, 5), "microscopy": (720, 6), "STL-10": (400, 10)}
    for name, make in tl.targets(course).items():
        dataset = make(None)
        assert (len(dataset), len(set(dataset.targets))) == counts[name]
        assert [dataset[i][1] for i in (0, len(dataset) - 1)] == [dataset.targets[0], dataset.targets[-1]]


def test_leaderboard_uses_equal_splits_and_its_own_preprocessing(course, monkeypatch):
    asked = []

    def fake_parts(model, dataset, seeds, images):
        asked.append((type(model).__name__, dataset, list(seeds), images))
        return [(None, 0.5 + seed / 10) for seed in seeds]

    monkeypatch.setattr(probing, "probe_parts", fake_parts)
    tasks = {"a": lambda transform: ("a", transform.crop_size), "b": lambda transform: ("b", transform.crop_size)}
    found = tl.leaderboard(course, ["resnet10", "efficientnet_mini"], tasks, seeds=(0, 1), images=50)
    accuracies = [0.5, 0.6]
    assert found == {task: {"resnet10": accuracies, "efficientnet_mini": accuracies} for task in "ab"}
    assert [entry[1:] for entry in asked] == [((task, [64]), [0, 1], 50) for task in "abab"]
    assert [entry[0] for entry in asked] == ["ResNet", "ResNet", "EfficientNet", "EfficientNet"]


def test_leaderboard_table_and_plot():
    scores = {"STL-10": {"resnet10": [0.5, 0.6], "vgg9_bn": [0.625]}, "a long name of a task": {"resnet10": [1.0]}}
    lines = tl.leaderboard_table(scores).splitlines()
    assert lines[1].split() == ["resnet10", "55.0", "100.0"] and lines[2].split() == ["vgg9_bn", "62.5"]
    figure = tl.plot_leaderboard(scores, chance={"STL-10": 0.1})
    assert [ax.get_title() for ax in figure.axes] == list(scores)
    assert [round(bar.get_width(), 1) for bar in figure.axes[0].patches] == [55.0, 62.5]


def test_each_bar_stands_at_its_own_name():
    scores = {"a": {"x": [0.5], "y": [0.6]}, "b": {"y": [0.9]}, "c": {"y": [0.2], "x": [0.3]}}
    figure = tl.plot_leaderboard(scores)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    for ax, found in zip(figure.axes, scores.values(), strict=True):
        drawn = {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() / 100 for bar in ax.patches}
        assert drawn == pytest.approx({name: accuracies[0] for name, accuracies in found.items()})


def test_a_stand_in_does_not_compete_under_another_name(course, monkeypatch):
    resnet10 = probing.pretrained(course, "resnet10")
    monkeypatch.setattr(probing, "pretrained", lambda course, name: resnet10)
    monkeypatch.setattr(probing, "probe_parts", lambda model, dataset, seeds, images: [(None, 0.5) for _ in seeds])
    found = tl.leaderboard(course, ["resnet50", "resnet10"], {"a": lambda transform: None})
    assert list(found["a"]) == ["resnet10 for resnet50", "resnet10"]


# --- the measured leaderboard


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "scripts"))
    import measure_leaderboard

    return measure_leaderboard


def test_measured_file_has_every_cell(script):
    from measuring import Runs

    runs = Runs(script.NAME).runs
    wanted = {script.key(b, t) for b in (*script.BACKBONES, script.RANDOM) for t in script.TARGETS}
    assert set(runs) == wanted
    assert all(len(accuracies) == script.SEEDS and 0 < min(accuracies) < 1 for accuracies in runs.values())


def test_section_leaves_out_what_is_missing(script):
    text = script.section({"resnet10 on STL-10": [0.5, 0.52, 0.54]})
    assert "| resnet10 |  |  |  | 52.0 ± 2.0 |" in text and "vgg9_bn" not in text
