"""Lesson 02's whole path on real photographs (ants and bees) with real ImageNet weights (SqueezeNet 1.1).

Neither is part of the course. TLHELPERS_REAL_DATA names a folder with `hymenoptera/{train,val}/{ants,bees}/*.jpg` and
`torch_home/hub/checkpoints/squeezenet1_1-b8a52dc0.pth`; without it these tests are skipped. No network is used.
"""

import pytest
import torch
from torch import nn
from torchvision import models

import tlhelpers as tl

pytestmark = pytest.mark.real_data


@pytest.fixture
def ants_and_bees(real_data, monkeypatch):
    """A frozen SqueezeNet with a new head, and the loaders of both splits in the weights' own preprocessing."""
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))
    tl.seed_everything(0)
    weights = models.get_model_weights("squeezenet1_1").DEFAULT
    model = models.get_model("squeezenet1_1", weights="DEFAULT")
    tl.freeze(model)
    # LayerNorm brings the pooled features to one scale, so that a large rate is safe and few epochs suffice
    tl.replace_head(model, 2, head=nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 2)))
    transform = weights.transforms(crop_size=227)  # the size SqueezeNet was trained at
    train, val = (tl.image_folder(real_data / "hymenoptera" / split, transform) for split in ("train", "val"))
    assert train.classes == ["ants", "bees"] and (len(train), len(val)) == (243, 153)
    return model, train, val


def train_head(model, train_loader, val_loader, epochs):
    optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=5e-3)
    return tl.fit(model, train_loader, val_loader, epochs=epochs, optimizer=optimizer, monitor="val_accuracy")


def backbone(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith("features")}


def test_cached_features_probe_and_head(ants_and_bees):
    model, train, val = ants_and_bees
    before = backbone(model)
    val_loader = tl.make_loader(val, batch_size=32)
    train_cache = tl.cache_features(model, tl.make_loader(train, batch_size=32))
    val_cache = tl.cache_features(model, val_loader)
    assert train_cache.features.shape == (243, 512) and val_cache.labels.tolist() == val.targets

    probe = tl.linear_probe(train_cache, val_cache, Cs=(0.01, 0.1, 1.0))
    print(probe.table)
    assert probe.val_accuracy >= 0.88  # measured 0.908; a probe on random features: 0.53 to 0.62

    _, tail = tl.split_model(model)
    rows = tl.make_loader(train_cache, batch_size=16, train=True)
    history = train_head(tail, rows, tl.make_loader(val_cache, batch_size=153), epochs=10)
    predictions = tl.predict(model, val_loader)  # the whole network, from photographs
    accuracy = (predictions.predicted == predictions.labels).float().mean().item()
    assert accuracy >= 0.90
    assert accuracy == pytest.approx(history.best()["val_accuracy"], abs=1 / 153)
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone(model).items())


def test_fit_through_the_loader(ants_and_bees):
    model, train, val = ants_and_bees
    before = backbone(model)
    val_loader = tl.make_loader(val, batch_size=32)
    history = train_head(model, tl.make_loader(train, batch_size=16, train=True), val_loader, epochs=4)
    predictions = tl.predict(model, val_loader)
    assert (predictions.predicted == predictions.labels).float().mean() >= 0.90
    assert history.stopped == "finished" and len(history.val_accuracy) == 4
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone(model).items())
