"""Every real weights file that a lesson or recipe asks for, planted under its own name: loading without a network.

A planted file has the names, shapes and kinds of the real one, and in every tensor a number of its own, stored once
("expanded"): 500 MB of VGG become a few kilobytes. What arrives in the network has to be these numbers.
"""

import zlib

import pytest
import torch
from loopback import Site
from torch import nn
from torchvision import models

import tlhelpers as tl

# classifiers, and where the new head is
CLASSIFIERS = {
    "resnet18": "fc",
    "resnet50": "fc",
    "efficientnet_b0": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "mobilenet_v3_large": "classifier.3",
    "squeezenet1_1": "classifier.3",
    "vgg16": "classifier.6",
    "vit_b_16": "heads.head",
    "convnext_tiny": "classifier.2",
    "swin_t": "head",
}
DETECTORS = {
    "fasterrcnn_resnet50_fpn": "roi_heads.box_predictor",
    "fasterrcnn_resnet50_fpn_v2": "roi_heads.box_predictor",
    "ssdlite320_mobilenet_v3_large": "head.classification_head",
}
SEGMENTERS = {
    "deeplabv3_resnet50": ("classifier", "aux_classifier"),
    "lraspp_mobilenet_v3_large": ("classifier.low_classifier", "classifier.high_classifier"),
}
STAND_INS = {"resnet18": "resnet10", "resnet50": "resnet10", "efficientnet_b0": "efficientnet_mini", "vgg16": "vgg9_bn"}


@pytest.fixture
def course(tmp_path):
    return tl.Course("full", torch.device("cpu"), 0, tl.data_dir(), tmp_path / "downloads")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """An empty folder where torchvision keeps its downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(autouse=True)
def no_random_weights(monkeypatch):
    """Drawing 138 million random numbers for VGG16 takes seconds; all of them are overwritten here."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "xavier_uniform_", "normal_", "uniform_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def file_name(arch):
    return models.get_model_weights(arch).DEFAULT.url.rpartition("/")[2]


def recognisable(state):
    """The same names, shapes and kinds of numbers, each tensor filled with a number that follows from its name."""
    planted = {}
    for name, tensor in state.items():
        number = zlib.crc32(name.encode()) % 997 + 1
        one = torch.full((1,), number / 1000 if tensor.is_floating_point() else number % 7 + 1, dtype=tensor.dtype)
        planted[name] = one.expand(tensor.shape) if tensor.ndim else one[0]
    return planted


def published(arch):
    """What a file with the default weights of `arch` holds, in recognisable numbers."""
    options = {} if arch in CLASSIFIERS else {"weights_backbone": None}
    if arch.startswith("deeplab"):
        options["aux_loss"] = True  # the file holds the second head as well
    with torch.device("meta"):  # shapes without memory
        state = models.get_model(arch, weights=None, **options).state_dict()
    return recognisable(state)


def plant(folder, arch, share=1.0):
    """Put the file of `arch` into `folder`, or the first `share` of its bytes."""
    file = folder / file_name(arch)
    torch.save(published(arch), file)
    assert file.stat().st_size < 1_000_000
    if share < 1:
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    return file


def not_from(planted, model):
    """The names in `model` whose shape or numbers are not the planted ones."""
    different = set()
    for name, tensor in model.state_dict().items():
        same = name in planted and planted[name].shape == tensor.shape
        if not (same and tensor.min() == tensor.max() == planted[name].flatten()[0]):
            different.add(name)
    return different


def under(model, *parts):
    return {name for name in model.state_dict() if name.startswith(tuple(f"{part}." for part in parts))}


@pytest.mark.parametrize("arch", CLASSIFIERS)
def test_a_planted_classifier_arrives_and_only_its_head_is_new(arch, course, checkpoints, capsys):
    plant(checkpoints, arch)
    model, weights = tl.pretrained(course, arch, num_classes=5)
    assert not_from(published(arch), model) == under(model, CLASSIFIERS[arch])
    assert weights is models.get_model_weights(arch).DEFAULT and tl.from_weights(weights)[0] == 224
    tl.check_head(model, 5)
    assert capsys.readouterr().out == ""


def test_without_a_number_of_classes_everything_is_as_in_the_file(course, checkpoints):
    plant(checkpoints, "squeezenet1_1")
    model, _ = tl.pretrained(course, "squeezenet1_1")
    assert not_from(published("squeezenet1_1"), model) == set()


@pytest.mark.parametrize("arch", DETECTORS)
def test_a_planted_detector_arrives_and_needs_no_second_file_for_its_backbone(arch, course, checkpoints):
    plant(checkpoints, arch)
    model = tl.detector(course, 4, arch)
    assert not_from(published(arch), model) == under(model, DETECTORS[arch])
    assert [file.name for file in checkpoints.iterdir()] == [file_name(arch)]


def test_the_detector_of_the_full_profile_is_faster_rcnn(course, checkpoints):
    plant(checkpoints, "fasterrcnn_resnet50_fpn")
    model = tl.detector(course, 4)
    assert not_from(published("fasterrcnn_resnet50_fpn"), model) == under(model, "roi_heads.box_predictor")
    assert model.roi_heads.box_predictor.cls_score.out_features == 4


@pytest.mark.parametrize("arch", SEGMENTERS)
def test_a_planted_segmenter_arrives_and_needs_no_second_file_for_its_backbone(arch, course, checkpoints):
    plant(checkpoints, arch)
    model = tl.segmenter(course, 4, arch)
    assert not_from(published(arch), model) == under(model, *SEGMENTERS[arch])
    assert [file.name for file in checkpoints.iterdir()] == [file_name(arch)]


def test_the_segmenter_of_the_full_profile_is_deeplab(course, checkpoints):
    plant(checkpoints, "deeplabv3_resnet50")
    model = tl.segmenter(course, 4)
    assert not_from(published("deeplabv3_resnet50"), model) == under(model, "classifier", "aux_classifier")


@pytest.mark.parametrize("arch", CLASSIFIERS)
@pytest.mark.parametrize("file", ["missing", "cut"])
def test_a_classifier_that_cannot_be_had_is_replaced_or_explained(arch, file, course, checkpoints, capsys):
    if file == "cut":
        plant(checkpoints, arch, share=0.5)
    reason = f"The weights of {arch} could not be loaded: no connection to the server."
    if arch in STAND_INS:
        model, weights = tl.pretrained(course, arch, num_classes=5)
        assert weights is models.get_model_weights(STAND_INS[arch]).DEFAULT
        tl.check_head(model, 5)
    else:
        with pytest.raises(tl.CourseError) as caught:
            tl.pretrained(course, arch, num_classes=5)
        assert reason in str(caught.value) and "resnet10" in str(caught.value)
    expected = [f"{reason} Going on with the bundled {STAND_INS[arch]}."] if arch in STAND_INS else []
    if file == "cut":
        expected = [*removed(arch), *expected]
    assert printed(capsys) == expected
    assert list(checkpoints.iterdir()) == [], "nothing damaged or half loaded is kept"


def printed(capsys):
    """What the course says; some versions of torch print the address before a download."""
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("Downloading:")]


def removed(arch):
    return [f"The weights file {file_name(arch)} was cut short or damaged and has been removed; fetching it again."]


@pytest.mark.parametrize("arch", [*DETECTORS, *SEGMENTERS])
@pytest.mark.parametrize("file", ["missing", "cut"])
def test_a_detector_or_segmenter_that_cannot_be_had_is_explained(arch, file, course, checkpoints, capsys):
    if file == "cut":
        plant(checkpoints, arch, share=0.5)
    build = tl.detector if arch in DETECTORS else tl.segmenter
    with pytest.raises(tl.CourseError, match=f"weights of {arch} could not be loaded: no connection .*profile='mini'"):
        build(course, 4, arch)
    assert printed(capsys) == (removed(arch) if file == "cut" else [])
    assert list(checkpoints.iterdir()) == []


def load(course, arch):
    if arch in CLASSIFIERS:
        return tl.pretrained(course, arch)[0]
    return (tl.detector if arch in DETECTORS else tl.segmenter)(course, 4, arch)


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_a_cut_file_is_fetched_once_more_and_kept_for_the_next_time(arch, course, checkpoints, monkeypatch, capsys):
    whole = plant(checkpoints, arch)
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    site = Site({file_name(arch): content})
    fetch = torch.hub.load_state_dict_from_url

    def from_here(url, check_hash, **options):  # the planted file is not the one its name has the checksum of
        return fetch(site.url + url.rpartition("/")[2], **options)

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", from_here)
    model = load(course, arch)
    new = {**DETECTORS, **SEGMENTERS}.get(arch, ())
    assert not_from(published(arch), model) == under(model, *([new] if isinstance(new, str) else new))
    assert printed(capsys) == removed(arch)
    assert whole.read_bytes() == content and len(site.requests) == 1
    site.close()
    load(course, arch)
    assert capsys.readouterr().out == "", "the second time no server is asked"


def test_a_file_with_tensors_of_another_network_is_not_taken_for_a_good_one(course, checkpoints):
    torch.save(published("squeezenet1_1"), checkpoints / file_name("mobilenet_v3_small"))
    with pytest.raises(tl.CourseError, match="weights of mobilenet_v3_small could not be loaded"):
        tl.pretrained(course, "mobilenet_v3_small")
    assert list(checkpoints.iterdir()) == []


# names of timm as the course uses them, and the head of each
TIMM = {"resnet18": "fc", "mobilenetv3_small_100": "classifier", "vit_tiny_patch16_224": "head"}


@pytest.mark.parametrize("name", TIMM)
def test_a_planted_file_in_the_hubs_cache_arrives_in_timms_network(name, course, tmp_path, monkeypatch, capsys):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    planted = recognisable(timm.create_model(name).state_dict())
    repository = tmp_path / "hub" / f"models--{timm.get_pretrained_cfg(name).hf_hub_id.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for folder in ("refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    torch.save(planted, repository / "snapshots" / commit / "pytorch_model.bin")
    model = tl.timm_pretrained(course, name, num_classes=5)
    assert not_from(planted, model) == under(model, TIMM[name])
    assert model.get_classifier().out_features == 5
    assert capsys.readouterr().out == ""
