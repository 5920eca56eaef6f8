"""The command line of the flower project in one process, and the commands that docs/scaling.md shows."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.run import get_args_parser

import tlhelpers as tl
from tlhelpers import project, project_training
from tlhelpers.project_parts import FlowerClassifier, Settings
from tlhelpers.session import Course

ROOT = Path(__file__).parent.parent
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
SMALL = "--limit 12 --epochs 2 --batch-size 6 --profile mini --device cpu".split()


def run(capsys, *options: object) -> tuple[int, str, str]:
    code = project.main([*SMALL, *map(str, options)])
    return code, *capsys.readouterr()


@pytest.fixture
def trained(tmp_path, capsys) -> Path:
    code, out, _ = run(capsys, "--checkpoint", tmp_path / "run.pt")
    assert code == 0 and "epoch 2/2" in out and "Best epoch" in out
    return tmp_path / "run.pt"


def test_the_checkpoint_is_an_ordinary_one_of_the_network_of_lesson_06(trained):
    backbone, _ = tl.pretrained(None, "efficientnet_mini")
    model = FlowerClassifier(backbone, 102)
    saved = tl.load_checkpoint(trained, model, classes=tl.FLOWERS102_CLASSES)
    history = tl.History.from_dict(saved["history"])
    assert history.best_epoch in (1, 2) and len(history.val_mean_class_accuracy) == 2
    assert len({round(rate, 9) for rate in history.learning_rates[0]}) > 3  # rates by depth


def test_the_same_command_again_trains_nothing_and_a_deleted_file_gives_the_same_run(trained, capsys):
    first = tl.load_checkpoint(trained)
    code, out, _ = run(capsys, "--checkpoint", trained)
    assert code == 0 and "going on after epoch 2" in out and "epoch 2/2" not in out
    trained.unlink()
    assert run(capsys, "--checkpoint", trained, "--workers", 2)[0] == 0
    again = tl.load_checkpoint(trained)
    assert again["history"]["val_loss"] == first["history"]["val_loss"]
    assert all(torch.equal(value, again["model"][name]) for name, value in first["model"].items())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--lr 0.001", r"learning rate \(--lr, --scale-lr\) was 0.003, here it is 0.001"),
        ("--batch-size 4", r"batch size \(--batch-size\) was 6, here it is 4"),
        ("--dropout 0", r"dropout \(--dropout\) was 0.3"),
        ("--batchnorm eval", r"BatchNorm policy \(--batchnorm\) was train"),
        ("--epochs 3", r"number of epochs \(--epochs\) was 2, here it is 3"),
        ("--limit 13", "training images was 12, here it is 13"),
        ("--precision bfloat16", r"precision \(--precision\) was auto, here it is bfloat16"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_name(trained, capsys, options, named):
    before = trained.read_bytes()
    code, _, errors = run(capsys, "--checkpoint", trained, *options.split())
    assert code == 2
    assert errors.startswith("error: ") and re.search(named, errors), errors
    assert trained.read_bytes() == before


def test_a_checkpoint_of_other_classes_and_one_that_is_no_run_are_refused(tmp_path, capsys):
    model = torch.nn.Linear(2, 2)
    file = tl.save_checkpoint(tmp_path / "model.pt", model, classes=["ant", "bee"])
    code, _, errors = run(capsys, "--checkpoint", file)
    assert code == 2 and "holds a model and no training run" in errors
    rows = torch.utils.data.TensorDataset(torch.eye(2), torch.tensor([0, 1]))
    rows.classes = ["ant", "bee"]
    loader = torch.utils.data.DataLoader(rows)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    tl.fit(model, loader, loader, epochs=1, optimizer=optimizer, checkpoint=tmp_path / "fit.pt", verbose=False)
    code, _, errors = run(capsys, "--checkpoint", tmp_path / "fit.pt")
    assert code == 2 and "belongs to other classes (2 there, 102 here" in errors


def test_a_checkpoint_on_another_machine_is_not_overlooked(tmp_path, monkeypatch):
    monkeypatch.setattr(project_training, "on_every_rank", lambda work: [work(), True])  # process 1 sees the file
    file = tmp_path / "run.pt"
    with pytest.raises(tl.CourseError, match="on the machine of process 1, but not on that of process 0"):
        project_training.go_on(SimpleNamespace(classes=["ant"]), file)


def test_weights_trained_with_syncbatchnorm_fit_the_plain_network():
    backbone, _ = tl.pretrained(None, "efficientnet_mini")
    plain = FlowerClassifier(backbone, 102)
    names = list(plain.state_dict())
    synced = torch.nn.SyncBatchNorm.convert_sync_batchnorm(plain)
    assert list(synced.state_dict()) == names
    tl.train_mode(synced, "train")
    synchronised = [module for module in synced.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert len(synchronised) > 5 and all(module.training for module in synchronised)


def test_a_full_disk_costs_the_file_and_not_the_training(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise tl.CourseError("run.pt was not saved: the disk is full.")

    monkeypatch.setattr("tlhelpers.project_training.save_run", full)
    code, out, _ = run(capsys, "--checkpoint", tmp_path / "run.pt")
    assert code == 0 and out.count("the disk is full. Training goes on.") == 2 and "Best epoch" in out


def test_it_computes_in_bfloat16(tmp_path, capsys):
    code, _, _ = run(capsys, "--checkpoint", tmp_path / "run.pt", "--precision", "bfloat16")
    saved = tl.load_checkpoint(tmp_path / "run.pt")
    assert code == 0 and saved["run"]["settings"]["precision (--precision)"] == "bfloat16"
    assert {value.dtype for value in saved["model"].values() if value.is_floating_point()} == {torch.float32}


def test_a_rate_that_is_far_too_high_ends_with_advice(tmp_path, capsys):
    code, _, errors = run(capsys, "--checkpoint", tmp_path / "run.pt", "--lr", "1e30")
    assert code == 2 and "no longer a finite number" in errors and "--lr" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_in_one_process_says_what_is_saved(tmp_path):
    command = [sys.executable, "-u", "-m", "tlhelpers.project", *SMALL, "--epochs", "500"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "cwd": ROOT}
    with subprocess.Popen([*command, "--checkpoint", tmp_path / "run.pt"], **options) as job:
        for line in job.stdout:
            if line.startswith("epoch   2"):
                job.send_signal(signal.SIGINT)
                break
        _, errors = job.communicate(timeout=120)
    assert job.returncode == 130
    assert re.search(r"Epoch \d+ of 500 is saved in .*run.pt: the same command goes on", errors), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "options",
    ["--epochs 0", "--batch-size x", "--lr 0", "--lr nan", "--lr inf", "--factor 1.5", "--warmup -1", "--limit 0",
     "--dropout 2", "--seed -1", "--scale-lr cube", "--precision int8", "--nonsense"],
)  # fmt: skip
def test_an_option_that_cannot_work_is_refused_by_name(options, capsys):
    assert project.main(options.split()) == 2
    errors = capsys.readouterr().err
    assert options.split()[0] in errors and errors.startswith("error: ") and "--help" in errors


def test_help_names_every_option_with_a_sentence(capsys):
    with pytest.raises(SystemExit) as stop:
        project.main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "torchrun --standalone --nproc-per-node=4" in text
    assert all(action.help for action in project.parser()._actions)


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.003), ("linear", 0.012), ("sqrt", 0.006)])
def test_the_rate_is_scaled_by_the_rule_asked_for(rule, rate):
    settings = Settings(batch_size=128, base_batch=32, scale_lr=rule)
    settings.for_profile(Course("mini", torch.device("cpu"), 0, Path(), Path()))
    assert settings.lr == pytest.approx(rate) and settings.epochs == 6


# --- docs/scaling.md


def commands() -> list[list[str]]:
    """Every command of the page that starts the project, as words; a line that ends in a backslash goes on."""
    blocks = re.findall(r"^```\n(.*?)^```", SCALING, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if "-m tlhelpers.project" in line]


def test_the_page_shows_all_steps_from_one_process_to_several_machines():
    text = [" ".join(words) for words in commands()]
    assert any(line.startswith("python -m tlhelpers.project") for line in text)
    assert any("--standalone" in line for line in text) and any("--nnodes=" in line for line in text)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_of_the_page_are_understood(words):
    before, ours = words[: words.index("-m")], words[words.index("tlhelpers.project") + 1 :]
    settings = vars(project.parser().parse_args(ours))
    if "torchrun" in before:
        asked = get_args_parser().parse_args([*before[before.index("torchrun") + 1 :], "-m", "tlhelpers.project"])
        nodes = int(asked.nnodes.split(":")[0])
        if asked.nproc_per_node.isdecimal():
            assert settings["batch_size"] % (nodes * int(asked.nproc_per_node)) == 0
        assert asked.standalone == (nodes == 1) and (nodes == 1 or asked.rdzv_backend == "c10d")


def test_the_page_names_no_option_that_does_not_exist():
    known = {name for action in project.parser()._actions for name in action.option_strings}
    known |= {name for action in get_args_parser()._actions for name in action.option_strings}
    assert {name for name in re.findall(r"--[a-z][a-z0-9-]+", SCALING) if name not in known} == set()


def test_the_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", SCALING):
        if not target.startswith("http"):
            assert (ROOT / "docs" / target).exists(), target
