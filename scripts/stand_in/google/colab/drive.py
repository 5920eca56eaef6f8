"""Google Drive: an empty folder takes its place. Refuses what the real one refuses."""

import os


def mount(mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
    """Make mountpoint/MyDrive. The real one first asks the reader for consent, in a window of the browser."""
    if " " in mountpoint:
        raise ValueError("Mountpoint must not contain a space.")
    if os.path.isdir(os.path.join(mountpoint, "MyDrive")) and not force_remount:
        print(f"Drive already mounted at {mountpoint}; to attempt to forcibly remount, call drive.mount(..., True).")
        return
    if not os.path.isdir(os.path.dirname(os.path.normpath(mountpoint)) or "."):
        raise ValueError("Mountpoint must be in a directory that exists")
    if os.path.isdir(mountpoint) and os.listdir(mountpoint) and not force_remount:
        raise ValueError("Mountpoint must not already contain files")
    os.makedirs(os.path.join(mountpoint, "MyDrive"), exist_ok=True)
    print(f"Mounted at {mountpoint}")


def flush_and_unmount(timeout_ms=24 * 60 * 60 * 1000):
    """Nothing is cached here, so there is nothing to write out."""
