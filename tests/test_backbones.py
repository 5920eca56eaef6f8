"""The bundled backbones behave like any torchvision model, and damaged files are named."""

import hashlib
import json

import pytest
import torch
from torchvision import models
from torchvision.models._api import WeightsEnum
from torchvision.models.efficientnet import EfficientNet
from torchvision.models.resnet import ResNet
from torchvision.models.vgg import VGG

import tlhelpers as tl
from tlhelpers import backbones

ARCHS = {"resnet10": ResNet, "efficientnet_mini": EfficientNet, "vgg9_bn": VGG}
each = pytest.mark.parametrize("arch", ARCHS)


def last_linear(model):
    return model.fc if isinstance(model, ResNet) else model.classifier[-1]


@each
def test_registered_under_torchvisions_own_functions(arch):
    assert arch in models.list_models()
    builder = models.get_model_builder(arch)
    assert builder is getattr(tl, arch)
    enum = models.get_model_weights(arch)
    assert issubclass(enum, WeightsEnum) and models.get_model_weights(builder) is enum
    assert enum.DEFAULT is enum.SYNTHETIC_V1 and [entry.name for entry in enum] == ["SYNTHETIC_V1"]
    assert isinstance(models.get_model(arch, weights=None, num_classes=7), ARCHS[arch])


@each
def test_random_start_has_the_asked_head_and_gradients(arch):
    torch.manual_seed(0)
    model = models.get_model(arch, num_classes=5)
    out = model(torch.randn(2, 3, 64, 64))
    assert out.shape == (2, 5)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@each
def test_weights_load_by_name_entry_and_prefixed_name(arch):
    enum = models.get_model_weights(arch)
    named = models.get_model(arch, weights="DEFAULT")
    entry = models.get_model(arch, weights=enum.SYNTHETIC_V1)
    prefixed = models.get_model(arch, weights=f"{enum.__name__}.SYNTHETIC_V1", progress=False)
    states = (model.state_dict().values() for model in (named, entry, prefixed))
    for a, b, c in zip(*states, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    assert all(p.dtype == torch.float32 for p in named.parameters())
    assert named.training  # as torchvision hands models over
    assert all(torch.isfinite(v).all() for v in named.state_dict().values())


@each
def test_meta_matches_the_file_and_the_network(arch):
    meta = models.get_model_weights(arch).DEFAULT.meta
    model = models.get_model(arch, weights="DEFAULT")
    assert meta["num_params"] == sum(p.numel() for p in model.parameters())
    assert len(meta["categories"]) == len(set(meta["categories"])) == last_linear(model).out_features
    content = (tl.data_dir() / "weights" / f"{arch}.pth").read_bytes()
    assert hashlib.sha256(content).hexdigest() == meta["sha256"]
    assert meta["recipe"] and 0 < meta["source_accuracy"] <= 1 and meta["source_views"] > 0


@each
def test_transforms_give_64_normalised_pixels(arch):
    from PIL import Image

    transform = models.get_model_weights(arch).DEFAULT.transforms()
    assert transform.crop_size == [64] and transform.resize_size == [64]
    assert transform.mean == [0.485, 0.456, 0.406] and transform.std == [0.229, 0.224, 0.225]
    out = transform(Image.new("RGB", (96, 120), "white"))
    assert out.shape == (3, 64, 64) and out.dtype == torch.float32
    torch.testing.assert_close(out[:, 0, 0], (1 - torch.tensor(transform.mean)) / torch.tensor(transform.std))


@each
def test_another_class_count_with_weights_is_refused(arch):
    with pytest.raises(ValueError, match="num_classes"):
        models.get_model(arch, weights="DEFAULT", num_classes=5)


def test_a_foreign_weights_entry_is_refused():
    with pytest.raises(TypeError):
        tl.resnet10(weights=tl.EfficientNet_Mini_Weights.DEFAULT)
    with pytest.raises(KeyError):
        tl.resnet10(weights="IMAGENET1K_V1")


@each
def test_missing_file_is_named(arch, tmp_path, monkeypatch):
    monkeypatch.setenv("TLHELPERS_DATA", str(tmp_path))
    with pytest.raises(tl.CourseError, match=rf"{arch}\.pth.* missing.*git checkout"):
        models.get_model(arch, weights="DEFAULT")


@each
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_file_is_named(arch, damage, tmp_path, monkeypatch):
    content = bytearray((tl.data_dir() / "weights" / f"{arch}.pth").read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    content = {"truncated": content[:-100], "flipped": content, "empty": b""}[damage]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{arch}.pth").write_bytes(bytes(content))
    monkeypatch.setenv("TLHELPERS_DATA", str(tmp_path))
    with pytest.raises(tl.CourseError, match=rf"{arch}\.pth.* damaged"):
        models.get_model(arch, weights="DEFAULT")


@each
def test_file_is_small_half_precision_and_plain(arch):
    path = tl.data_dir() / "weights" / f"{arch}.pth"
    assert path.stat().st_size < 12_000_000
    state = torch.load(path, weights_only=True)
    assert all(v.dtype in (torch.float16, torch.int64) for v in state.values())


@each
def test_bundled_features_differ_from_picture_to_picture(arch):
    model = models.get_model(arch, weights="DEFAULT").eval()
    with torch.inference_mode():
        out = model(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(out).all() and out.std(0).mean() > 1e-3


def test_importing_again_does_not_fail():
    import importlib

    before, saved = backbones.ResNet10_Weights, dict(vars(backbones))
    try:
        importlib.reload(backbones)
        assert models.get_model_weights("resnet10") is backbones.ResNet10_Weights
    finally:
        # the other tests compare with (and pickle looks up) the classes that tlhelpers exported first
        vars(backbones).update(saved)
        backbones.BUILTIN_MODELS.update(resnet10=tl.resnet10, efficientnet_mini=tl.efficientnet_mini)
        assert models.get_model_weights("resnet10") is before


def test_meta_survives_copying():
    import copy
    import pickle

    entry = tl.ResNet10_Weights.DEFAULT
    assert copy.deepcopy(entry) is entry
    assert pickle.loads(pickle.dumps(entry)) is entry
    json.dumps(entry.meta)
