"""The strategies of lessons 02 to 05 on real photographs (ants and bees) with real ImageNet weights (SqueezeNet 1.1).

None may break the pretrained network: each must keep a validation accuracy of at least 0.88 (a linear probe reaches
0.91, random features 0.53 to 0.62). One validation image is 0.65 point. See test_real_data.py for what is needed.
"""

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import TensorDataset
from torchvision import models

import tlhelpers as tl

pytestmark = pytest.mark.real_data
ENOUGH = 0.88


@pytest.fixture(scope="module")
def photographs():
    """Training and validation part as tensors in SqueezeNet's own preprocessing: decoded once for all tests."""
    folder = Path(os.environ["TLHELPERS_REAL_DATA"]) / "hymenoptera"
    transform = models.get_model_weights("squeezenet1_1").DEFAULT.transforms(crop_size=227)
    parts = []
    for part in ("train", "val"):
        images, labels = zip(*tl.image_folder(folder / part, transform), strict=True)
        parts.append(TensorDataset(torch.stack(images), torch.tensor(labels)))
    assert [len(part) for part in parts] == [243, 153]
    return parts


@pytest.fixture
def network(real_data, monkeypatch):
    """The pretrained body under a new head; LayerNorm brings the pooled features to one scale."""
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))
    tl.seed_everything(0)
    model = models.get_model("squeezenet1_1", weights="DEFAULT")
    return tl.replace_head(model, 2, head=nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 2)))


@pytest.fixture
def loaders(photographs):
    train, val = photographs
    return tl.make_loader(train, batch_size=16, train=True), tl.make_loader(val, batch_size=51)


def body(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith("features")}


def by_depth(model, rate=1e-3, factor=0.4):
    """The head at `rate`, every stage before it slower."""
    return torch.optim.AdamW(tl.parameter_groups(model, lr=rate, factor=factor, weight_decay=0.01))


def fine_tune(model, loaders, optimizer=None, epochs=2, **settings):
    """Train all layers and return the accuracy of the network that is left, measured anew."""
    optimizer = optimizer or by_depth(model)
    history = tl.fit(model, *loaders, epochs=epochs, optimizer=optimizer, monitor="val_accuracy", **settings)
    assert history.stopped in ("finished", "early stop")
    return tl.evaluate(model, loaders[1]).accuracy


def train_head(model, loaders, epochs=3):
    tl.freeze(model)
    tl.unfreeze(tl.stages(model)[-1])
    return tl.fit_gradually(model, *loaders, [tl.Phase("head", epochs, lr=5e-3)], monitor="val_accuracy")


def test_only_the_head_keeps_the_body_bit_for_bit(network, loaders):
    before = body(network)
    train_head(network, loaders)
    assert tl.evaluate(network, loaders[1]).accuracy >= ENOUGH
    assert all(torch.equal(before[name], tensor) for name, tensor in body(network).items())


def test_all_layers_at_one_low_rate(network, loaders):
    before = body(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    assert fine_tune(network, loaders, optimizer, epochs=4, patience=2) >= ENOUGH
    assert not any(torch.equal(before[name], tensor) for name, tensor in body(network).items() if "weight" in name)


def test_a_rate_from_the_sweep_leaves_the_network_as_it_was_and_trains_it(network, loaders):
    before = body(network)
    optimizer = by_depth(network)
    sweep = tl.lr_sweep(network, loaders[0], optimizer, lowest=1e-5, highest=0.3)
    assert all(torch.equal(before[name], tensor) for name, tensor in body(network).items())
    suggested = sweep.suggestion()
    assert suggested is not None and 1e-4 < suggested < 5e-3
    assert fine_tune(network, loaders, by_depth(network, rate=suggested), epochs=3) >= ENOUGH


def test_discriminative_rates_under_one_cycle(network, loaders):
    optimizer = by_depth(network)
    rates = [group["lr"] for group in optimizer.param_groups]
    scheduler = OneCycleLR(optimizer, max_lr=rates, total_steps=3 * len(loaders[0]), pct_start=0.1)
    cycle = {"scheduler": scheduler, "step_scheduler_every": "batch"}
    assert fine_tune(network, loaders, optimizer, epochs=3, **cycle) >= ENOUGH


def test_linear_probe_then_fine_tune_with_sgd(network, loaders):
    train_head(network, loaders)
    tl.unfreeze(network)
    optimizer = torch.optim.SGD(tl.parameter_groups(network, lr=1e-3, factor=0.5), momentum=0.9)
    assert fine_tune(network, loaders, optimizer) >= ENOUGH


def test_gradual_unfreezing_on_cached_activations(network, loaders):
    phases = [tl.Phase("head", 3, lr=5e-3), tl.Phase("block3", 2, lr=1e-4), tl.Phase("stem", 1, lr=3e-5)]
    histories = tl.fit_gradually(network, *loaders, phases, monitor="val_accuracy")
    assert len(histories) == 3
    assert tl.evaluate(network, loaders[1]).accuracy >= ENOUGH


def test_label_smoothing(network, loaders):
    assert fine_tune(network, loaders, loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1), epochs=3) >= ENOUGH


@pytest.mark.parametrize("alphas", [{"mixup_alpha": 0.2}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}])
def test_mixed_images_after_a_linear_probe(network, photographs, loaders, alphas):
    train_head(network, loaders)
    tl.unfreeze(network)
    mixed = tl.make_loader(photographs[0], 16, train=True, collate_fn=tl.MixingCollate(2, **alphas))
    assert fine_tune(network, (mixed, loaders[1]), by_depth(network, rate=3e-4)) >= ENOUGH
