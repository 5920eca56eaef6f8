"""Checks of lesson 00: how checks work, accuracy in percentage points, the three parts of the data."""

from __future__ import annotations

from . import attempted, exercise, require

_JOBS = {
    "the network learns from these images": "training",
    "you compare two methods on these images": "validation",
    "you decide when to stop training with these images": "validation",
    "you touch these images once, to report the final figure": "test",
}


@exercise("00.1", expects="a whole number, for example 3")
def check_number_of_classes(answer):
    attempted(answer)
    require(not isinstance(answer, str), f"{answer!r} is text: write the number without quotation marks")
    require(answer != 120, "that is the number of images per class: count the kinds of flowers instead")
    require(answer != 600, "that is the number of images: count the kinds of flowers instead")
    require(answer == 5, f"{answer} is not it: count the names in flowers.classes")
    return "daisy, dandelion, rose, sunflower, tulip: the head needs one score for each"


@exercise("00.2", expects="a number of percentage points")
def check_gain(gain, scratch_accuracy, transfer_accuracy):
    attempted(gain)
    gain, right = float(gain), 100 * (transfer_accuracy - scratch_accuracy)
    if abs(gain - right) < 0.06:
        return f"transfer minus scratch is {right:+.1f} points at the same budget"
    relative = right / max(scratch_accuracy, 1e-9)
    require(abs(gain + right) >= 0.06, "the sign is turned round: subtract scratch from transfer")
    require(abs(gain - right / 100) >= 0.006, "that is a difference of shares: multiply by 100 for percentage points")
    require(
        min(abs(gain - relative), abs(gain - relative / 100)) >= 0.06,
        "that is relative to the scratch accuracy: percentage points are a plain difference, nothing is divided",
    )
    require(False, f"{gain:.1f} is not it: take the two best validation accuracies, subtract, times 100")


@exercise("00.3", expects="a dictionary from each sentence to 'training', 'validation' or 'test'")
def check_jobs(jobs):
    attempted(jobs)
    missing = [sentence for sentence in _JOBS if sentence not in jobs]
    require(not missing, f"keep the sentences as they are, this one is gone: {missing[:1]}")
    for sentence, right in _JOBS.items():
        answer = str(jobs[sentence]).strip().lower().removesuffix(" part")
        answer = {"train": "training", "val": "validation", "valid": "validation"}.get(answer, answer)
        require(answer in set(_JOBS.values()), f"{answer!r} is none of 'training', 'validation', 'test'")
        if answer == "test" and right == "validation":
            require(False, f"'{sentence}': a choice made on test images makes the test figure too rosy; use validation")
        require(answer == right, f"'{sentence}' is not the {answer} part: read the table of the three parts again")
    return "learn on one part, choose on the second, report on the third, and never mix them up"
