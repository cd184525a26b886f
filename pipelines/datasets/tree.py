"""Video files found in a data set's folders. Lists every folder once; asks for no file by itself."""

import difflib
import logging
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.datasets.suffixes import is_video
from pipelines.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoTree:
    """The video files in one folder and in its sub-folders."""

    where: Path
    by_stem: dict[str, str]  # file name without suffix -> path relative to the data set's root
    folders: dict[str, int]  # sub-folder -> number of videos in it
    num_loose: int  # videos that lie in no sub-folder


def video_tree(root: Path, folder: str) -> VideoTree:
    """The videos in `root`/`folder` and one level of folders below, links followed, hidden files left out.

    Keeps the alphabetically first path of two files with the same stem. Raises InputError for a folder that cannot
    be read.
    """
    by_stem: dict[str, str] = {}
    inside = f"{folder}/" if folder else ""
    loose, folders = _listed(root / folder)
    _keep(by_stem, loose, prefix=inside)
    counts = {}
    for name in sorted(folders):
        videos, _ = _listed(root / folder / name)
        counts[name] = len(videos)
        _keep(by_stem, videos, prefix=f"{inside}{name}/")
    return VideoTree(where=root / folder, by_stem=by_stem, folders=counts, num_loose=len(loose))


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the videos and of the folders in a folder. A video is known by its suffix, without a stat."""
    videos, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if is_video(name):
                    videos.append(name)
                elif is_folder(entry):
                    folders.append(name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); accepted: a readable folder") from error
    return videos, folders


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tells a folder, links followed. A link that leads to itself or nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _keep(by_stem: dict[str, str], names: Iterable[str], *, prefix: str) -> None:
    for name in names:
        stem, path = name.rpartition(".")[0], prefix + name
        if by_stem.setdefault(stem, path) > path:
            by_stem[stem] = path


def present(root: Path, paths: Sequence[str]) -> list[bool]:
    """Tells for each path, relative to `root`, if it exists."""
    names: dict[str, frozenset[str]] = {}
    there = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in names:
            try:
                names[folder] = frozenset(os.listdir(root / folder))
            except (OSError, ValueError):  # ValueError: a NUL in the name
                names[folder] = frozenset()
        there.append(name in names[folder])
    return there


def as_spelled(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Returns the paths, each in the spelling of its file: one accent may be one character (NFC) or two (NFD).

    A path whose file is not there in any spelling stays as it is.
    """
    there = present(root, paths)
    return tuple(path if found else _other_spelling(root, path) for path, found in zip(paths, there, strict=True))


def _other_spelling(root: Path, path: str) -> str:
    others = [unicodedata.normalize(form, path) for form in ("NFC", "NFD")]
    return next((other for other in others if other != path and os.path.lexists(root / other)), path)


def checked_absent(
    paths: Sequence[str], there: Sequence[bool], *, what: str, looked_in: str, max_missing_share: float
) -> tuple[int, ...]:
    """Indices of the paths that are not there.

    Some missing files are normal: Kinetics loses videos every year. Raises InputError where their share is above
    `max_missing_share`, as it is when a list meets another data set's folder.
    """
    absent = tuple(index for index, found in enumerate(there) if not found)
    if len(absent) > max_missing_share * len(paths):
        some = ", ".join(paths[index] for index in absent[:3])
        raise InputError(
            f"{what}: {len(absent)} of {len(paths)} videos are missing ({len(absent) / len(paths):.1%}), such as "
            f"{some}; looked in {looked_in}; accepted: at most {max_missing_share:.1%} "
            "(--set data.max_missing_share=...)"
        )
    return absent


def check_spelling(tree: VideoTree, classes: Collection[str], *, source: Path, normal: Callable[[str], str]) -> None:
    """Raises InputError where a class of the list `source` has no folder while a folder has no class.

    `normal` maps what counts as the same spelling to one. Folders beyond the classes are logged; a tree with videos
    outside class folders is not looked at.
    """
    if tree.num_loose or not tree.folders:
        return
    known = {normal(name) for name in classes}
    named = {normal(folder) for folder in tree.folders}
    strange = [folder for folder, count in tree.folders.items() if count and normal(folder) not in known]
    lacking = [name for name in sorted(classes) if normal(name) not in named]
    if strange and lacking:
        pairs = [(name, difflib.get_close_matches(name, strange, n=1, cutoff=0)[0]) for name in lacking]
        name, folder = max(pairs, key=lambda pair: difflib.SequenceMatcher(None, *pair).ratio())
        raise InputError(
            f"{tree.where}: the class {name!r} of {source} has no folder, and the folder {folder!r} has no class; "
            "accepted: the same spelling in both"
        )
    if strange:
        log.warning("%s: %d folders ignored, not in %s (such as %s)", tree.where, len(strange), source, strange[0])
