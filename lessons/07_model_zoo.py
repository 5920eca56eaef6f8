# %% [markdown]
# # 07 · A model zoo: any network, the same few moves
#
# {{badge}}
#
# {{time}}
#
# So far you worked with two networks. There are hundreds, and each tutorial swears by another one. In this lesson you
# meet nine networks of eight families, find what they share and where they differ, measure what each costs on *your*
# computer, and learn a quick, fair way to ask which one suits your images. It is always the same few moves: look,
# freeze, new head, train.

# %% [markdown]
# ## What you will be able to do
#
# - **find** the head of any network and **replace** it
# - **compare** families by size, work, speed and published accuracy, and **choose** one
# - **adapt** a VGG to images in STL-10's format, with a rate that falls
# - **use** networks from timm with the helpers you know
# - **judge** backbones by linear probes, on equal terms
#
# Before this: lessons 00 to 04. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · Where the head sits
#
# A classifier has a **body** that turns the image into a list of numbers, and a **head**, its last layer with weights,
# that turns these into one score per class. Only the head knows the classes.
#
# To look at networks we need no weights, and not even memory: on the device `"meta"` a tensor has a shape and nothing
# else. **Predict:** VGG16 has 138 million parameters in 16 layers. Which layers hold most of them?

# %%
# NBVAL_CHECK_OUTPUT
import torch
from torch import nn
from torchvision import models

with torch.device("meta"):
    vgg16 = models.vgg16(weights=None)
for stage in tl.stages(vgg16):
    print(f"{stage.name:8} {sum(p.numel() for p in stage.parameters()):12,} parameters")
print(vgg16.classifier)

# %% [markdown]
# 86 % sit in `hidden`, the two fully connected layers before the head, and most of that in the first one, which sees
# 7 × 7 places of 512 maps at once. Later families average each map to one number, so the layers behind it are small.
#
# The last layer is number 6 of `classifier`. Here is the same search for nine networks; `tl.blueprint(name)` is our two
# lines with `meta`. **Predict:** how many of them call their head `fc`?

# %% tags=["type-along"] say="the last layer of each of the nine networks, and where it hangs"
# NBVAL_CHECK_OUTPUT
for name in tl.FAMILIES:
    network = tl.blueprint(name)
    layers = [(path, m) for path, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    path, head = layers[-1]
    print(f"{name:19} {path:13} {str(head)[:58]}")

# %% [markdown]
# Only the ResNets do. Some heads hang inside a `Sequential`, at place 1, 2, 3 or 6. SqueezeNet's head is a
# convolution that gives a small map of scores per class. So never trust a name you remember: print the network.
#
# `tl.stages` knows these wirings, and so freezing, caching and learning rates by stage work on all of them.

# %%
# NBVAL_CHECK_OUTPUT
for name in tl.FAMILIES:
    names = [stage.name for stage in tl.stages(tl.blueprint(name))]
    print(f"{name:19} {len(names):2} stages: {names[0]:6} {names[1]:6} ...  {'  '.join(names[-3:])}")

# %% [markdown]
# Input on the left, head on the right, whatever the family calls its parts. `hidden` is whatever stands between pool
# and head: two large layers in VGG, one linear layer in MobileNetV3, and in ConvNeXt nothing but a normalisation.
#
# Now the moves, on each of them: new head, freeze all but the head, train. In profile `full` these are real ImageNet
# weights (about 1.3 GB, fetched once). In `mini` the weights are random: whatever a head
# learns from them is worth nothing, and we only look whether the moves *work*: one step on five images.

# %%
import gc

import torch.nn.functional as F

size = course.pick(mini=64, full=224)
flowers = tl.five_flowers(course, tl.eval_transform(size))
firsts = [flowers.targets.index(label) for label in range(5)]  # one image of each class
images, labels = torch.stack([flowers[i][0] for i in firsts]).to(course.device), torch.arange(5, device=course.device)


def network_for_five(name):
    if course.profile == "full":
        return tl.pretrained(course, name, num_classes=5)[0]
    options = {"image_size": size} if name.startswith("vit") else {}
    return tl.replace_head(models.get_model(name, weights=None, **options), 5).to(course.device)


for name in tl.FAMILIES:
    network = network_for_five(name)
    tl.freeze(network)
    tl.unfreeze(tl.stages(network)[-1])
    F.cross_entropy(tl.train_mode(network)(images), labels).backward()
    torch.optim.SGD(tl.trainable_parameters(network), lr=0.01).step()
    total, trains = tl.count_parameters(network)
    with_gradient = sum(p.grad is not None for p in network.parameters())
    print(f"{name:19} {trains:6,} of {total:11,} parameters train, {with_gradient} tensors have a gradient")
    network = None  # give its memory back before the next one comes
    gc.collect()

# %% [markdown]
# Nine networks, one loop, and one special case: a ViT is built for one size of image. The two tensors are the weight
# and the bias of the new head.

# %% [markdown]
# **Exercise 07.1: Three heads by hand.** `by_hand` gets a ResNet, a VGG and a vision transformer and gives each a new
# linear head for `classes` classes. The first is done. Do the other two, without typing a number of features.

# %% tags=["exercise"]
def by_hand(resnet, vgg, vit, classes):
    resnet.fc = nn.Linear(resnet.fc.in_features, classes)
    # --- solution
    vgg.classifier[6] = nn.Linear(vgg.classifier[6].in_features, classes)
    vit.heads.head = nn.Linear(vit.heads.head.in_features, classes)
    # --- stub
    # ...        # the same for vgg
    # ...        # the same for vit
    # --- end


tl.check("07.1", by_hand)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The list above names both places: `classifier.6` and `heads.head`. A number in such a path is a place in a
# `Sequential`: in Python it is written in brackets, `vgg.classifier[6]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `vgg.classifier[6] = nn.Linear(vgg.classifier[6].in_features, classes)`, and the same with `vit.heads.head`. Replace
# that one layer only: `vgg.classifier = ...` would throw away the two hidden layers as well.
#
# </details>

# %% [markdown]
# ## 2 · What a network costs
#
# The work for one image is counted in **MACs**: multiply-accumulates, one weight times one number, added to a sum. A
# convolution uses every weight once at each place of its output.
#
# **Predict:** the first convolution of VGG16 has 1,728 weights (and 64 biases), the last linear layer 4,096,000. Which
# of the two costs more MACs?

# %%
# NBVAL_CHECK_OUTPUT
from torch.utils.flop_counter import FlopCounterMode

for layer, places in ((vgg16.features[0], 224 * 224), (vgg16.classifier[6], 1)):
    count = layer.weight.numel()
    print(f"{type(layer).__name__:13} {count:9,} weights x {places:6,} places = {count * places:10,} MACs")

with FlopCounterMode(display=False) as counter:
    vgg16(torch.zeros(1, 3, 224, 224, device="meta"))
print(f"whole network: {counter.get_total_flops() / 2 / 1e9:.2f} billion MACs, "
      f"torchvision says {models.VGG16_Weights.DEFAULT.meta['_ops']}")

# %% [markdown]
# Twenty times the work with a two-thousandth of the weights: parameters cost memory, MACs cost time, and they sit in
# different places. PyTorch's counter gives operations, two per MAC, hence the half. It runs on `meta` too, so no number
# was multiplied. `tl.count_macs` is this block.

# %% [markdown]
# Work is not yet time. **Predict:** the same batch four times; will all passes take equally long?

# %%
import time

resnet = models.resnet18(weights=None).to(course.device).eval()
noise = torch.randn(2, 3, 224, 224, device=course.device)
with torch.no_grad():
    for attempt in range(4):
        start = time.perf_counter()
        resnet(noise).sum().item()  # .item() waits until a GPU has really finished
        print(f"pass {attempt + 1}: {len(noise) / (time.perf_counter() - start):6.1f} images a second")

# %% [markdown]
# The first pass also sets up memory and picks its routines. On some computers that costs more than all the passes
# after it, on others you hardly see it. The rest need not agree either: whatever else runs on the computer shows. So a
# stopwatch for networks warms up first, waits for the GPU, repeats, and is believed to ten or twenty per cent at best.
#
# `tl.images_per_second` does that, and of its passes the fastest counts: other programs can only slow one down. With
# `backward=True` it adds the gradients of all weights, as in training.

# %% tags=["type-along"] say="images a second of resnet, forward and with backward"
for backward in (False, True):
    speed = tl.images_per_second(resnet, noise, backward=backward)
    print(f"{'forward and backward' if backward else 'forward':21} {speed:6.1f} images a second")

# %% [markdown]
# Backward does about twice the work of forward, so together about three times: that is the price of training all
# layers, and why frozen layers are cheap.

# %% [markdown]
# Now all nine networks. Their speed does not depend on what the weights are, so they are random here; the accuracy is
# what torchvision publishes with the default weights. **Predict:** which network does the fewest MACs, and is it the
# fastest?

# %%
rows = tl.family_table(device=course.device, batch=course.pick(mini=2, full=32), seconds=0.2)
print(tl.format_families(rows))
print(f"fewest MACs: {min(rows, key=lambda row: row.macs).name}, "
      f"most images a second forward: {max(rows, key=lambda row: row.forward).name}")

# %% [markdown]
# GMACs are billions of MACs; both speeds are images a second, with 224 pixels, here. Top-1 is ImageNet's validation
# part. The last line answers your prediction. Two names in it: less work was not less time. One name twice: go down
# the column of GMACs all the same, and see whether the speeds keep its order.
#
# Top-1 is not the network alone. It is the network *and* the recipe it was trained with:

# %%
for version in [*models.ResNet50_Weights, *models.MobileNet_V3_Large_Weights, *models.ResNet18_Weights]:
    print(f"{str(version):44} {version.meta['_metrics']['ImageNet-1K']['acc@1']:.2f} %")

# %% [markdown]
# The same ResNet-50, layer by layer, gains several points from a newer recipe (`V2`: more epochs, mixup and label
# smoothing, lesson 05, and more). VGG16, SqueezeNet and ResNet-18 have weights of the old recipe only, so part of their
# distance in the table is age. As a picture, without the names of layers:

# %%
import matplotlib.pyplot as plt

tl.plot_families(rows)
plt.show()

# %% [markdown]
# *What the figure shows:* top-1 accuracy on ImageNet against images a second on this computer, left for predicting,
# right for training all layers; the area of a dot is the number of parameters.
#
# Up and to the right is good. Whatever lies to the lower left of another dot is beaten in both: look where VGG16 is.
# MACs alone would mislead you, as the next cell shows.

# %%
for row in sorted(rows, key=lambda row: -row.forward * row.macs):
    print(f"{row.name:19} {row.forward * row.macs / 1e9:7.1f} billion MACs a second")

# %% [markdown]
# The same computer gets through several times more MACs a second in one network than in another: it matters how the
# work is cut up, into a few large matrix products or into many small steps, and what your processor is good at.

# %% [markdown]
# **How to choose.** A rule of thumb, not a law:
#
# | your situation | start with |
# |---|---|
# | first try, any task | ResNet-18, then ResNet-50 |
# | prediction on a phone or a small computer | MobileNetV3, EfficientNet-B0; measure *there* |
# | the best accuracy you can train on one GPU | ConvNeXt-Tiny, Swin-T |
# | very large pretraining, features only | ViT |
# | a paper or tutorial to be repeated | what it used, VGG16 for instance |
#
# Published accuracy is a fair first guide: over 16 networks it mostly went with the accuracy after transfer
# ([Kornblith and others](https://arxiv.org/abs/1805.08974)), though not equally on every set. Section 5 asks your own
# images.

# %% [markdown]
# **Exercise 07.2 (bug hunt): the stopwatch.** `speed` should return the images per second of a *forward* pass, for
# prediction. It has four faults. `clock()` gives the time in seconds.

# %% tags=["exercise"]
def speed(network, images, clock):
    # --- solution
    network.eval()
    with torch.no_grad():
        network(images)
        start = clock()
        for _ in range(5):
            network(images)
    return 5 * len(images) / (clock() - start)
    # --- stub
    # network.train()
    # start = clock()
    # for _ in range(5):
    #     network(images)
    # return 5 / (clock() - start)
    # --- end


tl.check("07.2", speed)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# What is counted, images or batches? Is the first pass like the others? And does a prediction need notes for
# gradients?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Evaluation mode and `with torch.no_grad():`, one pass before `start = clock()`, and `5 * len(images)` in the last
# line.
#
# </details>

# %% [markdown]
# ## 3 · VGG on STL-10
#
# **STL-10** is a classic: ten everyday classes at 96 × 96 pixels, 5,000 images for training and 8,000 for the test. In
# profile `mini` a drawn set lies in the same kind of files, and `vgg9_bn`, a small VGG of torchvision's own class,
# takes VGG16's place. There is no validation part, so we cut one from the training images.

# %%
# NBVAL_CHECK_OUTPUT
things = tl.stl10(course, "train")
train_part, val_part = tl.stratified_split(things.targets, (0.75, 0.25), seed=0)
print(", ".join(things.classes))
print(f"train {len(train_part)}, validation {len(val_part)}, a picture of {things[0][0].size} pixels")

# %%
from torch.utils.data import Subset
from torchvision.transforms import v2

to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])  # what v1 calls ToTensor
plain = tl.stl10(course, "train", to_tensor)
tl.show_batch(plain, n=16)
plt.show()

# %% [markdown]
# *What the figure shows:* sixteen training images with their classes.

# %% [markdown]
# A word before you believe any accuracy. The real STL-10 was **picked out of ImageNet** ([its
# page](https://cs.stanford.edu/~acoates/stl10/) says so). A network with ImageNet weights may have seen the very
# photos it is tested on. Use the set to learn, not to show off. (Our drawings are of another kind than those that
# `vgg9_bn` was trained on.)

# %% [markdown]
# Many recipes for STL-10 normalise with its own mean and standard deviation. By hand: every pixel of every *training*
# image counts once. `tl.dataset_statistics` does the same without holding all images at once.

# %%
pixels = torch.stack([plain[i][0] for i in train_part])
own_mean, own_std = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))
print("by hand   ", [round(v, 4) for v in own_mean.tolist()], [round(v, 4) for v in own_std.tolist()])
own_mean, own_std = tl.dataset_statistics(Subset(plain, train_part))
print("by helper ", [round(v, 4) for v in own_mean], [round(v, 4) for v in own_std])

arch = course.pick(mini="vgg9_bn", full="vgg16")
vgg, weights = tl.pretrained(course, arch)
_, mean, std = tl.from_weights(weights)
print("weights'  ", list(mean), list(std))

# %% [markdown]
# But the weights were trained with *their* statistics, and a frozen network cannot adapt to others. Which is right?
# We ask: the same frozen network, the same images, both normalisations, a linear probe on each (lesson 02).
#
# **Predict:** how many points apart will they be?

# %%
tl.freeze(vgg)
for name, statistics in {"own": (own_mean, own_std), "the weights'": (mean, std)}.items():
    whole = tl.stl10(course, "train", v2.Compose([to_tensor, v2.Normalize(*statistics)]))
    parts = [tl.cache_features(vgg, tl.make_loader(Subset(whole, part), 64)) for part in (train_part, val_part)]
    probe = tl.linear_probe(*parts, Cs=(0.001, 0.01, 0.1))
    print(f"{name:13} validation accuracy {probe.val_accuracy:.1%} (C = {probe.C:g})")
print(f"one validation image is worth {1 / len(val_part):.1%}")

# %% [markdown]
# Count the difference in images. With statistics that are close, it is a few of them, if any: nobody's success depends
# on it. Forgetting to normalise at all is another matter (lesson 01). We go on with those of the weights: the rule
# that also holds when data look quite different.

# %% [markdown]
# The recipe's augmentation is `RandomCrop(96, padding=4)`. **Predict:** in how many ways can it cut one image?

# %%
tl.seed_everything(0)
picture = things[things.targets.index(0)][0]
crop = v2.RandomCrop(96, padding=4)
tl.show_images([to_tensor(v2.Pad(4)(picture)), *(to_tensor(crop(picture)) for _ in range(4))],
               titles=["padded: 104 x 104", *["a crop: 96 x 96"] * 4], ncols=5)
plt.show()

# %% [markdown]
# *What the figure shows:* a training image with a black border of four pixels on each side, and four random crops of 96
# pixels from it.
#
# Padding 4 makes 104 pixels, and a window of 96 fits in at 9 × 9 = 81 places, with a flip 162 views. Each is the
# image, shifted by up to four pixels, with a strip of black. Nothing is rescaled: mild, cheap, made for small images.
# The border is black because padding comes *before* `Normalize`.

# %% tags=["type-along"] say="two transforms, two loaders: only the training images move"
end = [to_tensor, v2.Normalize(mean, std)]
moving = tl.stl10(course, "train", v2.Compose([crop, v2.RandomHorizontalFlip(), *end]))
still = tl.stl10(course, "train", v2.Compose(end))
train_loader = tl.make_loader(Subset(moving, train_part), batch_size=course.pick(mini=32, full=128), train=True)
val_loader = tl.make_loader(Subset(still, val_part), batch_size=100)

# %% [markdown]
# Two names for what comes now, because tutorials mix them up. **Feature extraction:** only the new `classifier[6]`
# trains. **Fine-tuning:** all layers do. In both the rate falls along a cosine; `tl.fit` moves the schedule one step
# per epoch.
#
# In a network with `hidden` layers the head is a small part of the classifier: the 512 (VGG16: 4,096) numbers it gets
# are still those of the source task.

# %%
epochs = course.pick(mini=4, full=10)


def train(network, rate):
    tl.seed_everything(0)
    network.classifier[6] = nn.Linear(network.classifier[6].in_features, 10).to(course.device)
    optimizer = torch.optim.SGD(tl.trainable_parameters(network), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return tl.fit(
        network, train_loader, val_loader, epochs=epochs, optimizer=optimizer, scheduler=schedule, verbose=False
    )

# %% [markdown]
# **Predict:** which will be ahead after the first epoch, which at the end, and how many times longer does an epoch of
# all layers take?

# %%
runs = {}
chosen_rates = {"head only": course.pick(mini=0.03, full=0.01), "all layers": course.pick(mini=0.03, full=0.001)}
for name, rate in chosen_rates.items():
    network, _ = tl.pretrained(course, arch)
    if name == "head only":
        tl.freeze(network)  # the new layer comes later, and trains
    runs[name] = train(network, rate)

for name, history in runs.items():
    rates = " ".join(f"{rate[0]:.4f}" for rate in history.learning_rates)
    print(f"{name:10} {sum(history.seconds) / epochs:5.1f} s an epoch, validation "
          f"{max(history.val_accuracy):.1%}, rates {rates}")
print(f"all layers: {sum(runs['all layers'].seconds) / sum(runs['head only'].seconds):.1f} times the time")

# %%
tl.plot_history(runs)
plt.show()

# %% [markdown]
# *What the figure shows:* loss and accuracy by epoch of both runs, training dashed and validation solid.
#
# By section 2 an epoch of all layers should take up to about three times as long as one of the head; it is less where
# loading the images takes much of the time, as it easily does with a GPU. What they bring depends on how near the
# source is to the new images, and on the epochs you give them. How far to trust the figures:

# %% tags=["type-along"] say="the interval of each run's best validation accuracy"
for name, history in runs.items():
    low, high = tl.accuracy_interval(round(max(history.val_accuracy) * len(val_part)), len(val_part))
    print(f"{name:10} {max(history.val_accuracy):.1%}, 95 % interval {low:.1%} to {high:.1%} ({len(val_part)} images)")

# %% [markdown]
# Where the intervals overlap widely, one training cannot say which is better. STL-10's test part stays closed here, as
# in every lesson but 06: it is for the one network you would hand over.

# %% [markdown]
# **Exercise 07.3: A rate that goes down stairs.** VGG's authors divided the rate by ten whenever it stopped helping.
# Write a schedule that is stepped once per epoch: the first half of the epochs at the full rate, then a tenth of it,
# and for the last quarter a hundredth.

# %% tags=["exercise"]
def stairs(optimizer, epochs):
    # --- solution
    steps = [epochs // 2, epochs * 3 // 4]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=steps, gamma=0.1)
    # --- stub
    # steps = ...        # the two epochs, counted from 0, that begin with a lower rate
    # return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=steps, gamma=...)
    # --- end


tl.check("07.3", stairs)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# With 8 epochs, the rates are 4 times the full one, 2 times a tenth, 2 times a hundredth. Which epochs, counted from 0,
# are the first on a new stair?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `milestones` are whole numbers: `[epochs // 2, epochs * 3 // 4]`. At each of them the rate is *multiplied* by `gamma`.
#
# </details>

# %% [markdown]
# ## 4 · timm: a thousand more
#
# [timm](https://huggingface.co/docs/timm) is a very large collection of image networks for PyTorch. It names its parts
# in its own way, and `tl.stages` knows the common families. (`tl.import_timm` is `import timm`, and says what to do
# where it is missing.)

# %%
network = None  # give its memory back
gc.collect()
timm = tl.import_timm()
print(f"{len(timm.list_models())} architectures, for example")
print("\n".join(timm.list_models("*efficientnet*", pretrained=True)[:4]))

# %% [markdown]
# Before the dot stands the architecture, after it the weights: a short name of the recipe, and the images (`in1k` is
# ImageNet with its 1,000 classes).
#
# `create_model` builds one. Its most useful argument is `num_classes`: a number puts on a new head at once, and 0
# leaves the head away, which gives you **features only**. With `features_only=True` you get the maps after each stage
# instead, which detection and segmentation need (lesson 08).
#
# **Predict:** the three shapes for one image of 64 × 64.

# %%
# NBVAL_CHECK_OUTPUT
image = torch.zeros(1, 3, 64, 64)
scores = timm.create_model("mobilenetv3_small_100", num_classes=10).eval()
features = timm.create_model("mobilenetv3_small_100", num_classes=0).eval()
maps = timm.create_model("mobilenetv3_small_100", features_only=True).eval()
with torch.no_grad():
    print("num_classes=10:     ", tuple(scores(image).shape))
    print("num_classes=0:      ", tuple(features(image).shape))
    print("features_only=True: ", *[tuple(found.shape) for found in maps(image)], sep="\n  ")

# %% [markdown]
# With `pretrained=True` it fetches weights. `tl.timm_pretrained` is that call, and in profile `mini` it loads our
# bundled weights into timm's own ResNet instead.
#
# Every timm model knows how its images were prepared: its **data config**. From it timm makes the transform.

# %% tags=["type-along"] say="timm's network with pretrained weights, its data config, its transform"
model = tl.timm_pretrained(course, num_classes=5)
config = timm.data.resolve_model_data_config(model)
for key in ("input_size", "interpolation", "crop_pct", "mean", "std"):
    print(f"{key:14} {config[key]}")
print(timm.data.create_transform(**config, is_training=False))

# %% [markdown]
# `crop_pct` is the share of the side that is kept: the image is scaled to size / crop_pct, and its middle is cut out.
# Values differ from model to model, so copy none from memory. `tl.timm_transforms(model)` is those two lines.
#
# From here on it is an ordinary network: freeze, cache, train the head, as in lesson 02.

# %%
prepared = tl.five_flowers(course, tl.timm_transforms(model))
few, others, _ = tl.stratified_split(prepared.targets, (0.3, 0.3, 0.4), seed=0)
tl.freeze(model)
tl.unfreeze(tl.stages(model)[-1])
print(" ".join(stage.name for stage in tl.stages(model)))
loaders = [tl.make_loader(Subset(prepared, part), 64) for part in (few, others)]
train_cache, val_cache = (tl.cache_features(model, loader) for loader in loaders)

_, head = tl.split_model(model)
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
history = tl.fit(head, tl.make_loader(train_cache, 32, train=True), tl.make_loader(val_cache, 256), epochs=10,
                 optimizer=optimizer, verbose=False)
print(f"{type(model).__module__}: validation accuracy {history.best()['val_accuracy']:.1%}")

# %% [markdown]
# No new helper was needed, and `tl.fit_gradually`, `tl.grad_cam` and `tl.doctor` take such a network as well. That is
# the use of a common language of stages: a network is new to you only until you have listed its stages.

# %% [markdown]
# **Exercise 07.4: From config to transform.** Write the evaluation transform for a data config: resize the shorter side
# to size / crop_pct (rounded down), cut out the middle, make a float tensor, normalise. How pixels are mixed in
# resizing (`interpolation`) is in the config too; that part is done.

# %% tags=["exercise"]
def from_config(config):
    size = config["input_size"][1]
    how = v2.InterpolationMode(config["interpolation"])
    # --- solution
    shorter_side = int(size / config["crop_pct"])
    normalize = v2.Normalize(config["mean"], config["std"])
    # --- stub
    # shorter_side = ...        # how many pixels before the middle is cut out
    # normalize = ...           # with the numbers of the config
    # --- end
    return v2.Compose([v2.Resize(shorter_side, interpolation=how), v2.CenterCrop(size), to_tensor, normalize])


tl.check("07.4", from_config)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# With 224 pixels and a `crop_pct` of 0.875, the shorter side becomes 256: larger than the crop, never smaller.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `int(size / config["crop_pct"])` rounds down, and `v2.Normalize(config["mean"], config["std"])`.
#
# </details>

# %% [markdown]
# ## 5 · Which one suits my images?
#
# Training every candidate is expensive, and each would need its own rate. A **linear probe** asks more cheaply how
# good the features are: freeze, compute them once, fit a logistic regression. It needs three parts of the images: one
# to fit, one to choose C (how freely the regression may fit), one to judge.
#
# **Predict:** what happens to training and validation accuracy when C grows?

# %%
normalised = tl.stl10(course, "train", weights.transforms())
backbone, _ = tl.pretrained(course, arch, num_classes=10)
tl.freeze(backbone)
cached = tl.cache_features(backbone, tl.make_loader(normalised, batch_size=64))

parts = [torch.utils.data.TensorDataset(*cached[rows]) for rows in tl.stratified_split(things.targets, seed=0)]
probe = tl.linear_probe(parts[0], parts[1], Cs=(0.0001, 0.001, 0.01, 0.1, 1.0))
print(probe.table)
features, labels = parts[2].tensors
print(f"C = {probe.C:g}, on {len(labels)} images that chose nothing: {probe.model.score(features, labels):.1%}")
del backbone, cached

# %% [markdown]
# A larger C lets the regression fit the training images more closely; look where validation accuracy has its best, and
# whether it went on rising with the training accuracy. Backbones need not agree on the best C, so one fixed C would be
# unfair to somebody. The validation figure of the winner is flattering,
# because it chose; the last line is not.
#
# `tl.probe_parts` is this block for several seeds, and `tl.leaderboard` runs it over backbones and targets. Live, with
# few images and one seed:

# %%
backbones = course.pick(mini=["resnet10", "efficientnet_mini", "vgg9_bn"], full=list(tl.FAMILIES))
tasks = tl.targets(course)
live = tl.leaderboard(course, backbones, {name: tasks[name] for name in ("five flowers", "STL-10")}, images=300)
print(tl.leaderboard_table(live))

# %% [markdown]
# Each figure rests on 60 images that judged, one of them is worth 1.7 points, and there is one split. Do not rank on
# that. `scripts/measure_leaderboard.py` ran the bundled backbones over all images of four targets (test parts left
# out) and five splits, with one more row: a ResNet whose weights are random.
#
# **Predict:** will one backbone be the best on every target? And how far from the bottom will random weights be?

# %%
import json

file = Path(tl.__file__).parent.parent / "docs" / "measured" / "leaderboard.json"
measured = {}
runs_of_script = json.loads(file.read_text(encoding="utf-8"))["runs"]
for key in sorted(runs_of_script, key=lambda key: (key.startswith("random"), key)):  # the random row last
    backbone, task = key.split(" on ")
    measured.setdefault(task, {})[backbone] = runs_of_script[key]
print(tl.leaderboard_table(measured))
chance = {"Flowers102": 1 / 102, "five flowers": 1 / 5, "microscopy": 1 / 6, "STL-10": 1 / 10}
tl.plot_leaderboard(measured, chance)
plt.show()

# %% [markdown]
# *What the figure shows:* accuracy of linear probes on frozen features for four targets; bars are means over five
# splits, dots the single splits, dashed lines chance.
#
# The random row is the one to beat: where colour tells the classes apart, frozen random features get far. What
# `resnet10` has above its random twin comes from pretraining. Where dots of two rows overlap, compare **split by
# split**: equal seeds mean equal images.

# %%
for task, found in measured.items():
    first, second = sorted(found, key=lambda name: -sum(found[name]))[:2]
    gaps = [100 * (a - b) for a, b in zip(found[first], found[second])]
    print(f"{task:13} {first} before {second}: {' '.join(f'{gap:+.1f}' for gap in gaps)} points")

# %% [markdown]
# Here one backbone, `resnet10`, leads on all four targets and on every split. That is a finding about these three
# networks and these drawings, no law. Where all gaps of a line have one sign, the order is plausible; where they do
# not, take the cheaper network. A probe ranks *features*: after fine-tuning the order may change, so let the two best
# ones compete.

# %% [markdown]
# **Exercise 07.5 (bug hunt): the unfair board.** `board` should give every backbone its mean accuracy over the seeds.
# `accuracy(name, seed)` splits the images by the seed and probes. Two faults decide who wins.

# %% tags=["exercise"]
def board(backbones, accuracy, seeds):
    table = {}
    # --- solution
    for name in backbones:
        table[name] = sum(accuracy(name, seed) for seed in seeds) / len(seeds)
    # --- stub
    # for number, name in enumerate(backbones):
    #     table[name] = max(accuracy(name, seed + 10 * number) for seed in seeds)
    # --- end
    return table


tl.check("07.5", board)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Are all backbones judged on the same images? And what does `max` keep, when luck differs from seed to seed?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The same `seed` for everybody, and the mean: `sum(...) / len(seeds)`.
#
# </details>

# %% [markdown]
# ## Compare
#
# What this lesson measured on STL-10: probe, head, all layers. The probes saw the size their weights ask for (in `mini`
# 64 pixels) and were fitted on 180 images, the trainings saw all 96 pixels and more images. So these are no equal
# terms.

# %%
bars = {f"linear probe, {name}": accuracies for name, accuracies in live["STL-10"].items()}
bars |= {f"{arch}, {name}": max(history.val_accuracy) for name, history in runs.items()}
tl.compare_bars(bars, title="STL-10", chance=1 / 10)
plt.show()

# %% [markdown]
# *What the figure shows:* accuracy on STL-10 of the linear probes of section 5 (judged on a third part) and of the two
# trainings of section 3 (best validation epoch, so a little flattering).
#
# A probe costs seconds and no choice of a rate. If fine-tuning does not beat it clearly on equal terms, either the
# features are already good enough or the training was too short.

# %% [markdown]
# ## Common mistakes
#
# - **A head by memory:** `model.fc = ...` on a VGG adds an attribute that nobody calls, and no error comes.
# - **The whole classifier replaced** where only its last layer was meant: VGG loses its hidden layers.
# - **The optimizer built before the new head:** it trains a layer that is no longer there.
# - **MACs taken for time:** measure, on the computer that matters, after a warm-up.
# - **`scores, _ = model(x)`** copied from a recipe for another network: most return one tensor.
# - **Statistics of all images,** the test part included.
# - **Networks compared at one fixed C,** on different splits, or by their best seed.
# - **An accuracy on STL-10 with ImageNet weights,** without the word *overlap*.

# %% [markdown]
# ## Take-aways
#
# - Every classifier is body, pool, head. Print it, find the last layer with weights, replace that one.
# - Parameters are memory, MACs are work, and time is measured.
# - An epoch of all layers takes up to about three times one of the head; less where loading takes the time.
# - Statistics of the weights are the rule; close ones of your own hardly matter.
# - timm is `create_model` with `num_classes`, plus the data config. Stages, freezing and caching stay the same.
# - Ask your own images: a linear probe, C chosen on validation, the same splits for everybody.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("07")

# %% [markdown] tags=["quiz"]
# **1. You write `vgg.fc = nn.Linear(4096, 10)` on torchvision's VGG16. What happens?**
#
# <details><summary>An error, because VGG has no layer of that name</summary>
#
# No. Python lets you add any attribute, and PyTorch even registers the layer. That is why the mistake is so quiet.
#
# </details>
#
# <details><summary>The network gives ten scores</summary>
#
# No. Its `forward` function calls `classifier`, which is unchanged.
#
# </details>
#
# <details><summary>Nothing you would see: it still gives 1,000 scores</summary>
#
# Right. The new layer is never called. Check the shape of the output after each new head.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. Network A has half the MACs of network B. On your laptop it is slower. How can that be?**
#
# <details><summary>MACs count the work, not how well the processor can do it</summary>
#
# Right. How the work is cut up matters too: many small steps may keep a processor waiting where a few large ones do
# not.
#
# </details>
#
# <details><summary>The count must be wrong</summary>
#
# No. It may be exact. Speed depends on more than the number of multiplications.
#
# </details>
#
# <details><summary>A has more parameters</summary>
#
# Not by itself. Parameters cost memory; a network with more of them can be the faster one.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. How many different windows can `RandomCrop(32, padding=2)` cut from an image of 32 × 32?**
#
# <details><summary>4</summary>
#
# No. The window moves in both directions, pixel by pixel.
#
# </details>
#
# <details><summary>25</summary>
#
# Right. The padded image has 36 pixels, so there are 36 − 32 + 1 = 5 places in each direction.
#
# </details>
#
# <details><summary>1, because the size does not change</summary>
#
# No. The size stays, the place moves.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. What does `timm.create_model(name, num_classes=0)` return?**
#
# <details><summary>An error: a classifier needs at least one class</summary>
#
# No. In timm, 0 has a meaning of its own.
#
# </details>
#
# <details><summary>A network without a head, which gives a list of features per image</summary>
#
# Right. That is what a linear probe needs.
#
# </details>
#
# <details><summary>The feature maps of all stages</summary>
#
# No. For these you ask with `features_only=True`.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. Two backbones differ by 3 points on your images, with one split and 60 judging images. What next?**
#
# <details><summary>Repeat with several splits, the same for both, and look at the differences</summary>
#
# Right. Three points are two images here. Paired splits take out the luck both share.
#
# </details>
#
# <details><summary>Take the better one</summary>
#
# No. Another split may turn the order round.
#
# </details>
#
# <details><summary>Take the one with the higher ImageNet accuracy</summary>
#
# That is a guide where you know nothing. You have images, so ask them properly.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - [torchvision's models](https://pytorch.org/vision/stable/models.html): all weights, with size, GFLOPS and accuracy.
# - Kornblith and others (2018), [Do Better ImageNet Models Transfer Better?](https://arxiv.org/abs/1805.08974)
# - Simonyan and Zisserman (2014), [VGG](https://arxiv.org/abs/1409.1556).
# - Coates, Lee and Ng (2011), [An Analysis of Single-Layer Networks](https://proceedings.mlr.press/v15/coates11a.html):
#   where STL-10 comes from.
# - [timm's documentation](https://huggingface.co/docs/timm).
#
# *Next: lesson 08 finds and outlines things, with networks that have more than one head.*
#
# Text: CC BY 4.0. Code: MIT.
