"""The setup call, the environment check, and what `import tlhelpers` costs and offers."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import serve  # noqa: F401

import tlhelpers as tl
from tlhelpers import environment, session
from tlhelpers.__main__ import main

ROOT = Path(tl.__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in ("TLHELPERS_PROFILE", "TLHELPERS_DOWNLOADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TLHELPERS_DATA", str(tmp_path))


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_start_decides_prints_and_seeds(capsys):
    course = tl.start(seed=3, device="cpu")
    first = draw()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Profile", "Device", "Seed"]
    assert course.profile == "mini" and course.device == torch.device("cpu") and course.seed == 3
    assert tl.start(seed=3, device="cpu") == course and draw() == first
    tl.start(seed=4, device="cpu")
    assert draw() != first


def test_start_prints_the_same_lines_each_time(capsys):
    tl.start()
    once = capsys.readouterr().out
    tl.start()
    assert capsys.readouterr().out == once
    assert str(Path.home()) not in once


def test_pick_returns_the_value_of_the_profile():
    assert tl.start(profile="mini").pick(mini=4, full=15) == 4
    assert tl.start(profile="full").pick(mini=4, full=15) == 15


def test_profile_argument_beats_environment_beats_device(monkeypatch):
    monkeypatch.setattr(session, "network_available", lambda: True)
    assert session.choose_profile(None, "cpu")[0] == "mini"
    assert session.choose_profile(None, "cuda")[0] == "full"
    monkeypatch.setenv("TLHELPERS_PROFILE", " Full ")
    assert session.choose_profile(None, "cpu") == ("full", "set by TLHELPERS_PROFILE")
    assert session.choose_profile("mini", "cuda")[0] == "mini"


def test_gpu_without_network_uses_mini_and_says_so(monkeypatch):
    monkeypatch.setattr(session, "network_available", lambda: False)
    profile, why = session.choose_profile(None, "cuda")
    assert profile == "mini" and "TLHELPERS_PROFILE=full" in why


@pytest.mark.parametrize("value", ["big", "full "])
def test_unknown_profile_is_refused_unless_it_is_known_after_trimming(monkeypatch, value):
    monkeypatch.setenv("TLHELPERS_PROFILE", value)
    if value.strip() == "full":
        assert tl.start().profile == "full"
    else:
        with pytest.raises(tl.CourseError, match="TLHELPERS_PROFILE.*mini"):
            tl.start()


@pytest.mark.parametrize("device", ["cuda:99", "fridge", "xla"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(tl.CourseError, match="cpu"):
        tl.start(device=device)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(tl.CourseError, match="seed"):
        tl.start(seed=seed)


def test_missing_data_names_the_folder_and_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("TLHELPERS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(tl.CourseError, match="nowhere.*TLHELPERS_DATA"):
        tl.start()


def test_downloads_folder_follows_its_variable_and_torch_home(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert session.downloads_dir() == tmp_path / "torch" / "datasets"
    monkeypatch.setenv("TLHELPERS_DOWNLOADS", str(tmp_path / "mine"))
    assert session.downloads_dir() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists(), "nothing is created before something is downloaded"


def test_network_probe_accepts_any_answer_and_nothing_else(serve):  # noqa: F811
    assert session.network_available(serve(status=404), timeout=2)
    assert not session.network_available("http://127.0.0.1:9", timeout=1)
    assert not session.network_available(serve(silent=True), timeout=0.3)


def test_random_state_kept_also_after_an_error():
    tl.seed_everything(0)
    first = draw()
    tl.seed_everything(0)
    with pytest.raises(RuntimeError), session.random_state_kept():
        draw()
        raise RuntimeError
    assert draw() == first


def fake_data(folder: Path, content: bytes = b"petal") -> Path:
    import hashlib
    import json

    (folder / "mini").mkdir(parents=True)
    (folder / "mini" / "a.jpg").write_bytes(content)
    listed = {"mini/a.jpg": hashlib.sha256(b"petal").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(listed))
    return folder


def test_environment_check_is_content_with_intact_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TLHELPERS_DATA", str(fake_data(tmp_path / "data")))
    monkeypatch.setattr(environment, "FREE_DISK_MB", 0)
    lines = tl.environment_check()
    assert {name for _, name, _ in lines} >= {"Python", "PyTorch", "Jupyter", "Course data", "Free disk", "Profile"}
    assert [line for line in lines if not line[0] and line[1] != "Jupyter"] == []


def test_environment_check_names_changed_missing_and_unlisted(monkeypatch, tmp_path):
    monkeypatch.setenv("TLHELPERS_DATA", str(fake_data(tmp_path / "data", b"pixel")))
    assert environment.check_data()[0] is False and "mini/a.jpg was changed" in environment.check_data()[2]
    (tmp_path / "data" / "mini" / "a.jpg").unlink()
    assert "mini/a.jpg is missing" in environment.check_data()[2]
    (tmp_path / "data" / "manifest.json").write_text("not json")
    assert "manifest.json" in environment.check_data()[2]
    (tmp_path / "data" / "manifest.json").unlink()
    assert environment.check_data()[0] is False


def test_environment_check_full_disk_old_python_missing_packages(monkeypatch):
    monkeypatch.setattr(environment, "FREE_DISK_MB", 10**12)
    assert environment.check_disk()[0] is False and "MB" in environment.check_disk()[2]
    monkeypatch.setattr(environment, "PYTHON_FLOOR", (99, 0))
    assert environment.check_python()[0] is False and "99.0" in environment.check_python()[2]
    monkeypatch.setattr(environment, "PACKAGES", {"no_such_module": "no-such-package"})
    assert "no-such-package" in environment.check_packages()[2]


def test_environment_check_old_torch(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.6.1")
    fine, _, message = environment.check_torch()
    assert not fine and "2.7" in message


def run_in_python(code: str, extra_path: Path | None = None, **variables: str):
    paths = [str(path) for path in (extra_path, ROOT) if path]
    environ = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)


def plant(folder: Path, package: str, code: str) -> None:
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code)


USE_THEN_CHECK = """
import runpy
import tlhelpers as tl
try:
    tl.start()
except ImportError as error:
    print("start:", error)
runpy.run_module("tlhelpers", run_name="__main__")
"""


def test_a_torchvision_of_another_torch_is_explained(tmp_path):
    plant(tmp_path, "torch", "__version__ = '2.11.0'\ndef tensor(_): pass\n")
    plant(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')\n")
    done = run_in_python(USE_THEN_CHECK, tmp_path, TLHELPERS_DATA=str(fake_data(tmp_path / "data")))
    assert done.returncode == 1 and not done.stderr, done.stderr
    start, *lines = done.stdout.splitlines()
    assert "torchvision::nms" in start and "python -m tlhelpers" in start
    line = next(line for line in lines if "PyTorch:" in line)
    assert line.startswith("!!") and "torchvision::nms" in line and "reinstall both" in line


def test_a_missing_torch_is_explained(tmp_path):
    plant(tmp_path, "torch", "raise ModuleNotFoundError('No module named torch', name='torch')\n")
    plant(tmp_path, "torchvision", "import torch\n")
    done = run_in_python(USE_THEN_CHECK, tmp_path, TLHELPERS_DATA=str(fake_data(tmp_path / "data")))
    assert done.returncode == 1 and not done.stderr, done.stderr
    assert "!!  PyTorch:     torch does not import" in done.stdout


def test_the_command_exits_0_when_everything_is_there_and_1_when_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "pretend")
    monkeypatch.setenv("TLHELPERS_DATA", str(fake_data(tmp_path / "data")))
    assert main() == 0
    assert "Ready" in capsys.readouterr().out
    monkeypatch.setenv("TLHELPERS_DATA", str(tmp_path / "gone"))
    assert main() == 1
    assert "!!  Course data:" in capsys.readouterr().out


def test_import_leaves_slow_packages_alone():
    code = (
        "import sys, time, torch, torchvision; from torchvision.transforms import v2; start = time.process_time();"
        "import tlhelpers as tl; print(time.process_time() - start);"
        "print([name for name in ('matplotlib', 'sklearn', 'scipy', 'IPython') if name in sys.modules])"
    )
    seconds, slow = run_in_python(code).stdout.splitlines()
    assert slow == "[]"
    assert float(seconds) < 1.0, "the budget is 0.3 s on a quiet machine"


def test_every_name_is_there_and_listed():
    for name in tl.__all__:
        assert getattr(tl, name) is not None
        assert name in dir(tl)
    with pytest.raises(AttributeError, match="no_such_name"):
        tl.no_such_name  # noqa: B018
