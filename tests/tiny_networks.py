"""Small members of the torchvision families, with weights and BatchNorm statistics that are far from trivial."""

import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vgg import make_layers
from torchvision.models.vision_transformer import VisionTransformer


def resnet():
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    net.layer4 = nn.Identity()  # half of the weights, none of the interest
    net.fc = nn.Linear(256, 10)
    return net


def _with_small_classifier(build, features, classifier):
    with torch.device("meta"):  # the real classifier has 100 million weights: never make them
        net = build()
    net.features, net.avgpool, net.classifier = features, nn.AdaptiveAvgPool2d(2), classifier
    return net


def vgg():
    layers = [nn.Linear(64, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 12), nn.ReLU(True), nn.Dropout()]
    features = make_layers([8, "M", 16, "M", 16, 16, "M"], batch_norm=True)
    return _with_small_classifier(models.vgg11, features, nn.Sequential(*layers, nn.Linear(12, 10)))


def alexnet():
    layers = [nn.Dropout(), nn.Linear(64, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 12), nn.ReLU(True)]
    convolutions = [nn.Conv2d(3, 8, 5, 2), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(True)]
    return _with_small_classifier(
        models.alexnet, nn.Sequential(*convolutions, nn.MaxPool2d(2)), nn.Sequential(*layers, nn.Linear(12, 10))
    )


def efficientnet():
    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0), MBConvConfig(4, 3, 2, 8, 12, 2, 1.0, 1.0)]
    return EfficientNet(blocks, dropout=0.2, num_classes=10, last_channel=32)


def convnext():
    pairs = [(8, 12), (12, 16), (16, 20), (20, None)]
    return ConvNeXt([CNBlockConfig(a, b, 1) for a, b in pairs], stochastic_depth_prob=0.1, num_classes=10)


def vit(representation_size=None):
    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, dropout=0.1,
        num_classes=10, representation_size=representation_size,
    )  # fmt: skip


def swin():
    return SwinTransformer([4, 4], 8, [1, 1, 1, 1], [1, 1, 2, 2], [2, 2], stochastic_depth_prob=0.1, num_classes=10)


def densenet():
    return DenseNet(growth_rate=4, block_config=(1, 2, 1, 1), num_init_features=8, num_classes=10)


FAMILIES = {
    "resnet": resnet,
    "vgg": vgg,
    "alexnet": alexnet,
    "squeezenet": lambda: models.squeezenet1_1(num_classes=10),
    "densenet": densenet,
    "efficientnet": efficientnet,
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=10, width_mult=0.25),
    "mobilenet_v3": lambda: models.mobilenet_v3_small(num_classes=10, width_mult=0.25),
    "convnext": convnext,
    "swin": swin,
    "vit": vit,
    "vit_with_hidden": lambda: vit(representation_size=8),
}


def build(family, seed=0):
    """A tiny network whose every parameter and statistic is random: nothing is equal by accident."""
    torch.manual_seed(seed)
    net = FAMILIES[family]()
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point() and tensor.ndim <= 1:
                tensor.uniform_(0.5, 1.5)
        if family.startswith("vit"):
            net.heads.head.weight.normal_(std=0.3)  # torchvision starts it at zero
    return net


def images(n=4, size=32, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def snapshot(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(before, net):
    """Names of the parameters and buffers that are not bit-equal any more."""
    return {name for name, tensor in net.state_dict().items() if not torch.equal(before[name], tensor)}
