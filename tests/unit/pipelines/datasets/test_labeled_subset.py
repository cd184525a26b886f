"""splits.py: counts, independence of order, the golden subsets, lists given by the user."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpl import config
from pipelines.datasets import labeled_subset as splits
from pipelines.datasets.labeled_subset import apportioned, labeled_subset, write_subset
from pipelines.errors import InputError
from tests.golden.make_splits import CLASSES, FILE, SIZES, subsets, video_list


def draw(labeled, seed=0, paths=None, labels=None):
    default_paths, default_labels = video_list()
    paths = default_paths if paths is None else paths
    labels = default_labels if labels is None else labels
    return labeled_subset(str(labeled), paths=paths, labels=labels, classes=CLASSES, split_seed=seed)


def counts(indices):
    labels = video_list()[1][indices]
    assert (labels >= 0).all(), "an unlabeled video was drawn"
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
        ("all", list(SIZES)),
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
    """Draws 3 of 33 videos: over 2000 seeds each 182 times, give or take 13 (five of which are allowed)."""
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
        ("8", "class 'archery' has 7 usable videos; accepted: at most 7"),
        ("0", "received '0'; accepted: at least 1 video a class"),
        ("0pct", "received '0pct'; accepted: more than 0pct"),
        ("101pct", "received '101pct'; .* at most 100pct"),
        ("10%", r"received '10%' \(no such file\); accepted: 1pct, 10pct"),
        ("-1", "no such file"),
        ("al", "no such file.*, all, "),
    ],
)
def test_refuses(labeled, message):
    with pytest.raises(InputError, match=message):
        draw(labeled)


def test_refuses_a_class_without_videos():
    with pytest.raises(InputError, match="class 'überkopf' has 0 usable videos"):
        draw("10pct", paths=["a"] * 3, labels=np.array([0, 1, 2]))


def test_refuses_a_negative_seed():
    with pytest.raises(InputError, match="split_seed: received -1; accepted: 0 to"):
        draw("1pct", -1)


def test_a_written_subset_comes_back(tmp_path):
    paths, labels = video_list()
    paths = [path.replace("chess/0", 'chess/a, "b" ü ') for path in paths]
    drawn = draw("10pct", paths=paths)
    write_subset(tmp_path / "subset.csv", indices=drawn, names=paths, labels=labels, classes=CLASSES)
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
        "y/3.mp4 1\nx/2, part.mp4 0\n",
        "\ufeffy/3.mp4\tzumba\nx/2, part.mp4\tarchery",
        '"x/2, part.mp4",archery\ny/3.mp4, zumba \n',
    ],
)
def test_reads_lists(tmp_path, text):
    assert read(tmp_path, text) == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x/1.mp4\n\nz/3.mp4\n", "line 3: the data set has no training video 'z/3.mp4'; did you mean 'y/3.mp4'"),
        ("x/l.mp4\n", "line 1: .* 'x/l.mp4'; did you mean 'x/1.mp4'"),
        ("nothing/alike\n", "line 1: .*accepted: paths such as 'u/4.mp4'"),
        ("x/1.mp4,archary\n", "line 1: received class 'archary'; did you mean 'archery'"),
        ("x/1.mp4\tzumba\n", "line 1: 'x/1.mp4' is given class 'zumba'; accepted: the data set's, 'archery'"),
        ("u/4.mp4,zumba\n", "line 1: 'u/4.mp4' is given class 'zumba'; accepted: the data set's, None"),
        ("x/1.mp4\nx/1.mp4\n", "line 2: 'x/1.mp4' is already in line 1"),
        ("\n", "names no video"),
        ("x/1.mp4 1\n", "line 1: 'x/1.mp4' is given class 'zumba'; accepted: the data set's, 'archery'"),
        ("x/1.mp4 4\n", "line 1: received class '4'; accepted: archery, "),
    ],
)
def test_refuses_lists(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), labeled=st.sampled_from(["10pct", "3", "all"]), scheme=st.sampled_from(splits.SCHEMES))
def test_losing_files_changes_the_draw_in_their_places_alone(data, labeled, scheme):
    """What is drawn is the first usable of an order in which the others keep their places."""
    paths, labels = video_list()
    lost = data.draw(st.lists(st.integers(0, len(paths) - 1), max_size=3))
    usable = np.ones(len(paths), dtype=bool)
    usable[lost] = False

    def drawn(usable):
        chosen = labeled_subset(
            labeled, paths=paths, labels=labels, classes=CLASSES, split_seed=1, usable=usable, scheme=scheme
        )
        return set(chosen.tolist())

    before, after = drawn(np.ones(len(paths), dtype=bool)), drawn(usable)
    assert before - set(lost) <= after
    assert not after & set(lost)
    if not before & set(lost):
        assert after == before
    if labeled != "all":
        assert len(after) == len(before)


def test_a_file_that_is_not_listed_at_all_changes_no_draw_either():
    paths, labels = video_list()
    drawn = set(draw("5").tolist())
    for index in set(range(len(paths))) - drawn:
        kept = [k for k in range(len(paths)) if k != index]
        again = draw("5", paths=[paths[k] for k in kept], labels=labels[kept])
        assert {kept[k] for k in again} == drawn


def test_a_share_takes_what_is_usable_and_a_number_refuses():
    paths, labels = video_list()
    usable = np.ones(len(paths), dtype=bool)
    usable[np.flatnonzero(labels == 0)[:5]] = False  # 2 of 7 are left

    def draw_usable(labeled, dataset=""):
        return labeled_subset(
            labeled, paths=paths, labels=labels, classes=CLASSES, split_seed=0, usable=usable, dataset=dataset
        )

    assert np.bincount(labels[draw_usable("50pct")])[0] == 2
    with pytest.raises(InputError, match="class 'archery' has 2 usable videos"):
        draw_usable("3")
    with pytest.raises(InputError, match="class 'archery' has 2 usable videos"):
        draw_usable("1pct", dataset="k400")


def test_names_not_paths_decide():
    paths, labels = video_list()
    moved = [f"elsewhere/{path.split('/')[-2]}_{path.split('/')[-1]}" for path in paths]
    drawn = labeled_subset("5", paths=moved, names=paths, labels=labels, classes=CLASSES, split_seed=0)
    assert drawn.tolist() == draw("5").tolist()


@pytest.mark.parametrize(
    ("dataset", "labeled", "expected"),
    [
        ("k400", "1pct", [6] * 4),
        ("ucf101", "1pct", [1] * 4),
        ("ucf101", "10pct", [10] * 4),
        ("k400", "2pct", [1, 10, 3, 4]),
        ("folder", "1pct", [1, 1, 1, 1]),
    ],
)
def test_the_papers_shares_are_numbers_on_its_data_sets(dataset, labeled, expected):
    sizes = (20, 500, 150, 180)
    labels = np.repeat(np.arange(4), sizes)
    paths = [f"{k}.mp4" for k in range(len(labels))]
    drawn = labeled_subset(labeled, paths=paths, labels=labels, classes=CLASSES, split_seed=0, dataset=dataset)
    assert np.bincount(labels[drawn]).tolist() == (expected if dataset != "folder" else [1, 5, 2, 2])


def test_category_wise_keeps_the_total_and_follows_the_sizes():
    paths, labels = video_list()

    def counts_of(labeled):
        drawn = labeled_subset(
            labeled, paths=paths, labels=labels, classes=CLASSES, split_seed=0, scheme="category-wise"
        )
        return counts(drawn)

    assert counts_of("5") == [1, 12, 2, 5]  # 20 in the ratio 7 : 150 : 33 : 60 is 0.56, 12, 2.64, 4.8
    assert counts_of("7") == [1, 17, 3, 7]  # 28: 0.784, 16.8, 3.696, 6.72; the one at least costs the 3.696
    assert counts_of("1") == [1, 1, 1, 1]


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=30), share=st.floats(0, 1))
def test_apportioned_is_within_one_of_the_exact_ratio(sizes, share):
    total = len(sizes) + int(share * (sum(sizes) - len(sizes)))
    counts = apportioned(total, np.array(sizes))
    exact = np.array(sizes) * total / sum(sizes)
    assert counts.sum() == total
    assert (counts >= 1).all()
    assert (counts <= sizes).all()
    if exact.min() >= 1:
        assert abs(counts - exact).max() < 1


@pytest.mark.parametrize("total", [3, 251])
def test_apportioned_refuses(total):
    with pytest.raises(InputError, match=f"received {total} videos in all; accepted: 4 to 250"):
        apportioned(total, np.array(SIZES))


def test_an_unknown_scheme_is_met_with_the_nearest():
    assert splits.SCHEMES == config.SPLIT_SCHEMES
    with pytest.raises(InputError, match="scheme: received 'categorywise'; did you mean 'category-wise'"):
        labeled_subset("1", paths=["a"], labels=[0], classes=["x"], split_seed=0, scheme="categorywise")


def test_a_list_with_unusable_videos_is_taken_without_them(tmp_path, caplog):
    (tmp_path / "list.csv").write_text("x/1.mp4\ny/3.mp4\n")
    given = {"paths": PATHS, "labels": LABELS, "classes": CLASSES, "split_seed": 0}
    drawn = labeled_subset(str(tmp_path / "list.csv"), usable=np.array([False, True, True, True]), **given)
    assert drawn.tolist() == [2]
    assert "1 of its 2 videos cannot be used here, such as x/1.mp4" in caplog.text
    with pytest.raises(InputError, match="none of the 2 videos of .*list.csv is usable"):
        labeled_subset(str(tmp_path / "list.csv"), usable=np.zeros(4, dtype=bool), **given)


def test_write_subset_says_where_it_cannot_write(tmp_path):
    with pytest.raises(InputError, match="subset.csv: cannot be written"):
        write_subset(tmp_path / "no" / "subset.csv", indices=[0], names=PATHS, labels=LABELS, classes=CLASSES)


@pytest.mark.parametrize(
    "name", [" lead trail ", "x\ny", 'say "hi"', "caf\udce9", "a;b", "tab\there", "comma, blank", "'", '"q"']
)
def test_any_name_survives_the_programs_own_list(tmp_path, name):
    paths, classes = (f"{name}/{name}.mp4", "other/1.mp4", f"{name}/2.mp4"), ("other", name)
    labels = np.array([1, 0, 1])
    write_subset(tmp_path / "list.csv", indices=np.array([0, 1]), names=paths, labels=labels, classes=classes)
    drawn = labeled_subset(str(tmp_path / "list.csv"), paths=paths, labels=labels, classes=classes, split_seed=0)
    assert drawn.tolist() == [0, 1]


def test_a_field_of_any_length_is_named_not_followed_by_a_traceback(tmp_path):
    (tmp_path / "list.csv").write_text("x" * 200_000 + ",y\n")
    with pytest.raises(InputError, match="line 1: the data set has no training video 'x"):
        labeled_subset(str(tmp_path / "list.csv"), paths=("a",), labels=np.array([0]), classes=("y",), split_seed=0)
