"""Cached features equal the plain path, and what would spoil a cache is refused."""

import copy

import pytest
import torch
from tiny_networks import FAMILIES, build, changed, images, snapshot
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import tlhelpers as tl


class Pictures(Dataset):
    """Seven fixed images; with `jitter` every look is another one, as with an augmentation."""

    classes = ["ant", "bee", "wasp"]

    def __init__(self, n=7, jitter=0.0, transform="plain"):
        self.data, self.jitter, self.transform = images(n, seed=3), jitter, transform
        self.targets = [i % 3 for i in range(n)]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i] + self.jitter * torch.randn(()), self.targets[i]


def in_order(dataset=None, **kwargs):
    return DataLoader(Pictures() if dataset is None else dataset, batch_size=3, **kwargs)


@pytest.fixture
def frozen():
    net = build("resnet")
    tl.freeze(net)
    return tl.replace_head(net, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cut_gives_the_plain_scores(family):
    net = build(family).eval()
    with torch.no_grad():
        expected = net(images())
        for stage in tl.stages(net)[1:]:
            prefix, tail = tl.split_model(net, stage.name)
            torch.testing.assert_close(tail(prefix(images())), expected)


def test_the_halves_are_the_models_own_parts(frozen):
    prefix, tail = tl.split_model(frozen, "layer3")
    own = {id(p) for p in frozen.parameters()}
    halves = [id(p) for half in (prefix, tail) for p in half.parameters()]
    assert set(halves) == own and len(halves) == len(own)
    twin = copy.deepcopy(tail)
    twin[-1].weight.data.zero_()
    assert frozen.fc.weight.any(), "a copy of the tail is a copy"
    for wrong in ("stem", "layer9", "fc"):
        with pytest.raises(tl.CourseError, match="choose one of layer1, layer2"):
            tl.split_model(frozen, wrong)


@pytest.mark.parametrize("at", ["head", "pool", "layer3"])
def test_cached_path_equals_plain_path(frozen, at):
    cache = tl.cache_features(frozen, in_order(), at=at)
    assert isinstance(cache, TensorDataset) and cache.features.dtype == torch.float32
    assert cache.labels.tolist() == Pictures().targets and cache.indices.tolist() == list(range(7))
    assert cache.classes == Pictures.classes
    _, tail = tl.split_model(frozen, at)
    plain, cached = tl.predict(frozen, in_order()), tl.predict(tail, DataLoader(cache, batch_size=5))
    torch.testing.assert_close(cached.probabilities, plain.probabilities)
    assert torch.equal(cached.labels, plain.labels)


def test_training_the_tail_equals_training_the_model(frozen):
    twin = copy.deepcopy(frozen)
    tl.unfreeze(frozen.layer3, twin.layer3)
    rates = dict(lr=0.05, momentum=0.9)
    tl.fit(
        twin, in_order(), in_order(), epochs=2, verbose=False,
        optimizer=torch.optim.SGD(tl.trainable_parameters(twin), **rates),
    )  # fmt: skip
    _, tail = tl.split_model(frozen, "layer3")
    rows = in_order(tl.cache_features(frozen, in_order(), at="layer3"))
    history = tl.fit(
        tail, rows, rows, epochs=2, verbose=False, optimizer=torch.optim.SGD(tl.trainable_parameters(tail), **rates)
    )
    torch.testing.assert_close(tl.evaluate(frozen, in_order()).loss, history.best()["val_loss"])
    torch.testing.assert_close(dict(frozen.state_dict()), dict(twin.state_dict()), rtol=1e-3, atol=1e-4)


def test_frozen_part_of_a_tail_stays_still(frozen):
    _, tail = tl.split_model(frozen, "layer3")
    rows = in_order(tl.cache_features(frozen, in_order(), at="layer3"))
    before = snapshot(frozen)
    optimizer = torch.optim.SGD(tl.trainable_parameters(tail), lr=0.1)
    tl.fit(tail, rows, rows, epochs=1, optimizer=optimizer, verbose=False)
    assert changed(before, frozen) == {"fc.weight", "fc.bias"}


def test_caching_changes_neither_modes_buffers_nor_random_numbers(frozen):
    frozen.train()
    frozen.layer1.eval()
    before, modes, state = snapshot(frozen), [m.training for m in frozen.modules()], torch.get_rng_state()
    generator = torch.Generator().manual_seed(5)
    tl.cache_features(frozen, in_order(generator=generator))
    tl.cache_features(frozen, in_order(Pictures(jitter=1.0), generator=generator), views=2)
    assert not changed(before, frozen) and [m.training for m in frozen.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())


def test_views_keep_several_different_looks(frozen):
    cache = tl.cache_features(frozen, in_order(Pictures(jitter=1.0)), views=3)
    assert cache.indices.tolist() == [*range(7)] * 3 and cache.labels.tolist() == Pictures().targets * 3
    looks = cache.features.reshape(3, 7, -1)
    assert not torch.allclose(looks[0], looks[1]) and not torch.allclose(looks[1], looks[2])


@pytest.mark.parametrize(
    "loader, message",
    [
        (lambda: in_order(shuffle=True), "shuffle=False"),
        (lambda: in_order(sampler=torch.utils.data.SubsetRandomSampler([0, 1])), "shuffle=False"),
        (lambda: DataLoader(Pictures(), batch_sampler=[[1, 0], [2]]), "shuffle=False"),
        (lambda: in_order(drop_last=True), "drop_last=False"),
        (lambda: in_order(Pictures(jitter=0.1)), "augments at random"),
        (lambda: in_order(Subset(Pictures(jitter=0.1), [0, 1])), "augments at random"),
        (lambda: in_order(Subset(Pictures(), [])), "yields nothing"),
        (lambda: [(images(), torch.zeros(4))], "needs a DataLoader"),
    ],
)
def test_what_would_spoil_a_cache_is_refused(frozen, loader, message):
    with pytest.raises(tl.CourseError, match=message):
        tl.cache_features(frozen, loader())


def test_shuffled_loader_is_refused_for_views_too(frozen):
    with pytest.raises(tl.CourseError, match="shuffle=False"):
        tl.cache_features(frozen, in_order(shuffle=True), views=2)
    for wrong in (0, 1.5, True):
        with pytest.raises(tl.CourseError, match="views"):
            tl.cache_features(frozen, in_order(), views=wrong)


def test_prefix_that_trains_is_refused(frozen):
    tl.unfreeze(frozen.layer3)
    with pytest.raises(tl.CourseError, match="freeze it first"):
        tl.cache_features(frozen, in_order())
    assert len(tl.cache_features(frozen, in_order(), at="layer3")) == 7


def test_key_follows_everything_the_features_depend_on(frozen):
    def key(dataset=None, at="head"):
        return tl.cache_features(frozen, in_order(dataset), at=at).key

    first = key()
    assert key() == first == key(Pictures())
    others = [key(at="layer3"), key(Pictures(transform="other")), key(Subset(Pictures(), [0, 1, 2]))]
    others.append(key(Subset(Pictures(), [0, 1, 5])))
    frozen.fc.weight.data.add_(1)
    assert key() == first, "the head does not matter"
    frozen.bn1.running_mean.add_(1)
    others.append(key())
    assert len({first, *others}) == 6


def rows(n, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    features = 100 * (torch.randn(n, 20, generator=generator) + shift * nn.functional.one_hot(labels, 20))
    return TensorDataset(features, labels)


def test_linear_probe_sweeps_c_and_chooses_on_validation():
    train, val = rows(60, 2.0, 0), rows(60, 2.0, 1)
    probe = tl.linear_probe(train, val, Cs=(10.0, 0.00001, 0.1))
    accuracies = {float(line.split()[0]): float(line.split()[2]) for line in probe.table.splitlines()[1:]}
    assert list(accuracies) == [0.00001, 0.1, 10.0]
    assert probe.val_accuracy == pytest.approx(max(accuracies.values()), abs=1e-3)
    assert accuracies[probe.C] == max(accuracies.values()) > 0.6
    assert probe.model.score(val.tensors[0].numpy(), val.tensors[1].numpy()) == probe.val_accuracy


def test_linear_probe_refuses_unpooled_features_and_odd_values():
    train = rows(12, 2.0, 0)
    with pytest.raises(tl.CourseError, match=r"\(4, 512, 2, 2\), not \(N, D\)"):
        tl.linear_probe(TensorDataset(torch.zeros(4, 512, 2, 2), torch.zeros(4)), train)
    with pytest.raises(tl.CourseError, match="val must be what cache_features returns"):
        tl.linear_probe(train, train.tensors)
    for wrong in ((), (0.0, 1.0), (-1.0,)):
        with pytest.raises(tl.CourseError, match="positive numbers"):
            tl.linear_probe(train, train, Cs=wrong)


def test_a_batch_of_cached_rows_is_what_row_by_row_collation_gives(frozen):
    cache = tl.cache_features(frozen, in_order(), at="layer3")
    plain = TensorDataset(cache.features, cache.labels)
    for dataset, same in ((cache, plain), (Subset(cache, [5, 1, 2]), Subset(plain, [5, 1, 2]))):
        for batches in (DataLoader(dataset, batch_size=2), DataLoader(dataset, batch_size=2, drop_last=True)):
            other = DataLoader(same, batch_size=2, drop_last=batches.drop_last)
            for (x, y), (expected, labels) in zip(batches, other, strict=True):
                assert torch.equal(x, expected) and torch.equal(y, labels)
    shuffled = [tl.make_loader(dataset, 2, train=True, seed=4) for dataset in (cache, plain)]
    for (_, y), (_, labels) in zip(*shuffled, strict=True):
        assert y.tolist() == labels.tolist()


def test_cached_rows_suit_a_collate_function_that_wants_pairs(frozen):
    cache = tl.cache_features(frozen, in_order())

    def own(batch):
        assert len(batch) == 3
        return torch.stack([x for x, _ in batch]), [int(y) for _, y in batch]

    def shortened(batch):
        return torch.utils.data.default_collate([batch[-1], *batch][:2])

    features, labels = next(iter(DataLoader(cache, batch_size=3, collate_fn=own)))
    assert torch.equal(features, cache.features[:3]) and labels == [0, 1, 2]
    features, labels = next(iter(DataLoader(cache, batch_size=3, collate_fn=shortened)))
    assert torch.equal(features, cache.features[[2, 0]]) and labels.tolist() == [2, 0]


def test_several_cuts_take_one_pass_and_later_ones_go_on_from_a_kept_one(frozen):
    from tlhelpers.features import cache_at_stages

    alone = {at: tl.cache_features(frozen, in_order(), at=at) for at in ("layer2", "layer3", "head")}
    together = cache_at_stages(frozen, in_order(), ["head", "layer2", "layer3"])
    assert list(together) == ["layer2", "layer3", "head"]
    further = cache_at_stages(frozen, in_order(together["layer2"]), ["head"], begin="layer2")["head"]
    for cache, expected in [*((together[at], alone[at]) for at in alone), (further, alone["head"])]:
        torch.testing.assert_close(cache.features, expected.features)
        assert cache.labels.tolist() == expected.labels.tolist() and cache.classes == expected.classes
        assert cache.indices.tolist() == expected.indices.tolist()
    assert together["layer3"].key == alone["layer3"].key


def test_a_batch_sampler_that_leaves_images_out_is_refused(frozen):
    sampler = torch.utils.data.SequentialSampler(Pictures())
    batches = torch.utils.data.BatchSampler(sampler, batch_size=3, drop_last=True)
    with pytest.raises(tl.CourseError, match="leaves out"):
        tl.cache_features(frozen, DataLoader(Pictures(), batch_sampler=batches))


def test_the_key_of_cached_images_knows_their_pixels():
    transform = tl.eval_transform(16)
    twins = [[torch.full((3, 16, 16), shade, dtype=torch.uint8)] for shade in (0, 0, 1)]
    model = tl.replace_head(build("resnet"), 3)
    tl.freeze(model)
    keys = []
    for pixels in twins:
        data = tl.CachedImages(pixels, targets=[1], transform=transform)
        keys.append(tl.cache_features(model, tl.make_loader(data)).key)
    assert keys[0] == keys[1] != keys[2]
