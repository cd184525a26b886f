"""Videos that are given one by one, by folders, or by lists, as on a command line."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.datasets.annotations import ListOptions
from pipelines.datasets.exports import SUFFIXES, read_list
from pipelines.datasets.folder import read_videos
from pipelines.datasets.suffixes import is_video
from pipelines.datasets.text_files import read_labeled_paths
from pipelines.errors import InputError


def given_videos(given: Sequence[str]) -> list[str]:
    """Returns the absolute paths of all videos given, in order: a file, all in a folder, or those that a list names.

    A list is a csv file, a text file of `path` or `path label` lines, or an export of Label Studio or CVAT; its paths
    are relative to its folder, its labels do not count. A file of a video's name need not be there. Raises InputError
    for whatever is none of these, and as the readers do.
    """
    found: list[str] = []
    for name in given:
        path = Path(os.path.abspath(os.path.expanduser(name)))
        if path.is_dir():
            found += [str(path / video) for video in read_videos(path).paths]
        elif path.suffix in SUFFIXES:
            listed = read_list(path, ListOptions(outside_root=True))
            found += [os.path.normpath(path.parent / video.path) for video in listed]
        elif path.suffix == ".txt":
            found += [os.path.normpath(path.parent / video.path) for video in read_labeled_paths(path)]
        elif path.exists() or is_video(path.name):
            found.append(str(path))
        else:
            raise InputError(f"{name}: no such file or folder; accepted: videos, folders, or lists of videos")
    return found
