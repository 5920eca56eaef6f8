# %% [markdown]
# # 05 · Mixup and label smoothing: labels that admit a doubt
#
# {{badge}}
#
# {{time}}
#
# So far a label named one class, and the network was paid for being ever more certain of it. In this lesson you soften
# the labels, then the images. You build label smoothing, mixup and CutMix by hand, and you learn to read what they do
# to the numbers on your screen. And you find out, over several seeds, how much they help on few images.

# %% [markdown]
# ## What you will be able to do
#
# - **build** label smoothing, mixup and CutMix by hand, and **use** PyTorch's own versions of them
# - **measure** whether a network's confidence deserves trust, with a reliability diagram and one number
# - **explain** why training accuracy looks broken under mixing, and **watch** the right numbers instead
# - **find** four bugs that make such a comparison worthless
# - **judge** an effect against its noise, seed by seed
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
# ## 1 · A label that admits a doubt
#
# Cross-entropy is minus the logarithm of the probability that the true class got. Take five classes and let the true
# one lead by more and more.
#
# **Predict:** at which lead is the loss content, so that nothing is left to gain?

# %%
import torch
import torch.nn.functional as F

for lead in (2, 5, 10, 15):
    scores = torch.tensor([[float(lead), 0, 0, 0, 0]])
    loss = F.cross_entropy(scores, torch.tensor([0])).item()
    print(f"lead {lead:2}: probability {scores.softmax(dim=1)[0, 0].item():.6f}, loss {loss:.6f}")

# %% [markdown]
# Never. However sure the network is, more certainty still pays, so the scores are pushed apart as long as training
# lasts.
#
# **Label smoothing** takes a small share ε (epsilon) of the label and spreads it evenly over all K classes. What comes
# out is a **soft label**: a probability for each class. The old kind is a **hard label**.

# %% tags=["type-along"] say="soft labels by hand: 1 - epsilon for the true class, epsilon shared by all"
# NBVAL_CHECK_OUTPUT
labels, classes, epsilon = torch.tensor([0, 3]), 5, 0.1
one_hot = F.one_hot(labels, classes).float()
soft_labels = (1 - epsilon) * one_hot + epsilon / classes
print(soft_labels)

# %% [markdown]
# The true class keeps 1 − ε + ε/K, every other class gets ε/K, a row still adds up to one. (`one_hot` writes a class
# number as a row with a single 1.)
#
# Cross-entropy with soft labels is a weighted sum: each class's minus log-probability, times its share. PyTorch knows
# two more ways to the same number.

# %%
from torch import nn

scores = torch.randn(2, classes)
by_hand = -(soft_labels * F.log_softmax(scores, dim=1)).sum(dim=1).mean()
print(f"by hand                     {by_hand.item():.6f}")
print(f"cross_entropy, soft labels  {F.cross_entropy(scores, soft_labels).item():.6f}")
print(f"label_smoothing=0.1         {nn.CrossEntropyLoss(label_smoothing=0.1)(scores, labels).item():.6f}")

# %% [markdown]
# Three ways, one number. `cross_entropy` accepts class numbers of shape (N,) or soft labels of shape (N, K): keep that
# in mind, mixup needs the second.
#
# Now let the probability of the true class run from low to high; the others share the rest equally. **Predict:** where
# does the smoothed loss have its lowest point?

# %%
import matplotlib.pyplot as plt

p = torch.linspace(0.3, 0.999, 700)
share = 1 - epsilon + epsilon / classes
hard_loss = -p.log()
soft_loss = -(share * p.log() + (1 - share) * ((1 - p) / (classes - 1)).log())
lowest = p[soft_loss.argmin()].item()

fig, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.plot(p, hard_loss, "--", color="#0072B2", label="hard label")
ax.plot(p, soft_loss, color="#D55E00", label=f"smoothed by {epsilon}")
ax.plot(lowest, soft_loss.min(), "o", color="black", label=f"lowest at {lowest:.2f}")
ax.set(xlabel="probability of the true class", ylabel="loss")
ax.legend(frameon=False)
plt.show()

floor = -(soft_labels * soft_labels.log()).sum(dim=1).mean()
print(f"lowest at {lowest:.2f}, the share of the true class is {share:.2f}")
print(f"loss of a model that answers with exactly the soft labels: {floor.item():.4f}")

# %% [markdown]
# *What the figure shows:* the loss of one image against the probability its true class gets, with a hard label and with
# a smoothed one.
#
# The hard loss falls all the way to the right edge. The smoothed one has a bottom at the share the label gives to the
# true class; beyond it, certainty is punished. And the bottom is not zero: it is the **entropy** of the label, the
# doubt that is written into it. No network can get a lower loss. So training losses with and without smoothing must
# never be compared.
#
# **Exercise 05.1: The same loss from two others.** Smoothing can be written without soft labels: a mixture of the
# ordinary loss and the loss against *all* classes alike. Write it so that it returns the mean over the images.

# %% tags=["exercise"]
def smoothed_loss(scores, labels, epsilon):
    log_p = F.log_softmax(scores, dim=1)
    true_class = -log_p[torch.arange(len(labels)), labels]
    # --- solution
    all_classes = -log_p.mean(dim=1)
    return ((1 - epsilon) * true_class + epsilon * all_classes).mean()
    # --- stub
    # all_classes = ...        # for each image, minus the mean log-probability over the classes
    # return ...               # mix the two by epsilon, then the mean over the images
    # --- end


tl.check("05.1", smoothed_loss)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The soft label is (1 − ε) times the hard one plus ε times a label that gives 1/K to everybody. The loss splits in the
# same way.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# 1/K for everybody is a mean over the classes: `-log_p.mean(dim=1)`. Take `(1 - epsilon)` of one and `epsilon` of the
# other.
#
# </details>

# %% [markdown]
# ## 2 · Does the confidence deserve trust?
#
# A network's **confidence** is the probability it gives to the class it predicts. Smoothing is aimed at exactly this.
# To see it work we need a network that is too sure, and a small head on cached features (lesson 02) becomes so within
# seconds.
#
# Every image is opened once and kept in memory, without augmentation: that is cheap, and the same for all we compare.
# (`tl.pretrained` is `get_model` with its default weights, put on the device.)

# %%
# NBVAL_CHECK_OUTPUT
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

arch = course.pick(mini="resnet10", full="resnet18")
body, weights = tl.pretrained(course, arch)


def in_memory(split):
    flowers = tl.flowers102(course, split, transform=weights.transforms())
    images = torch.stack([flowers[i][0] for i in range(len(flowers))])
    return TensorDataset(images, torch.tensor(flowers.targets))


train_set, val_set = in_memory("train"), in_memory("val")
print(len(train_set), "train,", len(val_set), "validation")

# %%
tl.freeze(body)
train_cache, val_cache = (tl.cache_features(body, tl.make_loader(part, 64)) for part in (train_set, val_set))
val_rows = tl.make_loader(val_cache, batch_size=256)


def train_head(epsilon, seed=0, epochs=20):
    tl.seed_everything(seed)
    layers = [nn.Linear(train_cache.features.shape[1], 256), nn.ReLU(), nn.Linear(256, 102)]
    head = nn.Sequential(*layers).to(course.device)
    rows = tl.make_loader(train_cache, batch_size=128, train=True, seed=seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=epsilon)
    for _ in range(epochs):
        for features, labels in rows:
            loss = loss_fn(head(features.to(course.device)), labels.to(course.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head

# %% [markdown]
# The loop trains to the very end and keeps the last epoch. `tl.fit` would bring back the epoch with the best validation
# loss, and hide the certainty that we are after.
#
# **Predict:** on validation images, will the head with hard labels be more often right than it believes, or less?

# %%
heads = {f"ε = {epsilon}": train_head(epsilon) for epsilon in (0, 0.03, 0.1)}
answers = {name: tl.predict(head, val_rows) for name, head in heads.items()}

for name, found in answers.items():
    confidence = found.probabilities.amax(dim=1)
    right = (found.predicted == found.labels).float()
    print(f"{name:9} mean confidence {confidence.mean().item():.1%}, really right {right.mean().item():.1%}")

# %% [markdown]
# If the first number of a line is the larger one, the head is **overconfident**; if it is the smaller one,
# **underconfident**. Accuracy alone would have told you nothing of this.
#
# A mean can hide opposite errors. So we look closer: sort the images into ten **bins** by confidence and compare
# confidence with accuracy inside each bin. Weigh the gap of each bin by its share of the images, add up, and you have
# the **expected calibration error** (ECE): by how many points, on average, a stated confidence is off. A network
# without gaps is **calibrated**: of a hundred answers given with 70 % confidence, about seventy are right.
#
# `tl.calibration_of` is the loop below, with the bins kept for a table, and its figure is the **reliability diagram**.
# **Predict:** more smoothing means less confidence. Does that also mean a smaller ECE?

# %%
found, by_hand = answers["ε = 0"], 0.0
confidence, right = found.probabilities.amax(dim=1), (found.predicted == found.labels).float()
for low in range(10):
    inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
    if inside.any():
        gap = (confidence[inside].mean() - right[inside].mean()).abs().item()
        by_hand += inside.float().mean().item() * gap

print(tl.calibration_of(found).table())
print(f"\nECE by hand {by_hand:.1%}, tl.calibration_of {tl.calibration_of(found).ece:.1%}")

# %% tags=["type-along"] say="the reliability diagram of the three heads"
tl.plot_reliability(answers)
plt.show()

# %% [markdown]
# *What the figure shows:* for each head the accuracy in ten bins of confidence, the hatched gap to the confidence, and
# below it how many images each bin holds; on the dashed line a head would be calibrated.
#
# A bar that ends below the line is a bin with too much confidence, above it with too little. Bars over a few images
# jump about, so look at the counts first. One seed is one seed:

# %%
print("three seeds   cross-entropy   accuracy   confidence   ECE of each seed")
for epsilon in (0, 0.03, 0.1):
    trained = [heads[f"ε = {epsilon}"], *(train_head(epsilon, seed) for seed in (1, 2))]
    loss = sum(tl.evaluate(head, val_rows).loss for head in trained) / 3
    found = [tl.calibration_of(tl.predict(head, val_rows)) for head in trained]
    accuracy, sure = sum(f.accuracy for f in found) / 3, sum(f.mean_confidence for f in found) / 3
    print(f"ε = {epsilon:<9} {loss:13.3f} {accuracy:10.1%} {sure:12.1%}  ", *(f"{f.ece:.1%}" for f in found))

# %% [markdown]
# Confidence goes down with ε in every row: that is what smoothing *does*. Whether it *helps* depends on where the
# network stood. Too sure before, a little of it repairs; beyond that point the error grows again, with the other sign.
# So smoothing is no cure for bad calibration, it is a knob. Compare the three ECEs of a row before you trust a gap
# between rows.
#
# There is a way to repair confidence *after* training. **Temperature scaling** divides all scores by one number T.
# The order of the classes stays, so no prediction changes. T is chosen on one half of the validation part and judged on
# the other, because whatever you choose on some images looks too good on them.

# %%
found = answers["ε = 0"]
log_p = found.probabilities.clamp(min=1e-30).log()
choose, judge = torch.arange(0, len(log_p), 2), torch.arange(1, len(log_p), 2)


def at(T, rows):
    p = (log_p[rows] / T).softmax(dim=1)
    return tl.Predictions(p, found.labels[rows], p.argmax(dim=1))  # the same three things that tl.predict returns


def loss_at(T):
    return F.nll_loss(at(T, choose).probabilities.log(), found.labels[choose]).item()


best = min((0.5 + 0.1 * step for step in range(36)), key=loss_at)
before, after = (tl.calibration_of(at(T, judge)) for T in (1.0, best))
print(f"T = {best:.1f}: ECE {before.ece:.1%} -> {after.ece:.1%}")
print(f"accuracy {before.accuracy:.1%} -> {after.accuracy:.1%}")

# %% [markdown]
# T above 1 lowers confidence, below 1 raises it. (Log-probabilities serve as scores here, they differ only by a
# constant.)
#
# **Exercise 05.2 (bug hunt): the handicapped winner.** A learner compares heads trained with ε = 0 and ε = 0.1 by their
# validation loss. Label smoothing never has a chance. The training loss is fine. Repair the validation.

# %% tags=["exercise"]
training_loss = nn.CrossEntropyLoss(label_smoothing=0.1)


def validation_loss(scores, labels):
    # --- solution
    return F.cross_entropy(scores, labels)
    # --- stub
    # return training_loss(scores, labels)
    # --- end


tl.check("05.2", validation_loss)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# What is the lowest value that this validation loss can reach at all, and what is it for the head without smoothing?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Validation is a ruler, and a ruler must be the same for everybody: plain `F.cross_entropy(scores, labels)`. `tl.fit`
# and `tl.evaluate` use it whatever the training loss is.
#
# </details>

# %% [markdown]
# ## 3 · Mixup by hand
#
# **Mixup** lays two images over each other, λ of the first and 1 − λ of the second, and the label says just that. The
# share λ (lambda) is drawn each time from a **Beta distribution**: always between 0 and 1, its shape set by α (alpha).
#
# **Predict:** which α mixes most strongly?

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 2.2), sharey=True, layout="constrained")
for ax, alpha in zip(axes, (0.1, 0.2, 0.4, 1.0)):
    draws = torch.distributions.Beta(alpha, alpha).sample((4000,))
    ax.hist(draws.numpy(), bins=20, color="#0072B2", edgecolor="white")
    ax.set(title=f"α = {alpha}", xlabel=f"λ ({((draws - 0.5).abs() < 0.4).float().mean():.0%} in 0.1 to 0.9)")
plt.show()

# %% [markdown]
# *What the figure shows:* how often each share λ is drawn in 4,000 draws, for four values of α; below each, how many
# draws are a real mixture, with λ between 0.1 and 0.9.
#
# A small α puts nearly all draws at the ends: most images stay almost what they were. At α = 1 every λ is equally
# likely. So α is the strength of mixup, and 0.2 is a mild dose.
#
# For what follows we take some classes of the flowers only, so that training stays short. `searchsorted` numbers them
# 0, 1, 2, … again.

# %%
# NBVAL_CHECK_OUTPUT
chosen = torch.arange(0, 102, course.pick(mini=10, full=1))
names, classes = [tl.FLOWERS102_CLASSES[i] for i in chosen], len(chosen)


def only_chosen(part):
    images, labels = part.tensors
    rows = torch.isin(labels, chosen)
    return TensorDataset(images[rows], torch.searchsorted(chosen, labels[rows]))


small_train, small_val = only_chosen(train_set), only_chosen(val_set)
print(classes, "classes:", len(small_train), "train,", len(small_val), "validation")

# %% [markdown]
# The partners come from the same batch: `randperm` is a random order, so image 0 is paired with image `order[0]`, and
# so on. To see what λ means, each of the five pairs gets another one.
#
# **Predict:** at λ = 0.5, will you still recognise both flowers?

# %%
images, labels = next(iter(tl.make_loader(small_train, batch_size=5, train=True, seed=1)))
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2))
lam = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]).view(5, 1, 1, 1)
mixed = lam * images + (1 - lam) * images[order]

_, mean, std = tl.from_weights(weights)
titles = [names[i] for i in labels] + ["with " + names[i] for i in labels[order]]
titles += [f"λ = {share:.1f}" for share in lam.flatten().tolist()]
tl.show_images(torch.cat([images, images[order], mixed]), titles, ncols=5, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* five flowers, the partner of each, and their mixture by the share λ of the first.
#
# For you these are ghosts. For the network they are a demand: halfway between two images, answer halfway between the
# two classes. That is the whole idea of the paper, to behave evenly *between* the training images.
#
# How does a mixed label enter the loss? There are two recipes around. **Predict:** do they differ?

# %% tags=["type-along"] say="the mixed loss in two ways, with the shares 0.7 and 0.3"
scores, one_hot = torch.randn(len(labels), classes), F.one_hot(labels, classes).float()
two_losses = 0.7 * F.cross_entropy(scores, labels) + 0.3 * F.cross_entropy(scores, labels[order])
one_loss = F.cross_entropy(scores, 0.7 * one_hot + 0.3 * one_hot[order])
print(f"two losses, mixed:      {two_losses.item():.6f}")
print(f"one loss, mixed labels: {one_loss.item():.6f}")

# %% [markdown]
# The same number: cross-entropy is a weighted sum over the shares of the label. Soft labels are handier, because the
# training loop stays as it is.
#
# Where does mixing belong in the pipeline of lesson 01? Mixing is linear and `Normalize` too, so their order does not
# matter. Raw `uint8` pixels are another story:

# %%
raw, normalise = tl.denormalize(images, mean, std), v2.Normalize(mean, std)
mixed_first = normalise(0.7 * raw + 0.3 * raw[order])
mixed_last = 0.7 * normalise(raw) + 0.3 * normalise(raw[order])
print("the same in both orders:", torch.allclose(mixed_first, mixed_last, atol=1e-5))
white = torch.tensor([250], dtype=torch.uint8)
print("half of 250 + 250 as uint8:", ((white + white) // 2).item())

# %% [markdown]
# `uint8` ends at 255 and starts again at 0, so sums of pixels overflow without an error. The rule: crop, flip and
# jitter each image by itself, make it float, normalise, collect the batch, and mix **last**. Augmentation applied to a
# mixture would turn both flowers by the same angle.
#
# **Exercise 05.3: Mixup as a function.** It gets a batch of images, their class numbers, the number of classes, λ and
# the order of the partners. It returns the mixed images and their soft labels. Mind that both must use the same
# partners and the same λ.

# %% tags=["exercise"]
def mixup(images, labels, classes, lam, order):
    one_hot = F.one_hot(labels, classes).float()
    # --- solution
    mixed = lam * images + (1 - lam) * images[order]
    soft = lam * one_hot + (1 - lam) * one_hot[order]
    # --- stub
    # mixed = ...        # images, shape (N, C, H, W)
    # soft = ...         # soft labels, shape (N, classes)
    # --- end
    return mixed, soft


tl.check("05.3", mixup)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `images[order]` is the batch of partners. What is the same thing for the labels?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both lines have the same form: `lam * x + (1 - lam) * x[order]`, once with the images and once with `one_hot`.
#
# </details>

# %% [markdown]
# ## 4 · CutMix by hand
#
# **CutMix** leaves no ghosts: it pastes a box of the partner over the image. The box is to cover 1 − λ of the area, so
# its sides are √(1 − λ) of the image's. Its centre may lie anywhere. `cut_box` also returns which share is kept.
#
# **Predict:** what happens to the covered area when the centre is near the border?

# %%
def cut_box(lam, y, x, height, width):
    half_height, half_width = int(height * (1 - lam) ** 0.5 / 2), int(width * (1 - lam) ** 0.5 / 2)
    top, bottom = max(y - half_height, 0), min(y + half_height, height)
    left, right = max(x - half_width, 0), min(x + half_width, width)
    return top, bottom, left, right, 1 - (bottom - top) * (right - left) / (height * width)


height, width = images.shape[-2:]
for y, x in ((height // 2, width // 2), (height // 2, 2), (2, 2)):
    *_, kept = cut_box(0.5, y, x, height, width)
    print(f"centre ({y:3}, {x:3}): wanted λ = 0.50, pixels kept of the image: {kept:.2f}")

# %% [markdown]
# The border **clips** the box. At a corner little more than a quarter of it is left. (In the middle there is only
# rounding to whole pixels.) The label has to follow the pixels, so λ is **corrected**: one minus the clipped box's
# share of the area.
#
# How much would the uncorrected λ be off, over many random boxes?

# %%
drawn = torch.distributions.Beta(1.0, 1.0).sample((2000,)).tolist()
centres = torch.stack([torch.randint(height, (2000,)), torch.randint(width, (2000,))], dim=1).tolist()
kept = [cut_box(lam, y, x, height, width)[-1] for lam, (y, x) in zip(drawn, centres)]
errors = [k - lam for k, lam in zip(kept, drawn)]
print(f"mean λ drawn {sum(drawn) / 2000:.2f}, mean share of pixels kept {sum(kept) / 2000:.2f}")
print(f"labels off by {sum(map(abs, errors)) / 2000:.2f} on average, by {max(errors):.2f} at worst")

# %% [markdown]
# Clipping only ever shrinks the box, so uncorrected labels give the partner too much, always in the same direction.
# That is a bias, not noise.
#
# Now cut and paste. The titles give the λ that was drawn and the share of pixels that was counted.

# %%
torch.manual_seed(4)
mixed, titles = images.clone(), []
for i, lam in enumerate((0.9, 0.75, 0.6, 0.45, 0.3)):
    y, x = torch.randint(height, ()).item(), torch.randint(width, ()).item()
    top, bottom, left, right, kept = cut_box(lam, y, x, height, width)
    mixed[i, :, top:bottom, left:right] = images[order[i], :, top:bottom, left:right]
    titles.append(f"λ drawn {lam:.2f}\ncounted {kept:.2f}")

tl.show_images(mixed, titles, ncols=5, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* the five flowers with a box of their partner pasted in, the λ that was drawn and the share of
# pixels that remained.
#
# Each pixel belongs to one flower, but the label is only an estimate: a box full of leaves counts as much as one with
# the blossom.
#
# **Exercise 05.4 (bug hunt): the label that believes the dice.** This CutMix pastes correctly. Its labels are right in
# the middle of the image and wrong near the border. Repair the line that makes λ.

# %% tags=["exercise"]
def cutmix(images, labels, classes, lam, order, y, x):
    height, width = images.shape[-2:]
    top, bottom, left, right, _ = cut_box(lam, y, x, height, width)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[order][:, :, top:bottom, left:right]
    # --- solution
    share = 1 - (bottom - top) * (right - left) / (height * width)
    # --- stub
    # share = lam
    # --- end
    one_hot = F.one_hot(labels, classes).float()
    return mixed, share * one_hot + (1 - share) * one_hot[order]


tl.check("05.4", cutmix)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Which numbers know how large the box is after the border has clipped it?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The box covers `(bottom - top) * (right - left)` of the `height * width` pixels. The image keeps the rest.
#
# </details>

# %% [markdown]
# One image of each class, mixed by hand. Push CutMix's box into a corner and compare the λ asked for with the λ
# counted. Then let Beta(α, α) draw it.

# %%
one_of_each = small_train[::10]  # ten images per class, sorted: images and labels
tl.explore_mixing(*one_of_each, names, mean=mean, std=std, method="CutMix")

# %% [markdown]
# *What the figure shows:* two flowers, their mixture, the soft label as a bar, and how often Beta(α, α) draws each λ.
# The label follows the pixels that were really pasted.

# %% [markdown]
# ## 5 · Mixing in the loader
#
# torchvision has both as `v2.MixUp` and `v2.CutMix`. They take a *batch*, not an image, so they cannot stand in the
# dataset's transform. The place for them is the loader's **collate function**, which makes a batch out of a list of
# samples. PyTorch's own is called `default_collate`.

# %% tags=["type-along"] say="v2.MixUp inside a collate function; mix four images with it"
from torch.utils.data import default_collate


def mixing_collate(samples):
    return v2.MixUp(alpha=0.2, num_classes=classes)(*default_collate(samples))


batch, soft_labels = mixing_collate([small_train[i] for i in range(0, 40, 10)])
print("images", tuple(batch.shape), " soft labels", tuple(soft_labels.shape))
print("classes in each mixture:", [row.nonzero().flatten().tolist() for row in soft_labels])

# %% [markdown]
# The four images are of the classes 0, 1, 2, 3: each is mixed with the one before it in the batch, the first with the
# last, and one λ serves the whole batch. No `randperm`: torchvision relies on the loader to shuffle. **Predict:** what
# would a loader that does not shuffle do, when the files are sorted by class?

# %%
def same_class(loader):
    pairs = [(labels == labels.roll(1)).float().mean().item() for _, labels in loader]
    return sum(pairs) / len(pairs)


for shuffled in (False, True):
    loader = tl.make_loader(small_train, batch_size=16, train=shuffled)
    print(f"shuffled: {shuffled!s:5}  pairs of the same class: {same_class(loader):.0%}")

# %% [markdown]
# Without shuffling most images meet their own class, the labels stay hard, and no error tells you.
#
# `tl.MixingCollate` is our function with checks around it. As a class in a file it can also travel to worker processes,
# which a notebook's function cannot on every system. The same random numbers give the same batch:

# %%
samples = [small_train[i] for i in range(0, 40, 10)]
torch.manual_seed(0)
by_hand = mixing_collate(samples)
torch.manual_seed(0)
ours = tl.MixingCollate(classes, mixup_alpha=0.2)(samples)
print("same images:", torch.equal(by_hand[0], ours[0]), "  same labels:", torch.equal(by_hand[1], ours[1]))

# %% [markdown]
# With `cutmix_alpha` above zero it cuts instead, and with both above zero a coin decides for each batch
# (`v2.RandomChoice`). Look at a batch of what the network will be fed; `tl.show_batch` writes the shares of the soft
# label above each image.

# %% tags=["type-along"] say="a loader that cuts and pastes; show one batch"
torch.manual_seed(1)
cutting = tl.MixingCollate(classes, mixup_alpha=0, cutmix_alpha=1.0)
loader = tl.make_loader(small_train, batch_size=8, train=True, collate_fn=cutting)
tl.show_batch(loader, names, n=8, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* one batch of the CutMix loader; above each image the shares of its two classes.
#
# The box sits at the same place in the whole batch, because it is drawn once for all. Where only one name stands, an
# image met its own class.
#
# **Exercise 05.5 (bug hunt): mixed in the wrong place.** `loaders` should return a loader for training with mixing and
# one for validation. A learner reports that the validation accuracy jumps when the *same* network is measured twice.
# And the training batches are always the same neighbours. Repair both.

# %% tags=["exercise"]
def loaders(train_set, val_set, collate):
    # --- solution
    train_loader = tl.make_loader(train_set, batch_size=16, train=True, collate_fn=collate)
    val_loader = tl.make_loader(val_set, batch_size=16)
    # --- stub
    # train_loader = tl.make_loader(train_set, batch_size=16, collate_fn=collate)
    # val_loader = tl.make_loader(val_set, batch_size=16, collate_fn=collate)
    # --- end
    return train_loader, val_loader


tl.check("05.5", loaders)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Validation asks about real flowers. Which argument turns them into mixtures? And which argument of `make_loader`
# shuffles?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `train=True` belongs to the first line, and `collate_fn=collate` to the first line only.
#
# </details>

# %% [markdown]
# **Exercise 05.6 (bug hunt): smoothed twice.** Smoothing can be done in the labels or in the loss. Here somebody did
# both and wonders about the weak confidence. Change one of the two so that the training smooths by 0.1 in total.

# %% tags=["exercise"]
def targets(labels, classes):
    one_hot = F.one_hot(labels, classes).float()
    return 0.9 * one_hot + 0.1 / classes


# --- solution
loss_fn = nn.CrossEntropyLoss()
# --- stub
# loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
# --- end
tl.check("05.6", targets, loss_fn)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Smoothing by 0.1 and then again by 0.1 leaves 0.9 × 0.9 of the hard label. How much smoothing is that in total?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `targets` already hands out soft labels, so a plain `nn.CrossEntropyLoss()` is enough. (Or return `one_hot` and leave
# the loss alone.)
#
# </details>

# %% [markdown]
# Mistakes with soft labels are quiet. Here both loaders mix, as in exercise 05.5, and the training is not shuffled. The
# doctor of lesson 02 looks at the labels too. **Predict:** which of the two will it put first?

# %% tags=["type-along"] say="two loaders that both mix, neither shuffles; ask the doctor"
patient, _ = tl.pretrained(course, arch, num_classes=classes)
mixed_train = tl.make_loader(small_train, batch_size=16, collate_fn=cutting)
mixed_val = tl.make_loader(small_val, batch_size=16, collate_fn=cutting)
tl.doctor(patient, mixed_train, mixed_val)

# %% [markdown]
# ## 6 · Why the training accuracy looks broken
#
# Now train the whole network, once on plain images and once with CutMix at full strength: AdamW and OneCycle as in
# lesson 03, and everything else equal.
#
# **Predict:** for each run, which will be higher in the last epoch, training or validation accuracy?

# %%
epochs, batch_size = course.pick(mini=4, full=8), course.pick(mini=16, full=32)
rate = course.pick(mini=1e-3, full=3e-4)
val_loader = tl.make_loader(small_val, batch_size=128)


def fine_tune(collate=None, seed=0):
    tl.seed_everything(seed)
    model, _ = tl.pretrained(course, arch, num_classes=classes)
    loader = tl.make_loader(small_train, batch_size, train=True, seed=seed, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * len(loader), pct_start=0.1)
    history = tl.fit(
        model, loader, val_loader, epochs=epochs, optimizer=optimizer,
        scheduler=schedule, step_scheduler_every="batch", verbose=False,
    )
    return model, history


runs = {"plain": fine_tune(), "CutMix 1.0": fine_tune(cutting)}
tl.plot_history({name: history for name, (_, history) in runs.items()})
plt.show()

# %% [markdown]
# *What the figure shows:* loss and accuracy by epoch of both runs, training dashed and validation solid.
#
# Look at the dashed lines. With CutMix the training accuracy lags behind the plain one, perhaps even behind its own
# validation accuracy, and the training loss falls much less. Usually that means that something is broken. Here it is
# the measure that changed, in two ways.
#
# The **accuracy** counts the class with the larger share as the right one: where the shares are near one half, a matter
# of a few pixels. And the **loss** has a floor, as with smoothing: the mean entropy of the soft labels. **Predict:** is
# it nearer to 0 or to 1?

# %%
loader = tl.make_loader(small_train, batch_size, train=True, collate_fn=cutting)
soft_labels = torch.cat([labels for _ in range(10) for _, labels in loader])
larger = soft_labels.amax(dim=1)
floor = -(soft_labels * soft_labels.clamp(min=1e-9).log()).sum(dim=1).mean().item()
print(f"mixtures whose larger share is below 75 %: {(larger < 0.75).float().mean().item():.0%}")
print(f"floor by hand {floor:.3f}, tl.loss_floor {tl.loss_floor(soft_labels):.3f}")
print("larger shares as tl.mix_shares:", torch.equal(larger, tl.mix_shares(soft_labels)))

# %% [markdown]
# Not even a network that knew every share exactly could train below this. So what should you watch instead? Two
# measurements that are the same ruler for every recipe: **plain cross-entropy on validation images**, which `tl.fit`
# always reports, and, if you want to know about learning by heart, the accuracy on **clean** training images, measured
# after training with `tl.evaluate`.

# %%
print(f"{'training':13} reported    clean     loss   floor   validation: loss  accuracy")
for name, (model, history) in runs.items():
    best, clean = history.best(), tl.evaluate(model, tl.make_loader(small_train, batch_size=128))
    low = floor if name != "plain" else 0.0
    print(f"{name:12} {best['train_accuracy']:9.1%} {clean.accuracy:8.1%} {best['train_loss']:8.2f} "
          f"{low:7.2f} {best['val_loss']:18.2f} {best['val_accuracy']:9.1%}")

# %% [markdown]
# The columns *reported* and *clean* are about the same network and the same flowers, at the end of the same epoch. What
# lies between them is mostly the mixing, not a lack of learning. Compare recipes by the two columns on the right.

# %% [markdown]
# ## 7 · How large is the effect?
#
# A script in the course, `scripts/measure_regularisation.py`, fine-tuned all layers on all 102 classes, with several
# recipes and seeds and the same budget for each; the bundled network, drawn flowers, validation part only. Every run
# is kept in a file. We read it.

# %%
import json

import numpy as np

file = Path(tl.__file__).parent.parent / "docs" / "measured" / "regularisation.json"
measured = {}  # (epochs, recipe) -> one dictionary of results for each seed
for key, result in json.loads(file.read_text(encoding="utf-8"))["runs"].items():
    recipe, length, seed = key.split(", ")
    measured.setdefault((int(length.split()[0]), recipe), {})[seed] = result
measured = dict(sorted(measured.items(), key=lambda item: (item[0][0], item[0][1] != "plain")))


def mean_and_spread(seeds, what, scale=1, digits=3):
    values = scale * np.array([run[f"val_{what}"] for run in seeds.values()])
    return f"{values.mean():.{digits}f}" + (f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else "")


print(f"{'epochs, recipe':30} {'seeds':>5} {'accuracy in %':>13} {'cross-entropy':>15} {'ECE in %':>12} {'gap':>6}")
for (length, recipe), seeds in measured.items():
    accuracy, error = (mean_and_spread(seeds, what, 100, 1) for what in ("accuracy", "ece"))
    gap = 100 * np.mean([run["val_confidence"] - run["val_accuracy"] for run in seeds.values()])
    loss = mean_and_spread(seeds, "loss")
    print(f"{length:2}  {recipe:26} {len(seeds):5} {accuracy:>12} {loss:>15} {error:>12} {gap:+6.1f}")

# %% [markdown]
# Behind each ± stands the standard deviation over the seeds. *gap* is mean confidence minus accuracy: where it is
# negative, the network is underconfident, and whatever lowers confidence makes its ECE worse. A short training on few
# images can leave a network in that state, quite unlike the head of section 2. Where all lines are negative, all
# methods push in the wrong direction for ECE.
#
# A lucky seed helps *all* recipes, which share its head and its order of images. So compare **seed by seed**, recipe
# minus plain, and ask whether the mean of these differences is far from zero. As in lesson 04, its 95 %
# interval is a few **standard errors** wide to either side, and Student's t says how many. If it reaches zero: within
# noise.

# %%
from scipy.stats import t as student


def against(differences):
    """Mean difference, the half-width of its 95 % interval, and a verdict."""
    n = len(differences)
    middle, error = np.mean(differences), np.std(differences, ddof=1) / np.sqrt(n)
    margin = student.ppf(0.975, n - 1) * error
    return middle, margin, "within noise" if abs(middle) <= margin else ("higher" if middle > 0 else "lower")


for what, scale, unit in (("accuracy", 100, "points"), ("loss", 1, ""), ("ece", 100, "points")):
    print(f"validation {what}, recipe minus plain:")
    for (length, recipe), seeds in measured.items():
        plain = measured.get((length, "plain"), {})
        pairs = [scale * (seeds[s][f"val_{what}"] - plain[s][f"val_{what}"]) for s in seeds if s in plain]
        if recipe != "plain" and len(pairs) > 2:
            middle, margin, verdict = against(pairs)
            print(f"  {length:2} epochs  {recipe:26} {middle:+7.2f} ± {margin:5.2f} {unit:7} {verdict}")

# %% [markdown]
# *Within noise* does not say "no effect"; it says that these seeds cannot tell. For loss and ECE, *lower* is good.
#
# Few images, a pretrained network and a short training are the home ground of plain fine-tuning. These methods were
# made for the opposite: long training, in which a large network learns its images by heart.

# %% [markdown]
# What others found, on real photographs:
#
# - The authors of Big Transfer, after many fine-tunings: **no mixup below 20,000 images**
#   ([arXiv:1912.11370](https://arxiv.org/abs/1912.11370)).
# - An author of mixup: use it where a network learns its images by heart (*overfits*); otherwise a **small α, 0.2 or
#   0.4** ([his tips](https://github.com/moskomule/mixup.pytorch/issues/1)). An author of CutMix says the same about
#   [small sets](https://github.com/clovaai/CutMix-PyTorch/issues/20).
# - A user's pair of runs, a ResNet-50 on ImageNet at 160 pixels: mixup's α = 0.2 gave 78.58 %, α = 1.0 gave 77.55 %
#   ([report](https://github.com/clovaai/CutMix-PyTorch/issues/38)).
# - Label smoothing entered with Inception ([arXiv:1512.00567](https://arxiv.org/abs/1512.00567)), as a gain of about
#   0.2 points on ImageNet.

# %% [markdown]
# ## Compare
#
# Now live, on our small set: plain, mild mixup and CutMix, three seeds each. Seed 0 of two recipes is already there.
#
# **Predict:** will the order of the recipes be the same for every seed?

# %%
recipes = {
    "plain": None,
    "mixup 0.2": tl.MixingCollate(classes, mixup_alpha=0.2),
    "CutMix 1.0": cutting,
}
results = {name: [] for name in recipes}
for name, collate in recipes.items():
    for seed in range(3):
        model, history = runs[name] if seed == 0 and name in runs else fine_tune(collate, seed)
        found = tl.calibration_of(tl.predict(model, val_loader))
        results[name].append((history.best()["val_loss"], found))

# %%
print(f"one validation image is worth {1 / len(small_val):.1%}")
print(f"{'validation':12} {'accuracy of each seed':>24} {'cross-entropy':>14} {'confidence':>11} {'ECE':>7}")
for name, seeds in results.items():
    accuracies = "  ".join(f"{found.accuracy:.1%}" for _, found in seeds)
    loss, sure, error = np.mean([(loss, found.mean_confidence, found.ece) for loss, found in seeds], axis=0)
    print(f"{name:12} {accuracies:>24} {loss:14.3f} {sure:11.1%} {error:7.1%}")

plain = [found.accuracy for _, found in results["plain"]]
for name in ("mixup 0.2", "CutMix 1.0"):
    middle, margin, verdict = against([100 * (f.accuracy - p) for (_, f), p in zip(results[name], plain)])
    print(f"{name:12} minus plain: {middle:+.1f} ± {margin:.1f} points: {verdict}")

tl.compare_bars({name: [found.accuracy for _, found in seeds] for name, seeds in results.items()}, chance=1 / classes)
plt.show()

# %% [markdown]
# *What the figure shows:* mean validation accuracy of the three recipes on some of the flowers, one dot per seed.
#
# With three seeds the 95 % margin is wide, more than four standard errors, so only a large effect can pass. If the dots
# of two rows overlap, do not rank them. Confidence is another matter: compare its column. Where it lies below the
# accuracy already, as after a short training, less of it means a larger ECE, unless accuracy falls with it.

# %% [markdown]
# ## Common mistakes
#
# - **Smoothing in the validation loss:** another floor, no comparison, wrong best epoch.
# - **λ not corrected** where the border clips the box: labels with a bias.
# - **A mixed validation loader:** you measure ghosts, and other ones each time.
# - **No shuffling:** torchvision mixes neighbours, which are of one class.
# - **Mixing before augmentation,** or on `uint8` pixels.
# - **Smoothing in the loss and in the labels:** twice the dose.
# - **Stopping because training accuracy is low:** it is counted on mixtures.
# - **Believing one seed:** most of these effects are smaller than its luck.

# %% [markdown]
# ## Take-aways
#
# - Smoothing, mixup and CutMix all hand the loss soft labels; `cross_entropy` takes them as they are.
# - Soft labels put a floor under the training loss: their mean entropy. Subtract it in your head.
# - Watch plain cross-entropy on clean validation images, and clean training accuracy if you need it.
# - Confidence and accuracy are two things. A reliability diagram shows both, ECE sums the gap up, and smoothing is a
#   knob that may be turned too far.
# - On a thousand images, start plain. Add one method, pair by seed, and keep it only if the gain is outside the noise.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("05")

# %% [markdown] tags=["quiz"]
# **1. Ten classes, label smoothing of 0.1. Your training loss stops at 0.5 and will not go lower, while the accuracy on
# training images is 100 %. What is wrong?**
#
# <details><summary>The learning rate is too low</summary>
#
# No. Nothing is left to learn, all training images are right.
#
# </details>
#
# <details><summary>Probably nothing: the soft labels put a floor under the loss</summary>
#
# Right. The floor is the entropy of the smoothed label, and it grows with ε and with the number of classes.
#
# </details>
#
# <details><summary>The labels are shifted by one</summary>
#
# No. Then the accuracy could not be right.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. A network is right in 60 % of all cases, and its mean confidence is 45 %. What will more label smoothing do?**
#
# <details><summary>Probably widen the gap</summary>
#
# Right. It is underconfident. Longer training, less smoothing or a temperature below 1 would narrow the gap.
#
# </details>
#
# <details><summary>Improve its calibration, that is what smoothing is for</summary>
#
# No. Smoothing lowers confidence, and this network has too little of it already.
#
# </details>
#
# <details><summary>Nothing, accuracy is what counts</summary>
#
# No. Accuracy may stay, but whoever acts on the confidence acts on a wrong number.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. Where does `v2.MixUp` belong?**
#
# <details><summary>At the end of the dataset's transform</summary>
#
# No. There it would see one image at a time, and it needs a batch to find partners.
#
# </details>
#
# <details><summary>In the collate function of the shuffled training loader</summary>
#
# Right. After augmentation and normalisation, on a float batch, in training only.
#
# </details>
#
# <details><summary>In the collate function of all loaders, to treat them alike</summary>
#
# No. Validation has to be the task you care about, and nobody will ask about mixtures.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. CutMix draws λ = 0.5, and the box is clipped to half its size at the border. What is the label?**
#
# <details><summary>Half and half, as drawn</summary>
#
# No. The partner fills a quarter of the pixels, not half.
#
# </details>
#
# <details><summary>100 % the image, a clipped box is thrown away</summary>
#
# No. What is pasted stays in the picture, and the label has to say so.
#
# </details>
#
# <details><summary>75 % the image, 25 % the partner</summary>
#
# Right. λ is counted again after clipping: one minus the share of the area that was really pasted.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. Over three seeds mixup is better than plain by 0.8, 1.9 and −0.6 points. What do you write in your report?**
#
# <details><summary>Mixup improves accuracy by 0.7 points</summary>
#
# No. That is the mean, but one of three seeds says the opposite, and the 95 % margin of such a mean is about three
# points.
#
# </details>
#
# <details><summary>Mixup has no effect</summary>
#
# No. Three seeds cannot show that either. A small effect may well be there.
#
# </details>
#
# <details><summary>A mean difference of 0.7 points, within noise, over three seeds</summary>
#
# Right. The number, its uncertainty and how it came about. More seeds would tell.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - Szegedy and others (2015), [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567): where label
#   smoothing comes from.
# - Müller, Kornblith and Hinton (2019), [When Does Label Smoothing Help?](https://arxiv.org/abs/1906.02629): what it
#   does to confidence and to features.
# - Zhang and others (2017), [mixup: Beyond Empirical Risk Minimization](https://arxiv.org/abs/1710.09412).
# - Yun and others (2019), [CutMix](https://arxiv.org/abs/1905.04899).
# - Guo and others (2017), [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599): ECE and
#   temperature scaling.
# - Kolesnikov and others (2019), [Big Transfer](https://arxiv.org/abs/1912.11370): a recipe for fine-tuning, mixup
#   included.
#
# *Next: lesson 06 puts everything into one project.*
#
# Text: CC BY 4.0. Code: MIT.
