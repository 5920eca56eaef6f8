"""Stages, heads and the loading of pretrained networks."""

import hashlib
import io

import pytest
import torch
from loopback import Site
from tiny_networks import FAMILIES, build, changed, images, snapshot
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models
from torchvision.models import Weights, WeightsEnum

import tlhelpers as tl
from tlhelpers import loading
from tlhelpers.downloads import no_endless_wait
from tlhelpers.models import unwrap

NAMES = {
    "resnet": "stem layer1 layer2 layer3 layer4 pool head",
    "vgg": "block1 block2 block3 pool hidden head",
    "alexnet": "stem block1 pool hidden head",
    "squeezenet": "stem block1 block2 block3 head",
    "densenet": "stem block1 block2 block3 block4 pool head",
    "efficientnet": "stem block1 block2 block3 pool head",
    "mobilenet_v2": "stem " + " ".join(f"block{i}" for i in range(1, 19)) + " pool head",
    "mobilenet_v3": "stem " + " ".join(f"block{i}" for i in range(1, 13)) + " pool hidden head",
    "convnext": "stem block1 block2 block3 block4 pool hidden head",
    "swin": "stem block1 block2 block3 block4 pool head",
    "vit": "stem block1 block2 pool head",
    "vit_with_hidden": "stem block1 block2 pool hidden head",
}


def run(stages, x):
    for stage in stages:
        x = stage.forward(x)
    return x


def assert_every_parameter_once(net, stages):
    listed = [id(p) for stage in stages for p in stage.parameters()]
    assert len(listed) == len(set(listed)), "a parameter in two stages"
    assert set(listed) == {id(p) for p in net.parameters()}, "a parameter in no stage"


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_have_names_all_parameters_and_the_networks_scores(family):
    net = build(family).eval()
    stages = tl.stages(net)
    assert " ".join(stage.name for stage in stages) == NAMES[family]
    assert_every_parameter_once(net, stages)
    x = images()
    with torch.no_grad():
        expected = net(x)
        assert expected.std() > 1e-3, "scores without spread would prove nothing"
        torch.testing.assert_close(run(stages, x), expected)


REAL = (
    "resnet18 resnet50 vgg11 vgg16_bn alexnet squeezenet1_0 densenet121 efficientnet_b0 efficientnet_v2_s "
    "mobilenet_v2 mobilenet_v3_large convnext_tiny swin_t swin_v2_t vit_b_16"
).split()


@pytest.mark.parametrize("arch", REAL)
def test_stages_of_the_real_builders(arch):
    with torch.device("meta"):  # shapes only, no memory
        net = models.get_model(arch, weights=None, num_classes=7).eval()
        stages = tl.stages(net)
        assert_every_parameter_once(net, stages)
        assert run(stages, torch.empty(2, 3, 224, 224)).shape == (2, 7)


def test_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(tl.CourseError, match=r"GoogLeNet.*ResNet, VGG"):
        with torch.device("meta"):
            tl.stages(models.googlenet(weights=None, init_weights=False))


def test_wrapped_networks_are_unwrapped():
    net = build("resnet")
    for wrapped in (torch.compile(net), nn.DataParallel(net), torch.compile(nn.DataParallel(net))):
        assert unwrap(wrapped) is net
        assert tl.stages(wrapped)[-1].modules[0] is net.fc
    wrapped = nn.DataParallel(net)
    assert tl.replace_head(wrapped, 3) is wrapped
    assert net.fc.out_features == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_new_head_and_one_step_change_only_the_head(family):
    net = build(family)
    tl.freeze(net)
    assert tl.replace_head(net, 3) is net
    tl.check_head(net, 3)
    head = tl.stages(net)[-1]
    assert {id(p) for p in head.parameters()} == {id(p) for p in tl.trainable_parameters(net)}
    assert_every_parameter_once(net, tl.stages(net))
    net.eval()
    torch.testing.assert_close(run(tl.stages(net), images()), net(images()))

    before = snapshot(net)
    loader = DataLoader(TensorDataset(images(6), torch.tensor([0, 1, 2, 0, 1, 2])), batch_size=3)
    optimizer = torch.optim.SGD(tl.trainable_parameters(net), lr=0.1, momentum=0.9, weight_decay=0.1)
    tl.fit(net, loader, loader, epochs=1, optimizer=optimizer, verbose=False)
    own = {name for name, p in net.named_parameters() if p.requires_grad}
    assert len(own) == 2 and changed(before, net) == own


@pytest.mark.parametrize("family", FAMILIES)
def test_own_head_module_can_be_put_in_and_replaced_again(family):
    net = build(family)
    width = tl.head_in_features(net)
    mlp = nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, 4), nn.LogSoftmax(1))
    tl.replace_head(net, 4, mlp)
    tl.check_head(net, 4)
    assert tl.head_in_features(net) == width
    assert {id(p) for p in mlp.parameters()} == {id(p) for p in tl.stages(net)[-1].parameters()}
    torch.testing.assert_close(net.eval()(images()).exp().sum(1), torch.ones(4))
    tl.replace_head(net, 2)
    assert net(images()).shape == (4, 2)


def test_wrong_heads_are_refused_and_change_nothing():
    net = build("resnet")
    fc = net.fc
    with pytest.raises(tl.CourseError, match="N x 256 features into N x 5 scores; for 2 rows it gives"):
        tl.replace_head(net, 5, nn.Linear(256, 4))
    with pytest.raises(tl.CourseError, match="cannot take such rows"):
        tl.replace_head(net, 5, nn.Linear(512, 5))
    with pytest.raises(tl.CourseError, match=r"nn.Linear\(256, 5\), not type"):
        tl.replace_head(net, 5, nn.Linear)
    for wrong in (0, -1, 2.0, True, "5"):
        with pytest.raises(tl.CourseError, match="num_classes"):
            tl.replace_head(net, wrong)
    assert net.fc is fc
    with pytest.raises(tl.CourseError, match=r"gives 10 scores, the data have 5 classes: replace_head\(model, 5\)"):
        tl.check_head(net, 5)


def test_trying_a_head_leaves_it_and_the_random_state_alone():
    head = nn.Sequential(nn.BatchNorm1d(256), nn.Dropout(), nn.Linear(256, 5))
    head[1].eval()
    net, before, state = build("resnet"), snapshot(head), torch.get_rng_state()
    tl.replace_head(net, 5, head)
    assert not changed(before, head) and head[0].training and not head[1].training
    assert torch.equal(torch.get_rng_state(), state)


def test_frozen_head_given_in_trains():
    head = nn.Linear(256, 5).requires_grad_(False)
    net = build("resnet")
    tl.freeze(net)
    tl.replace_head(net, 5, head)
    assert len(tl.trainable_parameters(net)) == 2


def test_squeezenet_scores_can_be_negative_after_replace_head():
    net = build("squeezenet").eval()
    assert net(images(16)).min() >= 0  # torchvision's own classifier ends in a ReLU
    scores = tl.replace_head(net, 3).eval()(images(16))
    assert scores.shape == (16, 3) and scores.min() < 0
    assert [stage.name for stage in tl.stages(net)][-2:] == ["pool", "head"]


# ---- pretrained: a weights entry whose file comes from a server on loopback --------------------------------------


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Make `resnet18`, `vgg11` and `alexnet` names of tiny networks whose weights lie on a loopback server."""
    net, buffer = build("resnet"), io.BytesIO()
    torch.save(net.state_dict(), buffer)
    name = f"tiny-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    site = Site({name: buffer.getvalue()})

    class Tiny(WeightsEnum):
        V1 = Weights(url=site.url + name, transforms=None, meta={})
        DEFAULT = V1

    real_model, real_weights, small = models.get_model, models.get_model_weights, ("resnet18", "vgg11", "alexnet")

    def get_model(arch, weights=None, progress=True):
        if arch not in small:
            return real_model(arch, weights=None)  # the bundled network, here without its file
        tiny = build("resnet", seed=1)
        tiny.load_state_dict(Tiny.V1.get_state_dict(progress=progress, check_hash=True))
        return tiny

    monkeypatch.setattr(models, "get_model", get_model)
    monkeypatch.setattr(models, "get_model_weights", lambda arch: Tiny if arch in small else real_weights(arch))
    monkeypatch.setattr(loading, "no_endless_wait", lambda: no_endless_wait(0.3))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield site, tmp_path / "torch_home" / "hub" / "checkpoints" / name, net
    site.close()


def test_pretrained_downloads_once_and_then_needs_no_server(served):
    site, file, net = served
    loaded, weights = tl.pretrained(None, "resnet18", num_classes=3)
    assert file.is_file() and loaded.fc.out_features == 3 and weights.name == "V1"
    torch.testing.assert_close(loaded.conv1.weight, net.conv1.weight)
    site.status = 503
    tl.pretrained(None, "resnet18")
    assert len(site.requests) == 1


@pytest.mark.parametrize("trouble", ["refuse", "cut", "damage", "stall"])
def test_failed_download_leaves_nothing_and_falls_back_to_the_bundled_network(served, trouble, capsys):
    site, file, _ = served
    if trouble == "refuse":
        site.status = 503
    else:
        getattr(site, trouble).add(file.name)
    model, weights = tl.pretrained(None, "resnet18", num_classes=3)
    assert type(weights).__name__ == "ResNet10_Weights" and model.fc.out_features == 3
    assert not list(file.parent.glob("*")), "a partial file stayed behind"
    assert "Going on with the bundled resnet10" in capsys.readouterr().out
    if trouble == "refuse":
        assert type(tl.pretrained(None, "vgg11")[1]).__name__ == "VGG9_BN_Weights"
    with pytest.raises(tl.CourseError, match="weights of alexnet could not be loaded"):
        tl.pretrained(None, "alexnet")


def foreign():
    buffer = io.BytesIO()
    torch.save(nn.Linear(2, 2).state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [None, b"", b"<html>", foreign()], ids=["half", "empty", "html", "other"])
def test_file_in_the_cache_that_does_not_load_is_removed_and_fetched_again(served, content, capsys):
    site, file, net = served
    whole = site.files[file.name]
    file.parent.mkdir(parents=True)
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    model, _ = tl.pretrained(None, "resnet18")
    torch.testing.assert_close(model.fc.weight, net.fc.weight)
    assert "has been removed; fetching it again" in capsys.readouterr().out
    assert file.read_bytes() == whole


def test_pretrained_refuses_an_unknown_name():
    with pytest.raises(tl.CourseError, match="no classifier 'resnet19'"):
        tl.pretrained(None, "resnet19")
