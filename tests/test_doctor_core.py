"""The training doctor as a whole: its report, what it reads, and that it changes nothing."""

import copy
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import write_doctor
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torchvision import models

import tlhelpers as tl
from tlhelpers import diagnosis
from tlhelpers.diagnosis.case import CannotTell, Case, Part
from tlhelpers.diagnosis.report import SEVERITIES, Diagnosis, Report

ROOT = Path(__file__).resolve().parent.parent
GOOD_TO_KNOW = Diagnosis("late", "note", "it is late", "Sleep helps.", "sleep()", "lesson 00")
BAD = Diagnosis("on-fire", "error", "it burns <b>", "Fire is hot.", "water & sand", "lesson 00")


def rows(count=12, classes=3, shape=(3, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, *shape, generator=generator), torch.arange(count) % classes)


# --- the report


def test_the_report_is_sorted_and_answers_questions():
    report = Report((GOOD_TO_KNOW.found("23:50"), BAD.found("smoke"), BAD.found("flames", fix="run()")))
    assert report.codes == ["on-fire", "on-fire", "late"] and report.worst == "error" and len(report) == 3
    assert "late" in report and "cold" not in report
    assert report["on-fire"].seen == "smoke" and [finding.fix for finding in report][1] == "run()"
    with pytest.raises(KeyError):
        report["cold"]


def test_the_report_says_in_text_what_why_and_fix():
    text = str(Report((GOOD_TO_KNOW.found("23:50"), BAD.found("smoke")), skipped=("rates: no optimizer was given.",)))
    assert text.startswith("The doctor found 1 error, 1 note, the worst first.")
    for part in ("on-fire: it burns", "seen: smoke", "why:  Fire is hot.", "fix:  water & sand", "#on-fire"):
        assert part in text
    assert text.index("on-fire") < text.index("late") and text.endswith("Not looked at: rates: no optimizer was given.")
    assert all(len(line) <= 110 for line in text.splitlines())


def test_a_single_finding_has_no_order_and_long_lines_are_broken():
    report = Report((GOOD_TO_KNOW.found("23:50"),), skipped=("rates: " + "far too long " * 12,))
    assert str(report).startswith("The doctor found 1 note.\n")
    assert max(map(len, str(report).splitlines())) <= 110


def test_the_table_escapes_what_it_shows():
    html = Report((BAD.found("1 < 2"),))._repr_html_()
    assert "it burns &lt;b&gt;" in html and "1 &lt; 2" in html and "water &amp; sand" in html
    assert "docs/troubleshooting.md" in html and "<code" not in html.split("</table>")[0].split("water")[1]
    assert html.count("<tr>") == 2 and 'scope="col"' in html and ">error<" in html


def test_an_empty_report_says_what_was_looked_at():
    report = Report((), looked_at=("modes", "labels"))
    assert report.worst is None and report.codes == [] and report
    assert str(report) == "The doctor found nothing wrong. Looked at: modes, labels."
    assert "<table" not in report._repr_html_() and "modes, labels" in report._repr_html_()


# --- reading batches


class Restless:
    """A dataset that uses up random numbers of all three kinds."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.randn(3) + random.random() + np.random.rand(), index % 2


def test_batches_are_those_of_the_loader_and_cost_no_random_numbers():
    tl.seed_everything(3)
    loader = tl.make_loader(rows(10), batch_size=4, train=True, seed=1)
    before = [torch.get_rng_state(), loader.generator.get_state(), loader.sampler.generator.get_state()]
    part = Part("training", loader)
    taken = part.batches(2)
    for state, now in zip(before, (torch.get_rng_state(), loader.generator.get_state()), strict=False):
        assert torch.equal(state, now)
    real = [batch for _, batch in zip(range(2), loader, strict=False)]
    assert [labels.tolist() for _, labels in taken] == [labels.tolist() for _, labels in real]
    assert torch.equal(taken[1][0], real[1][0])
    assert len(part.batches(9)) == 3 and part.batch[0] is part.batches(1)[0][0]


def test_no_worker_is_started(monkeypatch):
    loader = DataLoader(rows(), batch_size=4, num_workers=2)
    monkeypatch.setattr(DataLoader, "_get_iterator", lambda self: pytest.fail("a loader was iterated"))
    assert len(Part("training", loader).batch[1]) == 4


def test_streams_lists_and_broken_loaders():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(torch.eye(4), torch.arange(4), strict=True))

    stream = Part("training", DataLoader(Stream(), batch_size=3))
    assert [len(labels) for _, labels in stream.batches(5)] == [3, 1]
    with pytest.raises(CannotTell, match="one by one"):
        stream.samples(2)
    batch = (torch.zeros(2, 3), torch.tensor([0, 1]))
    assert Part("training", [batch]).batches(3) == [batch]
    with pytest.raises(CannotTell, match="yields nothing"):
        Part("validation", []).batches(1)
    with pytest.raises(CannotTell, match="pairs of tensors"):
        Part("validation", [torch.zeros(2, 3)]).batches(1)


def test_samples_are_spread_over_a_subset():
    part = Part("training", DataLoader(Subset(rows(12), range(2, 12))))
    assert [int(label) for _, label in part.samples(3)] == [int(part.dataset[i][1]) for i in (0, 4, 9)]
    assert len(part.samples(99)) == 10 and part.labels.tolist() == [(i % 3) for i in range(2, 12)]


def test_scores_come_from_a_copy_in_eval_mode_or_say_why_not():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Linear(192, 3))
    case = Case(model, Part("training", DataLoader(rows(), batch_size=4)))
    buffers = copy.deepcopy(model.state_dict())
    assert case.scores.shape == (4, 3) and case.number_of_classes == 3
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in model.state_dict().items())
    broken = Case(nn.Linear(5, 3), Part("training", DataLoader(rows(), batch_size=4)))
    with pytest.raises(CannotTell, match="cannot be run on the first training batch"):
        _ = broken.scores


def test_the_copied_optimizer_holds_the_copied_parameters():
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    twin, its_optimizer = Case(model, Part("training", []), optimizer=optimizer).copied()
    assert its_optimizer.param_groups[0]["params"][0] is twin.weight and twin.weight.grad is None
    assert twin.weight is not model.weight and its_optimizer.state[twin.weight]["step"] == 1
    before = model.weight.detach().clone()
    twin(torch.ones(1, 4)).sum().backward()
    its_optimizer.step()
    assert torch.equal(model.weight, before) and not torch.equal(twin.weight, before)


# --- the whole doctor


def everything(model, optimizer, scheduler, loaders):
    """All that could change, as comparable pieces."""
    state = [tensor.clone() for tensor in (*model.parameters(), *model.buffers())]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    flags = [p.requires_grad for p in model.parameters()] + [module.training for module in model.modules()]
    generators = [g.get_state() for loader in loaders for g in tl.freezing.generators_of(loader)]
    rng = [random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()]
    optimizing = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict() if scheduler else None))
    return state, gradients, flags, generators, rng, optimizing


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("rate", [1e-3, 10.0], ids=["well", "wild rate"])
def test_the_doctor_changes_nothing(rate):
    course = tl.session.Course("mini", torch.device("cpu"), 0, tl.data_dir(), Path("unused"))
    weights = models.get_model_weights("resnet10").DEFAULT
    flowers = tl.flowers102(course, "train", transform=tl.train_transform_for(weights))
    val = tl.flowers102(course, "val", transform=weights.transforms())
    loaders = tl.make_loader(flowers, batch_size=16, train=True), tl.make_loader(val, batch_size=16)
    tl.seed_everything(5)
    model = tl.replace_head(models.get_model("resnet10", weights="DEFAULT"), 102)
    tl.freeze(tl.stages(model)[:3])
    tl.train_mode(model)
    optimizer = torch.optim.AdamW(tl.parameter_groups(model, lr=rate, factor=0.3))
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peaks, total_steps=3 * len(loaders[0]))
    images, labels = next(iter(loaders[1]))
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()  # moments to be kept, gradients to be kept
    scheduler.step()
    before = everything(model, optimizer, scheduler, loaders)
    report = tl.doctor(model, *loaders, optimizer, None, scheduler, epochs=3, step_scheduler_every="batch")
    assert same(before, everything(model, optimizer, scheduler, loaders))
    assert (rate == 10.0) == ("rate-too-high" in report), report
    assert report.skipped == () or rate == 10.0, report
    assert str(report) == str(tl.doctor(model, *loaders, optimizer, None, scheduler, epochs=3))[: len(str(report))]


def test_random_datasets_draw_what_they_would_have_drawn():
    tl.seed_everything(1)
    loader = DataLoader(Restless(), batch_size=3, shuffle=True)
    model = nn.Linear(3, 2)
    after_doctor = [tl.doctor(model, loader)] and [inputs.clone() for inputs, _ in loader]
    tl.seed_everything(1)
    nn.Linear(3, 2)
    undisturbed = [inputs.clone() for inputs, _ in loader]
    assert same(after_doctor, undisturbed)


def test_one_broken_examination_does_not_cost_the_others(monkeypatch):
    def trips(case):
        raise ZeroDivisionError("nobody thought of this")

    def blind(case):
        raise CannotTell("it is dark")
        yield

    first, last = diagnosis.FILES[0], diagnosis.FILES[-1]
    monkeypatch.setattr(first, "EXAMINATIONS", (("stones", trips), ("light", blind)))
    monkeypatch.setattr(last, "EXAMINATIONS", (("late hours", lambda case: [GOOD_TO_KNOW.found("23:50")]),))
    report = tl.doctor(nn.Flatten(), DataLoader(rows()))
    assert "late" in report and "late hours" in report.looked_at
    assert "stones: ZeroDivisionError: nobody thought of this" in report.skipped
    assert "light: it is dark." in report.skipped


def test_bad_arguments_are_named():
    loader = DataLoader(rows())
    for arguments, words in [
        ((loader, nn.Flatten()), "model must be"),
        ((nn.Flatten(), iter(loader)), "train_loader can be gone through only once"),
        ((nn.Flatten(), loader, (batch for batch in loader)), "val_loader can be gone through only once"),
        ((nn.Flatten(), 3), "train_loader must be a DataLoader"),
    ]:
        with pytest.raises(tl.CourseError, match=words):
            tl.doctor(*arguments)
    with pytest.raises(tl.CourseError, match="step_scheduler_every='week'"):
        tl.doctor(nn.Flatten(), loader, step_scheduler_every="week")


# --- the list of diagnoses

KNOWN = diagnosis.known_diagnoses()


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.code)
def test_every_diagnosis_is_complete(known):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", known.code) and known.severity in SEVERITIES
    assert known.title and not known.title.endswith(".")
    assert known.why.endswith((".", "?")) and len(known.why.split()) <= 60 and known.fix.strip()
    numbers = re.findall(r"lesson (\d\d)", known.lesson)
    assert numbers and all(list((ROOT / "lessons").glob(f"{number}_*.py")) for number in numbers)


def test_codes_are_unique_and_every_one_is_planted_in_a_test():
    constants = [v for file in diagnosis.FILES for v in vars(file).values() if isinstance(v, Diagnosis)]
    codes = [known.code for known in {id(constant): constant for constant in constants}.values()]
    assert len(codes) == len(set(codes)) >= 35
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_doctor_[cdst]*.py"))
    assert [code for code in codes if f'"{code}"' not in tests] == []


def test_the_lesson_says_how_many_there_are():
    lesson = (ROOT / "lessons" / "02_feature_extraction.py").read_text(encoding="utf-8")
    assert "asks these two and about forty more" in lesson and 37 <= len(KNOWN) - 2 <= 45


def test_the_troubleshooting_page_lists_every_diagnosis():
    text = write_doctor.PAGE.read_text(encoding="utf-8")
    assert text == write_doctor.written(text, KNOWN), "python scripts/write_doctor.py"
    for known in KNOWN:
        assert f"### {known.code}\n" in text and f"](#{known.code})" in text
    assert write_doctor.written(text, [*KNOWN, BAD]) != text
    with pytest.raises(write_doctor.PageError, match="needs the lines"):
        write_doctor.written(text.replace(write_doctor.START, ""), KNOWN)
