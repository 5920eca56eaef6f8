"""timm's networks: stages, heads, freezing, training, caches and the doctor; loading them in both profiles."""

import ast
import hashlib
import io
import math
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from loopback import Site
from PIL import Image
from test_models import assert_every_parameter_once, run
from tiny_networks import changed, images, snapshot
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models

import tlhelpers as tl
from tlhelpers import timm_models

timm = pytest.importorskip("timm", reason="timm is not installed")

SMALL_SWIN = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), img_size=64, window_size=2)
SMALL_VIT = dict(embed_dim=16, depth=2, num_heads=2, img_size=32)
LAYERS = "layer1 layer2 layer3 layer4 pool head"
# a network of each class: its name in timm, what makes it small, its stages
FAMILIES = {
    "resnet": ("resnet18", dict(layers=(1, 1, 1, 1), channels=(8, 8, 16, 16)), LAYERS),
    "resnet_d": ("resnet26d", dict(layers=(1, 1, 1, 1), channels=(4, 4, 8, 8)), LAYERS),
    "efficientnet": ("efficientnet_b0", {}, "1-8 pool head"),
    "mobilenet_v3": ("mobilenetv3_small_050", {}, "1-6 pool hidden head"),
    "regnet": ("regnetx_002", {}, "1-4 pool head"),
    "convnext": ("convnext_atto", dict(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1)), "1-4 pool hidden head"),
    "swin": ("swin_tiny_patch4_window7_224", SMALL_SWIN, "1-4 pool head"),
    "vit": ("vit_tiny_patch16_224", SMALL_VIT, "1-2 pool head"),
    "vit_registers": ("vit_small_patch14_reg4_dinov2", dict(SMALL_VIT, img_size=28), "1-2 pool head"),
    "vit_mean": ("vit_tiny_patch16_224", dict(SMALL_VIT, global_pool="avg"), "1-2 hidden head"),
    "vit_attention": ("vit_base_patch16_siglip_224", SMALL_VIT, "1-2 hidden head"),
}
SIZES = {"swin": 64, "vit_registers": 28}


def build(family, num_classes=10, **more):
    """A tiny network of timm whose every parameter and statistic is random: nothing is equal by accident."""
    torch.manual_seed(0)
    name, small, _ = FAMILIES[family]
    net = timm.create_model(name, num_classes=num_classes, **small, **more)
    with torch.no_grad():
        for key, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point() and tensor.ndim <= 1:
                tensor.uniform_(0.5, 1.5)
            elif isinstance(tensor, nn.Parameter) and "head" in key:
                tensor.normal_(std=0.3)  # some start at zero
    return net


def batch(family, n=4, seed=0):
    return images(n, SIZES.get(family, 32), seed)


def loader_for(family, n=6, classes=3, size=2):
    return DataLoader(TensorDataset(batch(family, n), torch.arange(n) % classes), batch_size=size)


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_have_names_all_parameters_and_the_networks_scores(family):
    net = build(family, drop_rate=0.3).eval()
    names = FAMILIES[family][2]
    if names[0] == "1":  # "1-4 pool head" stands for block1 ... block4
        count, rest = int(names[2]), names[4:]
        names = " ".join([f"block{i}" for i in range(1, count + 1)] + [rest])
    stages = tl.stages(net)
    assert " ".join(stage.name for stage in stages) == f"stem {names}"
    assert_every_parameter_once(net, stages)
    x = batch(family)
    with torch.no_grad():
        expected = net(x)
        assert expected.std() > 1e-3, "scores without spread would prove nothing"
        torch.testing.assert_close(run(stages, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_caches_hold_what_timm_hands_to_its_head(family):
    net = build(family).eval()
    tl.freeze(net)
    loader = loader_for(family)
    with torch.no_grad():
        x = torch.cat([rows for rows, _ in loader])
        expected = net.forward_head(net.forward_features(x), pre_logits=True)
        scores = net(x)
    middle = tl.stages(net)[2].name
    for at in ("head", middle):
        rows = tl.cache_features(net, loader, at=at)
        _, tail = tl.split_model(net, at)
        torch.testing.assert_close(tail.eval()(rows.features), scores, rtol=1e-5, atol=1e-5)
        if at == "head":
            torch.testing.assert_close(rows.features, expected, rtol=1e-5, atol=1e-5)
            assert tl.head_in_features(net) == expected.shape[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_new_head_and_one_step_change_only_the_head(family):
    net = build(family, drop_rate=0.3)
    tl.freeze(net)
    assert tl.replace_head(net, 3) is net and net.num_classes == 3
    tl.check_head(net, 3)
    assert {id(p) for p in net.get_classifier().parameters()} == {id(p) for p in tl.trainable_parameters(net)}
    before, loader = snapshot(net), loader_for(family)
    optimizer = torch.optim.SGD(tl.parameter_groups(net, lr=0.1), momentum=0.9, weight_decay=0.1)
    tl.fit(net, loader, loader, epochs=1, optimizer=optimizer, verbose=False)
    assert len(changed(before, net)) == 2, "frozen BatchNorm statistics or weights moved"
    assert changed(before, net) == {name for name, p in net.named_parameters() if p.requires_grad}

    torch.testing.assert_close(run(tl.stages(net.eval()), batch(family)), net(batch(family)), rtol=1e-5, atol=1e-5)
    tl.unfreeze_from(net, tl.stages(net)[0].name)
    groups = tl.parameter_groups(net, lr=0.1, factor=0.5, weight_decay=0.01)
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) and set(listed) == {id(p) for p in net.parameters()}
    assert len(tl.trainable_table(net).splitlines()) == len(tl.stages(net)) + 2


@pytest.mark.parametrize("family", ["resnet", "mobilenet_v3", "convnext", "swin", "vit", "vit_attention"])
def test_a_network_without_a_head_gets_one(family):
    net = build(family, num_classes=0)
    width = net.eval()(batch(family)).shape[1]
    assert tl.head_in_features(net) == width
    with pytest.raises(tl.CourseError, match="no linear layer"):
        tl.check_head(net, 3)
    mlp = nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 4), nn.LogSoftmax(1))
    tl.replace_head(net, 4, mlp)
    tl.check_head(net, 4)
    torch.testing.assert_close(net.eval()(batch(family)).exp().sum(1), torch.ones(4))
    assert tl.head_in_features(tl.replace_head(net, 2)) == width and net(batch(family)).shape == (4, 2)


def test_networks_that_go_another_way_are_refused_with_what_is_known():
    two_heads = timm.create_model("deit_tiny_distilled_patch16_224", **SMALL_VIT)
    only_maps = timm.create_model("resnet18", features_only=True)
    without_pooling = build("convnext", global_pool="")
    for net in (two_heads, only_maps, without_pooling):
        with pytest.raises(tl.CourseError, match=r"does not know.*ResNet, VGG.*timm's ResNet, EfficientNet.*freeze\("):
            tl.stages(net)


def test_frozen_batchnorm_of_a_timm_network_keeps_still_and_its_dropout_stays_on_where_it_trains():
    net = build("resnet", drop_rate=0.5)
    tl.freeze(tl.stages(net)[:4])
    tl.train_mode(net)
    assert not net.bn1.training and not net.layer3.training and net.layer4.training
    _, tail = tl.split_model(net, "head")
    rows = torch.ones(200, 16)
    assert (tail.train()(rows) != tail(rows)).any() and torch.equal(tail.eval()(rows), net.fc(rows))


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_gradual_unfreezing_on_cached_activations_is_the_plain_one(family):
    results = []
    for cached in (True, False):
        net = tl.replace_head(build(family), 3)
        loader = loader_for(family, n=8)
        torch.manual_seed(1)
        phases = [tl.Phase("head", 1, lr=1e-2), tl.Phase("block2", 1, lr=1e-3)]
        tl.fit_gradually(net, loader, loader, phases, cached=cached, verbose=False)
        results.append(net.eval()(batch(family)))
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


def test_linear_probe_and_lr_sweep_on_a_timm_network():
    net = build("vit", num_classes=3)
    loader = loader_for("vit", n=12)
    before = snapshot(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    sweep = tl.lr_sweep(net, loader, optimizer, steps=5)
    assert len(sweep.losses) and math.isfinite(sweep.losses[0]) and not changed(before, net)
    tl.freeze(net)
    rows = tl.cache_features(net, loader)
    assert tl.linear_probe(rows, rows, Cs=[100.0]).val_accuracy == 1.0


def test_grad_cam_on_timm_networks():
    ours, theirs = models.get_model("resnet10", num_classes=4).eval(), tl.timm_pretrained(None, num_classes=4).eval()
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(tl.grad_cam(theirs, images(), classes=1), tl.grad_cam(ours, images(), classes=1))
    for family in ("efficientnet", "convnext", "swin"):
        maps = tl.grad_cam(build(family), batch(family), classes=2)
        assert maps.shape == (4, SIZES.get(family, 32), SIZES.get(family, 32)) and 0 <= maps.min() <= maps.max() <= 1
    # Swin's maps have their channels last. Behind them stand a mean and a linear layer, so its weights are the gradient
    net, x = build("swin").eval(), batch("swin")
    with torch.no_grad():
        best = net(x).argmax(1)
        cam = (net.forward_features(x) * net.head.fc.weight[best][:, None, None]).sum(dim=3).relu()
    cam = F.interpolate(cam[:, None], size=(64, 64), mode="bilinear", align_corners=False)[:, 0]
    assert cam.amax((1, 2)).min() > 0, "an empty map would prove nothing"
    torch.testing.assert_close(tl.grad_cam(net, x), cam / cam.amax((1, 2), keepdim=True))
    for name, module in (("block2", net.layers[1]), ("block4", net.norm)):
        assert torch.equal(tl.grad_cam(net, x, 0, at=module), tl.grad_cam(net, x, 0, at=name))
    with pytest.raises(tl.CourseError, match="a vision transformer has none"):
        tl.grad_cam(build("vit"), batch("vit"))


# ---- the doctor ----------------------------------------------------------------------------------------------------


def doctor_on(net, size=64):
    train, val = (TensorDataset(images(16, size, seed), torch.arange(16) % 4) for seed in (0, 1))
    optimizer = torch.optim.AdamW(tl.parameter_groups(net, lr=1e-3, weight_decay=0.01))
    return tl.doctor(net, DataLoader(train, 8, shuffle=True), DataLoader(val, 8), optimizer, epochs=2)


def test_doctor_finds_nothing_in_a_right_set_up_with_a_timm_network():
    net = tl.timm_pretrained(None, num_classes=4)
    tl.unfreeze_from(net, "head")
    report = doctor_on(tl.train_mode(net))
    assert not report.codes, str(report)


def test_doctor_knows_the_size_of_the_bundled_vgg():
    net = models.get_model("vgg9_bn", weights="DEFAULT")
    tl.freeze(net)
    tl.replace_head(net, 4)
    assert "wrong-input-size" not in doctor_on(tl.train_mode(net), size=96).codes
    assert "the bundled network was trained at 64" in str(doctor_on(tl.train_mode(net), size=160))


def test_doctor_names_mistakes_made_with_timm_networks():
    report = doctor_on(build("vit", num_classes=4), size=64)
    assert "wrong-input-size" in report.codes and "VisionTransformer takes 32 only" in str(report)
    net = tl.timm_pretrained(None)
    tl.freeze(tl.stages(net)[:-1])
    report = doctor_on(net.train(), size=144)
    assert {"wrong-input-size", "head-size", "frozen-batchnorm-drifts"} <= set(report.codes), str(report)
    assert "tl.replace_head(model, 4)" in str(report)


# ---- transforms ----------------------------------------------------------------------------------------------------


def test_transforms_of_the_bundled_network_are_those_of_its_weights():
    picture = Image.effect_noise((90, 70), 80).convert("RGB")
    net = tl.timm_pretrained(None, num_classes=3)
    expected = tl.ResNet10_Weights.DEFAULT.transforms()(picture)
    torch.testing.assert_close(tl.timm_transforms(net)(picture), expected, rtol=0, atol=1e-5)
    train = tl.timm_transforms(net, train=True, scale=(0.8, 1.0))
    assert train(picture).shape == (3, 64, 64) and not torch.equal(train(picture), train(picture))
    assert tl.has_normalize(train) and "0.8" in repr(train)


def test_transforms_come_from_the_networks_own_config():
    net = timm.create_model("vit_tiny_patch16_224", **SMALL_VIT)
    mean, std = tl.transforms.normalization_of(tl.timm_transforms(nn.DataParallel(net)))
    assert mean == std == (0.5, 0.5, 0.5)
    with pytest.raises(tl.CourseError, match=r"ResNet was not made by timm.*weights.transforms\(\)"):
        tl.timm_transforms(models.get_model("resnet10"))
    with pytest.raises(tl.CourseError, match="cannot make a transform from {'sice': 3}"):
        tl.timm_transforms(net, sice=3)


# ---- loading -------------------------------------------------------------------------------------------------------


def course(profile):
    return SimpleNamespace(profile=profile, device=torch.device("cpu"))


def test_bundled_weights_arrive_in_timms_class(capsys):
    theirs = models.get_model("resnet10", weights="DEFAULT").eval()
    net = tl.timm_pretrained(course("mini")).eval()
    assert type(net).__module__ == "timm.models.resnet" and not capsys.readouterr().out
    torch.testing.assert_close(net(images(size=64)), theirs(images(size=64)))
    features = tl.timm_pretrained(course("mini"), num_classes=0).eval()(images(size=64))
    assert features.shape == (4, 512)
    torch.testing.assert_close(features, tl.split_model(theirs)[0](images(size=64)))
    five = tl.timm_pretrained(course("mini"), "resnet50", num_classes=5)
    assert five.fc.out_features == 5 and "stands in for resnet50" in capsys.readouterr().out
    torch.testing.assert_close(five.conv1.weight, theirs.conv1.weight)


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(tl.CourseError, match=r"no network 'resnet19'.*Similar names: .*resnet1"):
        tl.timm_pretrained(course("full"), "resnet19")
    with pytest.raises(tl.CourseError, match="name=7 must be the name"):
        tl.timm_pretrained(course("full"), 7)
    for wrong in (-1, 2.5, True, "5"):
        with pytest.raises(tl.CourseError, match="num_classes"):
            tl.timm_pretrained(course("mini"), num_classes=wrong)


def test_without_timm_the_course_works_and_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for call in (tl.import_timm, tl.timm_pretrained, lambda: tl.timm_transforms(nn.Linear(1, 1))):
        with pytest.raises(tl.CourseError, match=r"needs timm, which is not installed.*%pip install timm"):
            call(*([None] if call is tl.timm_pretrained else []))
    assert len(tl.stages(models.get_model("resnet10"))) == 7


def test_a_timm_that_does_not_load_is_explained(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for text, words in (
        ("import no_such_part", "no_such_part, which it needs"),
        ("raise OSError('torn')", "OSError: torn"),
    ):
        (tmp_path / "timm.py").write_text(text)
        monkeypatch.delitem(sys.modules, "timm")
        with pytest.raises(tl.CourseError, match=words):
            tl.import_timm()
        monkeypatch.setitem(sys.modules, "timm", timm)


def test_timm_is_imported_only_where_it_is_asked_for():
    """No file of the package does it at its top: the course starts sooner, and without timm as well."""
    for file in Path(tl.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.split(".")[0] for name in names} & {"timm", "huggingface_hub", "safetensors"}, file


NAME, REPOSITORY, COMMIT = "mobilenetv3_small_050.lamb_in1k", "timm/mobilenetv3_small_050.lamb_in1k", "0" * 40  # 6 MB


class Hub(Site):
    """The part of the Hugging Face hub's protocol that a download of one public file needs."""

    def answer(self, handler, body):
        content = self.files.get(handler.path.lstrip("/"))
        if content is not None:
            handler.send_response_only(200)
            for key, value in {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Content-Length": len(content),
            }.items():
                handler.send_header(key, str(value))
            handler.end_headers()
            self.requests.append((handler.command, handler.path.lstrip("/")))
            if body:
                handler.wfile.write(content)
            return
        super().answer(handler, body)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine with one small network, and an empty cache."""
    from huggingface_hub import constants
    from safetensors.torch import save

    torch.manual_seed(5)
    net = timm.create_model(NAME).eval()
    site = Hub({f"{REPOSITORY}/resolve/main/model.safetensors": save(net.state_dict())})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", site.url.rstrip("/"))
    template = site.url + "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield site, tmp_path / "hub", net
    site.close()


def plant(cache, content):
    """Put a weights file where the hub's client keeps it."""
    repository = cache / f"models--{REPOSITORY.replace('/', '--')}"
    for folder in ("refs", "blobs", f"snapshots/{COMMIT}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    blob = repository / "blobs/weights"
    blob.write_bytes(content)
    file = repository / "snapshots" / COMMIT / "model.safetensors"
    file.symlink_to(blob)
    return file, blob


def test_full_downloads_once_and_then_asks_no_server(hub):
    site, cache, net = hub
    loaded = tl.timm_pretrained(course("full"), NAME).eval()
    x = images(2, 64)
    torch.testing.assert_close(loaded(x), net(x))
    assert any(command == "GET" for command, _ in site.requests)
    asked = len(site.requests)
    again = tl.timm_pretrained(course("full"), NAME, num_classes=3)
    assert len(site.requests) == asked and again.get_classifier().out_features == 3
    body, same = (tl.split_model(model)[0].eval() for model in (again, net))
    torch.testing.assert_close(body(x), same(x))


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", None], ids=["empty", "html", "half"])
def test_a_damaged_file_in_the_cache_is_removed_and_fetched_again(hub, content, capsys):
    site, cache, net = hub
    whole = next(iter(site.files.values()))
    file, blob = plant(cache, whole[: len(whole) // 2] if content is None else content)
    loaded = tl.timm_pretrained(course("full"), NAME).eval()
    torch.testing.assert_close(loaded(images(2, 64)), net(images(2, 64)))
    assert "has been removed; fetching it again" in capsys.readouterr().out and not blob.exists()


def not_fitting():
    """What load_state_dict says, many lines of it."""
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(3, 2)})
    return caught.value


@pytest.mark.parametrize(
    "error, expected, words",
    [
        (MemoryError("no room"), MemoryError, "no room"),
        (TypeError("an unknown option"), tl.CourseError, "could not be loaded: TypeError: an unknown option. Run"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much"),
            tl.CourseError,
            "loaded: OutOfMemoryError: CUDA out of memory",
        ),
        (not_fitting(), tl.CourseError, "RuntimeError: Error.* in loading state_dict for Linear. Run"),
        (pickle.UnpicklingError("Unsupported global: argparse.Namespace"), tl.CourseError, "Unsupported global"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_good_file_in_the_cache_stays_when_something_else_fails(hub, error, expected, words, monkeypatch, capsys):
    site, cache, _ = hub
    content = next(iter(site.files.values()))
    file, blob = plant(cache, content)

    def create_model(*_, **__):
        raise error

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(expected, match=words) as caught:
        tl.timm_pretrained(course("full"), NAME)
    assert blob.read_bytes() == content and file.exists() and not site.requests
    assert "damaged" not in str(caught.value) + capsys.readouterr().out


def test_a_device_without_room_is_no_damaged_file(hub, monkeypatch, capsys):
    site, cache, _ = hub
    _, blob = plant(cache, next(iter(site.files.values())))

    def no_room(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(nn.Module, "to", no_room)
    for profile, name in (("full", NAME), ("full", None), ("mini", None)):
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            tl.timm_pretrained(course(profile), name)
    assert blob.exists() and "damaged" not in capsys.readouterr().out


def cut_pickle(how):
    """A file of torch.save, cut, emptied or replaced; the error that torch.load raises for it."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1000)}, buffer)
    whole = buffer.getvalue()
    content = {"empty": b"", "half": whole[: len(whole) // 2], "html": b"<html>no</html>"}[how]
    with pytest.raises(Exception) as caught:
        torch.load(io.BytesIO(content), weights_only=True)
    return caught.value


@pytest.mark.parametrize("how", ["empty", "half", "html"])
def test_what_torch_says_about_a_cut_file_is_known(how):
    assert timm_models._damaged(cut_pickle(how))


def test_a_planted_file_needs_no_network_and_without_both_the_message_says_why(hub, monkeypatch, capsys):
    from huggingface_hub import constants

    site, cache, net = hub
    content = next(iter(site.files.values()))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        tl.CourseError, match=r"weights of timm's mobilenetv3_small.* could not be loaded: no connection"
    ):
        tl.timm_pretrained(course("full"), NAME)
    model = tl.timm_pretrained(course("full"), num_classes=3)  # a ResNet has a stand-in
    said = capsys.readouterr().out
    assert "timm's resnet18 could not be loaded: no connection to the server" in said and "bundled weights" in said
    assert model.fc.out_features == 3 and model.pretrained_cfg["input_size"] == (3, 64, 64)
    plant(cache, content)
    torch.testing.assert_close(tl.timm_pretrained(course("full"), NAME).eval()(images(2, 64)), net(images(2, 64)))


def error_with_status(status):
    error = Exception("refused")
    error.response = SimpleNamespace(status_code=status)
    return error


def caused_by(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, words",
    [
        (caused_by(OSError("cannot find the file"), ConnectionRefusedError()), "no connection to the server"),
        (caused_by(OSError("no luck"), type("ReadTimeout", (Exception,), {})()), "the server stopped answering"),
        (caused_by(OSError("no luck"), error_with_status(403)), r"the server refused \(HTTP 403\)"),
        (type("SafetensorError", (Exception,), {})("header too large"), "cut short or damaged"),
        (RuntimeError("Hugging Face hub model specified but package not installed."), "-U timm huggingface_hub"),
        (OSError(28, "No space left on device"), "the disk is full"),
    ],
)
def test_what_went_wrong_is_said_in_plain_words(error, words, monkeypatch):
    def create_model(*_, **__):
        raise error

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr("tlhelpers.timm_models.network_available", lambda url: True)
    with pytest.raises(tl.CourseError, match=rf"mobilenet\w+ could not be loaded: .*{words}.*\. Run this again"):
        tl.timm_pretrained(course("full"), "mobilenetv3_small_050")
