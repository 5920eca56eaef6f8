"""Frozen parts stay still, bit for bit; measuring leaves no trace."""

import random

import numpy as np
import pytest
import torch
from tiny_networks import build, changed, images, snapshot
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tlhelpers as tl
from tlhelpers.freezing import preserved_modes, preserved_random_state


def loader(n=6, batch_size=3, classes=3):
    return DataLoader(TensorDataset(images(n), torch.arange(n) % classes), batch_size=batch_size)


def batchnorms(part):
    return [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]


def test_freeze_takes_modules_stages_parameters_and_lists_of_them():
    net = build("resnet")
    tl.freeze(net)
    assert tl.trainable_parameters(net) == []
    tl.unfreeze(tl.stages(net)[-2:], net.layer3)
    assert {id(p) for p in tl.trainable_parameters(net)} == {
        id(p) for m in (net.fc, net.layer3) for p in m.parameters()
    }
    tl.freeze([tl.stages(net)[-1], [net.layer3]])
    tl.unfreeze(net.fc.bias)
    assert [p is net.fc.bias for p in tl.trainable_parameters(net)] == [True]
    assert tl.count_parameters(net) == (sum(p.numel() for p in net.parameters()), 10)
    for wrong in ("layer4", 3, None, net.fc.bias.detach()):
        with pytest.raises(tl.CourseError, match="give modules, stages"):
            tl.freeze(wrong)


def test_freezing_drops_gradients_and_the_optimizers_memory():
    layer = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    layer(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    layer.weight.grad.zero_()  # a gradient of zeros still lets momentum and decay move the weight
    tl.freeze(layer.weight, optimizer=optimizer)
    assert layer.weight.grad is None and layer.weight not in optimizer.state and layer.bias in optimizer.state
    before = layer.weight.clone()
    optimizer.step()
    assert torch.equal(before, layer.weight)


def test_train_mode_keeps_frozen_parts_in_eval_with_their_dropout():
    net = build("efficientnet")
    tl.freeze(tl.stages(net)[:-1])
    assert tl.train_mode(net) is net and net.training
    assert all(not m.training for stage in tl.stages(net)[:2] for part in stage.modules for m in part.modules())
    assert net.classifier[0].training, "the dropout of the head that trains is on"
    tl.unfreeze(net.features[2])
    tl.train_mode(net)
    assert all(m.training for m in net.features[2].modules())
    assert not any(m.training for m in net.features[1].modules())


def test_train_mode_goes_by_each_module_not_by_the_whole_network():
    net = build("resnet")
    norms = batchnorms(net)
    tl.freeze(norms)  # everything trains but the BatchNorms: the `bn="eval"` way of fine-tuning
    tl.train_mode(net)
    assert not any(m.training for m in norms) and net.conv1.training
    half = norms[0]
    half.weight.requires_grad = True  # one own parameter that trains makes it train
    tl.train_mode(net)
    assert half.training and not norms[1].training


def test_dropout_of_a_frozen_hidden_stage_is_off():
    net = build("vgg")
    tl.freeze(tl.stages(net)[:-1])
    tl.train_mode(net)
    assert [m.training for m in net.classifier if isinstance(m, nn.Dropout)] == [False, True]


@pytest.mark.parametrize("by_hand", [False, True], ids=["as_it_is", "after_model_train"])
def test_frozen_batchnorm_buffers_are_bit_equal_after_an_epoch(by_hand):
    net = build("resnet")
    tl.freeze(net)
    tl.replace_head(net, 3)
    before = snapshot(net)
    optimizer = torch.optim.AdamW(tl.trainable_parameters(net), lr=0.01)
    for _ in range(2):
        if by_hand:
            net.train()  # what undoes an eval() that was set once
        tl.fit(net, loader(), loader(), epochs=1, optimizer=optimizer, verbose=False)
    assert changed(before, net) == {"fc.weight", "fc.bias"}


def test_the_drift_that_train_mode_prevents_is_real():
    net = build("resnet")
    tl.freeze(net)
    before = snapshot(net)
    net.train()(images())
    drifted = changed(before, net)
    assert drifted and all("running" in name or "tracked" in name for name in drifted)


def test_partly_frozen_network_changes_only_what_trains():
    net = build("resnet")
    tl.freeze(tl.stages(net)[:3])
    before = snapshot(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)  # holds frozen ones too
    tl.fit(net, loader(classes=10), loader(classes=10), epochs=2, optimizer=optimizer, verbose=False)
    moved = {name.split(".")[0] for name in changed(before, net)}
    assert moved == {"layer3", "fc"}


def test_trainable_table_shows_counts_and_batchnorm_modes():
    net = build("resnet")
    tl.freeze(tl.stages(net)[:-1])
    rows = {line.split()[0]: line.split()[1:] for line in tl.trainable_table(tl.train_mode(net)).splitlines()}
    assert rows["layer1"] == [f"{tl.count_parameters(net.layer1)[0]:,}", "0", "eval"]
    assert rows["pool"] == ["0", "0", "-"] and rows["head"] == ["2,570", "2,570", "-"]
    assert rows["total"] == [f"{tl.count_parameters(net)[0]:,}", "2,570"]
    net.train()
    net.layer2[0].bn1.eval()
    rows = {line.split()[0]: line.split()[1:] for line in tl.trainable_table(net).splitlines()}
    assert rows["stem"][2] == "train" and rows["layer2"][2] == "mixed"


def test_table_and_counts_of_an_unknown_network():
    table = tl.trainable_table(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    assert [line.split()[0] for line in table.splitlines()] == ["stage", "0", "1", "total"]


def test_preserved_puts_modes_and_every_random_state_back():
    net = build("resnet")
    net.layer1.eval()
    modes = [m.training for m in net.modules()]
    shuffled = DataLoader(TensorDataset(torch.arange(9)), shuffle=True, generator=torch.Generator().manual_seed(1))

    def numbers():
        return random.random(), np.random.rand(), torch.rand(1).item(), [int(row) for (row,) in shuffled]

    with pytest.raises(RuntimeError, match="on the way"), preserved_modes(net), preserved_random_state(shuffled):
        first = numbers()
        net.train()
        raise RuntimeError("on the way")
    assert numbers() == first and [m.training for m in net.modules()] == modes


def test_batchnorm_policy_keeps_statistics_of_layers_that_train():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    assert [m.training for m in tl.train_mode(net)] == [True] * 4
    assert [m.training for m in tl.train_mode(net, batchnorm="eval")] == [True, False, True, True]
    before = snapshot(net)
    loss = net(torch.randn(8, 4)).sum()
    loss.backward()
    assert net[1].weight.grad is not None
    assert not changed(before, net)


def test_random_state_of_a_shuffling_loader_is_put_back():
    shuffled = tl.make_loader(TensorDataset(images(6), torch.arange(6)), batch_size=2, train=True)
    with preserved_random_state(shuffled):
        first = [labels.tolist() for _, labels in shuffled]
    assert [labels.tolist() for _, labels in shuffled] == first
