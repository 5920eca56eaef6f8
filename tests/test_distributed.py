"""Several processes: the same batches, the same gradients, every image scored once, and an end when one of them dies.

Jobs of several processes run on the CPU over gloo; tests/distributed_jobs.py holds what they do.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

import tlhelpers as tl
from tlhelpers import project
from tlhelpers.sharing import SeededImages, SharedBatches, evaluation_share, share

ROOT = Path(__file__).parent.parent
HAS_GLOO = dist.is_available() and dist.is_gloo_available()
jobs = pytest.mark.skipif(
    sys.platform == "win32" or not HAS_GLOO, reason="needs POSIX signals and PyTorch's gloo communication"
)

# Nothing random inside the network and no statistics of parts of a batch: then the number of processes changes only
# the order in which float32 numbers are added up. Measured over 8 comparisons (2, 3, 4 and 6 processes with one, 2
# seeds, these settings): losses differ by at most 3.4e-7, one unit in the last place of the float32 sum they are
# divided from (128 to 256, over 45 images); accuracies not at all. The tolerance is ten times that. Averaging the
# gradients of an uneven last batch wrongly moves them by 0.01.
MEASURED = 3.4e-7
TOLERANCE = 10 * MEASURED
# 45 images in batches of 12: the last one has 9, which 2 processes cannot share evenly
EXACT = "--limit 45 --epochs 3 --batch-size 12 --dropout 0 --batchnorm eval --profile mini --device cpu".split()


def start(processes: int, *command: object, **options) -> subprocess.Popen:
    """Start torchrun with that many processes, one thread each."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    return subprocess.Popen([*torchrun, *map(str, command)], env=environment, **pipes, **options)


def finished(job: subprocess.Popen) -> tuple[int, str]:
    """(exit code, everything printed); a job that hangs is ended and fails the test."""
    try:
        output, _ = job.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        job.terminate()
        pytest.fail(f"the job hangs: {job.communicate()[0][-2000:]}")
    return job.returncode, output


def train(processes: int, *options: object) -> tuple[int, str]:
    return finished(start(processes, "-m", "tlhelpers.project", *options))


def with_accident(what: str, rank: int, step: int, *options: object) -> subprocess.Popen:
    return start(2, ROOT / "tests" / "distributed_jobs.py", "accident", what, rank, step, *options)


def history(checkpoint: Path) -> dict:
    return tl.load_checkpoint(checkpoint)["history"]


def assert_same_training(one: dict, other: dict) -> None:
    for curve in ("train_loss", "val_loss"):
        assert one[curve] == pytest.approx(other[curve], abs=TOLERANCE), curve
    for curve in ("train_accuracy", "val_accuracy", "val_mean_class_accuracy"):
        assert one[curve] == pytest.approx(other[curve], abs=1e-6), curve
    assert one["learning_rates"] == other["learning_rates"] and one["best_epoch"] == other["best_epoch"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The checkpoint of the run in one process that all others are compared with."""
    file = tmp_path_factory.mktemp("alone") / "run.pt"
    assert project.main([*EXACT, "--checkpoint", str(file)]) == 0
    return file


@pytest.mark.parametrize("count", [1, 5, 24, 25, 27, 31])
def test_the_batches_are_the_same_images_for_every_number_of_processes(count):
    whole = SharedBatches(count, batch_size=12, seed=3)
    for world in (1, 2, 3, 4, 6, 12):
        ranks = [list(SharedBatches(count, 12, seed=3, rank=rank, world=world)) for rank in range(world)]
        assert {len(parts) for parts in ranks} == {len(whole)}  # every rank makes the same number of steps
        for step, batch in enumerate(whole.batches()):
            real = [ranks[rank][step] for rank in range(world) if share(batch, rank, world)]
            assert [index for part in real for _, index in part] == batch
            spare = [ranks[rank][step] for rank in range(world) if not share(batch, rank, world)]
            assert all(len(part) == 1 for part in spare)
    assert sum(map(len, whole.batches())) == count - (
        count == 25
    )  # a last batch of one image is left out, as make_loader does


def test_each_epoch_has_an_order_of_its_own_and_remembers_none():
    batches = SharedBatches(20, 4, seed=1)
    first = batches.batches()
    batches.epoch = 2
    assert batches.batches() != first and sorted(sum(batches.batches(), [])) == list(range(20))
    batches.epoch = 1
    assert batches.batches() == first
    assert SharedBatches(20, 4, seed=2).batches() != first


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(tl.CourseError, match=r"batch size 32 .* multiple of their number, 3: for example 33"):
        SharedBatches(100, 32, world=3)


@pytest.mark.parametrize(("count", "world"), [(10, 3), (2, 5), (6, 6), (0, 2)])
def test_the_evaluation_shares_cover_every_image_once(count, world):
    shares = [list(evaluation_share(count, rank, world)) for rank in range(world)]
    assert sorted(sum(shares, [])) == list(range(count))


def noisy_images(seed: int = 0) -> SeededImages:
    return SeededImages(TensorDataset(torch.zeros(12, 1), torch.arange(12)), seed, add_noise)


def add_noise(image: torch.Tensor) -> torch.Tensor:
    return image + torch.rand(1)


def looks(workers: int, rank: int = 0, world: int = 1, epoch: int = 1) -> dict[int, float]:
    batches = SharedBatches(12, 6, seed=0, rank=rank, world=world)
    batches.epoch = epoch
    loader = DataLoader(noisy_images(), batch_sampler=batches, num_workers=workers)
    return {int(i): float(x) for images, labels in loader for x, i in zip(images, labels, strict=True)}


def test_augmentation_depends_on_seed_epoch_and_image_alone():
    whole = looks(workers=0)
    assert looks(workers=2) == whole
    assert looks(0, rank=0, world=2) | looks(0, rank=1, world=2) == whole
    assert len(set(whole.values())) == 12
    assert not set(looks(0, epoch=2).values()) & set(whole.values())
    assert noisy_images(seed=1)[1, 0][0] != noisy_images(seed=0)[1, 0][0]


def test_augmentation_leaves_the_random_numbers_of_dropout_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    noisy_images()[1, 0]
    assert torch.equal(torch.rand(2), expected)


# --- building blocks on real ranks


@pytest.fixture(scope="module")
def probed(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("probe")
    code, output = finished(start(3, ROOT / "tests" / "distributed_jobs.py", "probe", folder))
    assert code == 0, output
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


@jobs
def test_gradients_are_those_of_the_whole_batch(probed):
    # in float64, where summation order is worth 1e-16; 4, 2 and 1 images do not divide by 3 ranks
    for found in probed:
        assert max(found["gradients"].values()) < 1e-14, found["gradients"]


@jobs
def test_every_image_is_scored_once_and_all_ranks_hear_the_same_figures(probed):
    for (seen, metrics), count in zip(probed[0]["scored"], (7, 2, 3), strict=True):
        assert seen == list(range(count)) and metrics["n"] == count
        torch.manual_seed(count)
        images = TensorDataset(torch.randn(count, 4), torch.arange(count) % 3)
        torch.manual_seed(0)
        expected = tl.evaluate(torch.nn.Linear(4, 4), DataLoader(images, batch_size=7))
        assert metrics == pytest.approx(vars(expected), rel=1e-6)
    assert all(found["scored"] == probed[0]["scored"] for found in probed)


@jobs
def test_an_error_of_one_rank_is_heard_by_all_and_rank_0_decides(probed):
    for found in probed:
        assert found["errors"] == ["rank 0 has a problem", "rank 2 has a problem", "from 0"]


@jobs
def test_all_ranks_have_rank_0s_batchnorm_statistics_before_they_score(probed):
    assert len({found["buffers"][0] for found in probed}) == 3
    assert {found["buffers"][1] for found in probed} == {probed[0]["buffers"][0]}


# --- the project


@jobs
def test_two_processes_train_as_one(alone, tmp_path):
    code, output = train(2, *EXACT, "--checkpoint", tmp_path / "run.pt")
    assert code == 0, output
    assert output.count("epoch 1/3") == 1 and output.count("(45 images)") == 3  # rank 0 alone prints
    assert_same_training(history(tmp_path / "run.pt"), history(alone))


@jobs
def test_a_killed_rank_ends_the_job_and_three_processes_go_on_from_the_checkpoint(alone, tmp_path):
    file = tmp_path / "run.pt"
    code, output = finished(with_accident("kill", 0, 6, *EXACT, "--checkpoint", file))  # 4 steps in an epoch
    assert code != 0
    assert f"Epoch 1 of 3 is saved in {file}: the same command goes on from there" in output
    assert len(history(file)["val_loss"]) == 1
    code, output = train(3, *EXACT, "--checkpoint", file)
    assert code == 0, output
    assert "going on after epoch 1" in output and "head alone" not in output
    assert_same_training(history(file), history(alone))


@jobs
def test_an_exception_on_one_rank_ends_the_job(tmp_path):
    code, output = finished(with_accident("raise", 1, 2, *EXACT, "--checkpoint", tmp_path / "run.pt"))
    assert code != 0
    assert "process 1 failed" in output and "ZeroDivisionError: a bug on one rank" in output
    assert "Stopped before an epoch was saved" in output


@jobs
def test_a_damaged_photo_on_one_rank_ends_the_job_by_name(tmp_path):
    code, output = finished(with_accident("photo", 1, 9, *EXACT, "--checkpoint", tmp_path / "run.pt"))
    assert code != 0 and "process 1 failed: rose.jpg cannot be read as an image" in output
    assert "Traceback" not in output.split("rose.jpg")[0] and "Stopped before an epoch was saved" in output


@jobs
def test_ctrl_c_ends_a_job_whose_ranks_wait_for_each_other(tmp_path):
    job = with_accident("wait", 1, 6, *EXACT, "--checkpoint", tmp_path / "run.pt")
    for line in job.stdout:
        if "WAITING" in line:
            job.send_signal(signal.SIGINT)
            break
    code, output = finished(job)
    assert code != 0, output
    assert "Epoch 1 of 3 is saved" in output


@jobs
def test_a_damaged_checkpoint_is_refused_by_all_ranks(alone, tmp_path):
    file = tmp_path / "run.pt"
    file.write_bytes(alone.read_bytes()[:100_000])
    code, output = train(2, *EXACT, "--checkpoint", file)
    assert code != 0
    assert output.count("error: ") == 1 and "is cut short or damaged" in output
    assert len(re.findall(r"exitcode +: (2 |-15 )", output)) == 2
    assert file.stat().st_size == 100_000
