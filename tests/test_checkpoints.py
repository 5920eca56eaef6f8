"""A checkpoint is complete or absent, and one that does not fit is refused by name."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import build, changed, snapshot
from torch import nn

import tlhelpers as tl
from tlhelpers import checkpoints
from tlhelpers.checkpoints import check_writable, copy_of_state


@pytest.fixture
def saved(tmp_path):
    """The file of an old checkpoint, and the network in it."""
    net = build("resnet")
    return tl.save_checkpoint(tmp_path / "best.pt", net, classes=["ant", "bee"], epoch=3), net


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "best.pt")


def test_round_trip_brings_everything_back(tmp_path):
    net = build("resnet")
    history = tl.History(train_loss=[1.0], val_loss=[0.5], learning_rates=[[0.1, 0.01]], best_epoch=1)
    extras = dict(
        accuracy=np.float64(0.5), count=np.int64(3), flag=True, nothing=None, sizes=(1, 2), mean=torch.ones(3)
    )
    file = tl.save_checkpoint(tmp_path / "new" / "best.pt", net, history=history, classes=("ant", "bee"), **extras)
    twin = build("resnet", seed=1)
    content = tl.load_checkpoint(str(file), twin, classes=["ant", "bee"])
    assert not changed(snapshot(net), twin)
    assert tl.History.from_dict(content["history"]) == history
    assert content["classes"] == ["ant", "bee"] and content["architecture"] == "ResNet"
    assert content["accuracy"] == 0.5 and type(content["accuracy"]) is float and type(content["count"]) is int
    assert content["flag"] is True and content["nothing"] is None and content["sizes"] == [1, 2]
    assert torch.equal(content["mean"], torch.ones(3))
    assert torch.load(file, weights_only=True)["version"] == checkpoints.VERSION
    assert leftovers(file.parent) == []


def test_half_precision_and_requires_grad_do_not_get_in_the_way(tmp_path):
    net = build("resnet")
    tl.freeze(net)
    twin = build("resnet", seed=1)
    tl.load_checkpoint(tl.save_checkpoint(tmp_path / "best.pt", net), twin)
    assert not changed(snapshot(net), twin) and len(tl.trainable_parameters(twin)) == len(list(twin.parameters()))


def test_wrapped_models_are_saved_and_loaded_under_plain_names(tmp_path, saved):
    file, net = saved
    wrapped = tl.save_checkpoint(tmp_path / "wrapped.pt", nn.DataParallel(torch.compile(net)))
    assert list(tl.load_checkpoint(wrapped)["model"]) == list(net.state_dict())
    twin = build("resnet", seed=1)
    tl.load_checkpoint(file, torch.compile(nn.DataParallel(twin)))
    assert not changed(snapshot(net), twin)


def test_what_cannot_be_read_back_is_refused_by_name(tmp_path):
    net = nn.Linear(2, 2)
    for value, where in [({"a": [object()]}, r"extra\['a'\]\[0\] is a object"), (np.ones(2), "extra is a ndarray"),
                         (Path("x"), "extra is a .*Path"), (lambda: 0, "extra is a function")]:  # fmt: skip
        with pytest.raises(tl.CourseError, match=where):
            tl.save_checkpoint(tmp_path / "best.pt", net, extra=value)
    with pytest.raises(tl.CourseError, match="version is a name of the file's own"):
        tl.save_checkpoint(tmp_path / "best.pt", net, version=2)
    assert leftovers(tmp_path) == []


def test_copy_of_state_does_not_follow_the_model():
    net = build("resnet")
    kept = copy_of_state(net)
    before = {name: tensor.clone() for name, tensor in kept.items()}
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.add_(1)
    assert all(torch.equal(kept[name], before[name]) for name in before)
    assert all(tensor.device.type == "cpu" for tensor in kept.values())


def refused(file, model=None, classes=None):
    """Load, expect a CourseError that names the file, and an unchanged model; return the message."""
    before = snapshot(model) if model is not None else {}
    with pytest.raises(tl.CourseError) as error:
        tl.load_checkpoint(file, model, classes)
    assert Path(file).name in str(error.value)
    assert model is None or not changed(before, model)
    return str(error.value)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.99])
def test_truncated_file(saved, keep):
    file, net = saved
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    assert "cut short or damaged" in refused(file, net)


def pickled(value):
    return pickle.dumps(value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x89PNG\r\n\x1a\n" + bytes(50), pickled({"a": 1})])
def test_foreign_file(tmp_path, content):
    file = tmp_path / "photo.pt"
    file.write_bytes(content)
    assert "is not a checkpoint of this course" in refused(file, nn.Linear(2, 2))


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harm-done",))


def test_foreign_file_with_code_in_it_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": checkpoints.FORMAT, "model": Harmful()}, "best.pt")
    assert "is not a checkpoint of this course" in refused(tmp_path / "best.pt")
    assert not Path("harm-done").exists()


def test_plain_state_dict_says_how_to_load_it(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pth")
    assert "model.load_state_dict(torch.load(path, weights_only=True))" in refused(tmp_path / "weights.pth")
    torch.save(torch.ones(3), tmp_path / "weights.pth")
    assert "is not a checkpoint of this course." in refused(tmp_path / "weights.pth")


def test_file_of_a_newer_version_or_with_parts_missing(saved):
    file, net = saved
    content = torch.load(file, weights_only=True)
    torch.save({**content, "version": checkpoints.VERSION + 1}, file)
    assert "written by a newer tlhelpers" in refused(file, net)
    torch.save({name: value for name, value in content.items() if name != "model"}, file)
    assert "damaged: model is missing" in refused(file, net)


def test_other_architecture(saved):
    file, net = saved
    message = refused(file, build("squeezenet"))
    assert "ResNet there, SqueezeNet here" in message and "more" in message
    message = refused(file, tl.replace_head(build("resnet"), 3))
    assert "fc.weight is (10, 256) there, (3, 256) here" in message and "replace_head" in message


def test_other_classes(saved):
    file, net = saved
    assert "label 0 is 'ant' there, 'bee' here" in refused(file, net, ["bee", "ant"])
    assert "2 there, 3 here; one list goes on" in refused(file, net, ["ant", "bee", "wasp"])
    assert "holds no class names" in refused(tl.save_checkpoint(file, net), net, ["ant", "bee"])


def test_missing_file_and_folder(tmp_path):
    assert "there is no such file" in refused(tmp_path / "nowhere.pt")
    assert "there is no such file" in refused(tmp_path)


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_failed_save_keeps_the_old_file_and_leaves_nothing(saved, monkeypatch, where):
    file, net = saved
    before = file.read_bytes()
    monkeypatch.setattr(checkpoints.os, where, full_disk)
    with pytest.raises(tl.CourseError, match=r"best.pt was not saved: the disk is full\. An older file is as it was"):
        tl.save_checkpoint(file, build("resnet", seed=1))
    assert file.read_bytes() == before and leftovers(file.parent) == []


def test_a_write_that_really_stops_halfway(saved):
    """A limit on the size of files breaks the write itself, as a full disk does."""
    resource = pytest.importorskip("resource")
    assert resource
    file, _ = saved
    before = file.read_bytes()
    code = (
        "import resource, signal, sys, torch, tlhelpers as tl\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    tl.save_checkpoint(sys.argv[1], torch.nn.Linear(1000, 1000))\n"
        "except tl.CourseError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:") and "best.pt was not saved" in done.stdout
    assert file.read_bytes() == before and leftovers(file.parent) == []


def test_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def read_only(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", read_only)
    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(tl.CourseError, match="the folder cannot be written to"):
        tl.save_checkpoint(tmp_path / "best.pt", nn.Linear(2, 2))
    with pytest.raises(tl.CourseError, match="No checkpoint can be saved at .*the folder cannot be written to"):
        check_writable(tmp_path / "best.pt")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_real_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(tl.CourseError, match="the folder cannot be written to"):
            tl.save_checkpoint(tmp_path / "best.pt", nn.Linear(2, 2))
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_and_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(tl.CourseError, match="was not saved"):
        tl.save_checkpoint(tmp_path / "file" / "best.pt", nn.Linear(2, 2))
    with pytest.raises(tl.CourseError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(tl.CourseError, match="was not saved"):
        tl.save_checkpoint(tmp_path, nn.Linear(2, 2))
    check_writable(tmp_path / "deep" / "best.pt")
    assert leftovers(tmp_path) == ["deep", "file"] and leftovers(tmp_path / "deep") == []
