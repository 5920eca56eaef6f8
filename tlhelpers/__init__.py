"""tlhelpers: the small helper package of the course. Lessons write `import tlhelpers as tl`.

Read the files in this order: session, transforms, datasets, backbones, models, freezing, features, checkpoints,
training, plots, checks. Nothing here is used in a lesson before the lesson has built it by hand once.
"""

import importlib

from .environment import environment_check
from .session import Course, CourseError, data_dir, seed_everything, start

# name of the file -> what `tl.` offers from it
_EAGER = {
    "transforms": "IMAGENET_MEAN IMAGENET_STD dataset_statistics denormalize eval_transform from_weights "
    "has_normalize normalization_of train_transform train_transform_for",
    "images": "image_folder load_image",
    "datasets": "FLOWERS102_CLASSES MiniFlowers102 five_flowers flowers102 make_loader microscopy stratified_split",
    "backbones": "EfficientNet_Mini_Weights ResNet10_Weights efficientnet_mini resnet10",
    "models": "Stage check_head head_in_features replace_head stages",
    "loading": "pretrained",
    "freezing": "count_parameters freeze train_mode trainable_parameters trainable_table unfreeze",
    "features": "FeatureSet Probe cache_features linear_probe split_model",
    "checkpoints": "load_checkpoint save_checkpoint",
    "training": "History Metrics Predictions evaluate fit predict",
}
for _file, _names in _EAGER.items():
    try:
        _module = importlib.import_module(f"{__name__}.{_file}")
    except ModuleNotFoundError as _error:
        if _error.name != f"{__name__}.{_file}":
            raise
        continue
    for _name in _names.split():
        if hasattr(_module, _name):
            globals()[_name] = getattr(_module, _name)

# matplotlib is slow to import, so these files wait until a lesson asks for one of their names
_LAZY = {
    "plots": "compare_bars plot_history show_batch show_images",
    "mistakes": "most_confused plot_confused show_predictions",
    "checks": "CheckResult check",
}
_LAZY_FILE = {name: file for file, names in _LAZY.items() for name in (file, *names.split())}


def __getattr__(name: str):
    if name not in _LAZY_FILE:
        raise AttributeError(f"module 'tlhelpers' has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY_FILE[name]}")
    return module if name in _LAZY else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY_FILE))
