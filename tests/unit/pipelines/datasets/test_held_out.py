"""A validation list that is drawn: no group on both sides, a training video left of every class, always the same."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.annotations import Annotations, HoldOut, VideoList
from pipelines.datasets.held_out import drawn, groups_of, with_held_out
from pipelines.datasets.registry import read_dataset
from pipelines.errors import InputError

ROOT = Path("/videos")


def videos(*paths: str, labels: list[int], absent: tuple[int, ...] = ()) -> VideoList:
    return VideoList(root=ROOT, paths=paths, labels=np.array(labels, dtype=np.int32), absent=absent)


def data(train: VideoList, *, val: VideoList | None = None, unlabeled: VideoList | None = None) -> Annotations:
    return Annotations(
        name="own",
        classes=tuple(f"class {label}" for label in range(int(train.labels.max()) + 1)),
        train=train,
        val=val or videos(labels=[]),
        unlabeled=unlabeled,
        horizontal_flip=True,
    )


def ucf(*, num_groups: int = 10, num_clips: int = 4) -> VideoList:
    paths = [
        f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
        for name in ("Archery", "Biking")
        for group in range(1, num_groups + 1)
        for clip in range(1, num_clips + 1)
    ]
    return videos(*paths, labels=[0] * (len(paths) // 2) + [1] * (len(paths) // 2))


def group_of(path: str) -> str:
    return path.rpartition("_c")[0]


@st.composite
def labeled_groups(draw):
    """(labels, groups): some videos of unknown class, groups over several classes."""
    number = draw(st.integers(1, 60))
    labels = draw(st.lists(st.integers(-1, 4), min_size=number, max_size=number))
    groups = draw(st.lists(st.sampled_from([f"g{k}" for k in range(12)]), min_size=number, max_size=number))
    return np.array(labels), [group if k % 3 else f"alone {k}" for k, group in enumerate(groups)]


@given(labeled_groups(), st.sampled_from(["1pct", "20pct", "99pct", "1", "7"]), st.integers(0, 2**32 - 1))
def test_whatever_is_drawn_no_group_is_divided_and_every_class_keeps_a_training_video(made, share, seed):
    labels, groups = made
    chosen = drawn(labels, groups, share=share, seed=seed, num_classes=5)
    held = {groups[index] for index in chosen}
    assert {groups[index] for index in range(len(labels)) if index not in chosen}.isdisjoint(held)
    left = np.delete(labels, chosen)
    assert set(labels[labels >= 0].tolist()) == set(left[left >= 0].tolist())


@given(labeled_groups(), st.randoms(), st.integers(0, 5))
def test_the_draw_hangs_on_seed_and_names_not_on_the_order_of_the_list(made, random, seed):
    labels, groups = made
    order = list(range(len(labels)))
    random.shuffle(order)
    one = drawn(labels, groups, share="20pct", seed=seed, num_classes=5)
    other = drawn(labels[order], [groups[k] for k in order], share="20pct", seed=seed, num_classes=5)
    assert sorted(order[index] for index in other) == one.tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 9))
def test_without_groups_each_class_gives_its_share(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"{index}x" for index in range(len(labels))]
    chosen = drawn(labels, names, share="20pct", seed=seed, num_classes=len(sizes))
    counts = np.bincount(labels[chosen], minlength=len(sizes)).tolist()
    assert counts == [min(size - 1, max(1, int(0.2 * size + 0.5))) for size in sizes]


def test_another_seed_draws_others():
    labels, names = np.zeros(50, dtype=int), [f"{index}x" for index in range(50)]
    first, second = (drawn(labels, names, share="20pct", seed=seed, num_classes=1).tolist() for seed in (0, 1))
    assert first != second


def test_the_draw_of_today_is_that_of_tomorrow():
    names = [f"videos/{index:03d}x.mp4" for index in range(20)]
    assert drawn(np.zeros(20, dtype=int), names, share="20pct", seed=0, num_classes=1).tolist() == [8, 10, 14, 19]


def test_groups_of_ucf_stay_together(caplog):
    with caplog.at_level(logging.WARNING):
        found = with_held_out(data(ucf()), HoldOut())
    val, train = ({group_of(path) for path in part.paths} for part in (found.val, found.train))
    assert len(val) == 4
    assert val.isdisjoint(train)
    assert np.bincount(found.val.labels).tolist() == [8, 8]
    (said,) = caplog.messages
    assert "16 of 80 training videos are held out for validation (20pct); whole groups, 4 of them, by names" in said
    assert "such as 'v_Archery_g01'; as there is no validation list; --val takes another share" in said


@pytest.mark.parametrize(
    ("names", "labels", "example"),
    [
        (["a/walk_001", "a/walk_002", "b/run_001", "b/run_002"], [0, 0, 1, 1], ""),  # classes, not recordings
        ([f"VID_{k:04d}" for k in range(9)], [0] * 9, ""),
        (["x/1", "x/2", "y/3"], [0, 0, 1], ""),
        (["cam1_001", "cam1_002", "cam2_001", "cam2_002", "cam1_003"], [0, 0, 0, 0, 1], "cam1"),
        ([f"2021030{day}_15301{k}" for day in (4, 5) for k in (2, 3)], [0] * 4, "20210304"),
        (["kitchen (1)", "kitchen (2)", "garden (1)", "garden (2)"], [0] * 4, "kitchen"),
        (["a_g01_x", "a_g01_y", "b_7", "b_8"], [0] * 4, "a_g01"),
    ],
)
def test_what_names_show(names, labels, example):
    (found,), pattern = groups_of([[f"{name}.mp4" for name in names]], np.array(labels), groups="auto")
    assert pattern == example
    assert (len(set(found)) == len(found)) == (example == "")


def test_groups_may_be_named_by_an_expression_or_not_be():
    train = videos(*[f"day{k // 4}/{k}.mp4" for k in range(16)], labels=[0] * 16)
    found = with_held_out(data(train), HoldOut(groups=r"day\d+"))
    assert len({path.partition("/")[0] for path in found.val.paths}) == 1
    assert len(found.val) == 4
    assert len(with_held_out(data(ucf()), HoldOut(groups="none", share="3")).val) == 6
    with pytest.raises(InputError, match=r"data.groups: received '\(' .*; accepted: auto, none, or a regular"):
        with_held_out(data(train), HoldOut(groups="("))


def test_unlabeled_videos_of_a_group_that_is_held_out_are_left_out(caplog):
    train = ucf()
    unlabeled = videos(*[f"more/v_Archery_g{k:02d}_c09.avi" for k in range(1, 11)], labels=[-1] * 10)
    with caplog.at_level(logging.WARNING):
        found = with_held_out(data(train, unlabeled=unlabeled), HoldOut())
    held = {group_of(path.rpartition("/")[2]) for path in found.val.paths}
    assert found.unlabeled is not None
    assert {group_of(path.rpartition("/")[2]) for path in found.unlabeled.paths}.isdisjoint(held)
    assert len(found.unlabeled) == 8
    assert "2 unlabeled videos of those groups are left out" in caplog.text


def test_absent_videos_keep_their_absence():
    train = dataclasses.replace(ucf(), absent=tuple(range(0, 80, 3)))
    gone = {train.paths[index] for index in train.absent}
    found = with_held_out(data(train), HoldOut())
    for part in (found.train, found.val):
        assert {part.paths[index] for index in part.absent} == gone & set(part.paths)
    assert len(found.train.absent) + len(found.val.absent) == len(gone)


def test_a_validation_list_stays_unless_another_one_is_asked_for(caplog):
    own = data(ucf(), val=videos("v.mp4", labels=[0]))
    assert with_held_out(own, HoldOut()) is own
    with caplog.at_level(logging.WARNING):
        found = with_held_out(own, HoldOut(share="10pct"))
    assert "v.mp4" not in (*found.val.paths, *found.train.paths)
    assert "(10pct)" in caplog.text
    assert "its own 1 validation videos are not used" in caplog.text


@pytest.mark.parametrize("share", ["0pct", "100pct", "-1", "0", "some"])
def test_other_shares_are_refused(share):
    with pytest.raises(InputError, match=f"data.val: received '{share}'; accepted: a share below 100pct"):
        with_held_out(data(ucf()), HoldOut(share=share))


def test_where_nothing_can_be_held_out_it_is_said():
    with pytest.raises(InputError, match="every class has one video; accepted: more videos"):
        with_held_out(data(videos("a.mp4", "b.mp4", labels=[0, 1])), HoldOut())
    with pytest.raises(InputError, match="every class is of one group; .*data.groups=none"):
        with_held_out(data(ucf(num_groups=1)), HoldOut())


def test_a_class_of_one_group_is_named(caplog):
    names = [*ucf(num_groups=5).paths[:20], "run/v_Run_g01_c01.avi", "run/v_Run_g01_c02.avi"]
    with caplog.at_level(logging.WARNING):
        with_held_out(data(videos(*names, labels=[0] * 20 + [1, 1])), HoldOut())
    assert "none of class 'class 1'" in caplog.text


@pytest.mark.parametrize("name", ["folder", "lists"])
def test_data_of_ones_own_need_no_validation_part(tmp_path, name):
    paths = [f"train/{'walk' if k % 2 else 'run'}/{k}x.mp4" for k in range(20)]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    if name == "lists":
        (tmp_path / "train.txt").write_text("".join(f"{path} {int('walk' in path)}\n" for path in paths))
    found = read_dataset(name, tmp_path)
    assert (len(found.train), len(found.val)) == (16, 4)
    assert {*found.train.paths, *found.val.paths} == set(paths)
