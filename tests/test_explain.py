"""Grad-CAM: right against a value worked out by hand, on frozen networks too, and without a trace."""

import pytest
import torch
from tiny_networks import FAMILIES, build, changed, snapshot
from tiny_networks import images as normal_images
from torch import nn
from torch.nn import functional as F

import tlhelpers as tl
from tlhelpers import CourseError, grad_cam, show_grad_cam

WITH_MAPS = [name for name in FAMILIES if not name.startswith("vit")]


def images(n):
    """Large enough for maps of more than one place, strong enough to reach different classes."""
    return 3 * normal_images(n, 64)


class Wrapper(nn.Module):
    """A network of one's own around a torchvision network."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)


class Tiny(nn.Module):
    """Two maps, the image itself and its negative, averaged and weighed: everything can be worked out by hand."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.head.weight.copy_(torch.tensor([[8.0, 0.0], [4.0, 8.0]]))

    def forward(self, x):
        return self.head(self.maps(x).mean(dim=(2, 3)))


def test_the_value_worked_out_by_hand():
    image = torch.tensor([[[[1.0, -2.0], [4.0, 0.0]]]])
    net = Tiny()
    # class 0: the score is 8 * mean of the first map, so each of its four places has the gradient 8/4 = 2, the second
    # map has 0. The weighted sum is 2 * image, ReLU takes the negative place away, the largest value (8) becomes 1
    expected = torch.tensor([[[0.25, 0.0], [1.0, 0.0]]])
    assert torch.allclose(grad_cam(net, image, classes=0, at=net.maps), expected)
    # class 1: weights 1 and 2, so image - 2 * image = -image
    expected = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    assert torch.allclose(grad_cam(net, image, classes=1, at=net.maps), expected)


@pytest.mark.parametrize("family", WITH_MAPS)
def test_the_formula_of_the_paper(family):
    """The same map from torch's own pieces: run the stages, differentiate the class score, weigh the maps."""
    net, batch = build(family).eval(), images(3)
    parts = tl.stages(net)
    cut = next(i for i, part in enumerate(parts) if part.name in ("pool", "hidden", "head"))
    x = batch
    with torch.no_grad():
        for part in parts[:cut]:
            x = part(x)
    maps = x.clone().requires_grad_()
    x = maps.clone()
    for part in parts[cut:]:
        x = part(x)
    predicted = x.argmax(1, keepdim=True)
    (gradient,) = torch.autograd.grad(x.gather(1, predicted).sum(), maps)
    cam = F.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)).detach()
    cam = F.interpolate(cam, size=(64, 64), mode="bilinear")[:, 0]
    cam /= cam.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert cam.max() > 0.9
    assert torch.allclose(grad_cam(net, batch), cam, atol=1e-4)


@pytest.mark.parametrize("family", WITH_MAPS)
def test_frozen_or_not_in_no_grad_or_not_the_map_is_the_same(family):
    net, batch = build(family), images(2)
    with torch.no_grad():
        asked = net.eval()(batch).argmax(1)  # another class may have an empty map
    trained = grad_cam(net.train(), batch, classes=asked.tolist())
    assert trained.shape == (2, 64, 64) and trained.min() >= 0 and 0.9 < trained.max() <= 1
    net.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(grad_cam(net, batch, classes=asked.tolist()), trained)
    with torch.inference_mode():
        made_there = batch.clone()
        assert torch.equal(grad_cam(net, made_there, classes=asked), trained)


@pytest.mark.parametrize("family", WITH_MAPS)
def test_nothing_is_changed(family):
    net, batch = build(family).train(), images(2)
    frozen = list(net.parameters())[0]
    frozen.requires_grad_(False)
    net(batch).sum().backward()
    list(net.children())[-1].eval()
    weights, pixels = snapshot(net), batch.clone()
    gradients = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    flags = [p.requires_grad for p in net.parameters()]
    modes = [module.training for module in net.modules()]
    random = torch.get_rng_state()
    grad_cam(net, batch)
    assert not changed(weights, net) and torch.equal(batch, pixels) and not batch.requires_grad and batch.grad is None
    assert flags == [p.requires_grad for p in net.parameters()]
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(random, torch.get_rng_state())
    for p, before in zip(net.parameters(), gradients, strict=True):
        assert (p.grad is None) == (before is None) and (before is None or torch.equal(p.grad, before))
    assert not any(module._forward_hooks for module in net.modules())


def test_the_hook_goes_away_when_the_network_fails():
    net = build("resnet")
    with pytest.raises(RuntimeError):
        grad_cam(net, torch.randn(1, 5, 32, 32))
    assert not any(module._forward_hooks for module in net.modules())


def test_the_predicted_class_is_the_default():
    net, batch = build("resnet").eval(), images(3)
    assert torch.equal(grad_cam(net, batch), grad_cam(net, batch, classes=net(batch).argmax(1)))


def test_a_class_changes_the_map_and_the_rest_of_the_batch_does_not():
    net, batch = build("resnet"), images(3)
    assert not torch.allclose(grad_cam(net, batch, classes=0), grad_cam(net, batch, classes=1), atol=1e-2)
    assert torch.allclose(grad_cam(net, batch, 0)[1:2], grad_cam(net, batch[1:2], 0), atol=1e-5)


def test_a_place_can_be_chosen():
    net, batch = build("resnet"), images(1)
    assert torch.equal(grad_cam(net, batch, 0, at="layer2"), grad_cam(net, batch, 0, at=net.layer2))
    assert not torch.equal(grad_cam(net, batch, 0, at="layer1"), grad_cam(net, batch, 0, at="layer2"))


@pytest.mark.parametrize("family", WITH_MAPS)
def test_a_stage_and_its_last_module_give_the_same_map(family):
    """Swin's modules have their channels last: read the other way round they give another map, and no error."""
    net, batch, largest = build(family), images(2), []
    for part in tl.stages(net):
        if part.name.startswith(("stem", "layer", "block")):
            by_name = grad_cam(net, batch, at=part.name)
            assert torch.equal(by_name, grad_cam(net, batch, at=part.modules[-1])), part.name
            largest.append(by_name.amax())
    assert torch.stack(largest).median() > 0.9, "empty maps would prove nothing"


def test_modules_inside_a_swin_are_read_as_they_lie():
    net, batch = build("swin"), images(2)
    last, norm, permute = tl.stages(net)[-3].modules[-3:]
    expected = grad_cam(net, batch)
    assert expected.amax() > 0.9 and torch.equal(grad_cam(net, batch, at=permute), expected)
    assert torch.equal(grad_cam(net, batch, at=norm), expected), "the same maps, before they are turned round"
    whole = grad_cam(net, batch, at=last)
    assert torch.equal(grad_cam(net, batch, at=last[-1]), whole)
    assert torch.equal(grad_cam(net, batch, at=net.features), whole), "a container ends as its last part does"
    stem = net.features[0]  # a convolution, its maps turned round, a norm
    assert torch.equal(grad_cam(net, batch, at=stem[0]), grad_cam(net, batch, at=stem[1]))


@pytest.mark.parametrize("wrap", [Wrapper, nn.DataParallel, lambda net: nn.DataParallel(Wrapper(net))])
def test_a_wrapped_network_is_looked_into(wrap):
    net, batch = build("efficientnet"), images(2)
    assert torch.equal(grad_cam(wrap(net), batch, 1), grad_cam(net, batch, 1))


def test_the_maps_of_an_untrained_network_are_tiny_and_still_shown():
    net, image = Tiny(), torch.tensor([[[[1.0, -2.0], [4.0, 0.0]]]])
    with torch.no_grad():
        net.maps.weight.mul_(1e-20)
        net.head.weight.mul_(1e-10)
    assert torch.allclose(grad_cam(net, image, 0, at=net.maps), torch.tensor([[[0.25, 0.0], [1.0, 0.0]]]))


def test_an_image_that_says_nothing_for_the_class_gives_an_empty_map():
    net, image = Tiny(), torch.tensor([[[[-1.0, -2.0], [-4.0, 0.0]]]])
    assert grad_cam(net, image, 0, at=net.maps).abs().max() == 0


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (lambda: build("vit"), {}, "a vision transformer has none"),
        (lambda: Wrapper(build("vit")), {}, "a vision transformer has none"),
        (lambda: nn.Linear(2, 2), {}, "does not know the network Linear"),
        (lambda: Wrapper(nn.Linear(2, 2)), {}, "does not know the network Linear"),
        (lambda: build("resnet"), {"at": "layer9"}, "choose one of stem, layer1"),
        (lambda: build("resnet"), {"at": "pool"}, "choose one of stem, layer1"),
        (lambda: build("resnet"), {"at": nn.ReLU()}, "no part of this model's way"),
        (lambda: build("resnet"), {"classes": 10}, "must lie in 0 to 9"),
        (lambda: build("resnet"), {"classes": -1}, "must lie in 0 to 9"),
        (lambda: build("resnet"), {"classes": [1, 2, 3]}, "one for each of the 2 images"),
        (lambda: build("resnet"), {"classes": 1.5}, "one class number"),
    ],
)
def test_what_cannot_work_is_refused(model, arguments, message):
    with pytest.raises(CourseError, match=message):
        grad_cam(model(), images(2), **arguments)


def test_a_place_without_maps_is_refused():
    net = build("resnet")
    with pytest.raises(CourseError, match=r"gives \(2, 10\), but Grad-CAM needs feature maps"):
        grad_cam(net, images(2), at=net.fc)


@pytest.mark.parametrize("batch", [torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8), [1], torch.zeros(1, 3, 8, 8).byte()])
def test_what_is_no_batch_is_refused(batch):
    with pytest.raises(CourseError, match="normalised batch"):
        grad_cam(build("resnet"), batch)


def test_the_figure_shows_each_image_and_its_maps():
    batch, maps = tl.denormalize(images(4)), torch.rand(4, 64, 64)
    figure = show_grad_cam(batch, {"fine-tuned": maps, "frozen": maps.flip(0)}, titles=list("abcd"))
    shown = [ax for ax in figure.axes if ax.images]
    assert [len(ax.images) for ax in shown] == [1] * 4 + [2] * 8
    assert len(figure.axes) == 13  # and the colour bar
    assert [ax.get_title() for ax in shown[:4]] == list("abcd")
    assert torch.equal(torch.as_tensor(shown[4].images[1].get_array()), maps[0])
    assert shown[4].images[1].get_cmap().name == "inferno"
    assert [shown[i].get_ylabel() for i in (0, 4, 8)] == ["image", "fine-tuned", "frozen"]


def test_normalised_images_need_their_statistics():
    batch, maps = images(1), torch.rand(1, 64, 64)
    with pytest.raises(CourseError, match="pass mean= and std="):
        show_grad_cam(batch, maps)
    show_grad_cam(batch, maps, mean=tl.IMAGENET_MEAN, std=tl.IMAGENET_STD)


@pytest.mark.parametrize("counts", [(2, 1, 2), (2, 2, 1), (0, 0, 0)])
def test_numbers_that_differ_are_refused(counts):
    n, m, t = counts
    with pytest.raises(CourseError, match="as many maps and titles as images"):
        show_grad_cam(torch.rand(n, 3, 4, 4), torch.rand(m, 4, 4), titles=["x"] * t)
