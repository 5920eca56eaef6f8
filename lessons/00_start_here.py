# %% [markdown]
# # 00 · Start here
#
# {{badge}}
#
# {{time}}
#
# Nobody learns to recognise a tulip from nothing. You already knew edges, colours and shapes when someone showed you
# your first one. Transfer learning gives a network the same head start: it begins with what it learned from *other*
# pictures, and only the last step is new.

# %% [markdown]
# ## What you will be able to do
#
# - Say in one sentence what transfer learning is, and name its parts.
# - Compare a network trained from scratch with one that got a head start, at the same budget.
# - Tell when a head start helps and when it does not.
# - Work through these notebooks: predict, run, read, solve, check.
#
# You need some Python, and you should have seen a neural network before. No GPU, no downloads.

# %% [markdown]
# ## Set up
#
# Every lesson starts with the cell below. It finds the course, picks the fastest device of your computer, fixes the
# random seed and decides on a *profile*. Click into it and press **Shift + Enter**.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# Two profiles exist, and the printed lines name yours. `mini` uses small images and small networks that came with the
# course: made for a laptop. `full` uses real photographs and weights learned on ImageNet, a collection of more than a
# million photographs: made for a GPU. The notebooks are the same for both. Where a value must differ, you see it, as
# here:

# %% tags=["type-along"] say="let the course pick epochs (mini 5, full 8) and arch (mini resnet10, full resnet18)"
epochs = course.pick(mini=5, full=8)
arch = course.pick(mini="resnet10", full="resnet18")
print(f"This session trains {arch} for {epochs} epochs.")

# %% [markdown]
# ## The idea in one minute
#
# A classification network has two parts. The **backbone** turns an image into a list of numbers, its *features*. The
# **head** turns those features into one score per class.
#
# ```
# image  ->  [ backbone: many layers ]  ->  features  ->  [ head: one layer ]  ->  scores
#              learned from other images                    learned from yours
# ```
#
# The backbone holds nearly all the parameters and needs a lot of data. The head is small. So: borrow the backbone,
# train the head.

# %% [markdown]
# ## Words used in every lesson
#
# | word | meaning here |
# |---|---|
# | **pretrained** | trained earlier, on another task; the result is stored in a file of *weights* |
# | **source, target** | the task it was pretrained on; the task you care about |
# | **feature extraction** | keep the backbone as it is (*frozen*), train only a new head |
# | **fine-tuning** | train the backbone too, gently, from its pretrained weights |
# | **from scratch** | no pretrained weights: everything starts random |
# | **epoch** | one pass through all training images |
# | **batch** | the few images that are processed together in one step |

# %% [markdown]
# Other texts mix these words: some call "train a new head" fine-tuning. Here the two stay apart.
#
# Your images are split into three parts, and each has one job:
#
# | part | its job |
# |---|---|
# | **training** | the network learns from these |
# | **validation** | you compare choices on these: how many epochs, which method |
# | **test** | touched once, at the very end, to report a figure you can believe |
#
# Why a third part? Whoever picks the best of many results on the validation images picks some luck along with it.

# %% [markdown]
# ## See it work
#
# Now a teaser: the same small network, once from scratch and once with a pretrained backbone.
#
# One warning. The rule of this course is that you build everything by hand before you use a helper for it. This lesson
# is the one exception: names that start with `tl.` come from the course's own package. Lessons 01 and 02 build the
# important ones by hand. For now, read the code like a recipe.

# %%
# NBVAL_CHECK_OUTPUT
from torchvision import models

weights = models.get_model_weights(arch).DEFAULT
flowers = tl.five_flowers(course, transform=weights.transforms())
print(len(flowers), "images of", ", ".join(flowers.classes))

# %% [markdown]
# Before any training, look at the data. `weights.transforms()` prepared the images the way this backbone wants them
# (lesson 01). The plot has to undo that, with the same mean and standard deviation; `tl.from_weights` reads them, and
# the image size, from the weights.

# %%
import matplotlib.pyplot as plt

size, mean, std = tl.from_weights(weights)
shown = [120 * label + number for number in [3, 40] for label in range(5)]  # two per class
titles = [flowers.classes[i // 120] for i in shown]
tl.show_images([flowers[i][0] for i in shown], titles, ncols=5, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* two images of each of the five flowers; pose, light and background differ within a class.
#
# These images are **drawn by a program** that ships with the course: nothing to download, and everybody may share them.
# What you measure on them is really measured, yet on drawings. Real photographs come in later lessons with the `full`
# profile, and with your own files.

# %% [markdown]
# Now the hard part: we pretend to own only **ten training images of each flower**. The validation images are other
# ones, never trained on. The test part stays closed.

# %%
# NBVAL_CHECK_OUTPUT
def few_images(dataset, per_class=10):
    """Split a dataset; return its training indices (a few per class) and its validation indices."""
    train, val, test = tl.stratified_split(dataset.targets, fractions=(0.6, 0.2, 0.2), seed=0)
    few = []
    for label in range(len(dataset.classes)):
        few += [i for i in train if dataset.targets[i] == label][:per_class]
    print(len(few), "training images and", len(val), "validation images")
    return few, val


train_index, val_index = few_images(flowers)

# %% [markdown]
# The network gets its images in batches. They are small, so we read them once and keep them in memory. Do not worry
# about the details: lesson 02 goes through loaders slowly.

# %%
import torch
from torch.utils.data import TensorDataset


def make_loaders(dataset, train_index, val_index):
    """Return two loaders that hand out the training and the validation images in batches."""
    parts = []
    for indices in (train_index, val_index):
        images, labels = zip(*[dataset[i] for i in indices])
        parts.append(TensorDataset(torch.stack(images), torch.tensor(labels)))
    train_part, val_part = parts
    return tl.make_loader(train_part, batch_size=10, train=True), tl.make_loader(val_part, batch_size=60)


flower_loaders = make_loaders(flowers, train_index, val_index)

# %% [markdown]
# The recipe itself: make the network, give it a head with one output per class, train. The training loop hides in
# `tl.fit` for now. If there are pretrained weights, the backbone is frozen first. It then gives the same features in
# every epoch, so `tl.fit_gradually` computes them once. **Lesson 02 builds both by hand.**

# %%
def train(loaders, classes, weights, seed=0, verbose=False):
    """Train a network: from scratch if weights is None, otherwise by feature extraction."""
    tl.seed_everything(seed)
    model = models.get_model(arch, weights=weights)
    if weights is not None:
        tl.freeze(model)
    tl.replace_head(model, num_classes=classes)
    model.to(course.device)
    if weights is None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        return tl.fit(model, *loaders, epochs=epochs, optimizer=optimizer, verbose=verbose)
    head_only = tl.Phase("head", epochs=epochs, lr=1e-2)  # one layer may take larger steps than a whole network
    return tl.fit_gradually(model, *loaders, [head_only], verbose=verbose)[0]

# %% [markdown]
# **Predict.** There are five classes, so blind guessing is right once in five. After a few passes over these few
# training images, how often will the network **from scratch** name a validation image correctly? Write a number down.
# Then run.

# %% tags=["type-along"] say="train from scratch, weights=None, and print every epoch"
scratch = train(flower_loaders, 5, weights=None, verbose=True)

# %% [markdown]
# One line per epoch: loss (how wrong, lower is better) and accuracy (share of images named correctly), on the training
# part and on the validation part.
#
# **Predict again.** Now the head start: same images, same number of epochs, and again a step size that suits the
# method. Only the head is trained, a tiny part of the network. Better or worse? By how much?

# %% tags=["type-along"] say="the same call with the pretrained weights"
transfer = train(flower_loaders, 5, weights=weights, verbose=True)

# %% tags=["type-along"] say="plot both histories in one figure"
tl.plot_history({"from scratch": scratch, "transfer": transfer})
plt.show()

# %% [markdown]
# *What the figure shows:* loss above, accuracy below, epoch by epoch, for both runs; a star marks each run's best
# epoch.
#
# Is the gap luck? Another seed means other random starting weights and another order of the images. So repeat both runs
# with two more seeds, and look at all of them.

# %%
def best_accuracies(loaders, classes, weights, seeds):
    """Best validation accuracy of runs that differ in their seed only."""
    return [max(train(loaders, classes, weights, seed).val_accuracy) for seed in seeds]


more_scratch = best_accuracies(flower_loaders, 5, None, seeds=[1, 2])
more_transfer = best_accuracies(flower_loaders, 5, weights, seeds=[1, 2])
results = {
    "flowers, scratch": [max(scratch.val_accuracy), *more_scratch],
    "flowers, transfer": [max(transfer.val_accuracy), *more_transfer],
}
tl.compare_bars(results, title="best validation accuracy, three seeds", chance=1 / 5)
plt.show()

# %% [markdown]
# *What the figure shows:* one bar per method, the mean of three seeds; the black dots are the single seeds, the dotted
# line is blind guessing.
#
# Read the dots, not only the bars. If even the worst transfer run beats the best run from scratch, then luck does not
# explain the gap. If the dots mix, be careful with any claim. And mind the digits: with this few validation images, a
# single one moves the accuracy by nearly a percentage point.

# %% [markdown]
# ## When it helps, and when it fails
#
# A head start helps most when you have **few images**, and when they are made of the **same stuff** as the source:
# edges, textures, objects in daylight.
#
# It helps less when you own very many images, since a network from scratch catches up. And it can fail when your images
# are far from the source: microscopy, radar, sound turned into pictures. Then the borrowed features may be the wrong
# ones.

# %% [markdown]
# Do not take that on trust. The course ships another set, drawn to look like microscopy, with six classes. Same recipe,
# same budget, other images.

# %%
cells = tl.microscopy(course, transform=weights.transforms())
shown = [cells.targets.index(label) for label in range(6)]
titles = [name.replace("_", " ") for name in cells.classes]
tl.show_images([cells[i][0] for i in shown], titles, ncols=6, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* one image of each of the six microscope classes.
#
# **Predict:** will the gap between the two methods be wider or narrower than for the flowers?

# %% tags=["type-along"] say="the same two methods on the microscope images, three seeds each"
cell_loaders = make_loaders(cells, *few_images(cells))
results["microscope, scratch"] = best_accuracies(cell_loaders, 6, None, [0, 1, 2])
results["microscope, transfer"] = best_accuracies(cell_loaders, 6, weights, [0, 1, 2])

# %% [markdown]
# ## Compare

# %%
for name, accuracies in results.items():
    seeds = " ".join(f"{value:.0%}" for value in accuracies)
    print(f"{name:21} mean {sum(accuracies) / 3:.0%}   single seeds {seeds}")
for images in ["flowers", "microscope"]:
    gap = sum(results[f"{images}, transfer"]) / 3 - sum(results[f"{images}, scratch"]) / 3
    print(f"head start on {images}: {100 * gap:+.0f} points")

# %% [markdown]
# In `mini`, ten images per class and a borrowed backbone make a usable flower network. For the microscope images the
# same recipe stays poor. It is ahead of scratch, but scratch had hardly anything to learn from. A head can only use
# what the features contain, and these features were made for other things. More images help; a backbone that may change
# sounds right too. Lesson 04 measures both.
#
# All of this belongs to *this* backbone, *these* images and *this* budget. Distance from the source and number of
# images decide the method; lesson 04 draws the map.

# %% [markdown]
# ## How to work with these notebooks
#
# - **Predict, run, read.** Guess before you run a cell. A wrong guess is what you remember.
# - **Run cells from top to bottom** with Shift + Enter. Any cell may be run twice.
# - **Lost?** Menu *Kernel*, then *Restart Kernel and Run All Cells* (on Colab: *Runtime*, *Restart session and run
#   all*). Your answers stay, variables start afresh.
# - **Nothing can break.** `notebooks/solutions/` holds a solved copy of every lesson, and git can bring back any
#   file.
#
# Some cells are exercises. Replace the `...` with your answer and run the cell; its last line checks it.

# %% [markdown]
# A check says one of three things, always with a reason:
#
# | mark | meaning |
# |---|---|
# | `[ ]` | not attempted yet: the `...` is still there |
# | `[x]` | not yet: the mistake is named |
# | `[OK]` | right, and why |
#
# **Exercise 00.1** Meet all three. Run the next cell as it is. Then write a wrong number in place of `...` and run it
# again. Then the right one: how many kinds of flowers does `flowers` hold?

# %% tags=["exercise"]
# --- solution
number_of_classes = 5
# --- stub
# number_of_classes = ...
# --- end
tl.check("00.1", number_of_classes)

# %% [markdown] tags=["hints"]
# Every exercise has hints like these, from gentle to nearly everything, and the solution at the end. Open them one at a
# time.
#
# <details><summary>Hint 1</summary>
#
# The class names were printed under "See it work".
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Count them, or let Python count: `len(flowers.classes)`.
#
# </details>

# %% [markdown]
# **Exercise 00.2** Differences between accuracies are given in *percentage points*: from 40 % to 65 % are 25 points.
# How many points did transfer gain over scratch, taking the best validation accuracy of each run?

# %% tags=["exercise"]
scratch_best, transfer_best = max(scratch.val_accuracy), max(transfer.val_accuracy)  # 0 to 1
# --- solution
gain = 100 * (transfer_best - scratch_best)
# --- stub
# gain = ...  # in percentage points
# --- end
tl.check("00.2", gain, scratch_best, transfer_best)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# A plain difference: transfer minus scratch. Nothing is divided.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both numbers lie between 0 and 1. Multiply the difference by 100.
#
# </details>

# %% [markdown]
# **Exercise 00.3** Which part of the data does each job: `"training"`, `"validation"` or `"test"`? Replace each `...`.

# %% tags=["exercise"]
# --- solution
jobs = {
    "the network learns from these images": "training",
    "you compare two methods on these images": "validation",
    "you decide when to stop training with these images": "validation",
    "you touch these images once, to report the final figure": "test",
}
# --- stub
# jobs = {
#     "the network learns from these images": ...,
#     "you compare two methods on these images": ...,
#     "you decide when to stop training with these images": ...,
#     "you touch these images once, to report the final figure": ...,
# }
# --- end
tl.check("00.3", jobs)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The table of the three parts stands under "Words used in every lesson".
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Everything you *choose* by looking at a score is chosen on the same part. Two of the four sentences are such choices.
#
# </details>

# %% [markdown]
# ### Where files go, and where to get help
#
# The lessons read from `data/` and write nothing into it. Real photographs and ImageNet weights, if you use the `full`
# profile, are kept in torch's download folder and fetched once. To choose a profile yourself, set the environment
# variable `TLHELPERS_PROFILE` to `mini` or `full` before you start Jupyter.
#
# When something does not run, type `python -m tlhelpers` in a terminal. It checks your installation and says what to
# do. The README answers the usual questions.

# %% [markdown]
# ## Common mistakes
#
# - Judging by training accuracy. A network can know its few training images by heart; only unseen images count.
# - Trusting one run. Repeat with other seeds before you believe a small gap.
# - Choosing on the test part. It is for the last figure, once.
# - Expecting a head start to help always. Compare with scratch at the same budget, as you did here.
# - Cells run in a wild order. Restart and run all.

# %% [markdown]
# ## Take-aways
#
# - Transfer learning: borrow a pretrained backbone, put on a new head, train little.
# - Feature extraction trains the head only. Fine-tuning trains the backbone too, gently.
# - It pays most with few images that resemble the source. Far from the source, measure before you trust it.
# - Learn on training, choose on validation, report on test.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("00")

# %% [markdown] tags=["quiz"]
# **1. You freeze the backbone and train a new head. What is that called here?**
#
# <details><summary>Fine-tuning</summary>
# Not here: fine-tuning changes the backbone too.
# </details>
# <details><summary>Feature extraction</summary>
# Right: the backbone only delivers features, the head learns.
# </details>
# <details><summary>Training from scratch</summary>
# No: from scratch starts without pretrained weights.
# </details>

# %% [markdown] tags=["quiz"]
# **2. Who profits most from transfer learning?**
#
# <details><summary>Someone with a million labelled photographs</summary>
# Less: with so many, a network from scratch catches up, though a head start still saves time.
# </details>
# <details><summary>Someone with fifty labelled photographs</summary>
# Right: too few to learn edges and textures from, enough to train a head.
# </details>
# <details><summary>Someone with no labels at all</summary>
# Not yet: the new head needs labelled examples.
# </details>

# %% [markdown] tags=["quiz"]
# **3. Validation accuracy rises by one point in a single run. What do you do?**
#
# <details><summary>Report the improvement</summary>
# Too early: with few validation images one point may be a single image.
# </details>
# <details><summary>Repeat both runs with other seeds</summary>
# Right: compare the gap with the spread between seeds.
# </details>
# <details><summary>Look at the test part to decide</summary>
# No: then the test part has been used for a choice, and its figure is too rosy.
# </details>

# %% [markdown] tags=["quiz"]
# **4. Where do most of a network's parameters sit?**
#
# <details><summary>In the backbone</summary>
# Right: that is why borrowing it saves so much.
# </details>
# <details><summary>In the head</summary>
# Usually not: here it is a single layer. (Some old networks, such as VGG, do have a heavy head.)
# </details>
# <details><summary>In the training images</summary>
# No: parameters are the numbers inside the network.
# </details>

# %% [markdown] tags=["quiz"]
# **5. A check prints `[x]`. What now?**
#
# <details><summary>Read the sentence behind it, change the answer, run the cell again</summary>
# Right: it names the mistake.
# </details>
# <details><summary>Start the notebook again</summary>
# No need: any cell may be run as often as you like.
# </details>
# <details><summary>Go on, it stops you otherwise</summary>
# Nothing stops you: no later cell depends on your answer. But the sentence is worth reading.
# </details>

# %% [markdown]
# ## Further reading
#
# - Yosinski and others, [How transferable are features in deep neural networks?](https://arxiv.org/abs/1411.1792),
#   2014: which layers transfer, measured.
# - Kornblith and others, [Do better ImageNet models transfer better?](https://arxiv.org/abs/1805.08974), 2019: twelve
#   data sets compared, and two where pretraining hardly helps.
# - Next: **lesson 01**, where pictures become numbers.

# %% [markdown]
# *Text: CC BY 4.0. Code: MIT. Images drawn for this course.*
