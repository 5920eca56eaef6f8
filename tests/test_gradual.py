"""Gradual unfreezing: what trains in each phase, and that cached phases end with the network of the plain way."""

import pytest
import tiny_networks
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers import Phase
from tlhelpers.session import CourseError

FAMILIES = ("resnet", "efficientnet", "squeezenet")
LATE = {"resnet": "layer3", "efficientnet": "block2", "squeezenet": "block3"}


def rows(n=19, seed=0, size=32):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, size, size, generator=generator)
    return TensorDataset(images, torch.arange(n) % 3)


def network(family, classes=3):
    return tl.replace_head(tiny_networks.build(family), classes)


def loaders(train=None, val=None, seed=0):
    return (
        tl.make_loader(train or rows(), batch_size=6, train=True, seed=seed),
        tl.make_loader(val or rows(7, seed=1), batch_size=4),
    )


def sgd(model, phase):
    return torch.optim.SGD(tl.trainable_parameters(model), lr=phase.lr, momentum=0.9)


def scores(model):
    with torch.no_grad():
        return model.eval()(tiny_networks.images(5, seed=7))


@pytest.mark.parametrize("family", sorted(tiny_networks.FAMILIES))
def test_unfreeze_from_splits_the_network_at_the_stage(family):
    model = tiny_networks.build(family)
    parts = tl.stages(model)
    for cut, part in enumerate(parts):
        assert tl.unfreeze_from(model, part.name) is model
        for number, other in enumerate(parts):
            assert all(p.requires_grad == (number >= cut) for p in other.parameters())


def test_unfreeze_from_lists_the_stages_when_the_name_is_wrong():
    with pytest.raises(CourseError, match="'layer9'.*stem, layer1, .* head"):
        tl.unfreeze_from(network("resnet"), "layer9")


def test_freezing_again_drops_left_over_gradients():
    model = network("resnet")
    model(tiny_networks.images()).sum().backward()
    tl.unfreeze_from(model, "head")
    assert model.conv1.weight.grad is None


@pytest.mark.parametrize("batchnorm", ["train", "eval"])
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_phases_end_with_the_network_of_the_plain_way(family, batchnorm):
    """Dropout and stochastic depth included: both ways draw the same random numbers."""
    phases = [tl.Phase("head", 2, 0.05), tl.Phase(LATE[family], 2, 0.01), tl.Phase("stem", 1, 0.001)]
    ends, curves = {}, {}
    for cached in (True, False):
        model = network(family)
        torch.manual_seed(3)
        histories = tl.fit_gradually(
            model, *loaders(), phases, optimizer=sgd, cached=cached, batchnorm=batchnorm, verbose=False
        )
        ends[cached], curves[cached] = scores(model), histories
    before = scores(network(family))
    assert not torch.allclose(before, ends[True], atol=1e-2)  # something was trained
    # equal up to rounding: one image at a time or six, the sums in a convolution run in another order
    assert torch.allclose(ends[True], ends[False], rtol=1e-3, atol=1e-3), (ends[True] - ends[False]).abs().max()
    for one, other in zip(curves[True], curves[False], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3, abs=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-3, abs=1e-4)
        assert one.best_epoch == other.best_epoch


def test_the_cached_order_is_the_order_of_any_shuffling_loader():
    """torch's own shuffle=True draws its order from the global random numbers: the cached way draws the same ones."""
    ends = []
    for cached in (True, False):
        model = network("resnet")
        torch.manual_seed(5)
        train = DataLoader(rows(), batch_size=6, shuffle=True, drop_last=True)
        tl.fit_gradually(
            model, train, loaders()[1], [tl.Phase("head", 2, 0.05), tl.Phase("layer3", 2, 0.01)],
            optimizer=sgd, cached=cached, verbose=False,
        )  # fmt: skip
        ends.append(scores(model))
    assert torch.allclose(*ends, rtol=1e-3, atol=1e-3)


def test_frozen_stages_stay_bit_equal_and_the_rest_trains():
    model = network("resnet")
    before = tiny_networks.snapshot(model)
    tl.fit_gradually(model, *loaders(), [tl.Phase("layer3", 1, 0.01)], verbose=False)
    changed = tiny_networks.changed(before, model)
    assert any(name.startswith("layer3") for name in changed) and any(name.startswith("fc") for name in changed)
    assert not any(name.startswith(("conv1", "bn1", "layer1", "layer2")) for name in changed)


def test_each_phase_starts_from_the_best_epoch_of_the_one_before(monkeypatch):
    from tlhelpers import gradual

    kept, begins = [], []
    fit = gradual.fit

    def spy(trained, *args, **kwargs):
        begins.append(scores(model))
        history = fit(trained, *args, **kwargs)
        kept.append(scores(model))
        return history

    monkeypatch.setattr(gradual, "fit", spy)
    model = network("resnet")
    # a rate that is far too high: the last epoch is not the best one
    histories = tl.fit_gradually(
        model, *loaders(), [tl.Phase("head", 3, 0.5), tl.Phase("stem", 1, 1e-4)], optimizer=sgd, verbose=False
    )
    assert torch.equal(begins[1], kept[0])
    metrics = histories[0].val_loss[histories[0].best_epoch - 1]
    assert metrics == min(histories[0].val_loss)


def test_every_phase_has_a_fresh_optimizer_and_scheduler_over_what_trains():
    held, planned = [], []

    def optimizer(model, phase):
        held.append(torch.optim.AdamW(tl.trainable_parameters(model), lr=phase.lr))
        return held[-1]

    def scheduler(optimizer, steps):
        planned.append(steps)
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)

    phases = [tl.Phase("head", 2), tl.Phase("layer3", 1)]
    tl.fit_gradually(
        network("resnet"), *loaders(), phases, optimizer=optimizer, scheduler=scheduler, verbose=False
    )  # 19 images in batches of 6: the last batch of one image is left out
    assert planned == [6, 3]
    sizes = [sum(len(group["params"]) for group in one.param_groups) for one in held]
    assert held[0] is not held[1] and sizes[0] == 2 < sizes[1]


def test_histories_count_the_caching_pass_and_name_their_phase(capsys):
    phases = [tl.Phase("head", 1), tl.Phase("stem", 1)]
    histories = tl.fit_gradually(network("resnet"), *loaders(), phases)
    out = capsys.readouterr().out
    assert len(histories) == 2
    assert "phase 1/2: everything from head on, on cached activations (0.0 MB)" in out
    assert "phase 2/2: everything from stem on\n" in out
    assert "freezes again" not in out


def test_a_phase_that_freezes_again_says_so(capsys):
    tl.fit_gradually(network("resnet"), *loaders(), [tl.Phase("layer3", 1), tl.Phase("head", 1)])
    assert "freezes again" in capsys.readouterr().out


def test_no_further_phase_after_a_diverged_one(capsys):
    phases = [tl.Phase("head", 2, 3e38), tl.Phase("layer3", 1, 1e-3)]
    histories = tl.fit_gradually(network("resnet"), *loaders(), phases, optimizer=sgd, verbose=False)
    assert [history.stopped for history in histories] == ["diverged"]


def test_no_further_phase_after_an_interrupt(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    phases = [tl.Phase("head", 2), tl.Phase("layer3", 1)]
    monkeypatch.setattr("tlhelpers.training.train_one_epoch", interrupted)
    histories = tl.fit_gradually(network("resnet"), *loaders(), phases, verbose=False)
    assert [history.stopped for history in histories] == ["interrupted"]


class Augmented(TensorDataset):
    """Rows with a random flip, drawn from torch's random numbers as a transform does."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return v2.RandomHorizontalFlip()(image), label


def test_an_augmenting_dataset_needs_views_or_the_plain_way():
    augmented = Augmented(*rows().tensors)
    train, val = loaders(augmented)
    with pytest.raises(CourseError, match="views=k"):
        tl.fit_gradually(network("resnet"), train, val, [tl.Phase("head", 1)], verbose=False)
    for way in ({"views": 2}, {"cached": False}):
        histories = tl.fit_gradually(
            network("resnet"), *loaders(augmented), [tl.Phase("head", 2)], verbose=False, **way
        )
        assert len(histories[0].val_loss) == 2


def test_views_take_turns_epoch_by_epoch():
    from tlhelpers.prefix_cache import SameBatches

    loader = tl.make_loader(rows(8), batch_size=4, train=True, seed=1)
    order = [index for batch in tl.make_loader(rows(8), 4, train=True, seed=1).batch_sampler for index in batch]
    batches = SameBatches(loader, views=2)
    first = [index for batch in batches for index in batch]
    second = [index for batch in batches for index in batch]
    assert first == order and sorted(second) == list(range(8, 16)) and len(batches) == 2


class Counted(TensorDataset):
    """Rows that count how often each was opened."""

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.opened = [0] * len(self)

    def __getitem__(self, index):
        self.opened[index] += 1
        return super().__getitem__(index)


def opened_by(phases, **options):
    """Train on counted rows, cached and plain; return the openings of both datasets after the cached way."""
    ends = {}
    for cached in (False, True):
        datasets = Counted(*rows().tensors), Counted(*rows(13, seed=1).tensors)
        model = network("resnet")
        torch.manual_seed(3)
        more = options if cached else {}
        tl.fit_gradually(
            model, *loaders(*datasets), phases, optimizer=sgd, cached=cached, verbose=False, **more
        )  # fmt: skip
        ends[cached] = scores(model)
    assert torch.allclose(ends[True], ends[False], rtol=1e-3, atol=1e-3), (ends[True] - ends[False]).abs().max()
    # the first eight images are opened a few times more, to see whether the dataset augments
    return tuple(max(dataset.opened[8:]) for dataset in datasets)


def phases_from(*starts):
    return [tl.Phase(start, 2 if start == "head" else 1, 0.02 if start == "head" else 0.005) for start in starts]


@pytest.mark.parametrize(
    ("starts", "passes"),
    [
        (["head", "layer3"], 1),
        (["head", "layer3", "layer2"], 1),
        (["layer2", "layer3", "head"], 1),  # each freezes again what trained before: run on from the one kept
        (["layer3", "head", "layer2", "layer3"], 1),
        (["head", "layer3", "head", "layer2"], 1),
    ],
)
def test_all_frozen_phases_together_open_each_image_once(starts, passes):
    assert opened_by(phases_from(*starts)) == (passes, passes)


def test_from_the_head_down_to_everything_one_pass_and_the_plain_epochs():
    # one for the cache, one for the epoch that trains everything
    assert opened_by(phases_from("head", "layer3", "layer2", "stem")) == (2, 2)


def test_a_phase_that_trains_everything_spoils_the_cache():
    assert opened_by(phases_from("head", "stem", "head"))[1] == 3
    assert opened_by(phases_from("stem", "layer3", "head"))[1] == 2


def cache_of(starts, gb=1.0, views=1):
    from tlhelpers.prefix_cache import PrefixCache

    model = network("resnet").requires_grad_(False)
    names = [part.name for part in tl.stages(model)]
    places = [names.index(start) for start in starts]
    loaders_in_order = (DataLoader(rows(), 6), DataLoader(rows(13, seed=1), 6))
    return PrefixCache(model, *loaders_in_order, places, views, gb), names


def kept_after_each(starts, gb=1.0, views=1):
    cache, names = cache_of(starts, gb, views)
    found = []
    for phase, start in enumerate(starts):
        if start != "stem":
            train, val = cache.rows(phase)
            prefix, _ = tl.split_model(cache.model, start)
            expected = prefix.eval()(rows(13, seed=1).tensors[0])
            torch.testing.assert_close(val.features, expected, rtol=1e-4, atol=1e-4)
            assert val.labels.tolist() == rows(13, seed=1).tensors[1].tolist()
            held = sum(part.features.numel() * 4 for pair in cache.kept.values() for part in pair)
            assert held <= gb * 1e9
        found.append({names[place] for place in cache.kept})
    return found


def test_what_no_later_phase_needs_is_dropped():
    assert kept_after_each(["head", "layer3", "layer2"]) == [
        {"head", "layer3", "layer2"},
        {"layer3", "layer2"},
        {"layer2"},
    ]
    assert kept_after_each(["layer2", "layer3", "head"]) == [{"layer2"}, {"layer2", "layer3"}, {"layer3", "head"}]
    assert kept_after_each(["head", "stem", "head"])[2] == {"head"}


def test_the_bound_holds_for_all_that_is_kept_at_once():
    cache, names = cache_of(["head", "layer3", "layer2"])
    sizes = {names[place]: size / 1e9 for place, size in cache.sizes.items()}
    assert sizes["head"] < sizes["layer3"] < sizes["layer2"]
    # room for the largest alone: each phase falls back to its own, or to what fits beside it
    tight = kept_after_each(["head", "layer3", "layer2"], gb=sizes["layer2"])
    assert tight == [{"head", "layer3"}, {"layer3"}, {"layer2"}]
    # freezing again without room for both: the base goes, the images are opened anew
    assert kept_after_each(["layer2", "layer3"], gb=sizes["layer2"]) == [{"layer2"}, {"layer3"}]
    assert opened_by(phases_from("layer2", "layer3"), max_cache_gb=sizes["layer2"]) == (2, 2)


def test_too_large_a_phase_is_named_before_any_phase_trains():
    model = network("resnet")
    before = tiny_networks.snapshot(model)
    with pytest.raises(CourseError, match="before 'layer1' would take.*max_cache_gb=0.0003"):
        phases = phases_from("head", "layer1")
        tl.fit_gradually(model, *loaders(), phases, max_cache_gb=3e-4, verbose=False)
    assert not tiny_networks.changed(before, model)


def test_views_share_one_cache_and_go_on_where_the_phase_before_stopped(monkeypatch):
    from tlhelpers import gradual

    used = []
    fit = gradual.fit

    def spy(trained, train, val, **kwargs):
        used.append((train.batch_sampler.epoch, len(train.dataset)))
        return fit(trained, train, val, **kwargs)

    monkeypatch.setattr(gradual, "fit", spy)
    augmented = Augmented(*rows().tensors)
    tl.fit_gradually(network("resnet"), *loaders(augmented), phases_from("head", "layer3"), views=3, verbose=False)
    assert used == [(0, 57), (2, 57)]


def test_the_turn_of_the_views_can_be_saved():
    from tlhelpers.prefix_cache import SameBatches

    def batches():
        return SameBatches(tl.make_loader(rows(8), batch_size=4, train=True, seed=1), views=3)

    whole, begun, resumed = batches(), batches(), batches()
    looks = [sorted(index for batch in whole for index in batch)[0] for _ in range(5)]
    assert looks == [0, 8, 16, 0, 8]
    for _ in range(2):
        list(begun)
    resumed.load_state_dict(begun.state_dict())
    resumed.sampler.generator.set_state(begun.sampler.generator.get_state())
    assert list(resumed) == list(begun) and resumed.state_dict() == {"epoch": 3}


@pytest.mark.parametrize("cached, broken_at", [(True, 2), (True, 3), (False, 1), (False, 3)])
def test_a_run_that_died_in_any_phase_goes_on_exactly(tmp_path, cached, broken_at, monkeypatch):
    from tlhelpers import gradual

    fit, phases = gradual.fit, [Phase("head", 2, lr=0.05), Phase("layer3", 3, lr=0.01), Phase("stem", 2, lr=0.001)]

    def training(folder, dies=False):
        tl.seed_everything(3)
        model, calls = network("resnet"), []
        data = loaders(train=Augmented(*rows().tensors) if cached else None)

        def dying_fit(*arguments, **options):
            calls.append(1)
            if dies and len(calls) == broken_at:
                options["epochs"] -= 1  # the process ends before the last epoch of this phase
                fit(*arguments, **options)
                raise InterruptedError
            return fit(*arguments, **options)

        monkeypatch.setattr(gradual, "fit", dying_fit)
        options = {"optimizer": sgd, "cached": cached, "views": 2 if cached else 1, "checkpoint": folder}
        histories = tl.fit_gradually(model, *data, phases, verbose=False, **options)
        return scores(model), histories, torch.rand(1)

    whole, whole_histories, number = training(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        training(tmp_path / "broken", dies=True)
    again, histories, same_number = training(tmp_path / "broken")
    assert torch.equal(whole, again) and number == same_number
    assert [h.val_loss for h in histories] == [h.val_loss for h in whole_histories]
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["phase1.pt", "phase2.pt", "phase3.pt"]


def test_cache_bytes_is_what_the_cache_takes():
    model = network("resnet").requires_grad_(False)
    loader = tl.make_loader(rows(), batch_size=6)
    for at in ("layer1", "layer3", "head"):
        cached = tl.cache_features(model, loader, at=at)
        assert tl.cache_bytes(model, loader, at) == cached.features.numel() * 4
    assert tl.cache_bytes(model, loader, "head", views=3) == 3 * tl.cache_bytes(model, loader, "head")


def test_cache_bytes_leaves_no_trace():
    model = network("resnet").train()
    before = tiny_networks.snapshot(model)
    loader = tl.make_loader(Augmented(*rows().tensors), batch_size=6)
    torch.manual_seed(0)
    tl.cache_bytes(model, loader, "layer2")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1)) and not tiny_networks.changed(before, model) and model.training


def test_a_cache_that_is_too_large_is_refused_before_it_is_filled():
    with pytest.raises(CourseError, match="would take 0.0 GB.*max_cache_gb=1e-06.*cached=False"):
        tl.fit_gradually(network("resnet"), *loaders(), [tl.Phase("layer1", 1)], max_cache_gb=1e-6, verbose=False)


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([], "list of one or more"),
        ([("head", 1)], "list of one or more"),
        ([tl.Phase("head", 1), tl.Phase("layer7", 1)], "no stage 'layer7'"),
        ([tl.Phase("head", 0)], "epochs=0"),
        ([tl.Phase("head", 1, -0.1)], "lr=-0.1"),
        ([tl.Phase("head", 1, [1e-3, 1e-4])], "Several rates need"),
    ],
)
def test_wrong_phases_are_named_before_anything_trains(phases, words):
    model = network("resnet")
    before = tiny_networks.snapshot(model)
    with pytest.raises(CourseError, match=words):
        tl.fit_gradually(model, *loaders(), phases, verbose=False)
    assert not tiny_networks.changed(before, model)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (lambda: [(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))], "train_loader must be a DataLoader"),
        (lambda: DataLoader(rows(), batch_size=None), "batch_size=None"),
        (lambda: DataLoader(rows(), 4, collate_fn=torch.utils.data.default_convert), "collate_fn"),
        (lambda: DataLoader(Subset(rows(), []), 4), "empty dataset"),
    ],
)
def test_loaders_that_cannot_be_cached_are_named(train, words):
    with pytest.raises(CourseError, match=words):
        tl.fit_gradually(network("resnet"), train(), loaders()[1], [tl.Phase("head", 1)], verbose=False)


def test_a_network_without_known_stages_says_so():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))
    with pytest.raises(CourseError, match="stages"):
        tl.fit_gradually(model, *loaders(), [tl.Phase("head", 1)], verbose=False)
