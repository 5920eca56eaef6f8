# %% [markdown]
# # 03 · Fine-tuning: let the body move, slowly
#
# {{badge}}
#
# {{time}}
#
# In lesson 02 only the head learned. The body kept what it had learned on other images. Now the body may follow the
# new task too. This can gain a lot, and it can wreck everything in a few steps. The difference is mostly one number,
# the learning rate, so this lesson is about choosing it: for the network, for each depth, and over time.

# %% [markdown]
# ## What you will be able to do
#
# - **fine-tune** all layers and **recognise** a rate that destroys what was pretrained
# - **sweep** the learning rate without leaving a trace
# - **give** every stage its own rate, with a warm-up, and **plot** all of them
# - **compare** optimisers, BatchNorm policies and starting points over seeds
# - **find** the four classic fine-tuning mistakes in code that raises no error
#
# Before this: lessons 00 to 02. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · All layers, at a low rate
#
# **Fine-tuning** means: start from the pretrained numbers and let all layers train. We want a small but hard task, so
# that the ways of doing it can differ: eight flowers of Flowers102, picked because frozen features tell them apart
# badly.

# %%
import torch
from torchvision import models

arch = course.pick(mini="resnet10", full="resnet18")
weights = models.get_model_weights(arch).DEFAULT
train_flowers = tl.flowers102(course, "train", transform=weights.transforms())
val_flowers = tl.flowers102(course, "val", transform=weights.transforms())

# %%
# NBVAL_CHECK_OUTPUT
names = ["snapdragon", "sweet william", "garden phlox", "cape flower"]
names += ["pelargonium", "azalea", "desert-rose", "hippeastrum"]
wanted = [train_flowers.classes.index(name) for name in names]
print("labels in Flowers102:", wanted)

# %% [markdown]
# This lesson trains about twenty networks on the same few images. So each file is opened once, and the tensors stay
# in memory. The price: no augmentation today. That is fine for comparing methods, and a pity for the final result.

# %%
# NBVAL_CHECK_OUTPUT
from torch.utils.data import TensorDataset


def in_memory(flowers):
    rows = [row for row, target in enumerate(flowers.targets) if target in wanted]
    images = torch.stack([flowers[row][0] for row in rows])
    labels = torch.tensor([wanted.index(flowers.targets[row]) for row in rows])
    return TensorDataset(images, labels)


train_images, val_images = in_memory(train_flowers), in_memory(val_flowers)
print(len(train_images), "training and", len(val_images), "validation images of", len(names), "flowers")

# %%
import matplotlib.pyplot as plt

size, mean, std = tl.from_weights(weights)
images, labels = train_images.tensors
first = [labels.tolist().index(number) for number in range(len(names))]
tl.show_images(images[first], names, ncols=4, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* one training image of each of the eight flowers, as the network gets it, denormalised for the
# eye.
#
# Ten training images per class is very little for millions of parameters. One validation image is worth more than one
# per cent, so every result below comes with several seeds.

# %% [markdown]
# **Exercise 03.1 (bug hunt): the colours nobody checked.** The first classic mistake. This pipeline cuts the right
# size and gives a float tensor. Training runs, and the result is worse than it should be. What is missing before the
# image may enter a pretrained network? `size`, `mean` and `std` are those of its weights.

# %% tags=["exercise"]
from torchvision.transforms import v2

steps = [v2.Resize(size), v2.CenterCrop(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
# --- solution
suspect_transform = v2.Compose([*steps, v2.Normalize(mean, std)])
# --- stub
# suspect_transform = v2.Compose(steps)
# --- end
suspect_flowers = tl.flowers102(course, "train", transform=suspect_transform)
tl.check("03.1", suspect_flowers, train_flowers)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Compare the smallest and the largest number of `suspect_flowers[0][0]` with those of `train_flowers[0][0]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Lesson 01, section 6. One more transform at the end brings every channel to the mean and spread the network knows.
#
# </details>

# %% [markdown]
# Small functions for the whole lesson: a fresh network, its loaders, a call of `tl.fit`, its result. The seed decides
# the new head and the order of the images.
#
# Fine-tuning is lesson 02 with one line *missing*: nothing is frozen. The optimiser gets all parameters. It is AdamW;
# section 5 compares it with SGD. (`fused=True` makes its step faster.)

# %%
import copy

pretrained_network = models.get_model(arch, weights="DEFAULT").to(course.device)


def fresh(seed):
    tl.seed_everything(seed)
    return tl.replace_head(copy.deepcopy(pretrained_network), len(names))


def loaders(seed):
    train_loader = tl.make_loader(train_images, batch_size=10, train=True, seed=seed)
    return train_loader, tl.make_loader(val_images, batch_size=100)

# %%
epochs, seeds = course.pick(mini=3, full=6), (0, 1, 2)


def train(model, optimizer, seed, epochs=epochs, **options):
    return tl.fit(model, *loaders(seed), epochs=epochs, optimizer=optimizer, verbose=False, **options)


def accuracy_of(history):  # of the best epoch, the one whose weights are put back; 0 if none was finished
    return history.best().get("val_accuracy", 0.0)

# %% [markdown]
# Now the same training twice: at a low rate with three seeds, and at a hundred times that rate with two. You will see
# why two are enough.
#
# **Predict:** the network is good already and training is short. Will the high rate learn faster, learn nothing, or do
# harm?

# %%
low_rate = course.pick(mini=5e-4, full=1e-4)
results, tuned, wrecked = {}, {}, {}
for name, rate, kept in (("low rate", low_rate, tuned), ("100 x the rate", 100 * low_rate, wrecked)):
    for seed in seeds if kept is tuned else seeds[:2]:
        kept[seed] = fresh(seed)
        history = train(kept[seed], torch.optim.AdamW(kept[seed].parameters(), lr=rate, fused=True), seed)
        results.setdefault(name, []).append(accuracy_of(history))
        losses = " ".join(f"{loss:8.2f}" for loss in history.val_loss)
        print(f"{name:15} seed {seed}: validation loss {losses}   accuracy {accuracy_of(history):.0%}")
tl.compare_bars(results, chance=1 / len(names))
plt.show()

# %% [markdown]
# *What the figure shows:* validation accuracy after fine-tuning at both rates; dots are seeds, the dotted line is
# guessing.
#
# Look at the losses first. Guessing gives each of eight classes the probability 1/8, and minus its logarithm is
# ln 8 = 2.1. Anything far above means the network is *sure and wrong*. Then hold the dots of the high rate against
# the line.

# %% [markdown]
# Is only the head confused, or is the body damaged? Ask the body alone, with the linear probe of lesson 02: freeze it,
# cache its features, fit a fresh linear layer.
#
# **Predict:** how will the features after the high rate compare with the pretrained ones?

# %%
def features_of(model, *parts):
    tl.freeze(model)
    caches = [tl.cache_features(model, tl.make_loader(part, batch_size=100)) for part in parts]
    tl.unfreeze(model)  # the opposite of tl.freeze
    return caches


models_to_ask = {"pretrained": fresh(0), "low rate": tuned[0], "100 x the rate": wrecked[0]}
caches = {name: features_of(model, train_images, val_images) for name, model in models_to_ask.items()}
for name, pair in caches.items():
    probe = tl.linear_probe(*pair, Cs=(0.001, 0.01, 0.1, 1.0))
    print(f"features, {name:15} probe on validation {probe.val_accuracy:.0%}")

# %% [markdown]
# If the last line is far below the first, the damage is in the body, and no better head will repair it. What
# pretraining learned from very many images was overwritten in a few dozen steps. That is why a first fine-tuning run
# starts *low*: too low costs time, too high costs the pretraining.

# %% [markdown]
# Could we have known before? The doctor of lesson 02 takes a few steps on a copy of the network, so it can see a rate
# that destroys. **Predict:** which of the two set-ups will it complain about?

# %%
for rate in (low_rate, 100 * low_rate):
    patient = tl.train_mode(fresh(0))
    report = tl.doctor(patient, *loaders(0), torch.optim.AdamW(patient.parameters(), lr=rate))
    print(f"rate {rate:g}: {report.codes or 'nothing wrong'}")

# %% [markdown]
# ## 2 · A rate for every depth
#
# Early layers see edges and colours, which any photograph needs. Late layers see what the source task needed. So late
# layers should move more. Rates by depth are called **discriminative learning rates**. An optimiser takes them as
# **parameter groups**: a list of dictionaries, each with its parameters and its `lr`. A classic recipe, by hand:
#
# **Predict:** nothing is frozen. Does the optimiser hold all of the network's tensors?

# %%
recipe_model = fresh(0)
recipe = {"layer1": 1e-5, "layer2": 5e-5, "layer3": 1e-4, "layer4": 5e-4, "fc": 1e-3}
five_groups = [{"params": list(getattr(recipe_model, name).parameters()), "lr": lr} for name, lr in recipe.items()]
optimizer = torch.optim.AdamW(five_groups)
for name, group in zip(recipe, optimizer.param_groups):
    print(f"{name:7} {len(group['params']):3} tensors, rate {group['lr']:g}")

# %% tags=["type-along"] say="which parameters does no group hold? Compare by id"
held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
missing = [name for name, parameter in recipe_model.named_parameters() if id(parameter) not in held]
print(len(held), "tensors held, missing:", missing)

# %% [markdown]
# The recipe forgot the **stem**: the layers before `layer1`. They ask for gradients and get them, at full cost, and
# nobody uses them. They are not frozen either, so their BatchNorm statistics drift. No error tells you. Comparing by
# `id` matters: two tensors may hold equal numbers and still be two.

# %% [markdown]
# **Exercise 03.2: Do not forget the stem.** Write a group for the stem of `recipe_model`; it is put in front of the
# five. The stem consists of `conv1` and `bn1`. Choose a rate that fits the order of the others.

# %% tags=["exercise"]
# --- solution
stem = {"params": [*recipe_model.conv1.parameters(), *recipe_model.bn1.parameters()], "lr": 5e-6}
# --- stub
# stem = {"params": ..., "lr": ...}
# --- end
six_groups = [stem, *five_groups]
tl.check("03.2", recipe_model, six_groups)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `recipe_model.conv1.parameters()` gives one tensor, `recipe_model.bn1.parameters()` two. A list can be put together
# with `[*first, *second]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The stem is nearest to the image, so its rate should not be above that of `layer1`.
#
# </details>

# %% [markdown]
# `tl.parameter_groups` makes these groups from the stages of lesson 02, so none is forgotten. Give the head's rate and
# a factor, and each stage before it gets that factor times the rate of the next. Or give rates by name.
#
# It also sorts out **weight decay**: a pull of every weight towards zero at each step, against learning by heart. For
# BatchNorm's factors and for biases, zero is no sensible goal, so they are left out.

# %% tags=["type-along"] say="one group per stage from tl.parameter_groups; print the table"
factor = 0.3


def groups_for(model, rate):
    return tl.parameter_groups(model, lr=rate, factor=factor, weight_decay=0.01)


print(tl.group_table(torch.optim.AdamW(groups_for(recipe_model, 1e-3))))
print("tensors in the network:", len(list(recipe_model.parameters())))

# %% [markdown]
# Read the last column: the larger group of each stage decays, the "no decay" one does not. The last two lines should
# agree on the number of tensors. Print this table whenever you build groups.

# %% [markdown]
# **Exercise 03.3 (bug hunt): "but I used the low rate!"** The second classic mistake. A learner's loss explodes. The
# optimiser says `lr=1e-3`, a decent value for AdamW, and yet most of the network is trained at another. Repair it and
# keep all parameters.

# %% tags=["exercise"]
victim = fresh(0)
body = [parameter for name, parameter in victim.named_parameters() if not name.startswith("fc.")]
# --- solution
body_group = {"params": body, "lr": 1e-4, "name": "body"}
# --- stub
# body_group = {"params": body, "lr": 1e-1, "name": "body"}
# --- end
head_group = {"params": victim.fc.parameters(), "name": "head"}
victim_optimizer = torch.optim.AdamW([body_group, head_group], lr=1e-3)
tl.check("03.3", victim, victim_optimizer)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `print(tl.group_table(victim_optimizer))` shows which rate is really used where.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A group's own `lr` wins; the optimiser's is only for groups without one. The body should be slower than the head.
#
# </details>

# %% [markdown]
# ## 3 · Find the rate: a sweep
#
# How low is low? A **learning-rate sweep** asks the network: train batch by batch, let the rate grow by a constant
# factor from far too low to far too high, and write down the loss of each batch. By hand it is a short loop.
#
# **Predict:** what will the curve do at the left end, in the middle, at the right end?

# %%
model = fresh(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
train_loader, _ = loaders(0)
tl.train_mode(model)
for step, (images, labels) in enumerate([*train_loader, *train_loader][:16]):
    rate = 1e-5 * 1.8**step
    optimizer.param_groups[0]["lr"] = rate
    loss = torch.nn.functional.cross_entropy(model(images.to(course.device)), labels.to(course.device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 3 == 0:
        print(f"rate {rate:8.1e}   loss {loss.item():7.2f}")
changed = sum(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
print(changed, "of", len(before), "tensors of the network have changed")

# %% [markdown]
# It works, and it has ruined the patient. After a sweep the weights are wrecked, the BatchNorm statistics too, the
# optimiser remembers wild gradients, and the loader has moved on in its random order. Whoever trains on from here
# trains another experiment. Single batches are also noisy.
#
# `tl.lr_sweep` is the same loop with a running average, and it puts everything back. Groups keep their ratios: all
# rates grow together, and the curve is drawn over the head's. First we take a fingerprint of all that could change:
# weights, statistics, gradients, settings, modes and random states, squeezed into twelve characters. You need not read
# it line by line; what counts is that two equal fingerprints mean that nothing has changed.

# %%
import hashlib
import random

import numpy as np


def fingerprint(model, optimizer, loader):
    tensors = [*model.parameters(), *model.buffers(), torch.get_rng_state()]
    tensors += [loader.generator.get_state(), loader.sampler.generator.get_state()]
    groups = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
    plain = [groups, dict(optimizer.state), random.getstate(), np.random.get_state()[1].tolist()]
    plain += [[module.training for module in model.modules()], [p.grad is None for p in model.parameters()]]
    digest = hashlib.sha256(repr(plain).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]

# %%
model, train_loader = fresh(0), loaders(0)[0]
optimizer = torch.optim.AdamW(groups_for(model, 1e-3), fused=True)
before = fingerprint(model, optimizer, train_loader)
sweeps = {"AdamW": tl.lr_sweep(model, train_loader, optimizer, lowest=1e-4, highest=10.0, steps=34)}
print("before and after:", before, fingerprint(model, optimizer, train_loader))
print("nothing is left behind:", before == fingerprint(model, optimizer, train_loader))
head_rate = sweeps["AdamW"].suggestion() or 1e-2
print(f"the head's rate from here on: {head_rate:.1e}, the stem's: {head_rate * factor**5:.1e}")
tl.plot_lr_sweep(sweeps["AdamW"])
plt.show()

# %% [markdown]
# *What the figure shows:* the loss of single batches (dots) and its running average over the learning rate; upright,
# the suggestion, if there is one.
#
# Left, little happens: too low. Then the loss falls. On the right it jumps: too high. A good rate lies on the slope,
# well **before** the lowest point, because there the loss has stopped falling already. The suggestion is the steepest
# place of a noisy curve, at most a tenth of the rate at its lowest point. (If the loss never falls clearly there is
# none, and the cell takes 0.01.) Another seed moves it, often by a factor of two or three, so trust its power of ten
# only. The head's rate may be well above the low rate of section 1: the stages that must be protected are far slower.

# %% [markdown]
# ## 4 · A rate that changes: OneCycle
#
# The first gradients come from a random head, and the optimiser knows nothing yet. So we **warm up**: start low, rise.
# Towards the end large steps only shake the result, so the rate falls again. `OneCycleLR` is a **scheduler**, an
# object that changes an optimiser's rates over time, and does both. Ours rises for 10 % of the steps and is stepped
# after every **batch**. Tutorials write it like this, over the five groups above:

# %% tags=["type-along"] say="OneCycle with one number for max_lr, under five groups: print rates and peaks"
from torch.optim.lr_scheduler import OneCycleLR

optimizer = torch.optim.AdamW([dict(group) for group in five_groups])
print("rates before:", [group["lr"] for group in optimizer.param_groups])
scheduler = OneCycleLR(optimizer, max_lr=1e-3, total_steps=30, pct_start=0.1)
print("peaks:       ", [group["max_lr"] for group in optimizer.param_groups])

# %% [markdown]
# One number for `max_lr`, and the five rates are gone: every group will peak at the same height, without a warning.
# `max_lr` has to be a **list**, one peak per group.
#
# To see a schedule before paying for it, run it dry: without gradients `optimizer.step()` moves nothing.
#
# **Predict:** at which of the steps will the rates be highest?

# %%
total_steps = epochs * len(loaders(0)[0])
optimizer = torch.optim.AdamW(groups_for(model, head_rate))
peaks = [group["lr"] for group in optimizer.param_groups]
scheduler = OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=0.1)
rates = []
for _ in range(total_steps):
    rates.append([group["lr"] for group in optimizer.param_groups])
    optimizer.step()
    scheduler.step()
tl.plot_learning_rates(rates, [group["name"] for group in optimizer.param_groups])
plt.show()

# %% [markdown]
# *What the figure shows:* the learning rate of every stage over the steps of the whole training, on a logarithmic
# axis.
#
# The lines are parallel: one shape, scaled for each stage. All rise for the first tenth and come down together. (While
# the rate is high, the scheduler lowers the momentum, the optimiser's memory of earlier gradients.)

# %% [markdown]
# Design a schedule yourself: the curves come from PyTorch's own schedulers, and the code below the picture makes them.
#
# **Predict:** what does a warm-up of half the training do to the last steps?

# %%
batches = len(loaders(0)[0])
tl.explore_schedules(model, epochs=epochs, batches=batches, rate=head_rate, factor=factor)

# %% [markdown]
# *What the figure shows:* the learning rate of each stage over the steps, for the settings of the controls. On a plain
# axis you see how small the stem's rate is, on the logarithmic one that all groups share one shape.

# %% [markdown]
# **Exercise 03.4: How long is the schedule?** `OneCycleLR` must know its length in advance. Too short is an error in
# mid-training, too long ends before the rate has come down. Write `total_steps_for`, for a loader that keeps its short
# last batch. Use arithmetic; no loader is at hand.

# %% tags=["exercise"]
import math


def total_steps_for(images, batch_size, epochs):
    # --- solution
    return math.ceil(images / batch_size) * epochs
    # --- stub
    # return ...
    # --- end


tl.check("03.4", total_steps_for)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# 105 images in batches of 10: how many batches make one epoch?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `math.ceil` rounds up. Round within one epoch, then multiply.
#
# </details>

# %% [markdown]
# Three things are new, so a check-up before the run. We plan the schedule for half of the training, by mistake. Tell
# the doctor how many `epochs` will follow and how the scheduler will be stepped; the set-up alone does not know.

# %% tags=["type-along"] say="a schedule for half of the run; ask the doctor"
patient = tl.train_mode(fresh(0))
optimizer = torch.optim.AdamW(groups_for(patient, head_rate))
peaks = [group["lr"] for group in optimizer.param_groups]
scheduler = OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps // 2, pct_start=0.1)
tl.doctor(patient, *loaders(0), optimizer, scheduler=scheduler, epochs=epochs, step_scheduler_every="batch")

# %% [markdown]
# Now train with all three: rates by depth, the swept rate, OneCycle. `step_scheduler_every="batch"` tells `tl.fit` to
# step the scheduler after each batch.

# %%
def by_depth(make_optimizer, rate, seed):
    model = fresh(seed)
    optimizer = make_optimizer(groups_for(model, rate))
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=0.1)
    return train(model, optimizer, seed, scheduler=scheduler, step_scheduler_every="batch")


def adamw(groups):
    return torch.optim.AdamW(groups, fused=True)


runs = [by_depth(adamw, head_rate, seed) for seed in seeds]
results["by depth, OneCycle"] = [accuracy_of(run) for run in runs]

# %% [markdown]
# Before the numbers, a rule for reading them. With three seeds and so few images, "better" needs more than a better
# mean. We only say it when *every* seed of one side beats *every* seed of the other.

# %%
from statistics import mean as average


def compare(a, b):
    for name in (a, b):
        print(f"{name:28} {'  '.join(f'{value:.0%}' for value in results[name])}")
    low, high = sorted((a, b), key=lambda name: average(results[name]))
    apart = max(results[low]) < min(results[high])
    print(f"-> every seed of '{high}' is better" if apart else "-> the seeds overlap: no verdict")


compare("low rate", "by depth, OneCycle")

# %% [markdown]
# Mind what was compared: three things changed at once, the rates by depth, the height of the rate, and its shape over
# time. The result belongs to the package. Which part did it? That takes runs that change one thing, and you have
# all the functions for it.
#
# ## 5 · AdamW or SGD?
#
# **SGD** moves every weight by rate × gradient, smoothed by momentum. **AdamW** divides each weight's gradient by its
# usual size first, so every weight moves by about the rate itself. The same number therefore means something different
# to each. A fair comparison gives each a rate of its own, found in the same way.
#
# **Predict:** whose curve starts to fall further to the right?

# %%
def sgd(groups):
    return torch.optim.SGD(groups, momentum=0.9, fused=True)


model, batches = fresh(0), loaders(0)[0]
sweeps["SGD"] = tl.lr_sweep(model, batches, sgd(groups_for(model, 1e-3)), lowest=1e-4, highest=10.0, steps=34)
tl.plot_lr_sweep(sweeps)
plt.show()

# %% [markdown]
# *What the figure shows:* the sweeps of both optimisers, over the same batches and the same groups.
#
# Now each trains at its own suggestion, with everything else equal: groups, schedule, seeds.

# %% tags=["type-along"] say="train SGD at its own suggestion, three seeds, and compare"
sgd_rate = sweeps["SGD"].suggestion() or 3e-2
print(f"head's rate: AdamW {head_rate:.1e}, SGD {sgd_rate:.1e}")
results["by depth, SGD"] = [accuracy_of(by_depth(sgd, sgd_rate, seed)) for seed in seeds]
compare("by depth, OneCycle", "by depth, SGD")

# %% [markdown]
# Whatever the verdict line says, it is about *these* rates and about a few dozen steps. A sweep over some thirty
# batches places a rate only roughly. Another point on the slope, or ten times the epochs, may turn the result round.
# To claim that one optimiser is better, each would need several rates, and seeds for each. We go on with AdamW, because
# its step size hardly depends on the size of the gradients.

# %% [markdown]
# ## 6 · Early stopping
#
# How many epochs? With few images, the training loss often goes on falling while the validation loss turns up. **Early
# stopping** ends the training when no better epoch has come for a while, the **patience**. The rule fits in a few
# lines, tried here on made-up losses.

# %%
# NBVAL_CHECK_OUTPUT
def stop(val_losses, patience):
    best = 0
    for epoch, loss in enumerate(val_losses):
        if loss < val_losses[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best + 1, epoch + 1


made_up = [1.00, 0.80, 0.85, 0.78, 0.79, 0.81, 0.70]
for patience in (1, 2, 3):
    best, last = stop(made_up, patience)
    print(f"patience {patience}: stopped after epoch {last}, best epoch {best}, loss {made_up[best - 1]:.2f}")

# %% [markdown]
# Little patience takes the first bump for the end. Much patience costs epochs. And whenever patience ran out, the
# last epoch is *not* the best one. So stopping is only half of it: the weights of the best epoch have to be put back.
# `tl.fit` does both. To check it we use `tl.evaluate`, the `validate` of lesson 02 as a helper: it returns loss and
# accuracy.

# %% tags=["type-along"] say="train with patience=2, then look which epoch's weights the model has"
model = fresh(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=2 * low_rate, fused=True)
history = train(model, optimizer, seed=0, epochs=course.pick(mini=6, full=20), patience=2)
print(history.table())
now = tl.evaluate(model, loaders(0)[1]).loss
print(f"last epoch {history.val_loss[-1]:.4f}, best epoch {min(history.val_loss):.4f}, the model now {now:.4f}")

# %% [markdown]
# The last line should show one loss twice: the model *has* the weights of its best epoch. The line above says how
# the run ended; "finished" means that patience never ran out. We chose the epoch by the validation part, so its figure
# flatters a little, as in lesson 02.

# %% [markdown]
# **Exercise 03.5 (bug hunt): fine in the first epoch.** The third classic mistake. `validate` switches the model to
# eval mode, as it should. The loop below trains properly for one epoch, and not in the later ones. Repair it. The model
# may have frozen parts.

# %% tags=["exercise"]
def validate(model, batches):
    model.eval()
    with torch.no_grad():
        right = [(model(images).argmax(dim=1) == labels).float() for images, labels in batches]
    return torch.cat(right).mean().item()


def train_and_validate(model, train_batches, val_batches, optimizer, epochs):
    accuracies = []
    # --- solution
    for _ in range(epochs):
        tl.train_mode(model)
    # --- stub
    # tl.train_mode(model)
    # for _ in range(epochs):
    # --- end
        for images, labels in train_batches:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracies.append(validate(model, val_batches))
    return accuracies


tl.check("03.5", train_and_validate)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Write down the mode of the model, line by line, for two epochs. Who switches back to train mode?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# One line is in the right words but in the wrong place. `tl.train_mode`, not `model.train()`: frozen parts have to stay
# in eval mode.
#
# </details>

# %% [markdown]
# ## 7 · What about BatchNorm?
#
# A frozen BatchNorm has to stay in eval mode. That is settled. But when all layers train, there are three policies:
#
# 1. **train**: use the statistics of each batch and update the running ones. The default; batches of ten are noisy.
# 2. **keep statistics**: eval mode, its weight and bias still learn.
# 3. **freeze**: statistics, weight and bias all stay.
#
# By hand, the second is a loop after `tl.train_mode`; `tl.fit(..., batchnorm="eval")` does it in every epoch.

# %%
# NBVAL_CHECK_OUTPUT
from torch import nn


def batchnorms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


model = tl.train_mode(fresh(0))
for module in batchnorms(model):
    module.eval()
by_hand = [module.training for module in model.modules()]
same = by_hand == [module.training for module in tl.train_mode(model, batchnorm="eval").modules()]
print("same modes as tl.train_mode(model, batchnorm='eval'):", same)

# %% [markdown]
# **Predict:** ten images make poor statistics, but they are statistics of *flowers*. The stored ones are good, but of
# the source images. Which will matter more? (Two seeds for the new policies, to save time.)

# %%
def with_policy(seed, freeze_batchnorm):
    model = fresh(seed)
    if freeze_batchnorm:
        tl.freeze(batchnorms(model))
    optimizer = adamw([{"params": tl.trainable_parameters(model), "lr": low_rate}])
    return train(model, optimizer, seed, batchnorm="eval")


results["BatchNorm: train"] = results["low rate"]
results["BatchNorm: keep statistics"] = [accuracy_of(with_policy(seed, False)) for seed in seeds[:2]]
results["BatchNorm: freeze"] = [accuracy_of(with_policy(seed, True)) for seed in seeds[:2]]
compare("BatchNorm: train", "BatchNorm: keep statistics")
compare("BatchNorm: keep statistics", "BatchNorm: freeze")

# %% [markdown]
# Many tutorials advise keeping the statistics when images are few. That should suit a network whose source images look
# much like the target. The network of the `mini` profile learned from drawings of shapes and textures, not of flowers,
# so its stored statistics may fit badly, and training them can be worth the noise. If the lines above go against the
# advice, that is the likely reason. The policy is one argument: measure it on your data.

# %% [markdown]
# ## 8 · First the head, then everything
#
# At the first step of fine-tuning the head is random. Its errors are sent back through the body as if they were the
# body's fault, and good features are bent to please a random head. The cure: **linear probing, then fine-tuning**
# (Kumar and others, 2022). Train the head on cached features until it is good, then unfreeze all, at a low rate.
#
# The first half is the frozen strategy of lesson 02 and costs almost nothing: `model.fc` trains on the cached rows and
# stays inside `model`.

# %%
def head_first(seed):
    model = fresh(seed)
    train_cache, val_cache = caches["pretrained"]
    train_rows = tl.make_loader(train_cache, batch_size=20, train=True, seed=seed)
    val_rows = tl.make_loader(val_cache, batch_size=100)
    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=5e-3)
    history = tl.fit(model.fc, train_rows, val_rows, epochs=30, optimizer=optimizer, verbose=False)
    return model, history


prepared = {seed: head_first(seed) for seed in seeds}
results["head only (frozen)"] = [accuracy_of(history) for _, history in prepared.values()]
print("head only, three seeds:", [f"{accuracy:.0%}" for accuracy in results["head only (frozen)"]])

# %% [markdown]
# Now all layers from there, with the optimiser, the rate and the epochs of section 1. Only the starting point of the
# head differs. We also measure how far the features of the validation images have moved from their pretrained values,
# relative to their length: 0 % is not at all.
#
# **Predict:** which start moves the features more?

# %%
def feature_shift(model):
    old, new = caches["pretrained"][1].features, features_of(model, val_images)[0].features
    return ((new - old).norm(dim=1).mean() / old.norm(dim=1).mean()).item()


shift = {"low rate": [feature_shift(tuned[seed]) for seed in seeds], "head first, then all": []}
results["head first, then all"] = []
for seed in seeds:
    model = copy.deepcopy(prepared[seed][0])
    history = train(model, torch.optim.AdamW(model.parameters(), lr=low_rate, fused=True), seed)
    results["head first, then all"].append(accuracy_of(history))
    shift["head first, then all"].append(feature_shift(model))

for name, values in shift.items():
    print(f"{name:22} features moved by {'  '.join(f'{value:.0%}' for value in values)}")
compare("low rate", "head first, then all")
compare("head only (frozen)", "head first, then all")

# %% [markdown]
# Read the shifts with care. If the prepared head moves the features less, you see the effect the paper describes. If
# not, this world is too small or too short to show it, whatever the accuracies say.
#
# The paper's own figures, over ten pairs of data sets: compared with plain fine-tuning, head first gained about 1 % on
# images like the training ones and 10 % on images *unlike* them. We have no second kind here, so the larger half of
# their finding is not tested.

# %% [markdown]
# **Exercise 03.6 (bug hunt): frozen, and still moving.** The fourth classic mistake. Here a layer is frozen *in
# mid-training*, with an optimiser that already holds it. The flag is set, and the layer keeps moving: its last gradient
# is still there, momentum and weight decay too. Repair `freeze_now`.

# %% tags=["exercise"]
def freeze_now(layer, optimizer):
    for parameter in layer.parameters():
        parameter.requires_grad = False
        # --- solution
        parameter.grad = None
        # --- stub
        # # something is left over here
        # --- end


tl.check("03.6", freeze_now)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# An optimiser skips a parameter only if its `.grad` is None. A gradient of zeros is not None: momentum and decay still
# act.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Add one line to the loop. `tl.freeze(layer, optimizer=optimizer)` does the same and also drops the optimiser's memory
# of the layer.
#
# </details>

# %% [markdown]
# ## Compare
#
# All strategies so far, same images, validation part, three seeds (two for 100 x and the BatchNorm rows). The frozen
# one is lesson 02, the others are this lesson.
#
# **Predict:** where does the frozen head stand?

# %%
shown = [name for name in results if name != "BatchNorm: train"]
table = {name: results[name] for name in sorted(shown, key=lambda name: -average(results[name]))}
for name, values in table.items():
    print(f"{name:28} mean {average(values):6.1%}   lowest {min(values):6.1%}   highest {max(values):6.1%}")
tl.compare_bars(table, chance=1 / len(names))
plt.show()

# %% [markdown]
# *What the figure shows:* validation accuracy of every strategy on the eight look-alike flowers, sorted by its mean;
# dots are seeds.
#
# Read it from the dots, not from the bars. Strategies whose dots overlap are not ordered by this experiment. The
# flowers were picked for being hard on frozen features, which puts the frozen head at a disadvantage: do not carry its
# place over to other data. Each run took only a few dozen steps, and longer training may change the picture too.

# %% [markdown]
# ## Common mistakes
#
# - **No Normalize:** the body gets numbers it has never seen.
# - **A rate a hundred times too high:** it can wreck pretrained weights in one epoch.
# - **Train mode forgotten** after validation, or plain `model.train()` on frozen parts.
# - **A gradient left on a frozen layer** inside the optimiser.
# - **The stem in no group,** or a parameter in two.
# - **One `max_lr` for five groups:** the rates by depth are gone.
# - **A sweep that is not undone:** you fine-tune a wreck.
# - **Stopping early without putting the best epoch back.**
# - **One seed.**

# %% [markdown]
# ## Take-aways
#
# - Fine-tuning starts low. Too high a rate destroys the features, and no head repairs them.
# - A sweep finds the power of ten. It must leave no trace.
# - Early stages slower than late ones, no decay on norms and biases, warm-up, then down: groups and OneCycle with a
#   list.
# - An optimiser is compared at its own rate. A policy is compared over seeds.
# - A good head first costs almost nothing. Whether it protects the body is measured, not assumed.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("03")

# %% [markdown] tags=["quiz"]
# **1. After one epoch of fine-tuning the validation loss is 40, with ten classes. What has most likely happened?**
#
# <details><summary>Nothing unusual, the first epoch is always bad</summary>
#
# No. Guessing costs ln 10 = 2.3. A loss of 40 is sure and wrong.
#
# </details>
#
# <details><summary>Too few epochs</summary>
#
# No. More epochs at this rate go on destroying.
#
# </details>
#
# <details><summary>The rate is too high</summary>
#
# Right. Try a tenth of it, from the pretrained weights again: the ones in memory are damaged.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. A network has groups with five different rates, and you add `OneCycleLR(optimizer, max_lr=1e-3, ...)`. What rates
# does it train with?**
#
# <details><summary>The five rates, each shaped by the cycle</summary>
#
# No, though everybody expects it: one `max_lr` takes the place of all five.
#
# </details>
#
# <details><summary>All groups peak at 1e-3</summary>
#
# Right. A single number is used for every group. Give a list.
#
# </details>
#
# <details><summary>None, it raises an error</summary>
#
# No. An error would be kind: one number is allowed, and nothing warns you.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. The lowest point of a sweep lies at 0.01. Which rate do you start with?**
#
# <details><summary>Something like 0.001, on the slope before it</summary>
#
# Right. There the loss still falls fast, with room below the rate at which it turns. Check it with a short run.
#
# </details>
#
# <details><summary>0.01, the loss is lowest there</summary>
#
# No. There the loss has stopped falling, and a little further it explodes.
#
# </details>
#
# <details><summary>0.1, to be fast</summary>
#
# No. That is on the far side of the minimum, where the loss climbs.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. A layer is frozen by `requires_grad = False` in mid-training. The optimiser still holds it. Does it move?**
#
# <details><summary>Never, it gets no new gradient</summary>
#
# Not quite. The gradient of an earlier step may still be there, and the optimiser goes on using it.
#
# </details>
#
# <details><summary>Yes, always</summary>
#
# No. With `.grad = None` the optimiser skips it.
#
# </details>
#
# <details><summary>It can, as long as its .grad is not None</summary>
#
# Right. Momentum and weight decay act even on a gradient of zeros.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. Why train the head before unfreezing the body?**
#
# <details><summary>A random head sends useless gradients into a good body</summary>
#
# Right. With a trained head the first steps already point somewhere sensible.
#
# </details>
#
# <details><summary>It saves memory</summary>
#
# Not the reason: less memory is needed only while the head trains alone.
#
# </details>
#
# <details><summary>Otherwise the head is never trained</summary>
#
# No. In plain fine-tuning it trains along with the rest.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - Kumar and others (2022), [Fine-Tuning can Distort Pretrained Features and Underperform
#   Out-of-Distribution](https://arxiv.org/abs/2202.10054): head first, then everything, and why.
# - Howard and Ruder (2018), [Universal Language Model Fine-tuning](https://arxiv.org/abs/1801.06146): discriminative
#   rates and gradual unfreezing, the topic of lesson 04.
# - Smith (2017), [Cyclical Learning Rates](https://arxiv.org/abs/1506.01186): the sweep, there called range test.
# - PyTorch, [OneCycleLR](https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html): all its
#   arguments, and the paper it comes from.
#
# *Next: lesson 04 unfreezes stage by stage, and asks when it is worth it.*
#
# Text: CC BY 4.0. Code: MIT.
