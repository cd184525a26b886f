"""Data sets as users have them, made of empty files: lists, folders and names of Kinetics-400 and UCF-101.

`kinetics_videos()` and `ucf_videos()` are as many as the real sets have, with the real classes and names of the real
form; the helpers that write a tree take any part of them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.catalog.manifest_cache import FACTS, FactTable, manifest_file, save_table
from pipelines.datasets.annotations import VideoList

NAMES = Path(__file__).with_name("names")
K400_CLASSES = tuple((NAMES / "k400.txt").read_text(encoding="utf-8").splitlines())
UCF_CLASSES = tuple((NAMES / "ucf101.txt").read_text(encoding="utf-8").splitlines())
NUM_K400 = {"train": 240_436, "val": 19_796}
NUM_UCF = {"train": 9_537, "val": 3_783}
ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class KineticsVideo(NamedTuple):
    """One line of Kinetics' lists."""

    label: str
    video_id: str
    start_seconds: int
    part: str

    @property
    def stem(self) -> str:
        return f"{self.video_id}_{self.start_seconds:06d}_{self.start_seconds + 10:06d}"


def kinetics_videos(
    classes: Sequence[str] = K400_CLASSES, *, num_train: int = NUM_K400["train"], num_val: int = NUM_K400["val"]
) -> list[KineticsVideo]:
    """So many videos in all; the classes' sizes differ by up to a factor of four in training, as in the real set."""
    weights = {"train": [250 + (k * 397) % 751 for k in range(len(classes))], "val": [1] * len(classes)}
    videos = []
    for part, total in (("train", num_train), ("val", num_val)):
        for name, size in zip(classes, _shares(total, weights[part]), strict=True):
            for number in range(size):
                digest = hashlib.md5(f"{part} {name} {number}".encode()).digest()
                video_id = "".join(ID_ALPHABET[byte % 64] for byte in digest[:11])
                videos.append(KineticsVideo(name, video_id, digest[11], part))
    return videos


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers of this sum, nearly in proportion."""
    ends = [round(total * end / sum(weights)) for end in np.cumsum(weights).tolist()]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def kinetics_csv(videos: Iterable[KineticsVideo], *, quoted: bool = False, newline: str = "\n") -> str:
    """The official list's text."""
    mark = '"' if quoted else ""
    lines = ["label,youtube_id,time_start,time_end,split"]
    lines += [f"{mark}{v.label}{mark},{v.video_id},{v.start_seconds},{v.start_seconds + 10},{v.part}" for v in videos]
    return newline.join(lines) + newline


def kinetics_tree(
    root: Path,
    videos: Sequence[KineticsVideo],
    *,
    layout: str = "flat",
    bare_ids: bool = False,
    lists: str | None = "annotations",
    missing: Collection[str] = (),
    quoted: bool = False,
    newline: str = "\n",
) -> Path:
    """Lists in the folder `lists` (None: none), files but those of the ids in `missing`.

    layout: `flat`, or class folders with `spaces` or `underscores`.
    """
    spell: Callable[[str], str] = {
        "flat": lambda label: "",
        "spaces": lambda label: f"{label}/",
        "underscores": lambda label: label.replace(" ", "_") + "/",
    }[layout]
    if lists is not None:
        (root / lists).mkdir(parents=True, exist_ok=True)
        for part in ("train", "val"):
            text = kinetics_csv([v for v in videos if v.part == part], quoted=quoted, newline=newline)
            (root / lists / f"{part}.csv").write_text(text, encoding="utf-8", newline="")
    touch(
        root,
        [
            f"{v.part}/{spell(v.label)}{v.video_id if bare_ids else v.stem}.mp4"
            for v in videos
            if v.video_id not in missing
        ],
    )
    return root


def ucf_videos(
    classes: Sequence[str] = UCF_CLASSES, *, num_train: int = NUM_UCF["train"], num_val: int = NUM_UCF["val"]
) -> dict[str, list[str]]:
    """{"train": paths as listed, "val": ...} of split 1: groups 8 to 25 of a class train, groups 1 to 7 test."""
    parts = {}
    for part, total, groups in (("train", num_train, range(8, 26)), ("val", num_val, range(1, 8))):
        paths = []
        for name, size in zip(classes, _shares(total, [1] * len(classes)), strict=True):
            spelled = name.replace("HandstandPushups", "HandStandPushups")  # so the real files are called
            clips = [(group, clip) for clip in range(1, 8) for group in groups]
            paths += [f"{name}/v_{spelled}_g{group:02d}_c{clip:02d}.avi" for group, clip in sorted(clips[:size])]
        parts[part] = paths
    return parts


def ucf_tree(
    root: Path,
    videos: dict[str, list[str]],
    *,
    lists: str = "ucfTrainTestlist",
    folder: str = "UCF-101",
    classes: Sequence[str] = UCF_CLASSES,
    missing: Collection[str] = (),
    suffix: str = ".avi",
    newline: str = "\n",
    split: int = 1,
) -> Path:
    """The official lists of one split, and the files but those whose listed path is in `missing`."""
    (root / lists).mkdir(parents=True, exist_ok=True)

    def write(name: str, lines: Iterable[str]) -> None:
        text = "".join(line + newline for line in lines)
        (root / lists / name).write_text(text, encoding="utf-8", newline="")

    write("classInd.txt", [f"{number} {name}" for number, name in enumerate(classes, 1)])
    index_of = {name: number for number, name in enumerate(classes, 1)}
    write(f"trainlist0{split}.txt", [f"{path} {index_of[path.split('/')[0]]}" for path in videos["train"]])
    write(f"testlist0{split}.txt", videos["val"])
    paths = [path for part in videos.values() for path in part if path not in missing]
    touch(root / folder, [path.removesuffix(".avi") + suffix for path in paths])
    return root


def touch(root: Path, paths: Iterable[str]) -> None:
    """Empty files and their folders."""
    made = set()
    for path in paths:
        file = f"{root}/{path}"
        folder = file.rpartition("/")[0]
        if folder not in made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        open(file, "wb").close()


def remember_as_probed(videos: Sequence[VideoList], *, cache_dir: Path) -> None:
    """Makes the manifest's cache of lists under one root say that every file there is a good video of 300 frames."""
    root = videos[0].root.resolve()
    lost = {part.paths[index] for part in videos for index in part.absent}
    paths = [path for part in videos for path in part.paths if path not in lost]
    facts = np.zeros(len(paths), dtype=FACTS)
    for name, value in (("num_frames", 300), ("fps", 30), ("width", 340), ("height", 256), ("coding", 1)):
        facts[name] = value
    for index, path in enumerate(paths):
        status = (root / path).stat()
        facts[index]["size_bytes"], facts[index]["mtime_ns"] = status.st_size, status.st_mtime_ns
    table = FactTable(
        paths=tuple(paths),
        facts=facts,
        codings=(("", ""), ("h264", "yuv420p")),
        problems={},
    )
    save_table(manifest_file(root, cache_dir=cache_dir), table)
