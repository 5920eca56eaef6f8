"""Images kept in memory: the same pictures, order and random draws as without, and clear words when they do not fit."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import resnet
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import transforms as v1
from torchvision.models import EfficientNet_B0_Weights, ResNet18_Weights
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers.batch_crops import BatchCrops
from tlhelpers.pipeline import CachedImages, automatic_workers, cache_images

BILINEAR = v2.InterpolationMode.BILINEAR
# resizing in whole numbers rounds twice: two steps of 1/255, after the smallest std that Normalize divides by
ROUNDED = 2 / 255 / min(tl.IMAGENET_STD) + 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of four smooth colour pictures of different sizes."""
    root = tmp_path_factory.mktemp("pictures")
    numbers = np.random.default_rng(0)
    for name in ("daisy", "rose", "tulip"):
        (root / name).mkdir()
        for number in range(4):
            coarse = Image.fromarray(numbers.integers(0, 256, (5, 6, 3), dtype=np.uint8))
            coarse.resize((40 + 4 * number, 36), Image.BICUBIC).save(root / name / f"{number}.png")
    return root


def to_tensor(mean=tl.IMAGENET_MEAN, std=tl.IMAGENET_STD):
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]


def to_array(image):
    return np.array(image)


def to_hsv(image):
    return image.convert("HSV")


def to_rgb(image):
    return image.convert("RGB")


def brighter(image):
    assert isinstance(image, Image.Image), "an own step gets what the data set would give it"
    return image.point(lambda value: min(255, value + 20))


def epoch(loader, seed=0):
    torch.manual_seed(seed)
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


PIPELINES = {  # what may differ from the pipeline without a cache
    "turn": (
        v2.Compose([v2.RandomRotation(15), v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), *to_tensor()]),
        ROUNDED,
    ),
    "turn, bilinear": (
        v2.Compose([v2.CenterCrop(24), v2.RandomRotation(15, BILINEAR, fill=[9, 8, 7]), *to_tensor()]),
        0,
    ),
    "course, evaluation": (tl.eval_transform(24, resize=28), ROUNDED),
    "weights, smaller": (ResNet18_Weights.DEFAULT.transforms(crop_size=24, resize_size=28), ROUNDED),
    "weights, bicubic": (EfficientNet_B0_Weights.DEFAULT.transforms(crop_size=24, resize_size=28), 0),
    "tutorial": (v2.Compose([v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), *to_tensor()]), ROUNDED),
    "nearest": (v2.Compose([v2.RandomResizedCrop(24, interpolation=v2.InterpolationMode.NEAREST), *to_tensor()]), 0),
    "not smoothed": (v2.Compose([v2.Resize((24, 24), antialias=False), *to_tensor()]), 0),
    "flips": (v2.Compose([v2.CenterCrop(24), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(0.3), *to_tensor()]), 0),
    "padding": (v2.Compose([v2.CenterCrop(60), *to_tensor()]), 0),
    "v1": (
        v1.Compose([v1.RandomResizedCrop(24), v1.RandomRotation(9), v1.ToTensor(), v1.Normalize([0.5] * 3, [0.2] * 3)]),
        0,
    ),
    "v1, bytes": (v1.Compose([v1.RandomCrop(24), v1.PILToTensor(), v1.ConvertImageDtype(torch.float32)]), 0),
    "bytes only": (v2.Compose([v2.RandomCrop(24), v2.PILToTensor()]), 0),
    "colours": (v2.Compose([v2.CenterCrop(24), v2.ColorJitter(0.3, 0.3, 0.3, 0.1), *to_tensor()]), 0),
    "many kinds": (v2.Compose([v2.CenterCrop(24), v2.RandAugment(), v2.RandomHorizontalFlip(), *to_tensor()]), 0),
    "one of": (
        v2.Compose([v2.RandomApply([v2.CenterCrop(9)]), v2.Pad(2), v2.Resize((24, 24)), *to_tensor()]),
        ROUNDED,
    ),
    "own step": (v2.Compose([v2.CenterCrop(24), brighter, v2.RandomHorizontalFlip(), *to_tensor()]), 0),
    "own step, array": (v2.Compose([v2.CenterCrop(24), to_array, *to_tensor()]), 0),
    "own step, v1 array": (v1.Compose([v2.CenterCrop(24), to_array, v1.ToTensor()]), 0),
    "hue": (v2.Compose([v2.CenterCrop(24), to_hsv, v2.RandomHorizontalFlip(), to_rgb, *to_tensor()]), 0),
    "nested": (v2.Compose([v2.Compose([v2.CenterCrop(24)]), v2.Compose(to_tensor())]), 0),
    "grey": (v2.Compose([v2.CenterCrop(24), v1.Grayscale(), v2.RandomHorizontalFlip(), *to_tensor([0.5], [0.2])]), 0),
    "tensor first": (v2.Compose([v2.ToImage(), v2.RandomResizedCrop(24), *to_tensor()[1:]]), 0),
    "tensor, rough": (
        v2.Compose([v2.ToImage(), v2.Resize((24, 24), antialias=False), *to_tensor()[1:]]),
        0,
    ),
    "erasing last": (v2.Compose([v2.CenterCrop(24), *to_tensor(), v2.RandomErasing(1.0)]), 0),
    "noise last": (v2.Compose([v2.CenterCrop(24), *to_tensor()[:2], v2.GaussianNoise()]), 0),
    "no tensor step": (lambda image: v2.functional.to_image(image.resize((9, 9))), 0),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_transform_gives_what_it_gives_without_a_cache(folder, name):
    transform, tolerance = PIPELINES[name]
    plain = tl.image_folder(folder, transform)
    cached = cache_images(plain)
    (images, labels), (expected, expected_labels) = (
        epoch(tl.make_loader(dataset, 5, train=True, seed=2)) for dataset in (cached, plain)
    )
    assert images.dtype == expected.dtype and images.shape == expected.shape and type(images) is torch.Tensor
    assert labels.tolist() == expected_labels.tolist()
    difference = (images - expected).abs()
    assert difference.max() <= tolerance and (difference > 1e-5).float().mean() < 0.05
    torch.manual_seed(4)
    batch = cached.__getitems__([3, 7, 3])
    torch.manual_seed(4)
    for (image, label), (single, single_label) in zip(batch, [cached[3], cached[7], cached[3]], strict=True):
        assert torch.equal(image, single) and label == single_label


def test_without_a_tensor_step_the_images_stay_pil_images(folder):
    for transform in (None, v2.RandomHorizontalFlip(0.0), v2.CenterCrop(30)):
        plain = tl.image_folder(folder, transform)
        cached = cache_images(plain)
        assert np.array_equal(cached[5][0], plain[5][0]) and isinstance(cached[5][0], Image.Image)


def test_images_of_different_sizes_are_finished_one_by_one(folder):
    plain = tl.image_folder(folder, v2.Compose(to_tensor()))
    cached = cache_images(plain)
    for index, (image, _) in enumerate(cached.__getitems__(list(range(12)))):
        assert torch.equal(image, plain[index][0])


def test_a_step_that_gives_nothing_usable_is_named(folder):
    cached = cache_images(tl.image_folder(folder, v2.Compose([lambda image: "picture", v2.ToImage()])))
    with pytest.raises(tl.CourseError, match="gives a str"):
        cached[0]


def test_every_image_draws_its_own_numbers_and_every_epoch_new_ones(folder):
    source = Subset(tl.image_folder(folder, tl.train_transform(24)), [1] * 6)
    loader = tl.make_loader(cache_images(source), batch_size=6)
    first, second = next(iter(loader))[0], next(iter(loader))[0]
    assert len({image.numpy().tobytes() for image in [*first, *second]}) == 12


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_is_put_back_gives_the_same_batches_again(folder, cached, workers):
    dataset = tl.image_folder(folder, tl.train_transform(24))
    dataset = cache_images(dataset) if cached else dataset
    loader = tl.make_loader(dataset, 5, train=True, seed=1, num_workers=workers)
    epoch(loader)
    generators = (loader.generator, loader.sampler.generator)
    states = [generator.get_state() for generator in generators]
    images, labels = epoch(loader, seed=3)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    again, again_labels = epoch(loader, seed=3)
    assert torch.equal(images, again) and torch.equal(labels, again_labels)
    # a new process knows only the states: workers must not carry anything over from earlier epochs
    fresh = tl.make_loader(dataset, 5, train=True, seed=8, num_workers=workers)
    for generator, state in zip((fresh.generator, fresh.sampler.generator), states, strict=True):
        generator.set_state(state)
    resumed, resumed_labels = epoch(fresh, seed=3)
    assert torch.equal(images, resumed) and torch.equal(labels, resumed_labels)
    assert not torch.equal(images, epoch(loader, seed=3)[0]), "the next epoch differs"


def test_the_order_is_the_same_with_workers_and_with_a_cache(folder):
    plain = tl.image_folder(folder, tl.eval_transform(24))
    orders = [
        epoch(tl.make_loader(dataset, 5, train=True, seed=1, num_workers=workers))[1].tolist()
        for dataset in (plain, cache_images(plain))
        for workers in (0, 2)
    ]
    assert orders[0] == orders[1] == orders[2] == orders[3] != sorted(orders[0])


def turn(degrees=(0, 0), fill=0, **options):
    return v2.RandomRotation(degrees, **{"interpolation": BILINEAR, "fill": fill} | options)


def uniform(share=0.0, ratio=0.5, down=0.0, right=0.0):
    """The random numbers of one RandomResizedCrop, when its first crop fits."""
    return [share] * 10 + [ratio] * 10 + [down, right]


@pytest.mark.parametrize("mirrored", [False, True])
def test_turn_crop_and_flip_at_once_look_like_one_after_the_other(folder, mirrored):
    image = tl.image_folder(folder)[2][0].resize((64, 48))
    steps = [turn((-40, 40), [200, 10, 90]), v2.RandomResizedCrop((24, 30), scale=(0.4, 0.9)), v2.RandomVerticalFlip()]
    crops = BatchCrops([*steps[:2], v2.RandomHorizontalFlip(float(mirrored)), steps[2]])
    numbers = torch.tensor([[0.75, *uniform(share=0.6, ratio=0.6, down=0.2, right=1.0), 0.5, 0.2]])
    pixels, sizes = crops.prepare([v2.functional.pil_to_tensor(image)])
    found = crops(pixels, sizes, numbers)[0]
    area, ratio = 64 * 48 * 0.7, np.exp(np.log(3 / 4) + 0.6 * (np.log(4 / 3) - np.log(3 / 4)))
    height, width = (area / ratio) ** 0.5, (area * ratio) ** 0.5
    top, left = 0.2 * (48 - height), 64 - width
    expected = image.rotate(20, Image.BILINEAR, fillcolor=(200, 10, 90))
    expected = expected.resize((30, 24), Image.BILINEAR, box=(left, top, left + width, top + height))
    expected = v2.functional.vertical_flip(v2.functional.pil_to_tensor(expected))
    expected = expected.flip(-1) if mirrored else expected
    assert (found.float() - expected).abs().mean() < 4 < 30 < (found.float().flip(-1) - expected).abs().mean()
    corner = torch.tensor([200, 10, 90]).view(3, 1, 1)
    filled = [(part == corner).all(0).float().mean() for part in (found, expected)]
    assert filled[1] > 0.02 and abs(filled[0] - filled[1]) < 0.02


@pytest.mark.parametrize("size", [(40, 50), (20, 300)])
def test_all_crops_at_once_are_distributed_as_torchvisions(size):
    step = v2.RandomResizedCrop(8, scale=(0.3, 0.9))
    torch.manual_seed(0)
    count = 3000
    crops = BatchCrops([step])
    matrices = crops._matrices(torch.tensor([size] * count).float(), torch.rand(count, 22)).numpy()
    height, width = matrices[:, 0, 0] * 8 * crops.finer, matrices[:, 1, 1] * 8 * crops.finer
    top, left = matrices[:, 0, 2], matrices[:, 1, 2]
    drawn = [step.make_params([torch.zeros(3, *size)]) for _ in range(count)]
    for values, name in ((height, "height"), (width, "width"), (top, "top"), (left, "left")):
        for share in (0.1, 0.5, 0.9):  # torchvision rounds to whole pixels, and draws add their own spread
            expected = np.quantile([params[name] for params in drawn], share)
            assert abs(np.quantile(values, share) - expected) < 0.03 * max(size) + 1, (name, share)


def test_turns_and_flips_at_once_are_drawn_for_each_image():
    crops = BatchCrops([turn((-10, 30)), v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(0.25)])
    matrices = crops._matrices(torch.full((2000, 2), 50.0), torch.rand(2000, crops.numbers))
    mirrored = torch.det(matrices[:, :, :2]) < 0
    assert 0.2 < mirrored.float().mean() < 0.3
    angles = torch.rad2deg(torch.atan2(matrices[:, 0, 1], matrices[:, 1, 1]))[~mirrored]
    assert angles.min() > -20 and angles.max() < 40 and 5 < angles.mean() < 15 and angles.std() > 8


def test_images_of_different_sizes_do_not_leak_into_each_other():
    images = [torch.full((3, 20 + 9 * i, 50 - 7 * i), 60 * i + 10, dtype=torch.uint8) for i in range(4)]
    for steps in ([v2.RandomResizedCrop(16)], [turn((-60, 60), 255), v2.RandomResizedCrop(16, scale=(0.9, 1.0))]):
        crops = BatchCrops(steps)
        pixels, sizes = crops.prepare(images)
        torch.manual_seed(0)
        batch = crops(pixels, sizes, torch.rand(4, crops.numbers))
        torch.manual_seed(0)
        for i in range(4):
            single = crops(pixels[i : i + 1], sizes[i : i + 1], torch.rand(1, crops.numbers))[0]
            assert torch.equal(single, batch[i]), "the same alone and in a batch"
            own = 60 * i + 10
            assert batch[i].min() == own and (batch[i].max() > own if crops.turns else batch[i].max() == own)


def test_a_smaller_image_looks_the_same_beside_a_larger_one():
    torch.manual_seed(0)
    image, larger = torch.randint(256, (3, 8, 8), dtype=torch.uint8), torch.zeros(3, 12, 20, dtype=torch.uint8)
    for steps in ([v2.RandomResizedCrop(16)], [turn((-60, 60), 99), v2.RandomResizedCrop(16, scale=(0.9, 1.0))]):
        crops = BatchCrops(steps)
        numbers = torch.tensor([[0.4, *uniform(share=1.0, down=1.0, right=1.0)][-crops.numbers :]])
        alone, beside = (
            crops(*(part[:1] for part in crops.prepare(images)), numbers) for images in ([image], [image, larger])
        )
        assert (alone.float() - beside.float()).abs().max() <= 1


def test_large_crops_are_smoothed():
    stripes = torch.zeros(3, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 200
    crops = BatchCrops([v2.RandomResizedCrop(16, scale=(0.06, 1.0))])
    pixels, sizes = crops.prepare([stripes])
    whole = crops(pixels, sizes, torch.tensor([uniform(share=1.0)]))
    assert crops.finer > 2 and (whole.float() - 100).abs().max() <= 20


@pytest.mark.parametrize(
    "steps",
    [
        [turn()],
        [turn(), v2.RandomResizedCrop(8), v2.RandomResizedCrop(8)],
        [v2.RandomResizedCrop(8), turn()],
        [turn(), turn(), v2.RandomResizedCrop(8)],
        [turn(interpolation=v2.InterpolationMode.NEAREST), v2.RandomResizedCrop(8)],
        [turn(expand=True), v2.RandomResizedCrop(8)],
        [turn(center=[0, 0]), v2.RandomResizedCrop(8)],
        [turn(fill={torch.Tensor: 0}), v2.RandomResizedCrop(8)],
        [turn(), v2.RandomResizedCrop(8, interpolation=v2.InterpolationMode.BICUBIC)],
        [turn(), v2.RandomResizedCrop(8, antialias=False)],
        [turn(), v2.ColorJitter(0.2), v2.RandomResizedCrop(8)],
    ],
)
def test_steps_that_one_matrix_cannot_express_stay_single(steps):
    assert not BatchCrops.can_do(steps)
    assert BatchCrops.can_do([v2.RandomVerticalFlip(), turn(), v2.RandomResizedCrop(8), v2.RandomHorizontalFlip()])


def test_the_course_pipeline_runs_at_once_and_keeps_to_the_memory(folder):
    cached = cache_images(tl.image_folder(folder, tl.train_transform(24)))
    only_pixels = cached.with_transform(tl.eval_transform(24)).nbytes
    assert only_pixels < cached.nbytes < 2 * only_pixels
    torch.manual_seed(1)
    batch = cached.__getitems__([3, 7, 3])
    torch.manual_seed(1)
    for (image, label), (single, single_label) in zip(batch, [cached[3], cached[7], cached[3]], strict=True):
        assert torch.equal(image, single) and label == single_label
    bound = only_pixels / 1e9
    cache_images(tl.image_folder(folder, tl.eval_transform(24)), max_gb=bound)
    with pytest.raises(tl.CourseError, match="max_gb"):
        cache_images(tl.image_folder(folder, tl.train_transform(24)), max_gb=bound)


class Counted(Dataset):
    """Pictures that count how often they are opened. `picture(index)` makes one."""

    def __init__(self, count, picture):
        self.count, self.picture, self.opened = count, picture, []
        self.transform = None

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.opened.append(index)
        image = self.picture(index)
        return self.transform(image) if self.transform else image, index % 2


def grey(index, size=(40, 30)):
    return Image.new("RGB", size, (index, index, index))


def test_nothing_is_opened_again_after_caching_and_views_share_the_pixels():
    dataset = Counted(30, grey)
    train = cache_images(dataset, transform=tl.train_transform(24))
    dataset.opened.clear()
    val = train.with_transform(tl.eval_transform(24))
    epoch(tl.make_loader(train, 8, train=True)), epoch(tl.make_loader(val, 8))
    assert dataset.opened == []
    assert train.images[3].data_ptr() == val.images[3].data_ptr()
    assert val.targets == train.targets == [0, 1] * 15 and dataset.transform is None


def test_too_many_pixels_are_refused_before_they_are_opened():
    dataset = Counted(400, grey)
    with pytest.raises(tl.CourseError, match=r"400 images take about 0.0014 GB .* max_gb=0.001.*size=(\d+)") as error:
        cache_images(dataset, max_gb=0.001)
    assert len(dataset.opened) <= 20
    advised = int(str(error.value).split("size=")[1].split(" ")[0])
    cached = cache_images(dataset, size=advised, max_gb=0.001)
    assert 0.0008e9 < cached.nbytes <= 0.001e9


def test_the_bound_holds_when_the_first_looks_were_misleading():
    looked_at = set(np.linspace(0, 99, 16).astype(int).tolist())
    dataset = Counted(100, lambda index: grey(index, (8, 8) if index in looked_at else (80, 80)))
    with pytest.raises(tl.CourseError, match="max_gb=0.001"):
        cache_images(dataset, max_gb=0.001)
    assert len(set(dataset.opened)) < 90


def test_size_makes_the_shorter_side_smaller_and_never_larger(folder):
    plain = tl.image_folder(folder)
    cached = cache_images(plain, size=18)
    for index in (0, 3):
        expected = v2.functional.pil_to_tensor(v2.Resize(18)(plain[index][0]))
        assert torch.equal(cached.images[index], expected) and min(expected.shape[1:]) == 18
    assert cache_images(plain, size=500).nbytes == cache_images(plain).nbytes
    assert cached.nbytes == sum(3 * image.shape[1] * image.shape[2] for image in cached.images)


def test_classes_and_labels_are_found_inside_subsets(folder):
    plain = tl.image_folder(folder, tl.eval_transform(24))
    part = cache_images(Subset(Subset(plain, range(2, 12)), [0, 9]))
    assert part.classes == ["daisy", "rose", "tulip"] and part.targets == [0, 2] and part.transform is plain.transform
    assert plain[0][0].shape == (3, 24, 24), "the dataset itself keeps its transform"
    plain.target_transform = lambda label: label * 10
    changed = cache_images(plain)
    assert changed.targets[-1] == 20 and not hasattr(changed, "classes")
    again = tl.make_loader(Subset(part, [1]))
    assert next(iter(again))[1].tolist() == [2]


class Jittered(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return v2.RandomCrop(8)(Image.effect_noise((32, 32), 50).convert("RGB")), 0


@pytest.mark.parametrize(
    ("dataset", "options", "says"),
    [
        ([(torch.zeros(3, 8, 8), 0)], {}, "image 0 .* Tensor .*RGB PIL"),
        ([(Image.new("L", (4, 4)), 0)], {}, "mode L"),
        ([], {}, "empty"),
        ([(Image.new("RGB", (4, 4)), 0)], {"size": 0}, "size=0"),
        ([(Image.new("RGB", (4, 4)), 0)], {"max_gb": 0}, "max_gb=0"),
        (Jittered(), {}, "augments at random"),
        (CachedImages([torch.zeros(3, 4, 4, dtype=torch.uint8)], [0]), {}, "already"),
    ],
)
def test_what_cannot_be_cached_is_refused(dataset, options, says):
    with pytest.raises(tl.CourseError, match=says):
        cache_images(dataset, **options)


def test_the_rest_of_the_course_takes_cached_images(folder):
    cached = cache_images(tl.image_folder(folder), tl.train_transform(32))
    plain = cached.with_transform(tl.eval_transform(32))
    tl.seed_everything(0)
    model = tl.replace_head(resnet(), 3)
    mixing = tl.make_loader(cached, 4, train=True, collate_fn=tl.MixingCollate(3))
    val = tl.make_loader(plain, 6)
    assert next(iter(mixing))[1].shape == (4, 3)
    history = tl.fit(model, mixing, val, epochs=1, optimizer=torch.optim.AdamW(tl.trainable_parameters(model)))
    assert history.val_accuracy[0] == tl.evaluate(model, val).accuracy
    tl.freeze(model)
    assert len(tl.cache_features(model, val)) == 12
    with pytest.raises(tl.CourseError, match="at random"):
        tl.cache_features(model, tl.make_loader(cached, 6))
    titles = [ax.get_title() for ax in tl.show_batch(val, n=5).axes]
    assert titles == ["daisy", "daisy", "daisy", "daisy", "rose"]


def test_cached_images_can_be_sent_to_another_process(folder):
    cached = cache_images(tl.image_folder(folder, tl.train_transform(24)))
    copy = pickle.loads(pickle.dumps(cached))
    torch.manual_seed(0)
    image = cached[4][0]
    torch.manual_seed(0)
    assert torch.equal(copy[4][0], image) and copy.classes == cached.classes


def test_the_number_of_workers_fits_the_computer_and_the_data(folder, monkeypatch):
    plain = tl.image_folder(folder, tl.eval_transform(24))
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["fork", "spawn"])
    assert automatic_workers(Subset(plain, [0])) == 2 == tl.make_loader(plain, num_workers=None).num_workers
    assert tl.make_loader(plain).num_workers == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert automatic_workers(plain) == 4
    for in_memory in (cache_images(plain), TensorDataset(torch.zeros(2)), [1, 2], Subset(cache_images(plain), [1])):
        assert automatic_workers(in_memory) == 0
    for methods in (["spawn", "fork"], ["forkserver", "spawn", "fork"], ["spawn"]):  # macOS, Linux from 3.14, Windows
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda methods=methods: methods)
        assert automatic_workers(plain) == 0
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    assert automatic_workers(plain) == 4, "a method that the program has chosen counts, not the default"


def test_images_for_a_gpu_need_no_workers_and_no_pinned_memory(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    plain = tl.image_folder(folder, tl.eval_transform(24))
    on_gpu = CachedImages([torch.zeros(3, 4, 4, dtype=torch.uint8)] * 2, [0, 1], device="cuda")
    assert tl.make_loader(plain).pin_memory and tl.make_loader(cache_images(plain)).pin_memory
    for dataset in (on_gpu, Subset(on_gpu, [0])):
        assert not tl.make_loader(dataset, num_workers=None).pin_memory
        with pytest.raises(tl.CourseError, match="num_workers=2.*GPU"):
            tl.make_loader(dataset, num_workers=2)


TRANSFORMS = [tl.train_transform(24), tl.train_transform(24, scale=(0.08, 1.0)), tl.eval_transform(24)]


@pytest.mark.parametrize("transform", [*TRANSFORMS, v2.Compose([v2.RandomResizedCrop(24), *to_tensor()])])
def test_every_tensor_of_a_batch_goes_to_the_device(transform):
    # "meta" tensors hold no numbers, but refuse to be mixed with tensors of the CPU, as those of a GPU do
    images = [torch.zeros(3, 30 + i, 40, dtype=torch.uint8) for i in range(4)]
    cached = CachedImages(images, [0, 1, 2, 3], transform, device="meta")
    loader = tl.make_loader(cached, 4)
    batch, labels = next(iter(loader))
    assert batch.device.type == "meta" and batch.shape == (4, 3, 24, 24) and labels.tolist() == [0, 1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_gpu_gives_the_pictures_of_the_cpu_without_waiting(folder, transform):
    cached = cache_images(tl.image_folder(folder, transform), device="cuda")
    steps = cached._pipeline.own
    torch.manual_seed(0)
    images = torch.stack([image for image, _ in cached.__getitems__([3, 4, 8])])
    torch.manual_seed(0)
    on_cpu = CachedImages(cached.images, cached.targets, transform)
    if cached._pipeline.crops is not None and on_cpu._pipeline.crops is None:
        pytest.skip(f"{len(steps)} steps run one by one on a CPU")
    expected = torch.stack([image for image, _ in on_cpu.__getitems__([3, 4, 8])])
    assert images.is_cuda and (images.cpu() - expected).abs().max() <= ROUNDED
    torch.cuda.set_sync_debug_mode("error")
    try:
        cached.__getitems__([1, 2, 9])
    finally:
        torch.cuda.set_sync_debug_mode("default")
