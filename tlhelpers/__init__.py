"""tlhelpers: the small helper package of the course. Lessons write `import tlhelpers as tl`.

Read the files in the order of the table below. Nothing here is used in a lesson before the lesson has built it by hand.
"""

import importlib

# what `tl.` offers from each file
_NAMES = {
    "session": "Course CourseError data_dir seed_everything start",
    "environment": "environment_check",
    "transforms": "IMAGENET_MEAN IMAGENET_STD dataset_statistics denormalize eval_transform from_weights "
    "has_normalize normalization_of train_transform train_transform_for",
    "images": "image_folder load_image",
    "pipeline": "CachedImages automatic_workers cache_images",
    "datasets": "FLOWERS102_CLASSES MiniFlowers102 five_flowers flowers102 make_loader microscopy stratified_split",
    "stl10": "MiniSTL10 STL10_CLASSES stl10",
    "scenes": "FlowerScenes flower_scenes scene_classes semantic_mask",
    "backbones": "EfficientNet_Mini_Weights ResNet10_Weights VGG9_BN_Weights efficientnet_mini resnet10 vgg9_bn",
    "models": "Stage check_head head_in_features replace_head stages",
    "loading": "pretrained",
    "timm_models": "import_timm timm_pretrained timm_transforms",
    "freezing": "count_parameters freeze train_mode trainable_parameters trainable_table unfreeze",
    "groups": "group_table parameter_groups",
    "features": "FeatureSet Probe cache_features linear_probe split_model",
    "checkpoints": "load_checkpoint save_checkpoint",
    "history": "History",
    "evaluation": "Metrics Predictions accuracy_interval evaluate predict",
    "training": "fit",
    "costs": "count_macs images_per_second",
    "zoo": "FAMILIES blueprint family_table format_families head_place plot_families",
    "probing": "leaderboard leaderboard_table plot_leaderboard probe_parts targets",
    "lr_finder": "LRSweep lr_sweep",
    "mixing": "MixingCollate loss_floor mix_shares",
    "gradual": "Phase cache_bytes fit_gradually unfreeze_from",
    "detection": "collate_scenes detect detector replace_box_head small_faster_rcnn train_detector",
    "box_counts": "count_found",
    "segmentation": "class_iou dilate mean_iou replace_mask_head segment segmenter small_deeplabv3 small_lraspp "
    "train_segmenter",
    "explain": "grad_cam show_grad_cam",
    "photos": "PhotoPredictions predict_photos",
    "plots": "compare_bars plot_history show_batch show_images",
    "curves": "plot_learning_rates plot_lr_sweep",
    "outlines": "plot_losses show_boxes show_masks",
    "mistakes": "most_confused plot_confused show_predictions",
    "calibration": "Calibration calibration_of plot_reliability",
    "checks": "CheckResult check",
    "diagnosis": "doctor",
    "explorers.augmentation": "explore_augmentation",
    "explorers.mixing": "explore_mixing",
    "explorers.freezing": "explore_freezing",
    "explorers.schedules": "explore_schedules",
    "explorers.predictions": "explore_predictions",
    "quizzes": "quiz",
}
# matplotlib and ipywidgets are slow to import: these wait until a lesson asks for a name
_LAZY = {"plots", "curves", "mistakes", "outlines", "calibration", "checks", "diagnosis", "quizzes"}
_LAZY |= {file for file in _NAMES if file.startswith("explorers.")}
_FILE = {name: file for file, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_FILE)

try:
    import torchvision  # noqa: F401 - fails when torch is missing, or when the two do not belong together

    _PROBLEM = None
except Exception as error:  # `python -m tlhelpers` must still start, to say what is wrong
    _PROBLEM = error
else:
    for _file in _NAMES:
        if _file not in _LAZY:
            _module = importlib.import_module(f"{__name__}.{_file}")
            globals().update({_name: getattr(_module, _name) for _name in _NAMES[_file].split()})


def __getattr__(name: str):
    if name not in _FILE and name not in _NAMES:
        raise AttributeError(f"module 'tlhelpers' has no attribute {name!r}")
    if _PROBLEM is not None:
        advice = "Run 'python -m tlhelpers' to see what to do"
        raise ImportError(f"PyTorch does not load here ({_PROBLEM}). {advice}") from _PROBLEM
    module = importlib.import_module(f"{__name__}.{_FILE.get(name, name)}")
    return module if name in _NAMES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
