"""What the full profile loads, without a network: planted files, and a server on this machine that misbehaves.

The weights are random numbers under torchvision's own file names; the flowers are eleven tiny pictures in the real
layout, packed into a real archive.
"""

import hashlib
import io
import socket
import tarfile

import numpy as np
import pytest
import torch
from loopback import Site
from PIL import Image
from torchvision import models
from torchvision.datasets import Flowers102

import tlhelpers as tl
from tlhelpers import datasets, downloads
from tlhelpers.session import Course

ARCHIVE = "102flowers.tgz"


@pytest.fixture
def course(tmp_path):
    bundled = tl.data_dir()
    return Course("full", torch.device("cpu"), 0, bundled, tmp_path / "downloads")


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def file_name(arch):
    return models.get_model_weights(arch).DEFAULT.url.rpartition("/")[2]


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "efficientnet_b0"])
def test_planted_imagenet_weights_are_used_without_a_download(arch, torch_home, course, capsys):
    planted = models.get_model(arch, weights=None)
    torch.save(planted.state_dict(), torch_home / file_name(arch))
    loaded = models.get_model(arch, weights="DEFAULT")
    model, weights = tl.pretrained(course, arch)
    expected = planted.state_dict()
    for other in (loaded, model):
        assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())
    assert weights == models.get_model_weights(arch).DEFAULT
    assert tl.from_weights(weights)[0] == 224
    assert "could not" not in capsys.readouterr().out


def test_weights_that_cannot_be_had_leave_no_partial_file_and_a_working_course(torch_home, course, capsys):
    model, weights = tl.pretrained(course, "resnet18", num_classes=5)
    assert "resnet10" in capsys.readouterr().out
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    assert tl.from_weights(weights)[0] == 64
    assert list(torch_home.iterdir()) == []


@pytest.mark.parametrize("trouble", ["cut", "damage", "stall"])
def test_weights_download_that_goes_wrong_is_removed_and_explained(trouble, torch_home, course, monkeypatch, capsys):
    name = file_name("squeezenet1_1")
    site = Site({name: b"not really weights " * 5000}, **{trouble: [name]})
    fetch = torch.hub.load_state_dict_from_url
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda url, **options: fetch(site.url + name, **options)
    )
    monkeypatch.setattr(downloads.no_endless_wait.__wrapped__, "__defaults__", (0.3,))  # seconds of patience
    with pytest.raises(tl.CourseError, match="squeezenet1_1"):
        tl.pretrained(course, "squeezenet1_1")
    site.close()
    assert list(torch_home.iterdir()) == []
    assert socket.getdefaulttimeout() is None


def jpeg(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, 80, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def mat(**arrays):
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {name: np.array([values]) for name, values in arrays.items()})
    return buffer.getvalue()


@pytest.fixture
def flowers(monkeypatch):
    """The three files of Flowers102 in small, and torchvision's class told their checksums."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number in range(1, 12):
            member = tarfile.TarInfo(f"jpg/image_{number:05d}.jpg")
            content = jpeg(number * 20)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    files = {
        ARCHIVE: buffer.getvalue(),
        "imagelabels.mat": mat(labels=[1, 102, 3, 4, 5, 6, 7, 8, 9, 10, 54]),
        "setid.mat": mat(trnid=[1, 2], valid=[3, 4], tstid=[11, 6, 7]),
    }
    names = {"image": ARCHIVE, "label": "imagelabels.mat", "setid": "setid.mat"}
    known = {key: (name, hashlib.md5(files[name]).hexdigest()) for key, name in names.items()}
    monkeypatch.setattr(Flowers102, "_file_dict", known)
    return files


@pytest.fixture
def serve_flowers(flowers, monkeypatch):
    sites = []

    def start(**trouble):
        sites.append(Site(flowers, **trouble))
        monkeypatch.setattr(Flowers102, "_download_url_prefix", sites[-1].url)
        return sites[-1]

    monkeypatch.setattr(datasets, "TIMEOUT_SECONDS", 0.3)
    yield start
    for site in sites:
        site.close()


def left_over(course):
    return sorted(path.name for path in course.downloads.iterdir()) if course.downloads.exists() else []


def test_real_flowers_are_downloaded_once_checked_and_read(course, serve_flowers):
    site = serve_flowers()
    train = tl.flowers102(course, "train", tl.eval_transform(8))
    assert type(train) is Flowers102 and train.targets == [0, 101]
    assert train[0][0].shape == (3, 8, 8) and train.classes[101] == "blackberry lily"
    asked = len(site.requests)
    test = tl.flowers102(course, "test")
    assert test.classes[test.targets[0]] == "sunflower" and test[0][0].getpixel((5, 5))[0] == pytest.approx(220, abs=4)
    assert len(site.requests) == asked, "the second split needs no second download"
    assert left_over(course) == ["flowers-102"]
    assert not (course.downloads / "flowers-102" / ARCHIVE).exists(), "the unpacked archive is not kept"


def test_a_planted_folder_is_used_without_a_request(course, serve_flowers, flowers, tmp_path):
    serve_flowers().close()
    base = course.downloads / "flowers-102"
    base.mkdir(parents=True)
    (base / ARCHIVE).write_bytes(flowers[ARCHIVE])
    with tarfile.open(base / ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(base)
    for name in ("imagelabels.mat", "setid.mat"):
        (base / name).write_bytes(flowers[name])
    assert type(tl.flowers102(course, "val")) is Flowers102


TROUBLES = {
    "cut short": ({"cut": [ARCHIVE]}, "cut short or damaged"),
    "damaged": ({"damage": [ARCHIVE]}, "cut short or damaged"),
    "stalled": ({"stall": [ARCHIVE]}, "stopped answering"),
    "never answered": ({"silent": True}, "stopped answering"),
    "refused": ({"status": 403}, "HTTP 403"),
    "gone": ({"status": 404}, "HTTP 404"),
    "labels damaged": ({"damage": ["setid.mat"]}, "cut short or damaged"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failed_download_is_removed_explained_and_replaced_by_mini(trouble, course, serve_flowers, capsys):
    options, reason = TROUBLES[trouble]
    site = serve_flowers(**options)
    train = tl.flowers102(course, "train")
    said = capsys.readouterr().out
    assert isinstance(train, tl.MiniFlowers102)
    assert reason in said and "mini" in said and len(said.splitlines()) == 2
    assert left_over(course) == [], "nothing incomplete is kept"
    assert socket.getdefaulttimeout() is None, "the setting of the process is restored"
    # the server recovers, yet the other splits of this course stay mini: real and bundled never mix
    site.__dict__.update(cut=set(), stall=set(), damage=set(), status=200, silent=False)
    assert isinstance(tl.flowers102(course, "test"), tl.MiniFlowers102)
    again = Course(course.profile, course.device, course.seed, course.data, course.downloads)
    assert type(tl.flowers102(again, "train")) is Flowers102, "a new start tries again"


def test_no_server_at_all(course, serve_flowers, capsys):
    serve_flowers().close()
    assert isinstance(tl.flowers102(course), tl.MiniFlowers102)
    assert "no connection" in capsys.readouterr().out


def test_an_unpacking_that_was_interrupted_is_repaired(course, serve_flowers):
    serve_flowers()
    tl.flowers102(course)
    lost = course.downloads / "flowers-102" / "jpg" / "image_00007.jpg"
    lost.unlink()
    assert type(tl.flowers102(course, "test")) is Flowers102 and lost.exists()


def test_an_interrupt_during_the_download_leaves_nothing_and_is_not_swallowed(course, serve_flowers, monkeypatch):
    serve_flowers()

    def interrupted(self):
        (self._base_folder).mkdir(parents=True)
        (self._base_folder / ARCHIVE).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Flowers102, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tl.flowers102(course)
    assert left_over(course) == []


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_named(
    course, serve_flowers, monkeypatch, capsys, tmp_path
):
    import errno

    serve_flowers()

    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Flowers102, "download", full)
    assert isinstance(tl.flowers102(course), tl.MiniFlowers102)
    assert "the disk is full" in capsys.readouterr().out
    (tmp_path / "file").write_bytes(b"a file where a folder should be")
    blocked = Course("full", course.device, 0, course.data, tmp_path / "file" / "downloads")
    assert isinstance(tl.flowers102(blocked), tl.MiniFlowers102)
    assert "could not be downloaded" in capsys.readouterr().out


def test_leftovers_of_a_killed_process_are_removed_after_a_day(course, serve_flowers):
    import os
    import time

    serve_flowers()
    old, young = (course.downloads / f"flowers-102.incomplete-{name}" for name in ("old", "young"))
    for folder in (old, young):
        (folder / "flowers-102").mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    tl.flowers102(course)
    assert not old.exists() and young.exists()


def test_a_damaged_real_photograph_is_named(course, serve_flowers):
    serve_flowers()
    tl.flowers102(course)
    broken = course.downloads / "flowers-102" / "jpg" / "image_00001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(tl.CourseError, match="image_00001.jpg"):
        tl.flowers102(course)[0]
