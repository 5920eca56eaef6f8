"""The measuring scripts: a stopped script goes on where it was, and docs/results.md belongs to docs/measured/."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def scripts(monkeypatch):
    """The scripts import each other by name, as they do when run from the command line."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


@pytest.fixture
def measuring(scripts):
    import measuring

    return measuring


def test_a_run_is_measured_once_and_survives_a_stop(measuring, tmp_path, capsys):
    runs = measuring.Runs("some", folder=tmp_path)
    assert runs.once("a|0", lambda: {"accuracy": 0.5}) == {"accuracy": 0.5}

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.once("a|1", stopped)
    assert "a|0: {'accuracy': 0.5}" in capsys.readouterr().out

    again = measuring.Runs("some", folder=tmp_path)  # the script is started once more
    assert again.once("a|0", lambda: pytest.fail("measured a second time")) == {"accuracy": 0.5}
    assert again.once("a|1", lambda: 0.25) == 0.25
    kept = json.loads((tmp_path / "some.json").read_text())
    assert kept["runs"] == {"a|0": {"accuracy": 0.5}, "a|1": 0.25} and "torch" in kept["machine"]
    assert [file.name for file in tmp_path.iterdir()] == ["some.json"]


def test_a_stop_while_writing_leaves_the_finished_runs(measuring, tmp_path, monkeypatch):
    runs = measuring.Runs("some", folder=tmp_path)
    runs.once("a", lambda: 1)

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(measuring.os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        runs.once("b", lambda: 2)
    assert measuring.Runs("some", folder=tmp_path).runs == {"a": 1}


def test_reading_runs_writes_nothing(measuring, tmp_path):
    assert measuring.Runs("none", folder=tmp_path / "missing").runs == {}
    assert not (tmp_path / "missing").exists()


def test_mean_and_spread(measuring):
    assert measuring.mean_and_spread([0.5, 0.52, 0.54]) == "52.0 ± 2.0"
    assert measuring.mean_and_spread([0.5]) == "50.0"
    assert measuring.mean_and_spread([0.5, 0.5], digits=2) == "50.00 ± 0.00"


def test_markdown_table(measuring):
    lines = measuring.markdown_table(["", "a", "b"], [["x", "1", "2"]]).splitlines()
    assert lines == ["|  | a | b |", "|---|--:|--:|", "| x | 1 | 2 |"]


@pytest.fixture
def write_results(scripts, tmp_path, monkeypatch):
    import write_results

    monkeypatch.setattr(write_results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(write_results, "SCRIPTS", ["measure_map"])
    return write_results


def test_check_tells_a_stale_page_from_a_fresh_one(write_results, capsys):
    assert write_results.main(["--check"]) == 1  # there is none yet
    assert "write_results.py" in capsys.readouterr().err
    assert write_results.main([]) == 0
    assert write_results.main(["--check"]) == 0
    write_results.PAGE.write_text(write_results.PAGE.read_text() + "by hand\n")
    assert write_results.main(["--check"]) == 1


def test_the_committed_page_belongs_to_the_committed_runs(scripts):
    import write_results

    if not write_results.PAGE.exists():
        pytest.skip("docs/results.md is not written yet")
    assert write_results.main(["--check"]) == 0, "run python scripts/write_results.py"


# --- the map of lesson 04


@pytest.fixture
def measure_map(scripts):
    import measure_map

    return measure_map


def finished(measure_map, accuracy):
    """A whole map of made-up runs: accuracy(target, images per class, strategy, seed)."""
    runs = {
        f"{t}|{n}|{s}|{seed}": {"accuracy": accuracy(t, n, s, seed), "loss": 1.0, "seconds": 2.0}
        for t in measure_map.TARGETS
        for n in measure_map.SIZES
        for s in measure_map.STRATEGIES
        for seed in measure_map.SEEDS
    }
    for strategy, rates in measure_map.RATES.items():
        for target in measure_map.TARGETS:
            runs |= {measure_map.pilot_key(target, strategy, rate): {"accuracy": rate} for rate in rates}
    runs["settings"] = {strategy: measure_map.best_rate(runs, strategy) for strategy in measure_map.RATES}
    return runs


def test_strategies_within_noise_of_the_best(measure_map):
    near = measure_map.as_good_as_the_best
    assert near({"a": [0.5, 0.56, 0.54], "b": [0.53, 0.53, 0.57], "c": [0.1, 0.12, 0.14]}) == ["b", "a"]
    assert near({"a": [0.5, 0.5, 0.5], "b": [0.4, 0.4, 0.4]}) == ["a"]
    assert set(near({"a": [0.5, 0.5], "b": [0.5, 0.5]})) == {"a", "b"}
    # a hard draw is hard for both: seed by seed the gap is steady, though the spread over seeds is large
    assert near({"a": [0.3, 0.5, 0.7], "b": [0.2, 0.41, 0.6]}) == ["a"]
    assert measure_map.t_quantile(3) == pytest.approx(4.303, abs=1e-3)


def test_the_pilot_decides_the_rates(measure_map):
    assert finished(measure_map, lambda *_: 0.5)["settings"] == {
        "scratch": 1e-3,
        "frozen": 1e-2,
        "gradual": 1e-3,
        "full": 1e-3,
    }


def test_every_strategy_takes_the_same_number_of_steps(measure_map):
    rates = {strategy: some[0] for strategy, some in measure_map.RATES.items()}
    for strategy in (*measure_map.STRATEGIES, "two phases"):
        assert sum(steps for _, steps, _ in measure_map.phases(strategy, rates, 100)) == 100


def test_the_section_has_a_table_and_a_verdict_per_cell(measure_map):
    best = {"near": "full", "far": "gradual"}
    runs = finished(measure_map, lambda t, n, s, seed: (0.8 if s == best[t] else 0.4) + 0.01 * seed)
    text = measure_map.section(runs)
    assert text.startswith("## ") and text.count("| 81.5 ± 1.3 |") == 8
    assert text.count("highest mean full; no other is within noise of it") == 4
    assert text.count("highest mean gradual; no other") == 4
    assert "guessing: 8.3" in text and "guessing: 16.7" in text and "2 (24)" in text


def test_the_section_of_a_map_that_is_not_finished_shows_what_there_is(measure_map):
    assert measure_map.section({}).startswith("## ")
    runs = finished(measure_map, lambda *_: 0.5)
    partly = {key: run for key, run in runs.items() if not key.startswith("far|40")}
    text = measure_map.section(partly)
    assert "40 (480)" in text and "40 (240)" not in text
    del partly["near|2|full|2"]  # stopped in the middle of a row
    assert "2 (24)" in measure_map.section(partly)


def test_the_three_parts_of_a_class_do_not_overlap(measure_map, monkeypatch):
    import torch

    count = 120
    every = torch.arange(6 * count).reshape(6, count, 1)  # every "image" is its own number
    monkeypatch.setattr(measure_map, "images", lambda target: every)
    pilot, held_out = (set(measure_map.part("far", p).tensors[0].flatten().tolist()) for p in ("pilot", "held out"))
    assert len(pilot) == 6 * 20 and len(held_out) == 6 * measure_map.HELD_OUT
    draws = [set(measure_map.part("far", "train", 40, seed).tensors[0].flatten().tolist()) for seed in (0, 1)]
    assert all(len(draw) == 240 for draw in draws) and draws[0] != draws[1]
    assert not (pilot & held_out) and not any((pilot | held_out) & draw for draw in draws)
    images, labels = measure_map.part("far", "train", 2, 0).tensors
    assert (images.flatten() // count == labels).all()


def test_the_near_classes_are_flowers_that_the_renderer_knows(measure_map):
    import tlhelpers as tl

    assert len(set(measure_map.NEAR_CLASSES)) == measure_map.CLASSES["near"]
    assert set(measure_map.NEAR_CLASSES) <= set(tl.FLOWERS102_CLASSES)
