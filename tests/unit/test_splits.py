"""splits.py: counts, independence of order, the golden subsets, lists given by the user."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.splits import labeled_subset, write_subset
from tests.golden.make_splits import CLASSES, FILE, SIZES, subsets, video_list


def draw(labeled, seed=0, paths=None, labels=None):
    default_paths, default_labels = video_list()
    paths = default_paths if paths is None else paths
    labels = default_labels if labels is None else labels
    return labeled_subset(str(labeled), paths=paths, labels=labels, classes=CLASSES, split_seed=seed)


def counts(indices):
    labels = video_list()[1][indices]
    assert (labels >= 0).all(), "an unlabelled video was drawn"
    return np.bincount(labels, minlength=len(CLASSES)).tolist()


def test_golden_subsets():
    assert subsets() == json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("labeled", "expected"),
    [
        ("1pct", [1, 2, 1, 1]),  # 0.07, 1.5, 0.33, 0.6 of 7, 150, 33, 60
        ("10pct", [1, 15, 3, 6]),
        ("50pct", [4, 75, 17, 30]),  # 3.5 and 16.5 are rounded up
        ("2.5pct", [1, 4, 1, 2]),  # 3.75, 0.825, 1.5
        ("100pct", list(SIZES)),
        (".5pct", [1, 1, 1, 1]),
        ("3", [3, 3, 3, 3]),
        ("7", [7, 7, 7, 7]),
    ],
)
def test_counts_of_each_class(labeled, expected):
    drawn = draw(labeled)
    assert counts(drawn) == expected
    assert drawn.tolist() == sorted(set(drawn.tolist()))


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(sum(SIZES) + 5)),
    seed=st.integers(0, 2**64 - 1),
    labeled=st.sampled_from(["1pct", "12.5pct", "4"]),
)
def test_the_order_of_the_list_does_not_matter(order, seed, labeled):
    paths, labels = video_list()
    shuffled = [paths[index] for index in order]
    drawn = draw(labeled, seed, paths=shuffled, labels=labels[list(order)])
    assert {shuffled[i] for i in drawn} == {paths[i] for i in draw(labeled, seed)}


def test_classes_are_drawn_independently():
    """Taking another class away leaves the draw of this one as it was, whatever its index."""
    paths, labels = video_list()
    kept = np.flatnonzero(labels != 0)
    shorter = labeled_subset(
        "10pct",
        paths=[paths[i] for i in kept],
        labels=np.maximum(labels[kept] - 1, -1),
        classes=CLASSES[1:],
        split_seed=0,
    )
    assert {paths[kept[i]] for i in shorter} == {paths[i] for i in draw("10pct") if labels[i] != 0}


def test_every_video_is_drawn_equally_often():
    """Of 33 videos 3 are drawn: over 2000 seeds each 182 times, give or take 13 (five of which are allowed)."""
    labels = video_list()[1]
    drawn = np.concatenate([draw("10pct", seed) for seed in range(2000)])
    times = np.bincount(drawn, minlength=len(labels))[labels == 2]
    assert times.sum() == 6000
    assert abs(times - 6000 / 33).max() < 5 * 13


def test_seeds_differ():
    assert len({tuple(draw("10pct", seed).tolist()) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("labeled", "message"),
    [
        ("8", "class 'archery' has 7 usable videos, accepted: at most 7"),
        ("0", "got '0', accepted: at least 1 video a class"),
        ("0pct", "got '0pct', accepted: more than 0pct"),
        ("101pct", "got '101pct', .* at most 100pct"),
        ("10%", r"got '10%' \(no such file\), accepted: 1pct, 10pct"),
        ("-1", "no such file"),
    ],
)
def test_refuses(labeled, message):
    with pytest.raises(InputError, match=message):
        draw(labeled)


def test_refuses_a_class_without_videos():
    with pytest.raises(InputError, match="class 'überkopf' has 0 usable videos"):
        draw("10pct", paths=["a"] * 3, labels=np.array([0, 1, 2]))


def test_refuses_a_negative_seed():
    with pytest.raises(InputError, match="split_seed: got -1, accepted: 0 to"):
        draw("1pct", -1)


def test_a_written_subset_comes_back(tmp_path):
    paths, labels = video_list()
    paths = [path.replace("chess/0", 'chess/a, "b" ü ') for path in paths]
    drawn = draw("10pct", paths=paths)
    write_subset(tmp_path / "subset.csv", indices=drawn, paths=paths, labels=labels, classes=CLASSES)
    assert draw(tmp_path / "subset.csv", paths=paths).tolist() == drawn.tolist()
    assert [file.name for file in tmp_path.iterdir()] == ["subset.csv"]


PATHS = ["x/1.mp4", "x/2, part.mp4", "y/3.mp4", "u/4.mp4"]
LABELS = np.array([0, 0, 1, -1])


def read(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    return draw(tmp_path / "list.txt", paths=PATHS, labels=LABELS).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "y/3.mp4\nx/2, part.mp4\n",
        "y/3.mp4,zumba\r\n\r\nx/2, part.mp4,archery\r\n",
        "\ufeffy/3.mp4\tzumba\nx/2, part.mp4\tarchery",
        '"x/2, part.mp4",archery\ny/3.mp4, zumba \n',
    ],
)
def test_reads_lists(tmp_path, text):
    assert read(tmp_path, text) == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x/1.mp4\n\nz/3.mp4\n", "line 3: the data set has no usable 'z/3.mp4'; did you mean 'y/3.mp4'"),
        ("x/l.mp4\n", "line 1: .* 'x/l.mp4'; did you mean 'x/1.mp4'"),
        ("nothing/alike\n", "line 1: .*accepted: paths such as 'u/4.mp4'"),
        ("x/1.mp4,archary\n", "line 1: got class 'archary'; did you mean 'archery'"),
        ("x/1.mp4\tzumba\n", "line 1: 'x/1.mp4' is given class 'zumba', accepted: the data set's, 'archery'"),
        ("u/4.mp4,zumba\n", "line 1: 'u/4.mp4' is given class 'zumba', accepted: the data set's, None"),
        ("x/1.mp4\nx/1.mp4\n", "line 2: 'x/1.mp4' is already in line 1"),
        ("\n", "names no video"),
    ],
)
def test_refuses_lists(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
