"""How timm's networks are laid out: the same stages as in `layouts.py`, read from the network's class without timm.

timm has more than a hundred classes; these are the ones behind most names that `timm.list_models()` gives.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layouts import Layout, Stage, numbered, with_channels_in, with_stem

NAMES = "ResNet, EfficientNet, MobileNetV3, RegNet, ConvNeXt, SwinTransformer, VisionTransformer"


def timm_layout(m: nn.Module) -> Layout | None:
    """Return the layout of a timm classifier whose class is known, None for any other network.

    >>> timm_layout(nn.Linear(2, 2)) is None
    True
    """
    for cls in type(m).__mro__:
        read = FAMILIES.get(f"{cls.__module__}.{cls.__name__}")
        if read is not None:
            # a class that inherits and takes another way (DeiT with two heads, say) is another network
            ways = ("forward", "forward_features", "forward_head")
            return read(m) if all(getattr(type(m), way) is getattr(cls, way) for way in ways) else None
    return None


def _resnet(m: nn.Module) -> Layout:
    layers = [Stage(f"layer{i}", [getattr(m, f"layer{i}")]) for i in (1, 2, 3, 4)]
    stem = Stage("stem", [m.conv1, m.bn1, m.act1, m.maxpool])
    return Layout([stem, *layers, Stage("pool", [m.global_pool]), Stage("head", [*_dropout(m), m.fc])], "fc")


def _efficientnet(m: nn.Module) -> Layout:
    body = with_stem([[m.conv_stem, m.bn1], *([block] for block in m.blocks), [m.conv_head, m.bn2]])
    head = Stage("head", [*_dropout(m), m.classifier])
    return Layout([*body, Stage("pool", [m.global_pool]), head], "classifier")


def _mobilenet_v3(m: nn.Module) -> Layout:
    body = with_stem([[m.conv_stem, m.bn1], *([block] for block in m.blocks)])
    hidden = [m.conv_head, getattr(m, "norm_head", nn.Identity()), m.act2, m.flatten]
    head = Stage("head", [*_dropout(m), m.classifier])
    return Layout([*body, Stage("pool", [m.global_pool]), Stage("hidden", hidden), head], "classifier")


def _regnet(m: nn.Module) -> Layout:
    return _with_head(m, with_stem([[m.stem], [m.s1], [m.s2], [m.s3], [m.s4, m.final_conv]]))


def _convnext(m: nn.Module) -> Layout:
    body = with_stem([[m.stem], *([stage] for stage in m.stages)])
    body[-1].modules.append(m.norm_pre)
    return _with_head(m, body)


def _swin(m: nn.Module) -> Layout:
    body = with_channels_in(3, with_stem([[m.patch_embed], *([layer] for layer in m.layers)]))
    body[-1].modules.append(m.norm)
    return _with_head(m, body)


def _with_head(m: nn.Module, body: list[Stage]) -> Layout | None:
    """Take timm's head module apart: pooling, perhaps a norm and hidden layers, then dropout and the last layer."""
    pool, last = [m.head.global_pool], [m.head.drop, m.head.fc]
    if isinstance(m.head.fc, nn.Conv2d):
        return None  # built without pooling: its scores are maps
    if not hasattr(m.head, "norm"):
        return Layout([*body, Stage("pool", pool), Stage("head", [*last, m.head.flatten])], "head.fc")
    hidden = [m.head.norm, m.head.flatten, m.head.pre_logits]
    return Layout([*body, Stage("pool", pool), Stage("hidden", hidden), Stage("head", last)], "head.fc")


def _vision_transformer(m: nn.Module) -> Layout:
    blocks = numbered([[block] for block in m.blocks])
    blocks[-1].modules.append(m.norm)
    body = with_channels_in(2, [Stage("stem", [_Tokens(m)]), *blocks])
    # pooling by attention, and a norm behind the pooling, have parameters: `pool` has none by definition
    name = "hidden" if any(True for part in (m.attn_pool, m.fc_norm) if part for _ in part.parameters()) else "pool"
    middle = Stage(name, [_Pool(m), m.fc_norm])
    return Layout([*body, middle, Stage("head", [m.head_drop, m.head])], "head")


def _dropout(m: nn.Module) -> list[nn.Module]:
    """timm calls this dropout as a function; as a module it can be switched off by a half of the network as well."""
    return [nn.Dropout(float(m.drop_rate)).train(m.training)] if m.drop_rate else []


class _Tokens(nn.Module):
    """The input side of timm's VisionTransformer: (N, 3, H, W) -> (N, tokens, width).

    Modules and parameters are the transformer's own, not copies, and its own method adds class token and positions.
    """

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.patch_embed, self.pos_drop = vit.patch_embed, vit.pos_drop
        self.patch_drop, self.norm_pre = vit.patch_drop, vit.norm_pre
        self.cls_token, self.reg_token, self.pos_embed = vit.cls_token, vit.reg_token, vit.pos_embed
        self.with_positions = vit._pos_embed  # a method, so nothing of the network is registered twice

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_pre(self.patch_drop(self.with_positions(self.patch_embed(x))))


class _Pool(nn.Module):
    """(N, tokens, width) -> (N, width) as this transformer does it: class token, mean or attention."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.attn_pool, self.pooled = vit.attn_pool, vit.pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(x)


FAMILIES = {
    "timm.models.resnet.ResNet": _resnet,
    "timm.models.efficientnet.EfficientNet": _efficientnet,
    "timm.models.mobilenetv3.MobileNetV3": _mobilenet_v3,
    "timm.models.regnet.RegNet": _regnet,
    "timm.models.convnext.ConvNeXt": _convnext,
    "timm.models.swin_transformer.SwinTransformer": _swin,
    "timm.models.swin_transformer_v2.SwinTransformerV2": _swin,
    "timm.models.vision_transformer.VisionTransformer": _vision_transformer,
}
