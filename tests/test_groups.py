"""Parameter groups: each trainable parameter once, the right rate by depth, no decay on norms and biases."""

import pytest
import torch
from tiny_networks import FAMILIES, build
from torch import nn

import tlhelpers as tl
from tlhelpers import CourseError, parameter_groups


def held(groups):
    return [p for group in groups for p in group["params"]]


def rates(groups):
    return {group["name"]: group["lr"] for group in groups}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_every_trainable_parameter_is_in_exactly_one_group(family, weight_decay):
    net = build(family)
    tl.freeze(tl.stages(net)[1])
    parameters = held(parameter_groups(net, 1e-3, factor=0.5, weight_decay=weight_decay))
    wanted = tl.trainable_parameters(net)
    assert len(parameters) == len(wanted)
    assert {id(p) for p in parameters} == {id(p) for p in wanted}
    torch.optim.AdamW(parameter_groups(net, 1e-3, weight_decay=weight_decay))  # it refuses duplicates


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_and_biases_do_not_decay(family):
    net = build(family)
    groups = parameter_groups(net, 1e-3, weight_decay=0.05)
    names = {id(p): name for name, p in net.named_parameters()}
    for group in groups:
        still = group["name"].endswith(", no decay")
        assert group["weight_decay"] == (0.0 if still else 0.05)
        for p in group["params"]:
            assert (p.ndim <= 1 or names[id(p)].endswith(".bias")) == still
    norms = [
        p for m in net.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)) for p in m.parameters(recurse=False)
    ]
    undecayed = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    assert all(id(p) in undecayed for p in norms)


def test_without_weight_decay_a_stage_is_one_group_and_says_zero():
    groups = parameter_groups(build("resnet"), 1e-3)
    assert [group["name"] for group in groups] == ["stem", "layer1", "layer2", "layer3", "head"]
    assert {group["weight_decay"] for group in groups} == {0.0}
    assert torch.optim.AdamW(groups).param_groups[0]["weight_decay"] == 0.0


def test_the_rate_falls_by_the_factor_from_the_head_backwards():
    found = rates(parameter_groups(build("resnet"), 1.0, factor=0.1))
    for name, wanted in zip(["head", "layer3", "layer2", "layer1", "stem"], [1, 0.1, 0.01, 1e-3, 1e-4], strict=True):
        assert found[name] == pytest.approx(wanted)


def test_frozen_stages_count_as_steps():
    net = build("resnet")
    everything = rates(parameter_groups(net, 1.0, factor=0.5))
    tl.freeze(tl.stages(net)[0], tl.stages(net)[2])
    some = rates(parameter_groups(net, 1.0, factor=0.5))
    assert some == {name: everything[name] for name in ("layer1", "layer3", "head")}


def test_rates_by_name():
    net = build("resnet")
    by_name = {"stem": 1e-5, "layer1": 1e-4, "layer2": 1e-3, "layer3": 1e-2, "head": 1e-1}
    assert rates(parameter_groups(net, by_name)) == by_name
    tl.freeze(tl.stages(net)[0])
    del by_name["stem"]
    assert rates(parameter_groups(net, by_name)) == by_name
    assert rates(parameter_groups(net, {**by_name, "stem": 1.0})) == by_name  # a rate for a frozen stage waits


def test_a_trainable_stage_without_a_rate_is_named():
    with pytest.raises(CourseError, match="no rate for the stage 'stem'"):
        parameter_groups(build("resnet"), {"layer1": 1, "layer2": 1, "layer3": 1, "head": 1})


def test_an_unknown_stage_is_refused_with_the_names():
    with pytest.raises(CourseError, match="names fc, layer9, but .* stem, layer1, layer2, layer3, head"):
        parameter_groups(build("resnet"), {"fc": 1e-3, "layer9": 1.0})


def test_a_shared_parameter_is_in_the_first_group_only():
    net = build("resnet")
    shared = net.layer1[0].conv1.weight
    net.layer2[0].extra = nn.Conv2d(1, 1, 1)
    net.layer2[0].extra.weight = shared
    groups = {group["name"]: group["params"] for group in parameter_groups(net, 1e-3)}
    assert any(p is shared for p in groups["layer1"])
    assert not any(p is shared for p in groups["layer2"])


def test_equal_numbers_are_not_the_same_parameter():
    net = build("resnet")
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    assert len(held(parameter_groups(net, 1e-3, weight_decay=0.1))) == len(list(net.parameters()))


def test_partly_frozen_stages_keep_what_trains():
    net = build("resnet")
    tl.freeze(net.layer1[0].conv1)
    groups = {group["name"]: group["params"] for group in parameter_groups(net, 1e-3)}
    assert not any(p is net.layer1[0].conv1.weight for p in groups["layer1"])
    assert any(p is net.layer1[0].conv2.weight for p in groups["layer1"])


def test_wrapped_models():
    net = build("resnet")
    assert len(held(parameter_groups(nn.DataParallel(net), 1e-3, weight_decay=0.1))) == len(list(net.parameters()))
    names = [group["name"] for group in parameter_groups(nn.DataParallel(net), 1e-3, weight_decay=0.1)]
    assert names[:2] == ["stem", "stem, no decay"]


def test_an_unknown_network_is_told_what_to_do():
    with pytest.raises(CourseError, match='does not know the network Sequential.*by hand: .*"params"'):
        parameter_groups(nn.Sequential(nn.Linear(2, 2)), 1e-3)


def test_a_parameter_outside_the_stages_is_not_forgotten_silently():
    net = build("resnet")
    net.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(CourseError, match="scale belongs to no stage"):
        parameter_groups(net, 1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0}, "freeze it"),
        ({"lr": -1.0}, "above 0"),
        ({"lr": float("nan")}, "above 0"),
        ({"lr": "fast"}, "above 0"),
        ({"lr": {"head": 0.0}}, "freeze it"),
        ({"lr": 1.0, "factor": 0}, "factor=0"),
        ({"lr": 1.0, "factor": 10}, "earlier stages move less"),
        ({"lr": {"head": 1.0}, "factor": 0.5}, "leave out factor"),
        ({"lr": 1.0, "weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"lr": 1.0, "weight_decay": None}, "weight_decay=None"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(CourseError, match=message):
        parameter_groups(build("resnet"), **arguments)


def test_everything_frozen():
    net = build("resnet")
    tl.freeze(net)
    with pytest.raises(CourseError, match="Everything is frozen"):
        parameter_groups(net, 1e-3)


def test_each_stage_moves_at_its_own_rate():
    net = build("resnet")
    optimizer = torch.optim.SGD(parameter_groups(net, 1.0, factor=0.5))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = {name: (before[name] - p.detach()).mean().item() for name, p in net.named_parameters()}
    assert moved["fc.weight"] == pytest.approx(1.0, abs=1e-5)
    assert moved["layer3.0.conv1.weight"] == pytest.approx(0.5, abs=1e-5)
    assert moved["conv1.weight"] == pytest.approx(0.0625, abs=1e-5)


def test_table_shows_names_counts_and_rates():
    net = build("resnet")
    optimizer = torch.optim.AdamW(parameter_groups(net, 1e-3, factor=0.5, weight_decay=0.01))
    lines = tl.group_table(optimizer).splitlines()
    assert lines[0].split() == ["group", "tensors", "parameters", "lr", "weight", "decay"]
    assert lines[1].split()[0] == "stem" and lines[1].split()[-2:] == ["6.25e-05", "0.01"]
    assert lines[-2].split()[:3] == ["head,", "no", "decay"]
    assert lines[-1].split() == ["total", str(len(list(net.parameters()))), f"{tl.count_parameters(net)[0]:,}"]
    assert len({len(line.rstrip()) for line in lines[:-1]}) == 1  # the columns stand under each other


def test_table_of_nameless_groups_and_of_something_else():
    layer = nn.Linear(2, 2)
    assert "group 0" in tl.group_table(torch.optim.SGD(layer.parameters(), lr=0.1))
    with pytest.raises(CourseError, match="takes an optimizer, not list"):
        tl.group_table([])
