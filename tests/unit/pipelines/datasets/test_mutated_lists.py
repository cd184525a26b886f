"""Lists that are damaged: read, or refused by a user's error, and never more."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.datasets.annotations import Annotations, ReadOptions
from pipelines.datasets.labeled_subset import subset_of
from pipelines.datasets.registry import read_dataset
from pipelines.errors import InputError
from tests.support.mutations import mutated_text

VIDEOS = [f"v/{name}.mp4" for name in ("a", "b 1", "c,2", "d", "ü", "f")]
ROWS = list(zip(VIDEOS, ("walk", "run") * 3, strict=True))
OTHERS = ["v/x.mp4", "v/y.mp4", "v/z.mp4"]
VAL = "v/x.mp4,walk\nv/y.mp4,run\n"
NUMBERED = "".join(f"{path} {number % 2}\n" for number, path in enumerate(VIDEOS))
TASKS = ",\n".join(f'{{"video": "{path}", "choice": "{label}"}}' for path, label in ROWS)
IMAGES = "".join(f'<image id="7" name="{path}"><tag label="{label}"/></image>\n' for path, label in ROWS)
K400 = {
    part: [(f"{part}{number:06d}x"[:11], label) for number, (_, label) in enumerate(ROWS)]
    for part in ("train", "valid")
}
K400_TITLES = "label,youtube_id,time_start,time_end,split\n"
UCF = [f"{name}/v_{name}_g{number:02d}_c01.avi" for number, name in enumerate(["Run", "Walk"] * 3)]


@dataclass(frozen=True)
class Kind:
    """A form of lists: the family that reads it, its lists by name, and the videos that they name."""

    family: str
    lists: dict[str, str]
    videos: list[str]


KINDS = {
    "csv": Kind(
        "folder",
        {
            "train.csv": "".join(f'"{path}",{label}\n' for path, label in ROWS),
            "val.csv": VAL,
            "unlabeled.csv": "v/z.mp4\n",
        },
        [*VIDEOS, *OTHERS],
    ),
    "titles": Kind(
        "folder",
        {
            "train.csv": "id;video;category\n" + "".join(f"7;{path};{label}\n" for path, label in ROWS),
            "val.csv": "path\tlabel\n" + VAL.replace(",", "\t"),
        },
        [*VIDEOS, *OTHERS],
    ),
    "json": Kind("folder", {"train.json": f"[\n{TASKS}\n]\n", "val.csv": VAL}, [*VIDEOS, *OTHERS]),
    "xml": Kind(
        "folder", {"train.xml": f"<annotations>\n{IMAGES}</annotations>\n", "val.csv": VAL}, [*VIDEOS, *OTHERS]
    ),
    "lists": Kind(
        "lists",
        {"train.csv": NUMBERED, "val.csv": "v/x.mp4 0\nv/y.mp4 1\n", "classes.txt": "walk\nrun\n"},
        [*VIDEOS, *OTHERS],
    ),
    "numbers": Kind("lists", {"train.csv": NUMBERED, "val.csv": "v/x.mp4 0\n"}, [*VIDEOS, *OTHERS]),
    "k400": Kind(
        "k400",
        {
            "train.csv": K400_TITLES + "".join(f"{label},{name},1,11,train\n" for name, label in K400["train"]),
            "val.csv": K400_TITLES + "".join(f"{label},{name},1,11,val\n" for name, label in K400["valid"]),
        },
        [
            f"{folder}/{label}/{name}_000001_000011.mp4"
            for folder, rows in (("train", K400["train"]), ("val", K400["valid"]))
            for name, label in rows
        ],
    ),
    "ucf101": Kind(
        "ucf101",
        {
            "classInd.txt": "1 Run\n2 Walk\n",
            "trainlist01.txt": "".join(f"{path} {number % 2 + 1}\n" for number, path in enumerate(UCF[:4])),
            "testlist01.txt": "".join(f"{path}\n" for path in UCF[4:]),
        },
        [f"UCF-101/{path}" for path in UCF],
    ),
}
LABELED = "v/a.mp4,walk\nv/d.mp4,run\n"


def laid_out(root: Path, kind: Kind) -> None:
    """Lays out a data set anew, of empty files."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir()
    for name in kind.videos:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).touch()
    for name, text in kind.lists.items():
        (root / name).write_text(text, encoding="utf-8")


def read(root: Path, kind: Kind) -> Annotations:
    return read_dataset(kind.family, root, ReadOptions(max_missing_share=1.0))


def outcome(work: Callable[[], object]) -> str:
    """Returns "read", or the message of a user's error. Whatever else is raised fails the test."""
    try:
        work()
    except InputError as error:
        return str(error)
    return "read"


def mutate_and_read(root: Path, kind: Kind, rng: np.random.Generator) -> str:
    """Changes one of the lists, reads the data set, and returns the outcome."""
    laid_out(root, kind)
    name = str(rng.choice(sorted(kind.lists)))
    (root / name).write_bytes(mutated_text(kind.lists[name], rng))
    return outcome(lambda: read(root, kind))


def mutate_and_draw(root: Path, rng: np.random.Generator) -> str:
    """Changes the list of labeled videos, draws by it, and returns the outcome."""
    laid_out(root, KINDS["csv"])
    (root / "labeled.csv").write_bytes(mutated_text(LABELED, rng))
    annotations, usable = read(root, KINDS["csv"]), np.ones(len(VIDEOS), dtype=bool)

    def draw() -> np.ndarray:
        return subset_of(
            annotations, str(root / "labeled.csv"), dataset="folder", split_seed=0, scheme="uniform", usable=usable
        )

    return outcome(draw)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_damaged_list_is_read_or_refused_by_a_user_s_error(kind, tmp_path):
    laid_out(tmp_path / "plain", kind)
    assert outcome(lambda: read(tmp_path / "plain", kind)) == "read", "the list is right before it is changed"
    rng = np.random.default_rng(0)
    outcomes = [mutate_and_read(tmp_path / "root", kind, rng) for _ in range(20)]
    assert {"read"} < set(outcomes)


def test_a_damaged_list_of_labeled_videos_is_read_or_refused_by_a_user_s_error(tmp_path):
    rng = np.random.default_rng(0)
    outcomes = [mutate_and_draw(tmp_path / "root", rng) for _ in range(20)]
    assert {"read"} < set(outcomes)
