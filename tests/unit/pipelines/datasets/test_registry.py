"""datasets/registry.py: data sets of plug-ins are read as the built-in ones are."""

from pathlib import Path

import numpy as np
import pytest

from cmpl.recipes.registry import recipe_for
from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList
from pipelines.datasets.registry import DATASETS, DATASETS_REGISTRY, read_dataset, read_unlabeled, register_dataset
from pipelines.errors import InputError
from pipelines.registry import Registry

NOWHERE = Path("/nowhere")


def videos(*paths: str, label: int = 0) -> VideoList:
    return VideoList(root=NOWHERE, paths=paths, labels=np.full(len(paths), label, dtype=np.int32))


def read_plays(root: Path | None, options: ReadOptions) -> Annotations:
    """Shows what it was given in the class names."""
    options.progress(1, 1, "reading plays")
    return Annotations(
        name="plays",
        classes=(f"{root} {options.official_split} {options.max_missing_share}",),
        train=videos("a.mp4", "b.mp4"),
        val=videos("c.mp4"),
        unlabeled=videos("d.mp4", label=-1),
        horizontal_flip=True,
    )


def read_nothing(root: Path | None, options: ReadOptions) -> None:
    return None


def read_two_roots(root: Path | None, options: ReadOptions) -> Annotations:
    other = VideoList(root=Path("/elsewhere"), paths=("d.mp4",), labels=np.full(1, -1, dtype=np.int32))
    return Annotations(
        name="two roots",
        classes=("x",),
        train=videos("a.mp4"),
        val=videos("c.mp4"),
        unlabeled=other,
        horizontal_flip=True,
    )


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(DATASETS_REGISTRY, "_registered", {})
    register_dataset("plays")(read_plays)
    return "plays"


@pytest.mark.parametrize("name", ["plays", f"{__name__}:read_plays"])
def test_a_plugin_is_read_with_the_options(plays: str, name: str) -> None:
    shown: list[tuple[int, int, str]] = []
    options = ReadOptions(official_split=2, max_missing_share=0.5, progress=lambda *call: shown.append(call))
    annotations = read_dataset(name, NOWHERE, options)
    assert annotations.classes == ("/nowhere 2 0.5",)
    assert shown == [(1, 1, "reading plays")]
    assert read_dataset(name, None).classes == ("None 1 0.05",)


@pytest.mark.parametrize("name", ["plays", f"{__name__}:read_plays"])
def test_the_training_videos_of_a_plugin_serve_as_unlabeled(plays: str, name: str) -> None:
    unlabeled = read_unlabeled(name, None)
    assert unlabeled.paths == ("a.mp4", "b.mp4", "d.mp4")
    assert unlabeled.labels.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("name", ["plays", f"{__name__}:read_plays"])
def test_a_plugin_has_the_recipe_of_a_folder(plays: str, name: str) -> None:
    config = recipe_for(name)("5pct")
    assert (config.recipe, config.data.dataset, config.data.labeled) == ("folder", name, "5pct")
    assert recipe_for(name)().data.labeled == recipe_for("folder")().data.labeled


def test_what_is_refused(plays: str) -> None:
    with pytest.raises(InputError, match="--dataset: received 'play', no data set and no folder; .*'plays'"):
        recipe_for("play")
    with pytest.raises(InputError, match="data.dataset: received 'play'; .*'plays'"):
        read_dataset("play", None)
    with pytest.raises(InputError, match="data.unlabeled: received 'play'; .*'plays'"):
        read_unlabeled("play", None)
    with pytest.raises(InputError, match="--dataset: received 'no.such', which cannot be imported"):
        recipe_for("no.such:thing")
    with pytest.raises(InputError, match="data.dataset: received NoneType from the reader of .*; accepted: Annotat"):
        read_dataset(f"{__name__}:read_nothing", None)
    with pytest.raises(InputError, match="data.unlabeled: received training videos in /nowhere and .*: one root"):
        read_unlabeled(f"{__name__}:read_two_roots", None)


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"demo"}))
def test_built_in_ones_need_a_root(name: str) -> None:
    assert isinstance(DATASETS_REGISTRY, Registry)
    with pytest.raises(InputError, match="data.root: received none; accepted: the data set's folder"):
        read_dataset(name, None)
    with pytest.raises(InputError, match="data.unlabeled_root: received none; accepted: the folder"):
        read_unlabeled(name, None)
