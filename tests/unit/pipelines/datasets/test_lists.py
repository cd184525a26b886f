"""datasets/lists.py and peers.py: the lists of PySlowFast and MMAction2."""

import pytest

from pipelines.datasets.lists import read_lists
from pipelines.datasets.text_files import read_labeled_paths
from pipelines.errors import InputError
from tests.support.trees import touch

TRAIN = ("a b/1, x.mp4", "a b/2 2.mp4", "c/-3_.avi")
VAL = ("c/4.mp4",)


def listed(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
    return [(video.path, video.label, video.line) for video in read_labeled_paths(tmp_path / "list.txt")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b/1.mp4 0\r\n\r\nc.mp4 12\r\n", [("a b/1.mp4", 0, 1), ("c.mp4", 12, 3)]),
        ("\ufeff./a 1.mp4\nb, 2.mp4\t3", [("a 1.mp4", None, 1), ("b, 2.mp4", 3, 2)]),
        ("/data/x y.mp4,4\nz.mp4   -1  ", [("/data/x y.mp4", 4, 1), ("z.mp4", -1, 2)]),
    ],
)
def test_lines(tmp_path, text, expected):
    assert listed(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n", "lists no video; accepted: `path label`"),
        ("a.mp4 0\nframes/x 163 1\n", "line 2: received the path 'frames/x 163'; accepted: `path label`"),
        ("a b.mp4 zero\n", "line 1: received the path 'a b.mp4 zero'; accepted: `path label`"),
    ],
)
def test_refuses_lines(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        listed(tmp_path, text)


def write(root, **texts):
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text, encoding="utf-8", newline="")
    return root


def text_of(paths, labels, *, prefix="", newline="\n"):
    return "".join(f"{prefix}{path} {label}{newline}" for path, label in zip(paths, labels, strict=True))


def test_pyslowfast(tmp_path):
    touch(tmp_path, [*TRAIN, *VAL, "u/5.mp4"])
    write(
        tmp_path,
        train__csv=text_of(TRAIN, (0, 0, 1), newline="\r\n"),
        test__csv=text_of(VAL, (1,)),
        unlabeled__csv="u/5.mp4\n",
        classes__txt="run\nwalk slowly\n",
    )
    annotations = read_lists(tmp_path)
    assert annotations.classes == ("run", "walk slowly")
    assert annotations.train.paths == TRAIN
    assert annotations.train.labels.tolist() == [0, 0, 1]
    assert annotations.val.paths == VAL
    assert (annotations.unlabeled.paths, annotations.unlabeled.labels.tolist()) == (("u/5.mp4",), [-1])


def test_pyslowfast_lists_for_validation_and_test(tmp_path):
    """PySlowFast wants train.csv, val.csv and test.csv: validation is on the second, wherever it lies."""
    touch(tmp_path, [*TRAIN, *VAL, "t.mp4"])
    write(tmp_path, train__csv=text_of(TRAIN, (0, 0, 1)), val__csv=text_of(VAL, (1,)), test__csv="t.mp4 0\n")
    assert read_lists(tmp_path).val.paths == VAL
    (tmp_path / "val.csv").rename(tmp_path / "validation.csv")
    assert read_lists(tmp_path).val.paths == VAL
    (tmp_path / "validation.csv").unlink()
    assert read_lists(tmp_path).val.paths == ("t.mp4",)


@pytest.mark.parametrize("inside", [True, False])
def test_absolute_paths(tmp_path, inside):
    """Names do not hold the machine's folders."""
    videos = tmp_path / "root" if inside else tmp_path / "else where"
    touch(videos, [*TRAIN, *VAL])
    (tmp_path / "root").mkdir(exist_ok=True)
    write(
        tmp_path / "root",
        train__csv=text_of(TRAIN, (0, 0, 1), prefix=f"{videos}/"),
        val__csv=text_of(VAL, (1,), prefix=f"{videos}/"),
    )
    annotations = read_lists(tmp_path / "root")
    assert annotations.train.root == videos
    assert annotations.train.names == annotations.train.paths == TRAIN
    assert not annotations.train.absent


@pytest.mark.parametrize("prefix", ["", "videos_{}/", "{}/", "videos/"])
def test_mmaction2(tmp_path, prefix):
    touch(tmp_path, [prefix.format("train") + path for path in TRAIN] + [prefix.format("val") + path for path in VAL])
    touch(tmp_path, ["videos/other.mp4"])
    (tmp_path / "annotations").mkdir()
    for name in ("k_train_list_videos__txt", "k_train_split_2_videos__txt"):
        write(tmp_path / ("annotations" if "split" in name else ""), **{name: text_of(TRAIN, (0, 0, 1))})
    write(tmp_path, k_val_list_videos__txt=text_of(VAL, (1,)))
    annotations = read_lists(tmp_path)
    assert annotations.classes == ("0", "1")
    assert annotations.train.paths == tuple(prefix.format("train") + path for path in TRAIN)
    assert annotations.val.paths == tuple(prefix.format("val") + path for path in VAL)
    assert annotations.train.names == TRAIN


def test_the_official_split_is_chosen(tmp_path):
    touch(tmp_path, [*TRAIN, *VAL])
    for number, labels in ((1, (0, 0, 1)), (2, (1, 1, 0))):
        write(tmp_path, **{f"ucf_train_split_{number}_videos__txt": text_of(TRAIN, labels)})
        write(tmp_path, **{f"ucf_val_split_{number}_videos__txt": text_of(VAL, (1,))})
    assert read_lists(tmp_path).train.labels.tolist() == [0, 0, 1]
    assert read_lists(tmp_path, split=2).train.labels.tolist() == [1, 1, 0]


def test_unlabeled_lines_in_the_training_list(tmp_path):
    touch(tmp_path, [*TRAIN, *VAL, "u.mp4", "w.mp4"])
    write(tmp_path, train__txt=text_of(TRAIN, (0, 0, 1)) + "u.mp4\nw.mp4 -1\n", val__txt=text_of(VAL, (0,)))
    assert read_lists(tmp_path).train.labels.tolist() == [0, 0, 1, -1, -1]


def test_missing_files(tmp_path):
    touch(tmp_path, [*TRAIN[1:], *VAL])
    write(tmp_path, train__csv=text_of(TRAIN, (0, 0, 1)), val__csv=text_of(VAL, (1,)))
    with pytest.raises(
        InputError, match=r"train.csv: 1 of 3 videos are missing \(33.3%\), such as a b/1, x.mp4; looked in"
    ):
        read_lists(tmp_path)
    assert read_lists(tmp_path, max_missing_share=0.4).train.absent == (0,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, r"no list for train; accepted: train.csv, train.txt, train_list.txt, <name>_train_list_videos.txt"),
        ({"train__csv": "x", "val__csv": "c/4.mp4 0\n"}, "train.csv, line 1: received the path 'x'"),
        (
            {"train__csv": "c/4.mp4 2\n", "classes__txt": "run\nwalk\n"},
            "train.csv, line 1: received label 2; accepted: 0 to 1",
        ),
        ({"train__csv": "c/4.mp4 -2\n"}, "train.csv, line 1: received label -2"),
        ({"train__csv": "c/-3_.avi 1\n", "val__csv": "c/4.mp4 0\n"}, "train: empty class '0'"),
        (
            {"train__csv": "a b/2 2.mp4 0\nc/-3_.avi 100000000\n"},
            r"train.csv, line 2: received label 100000000; accepted: 0 to 2, since a class needs a video",
        ),
        ({"train__csv": "../../etc/passwd.mp4 0\n"}, r"train.csv, line 1: received the path .*outside_root=true"),
        ({"train__csv": f"c/{'9' * 5000}.mp4 {'9' * 5000}\n"}, "train.csv, line 1: received the path"),
        ({"train__csv": "c/4\0.mp4 0\n"}, "train.csv, line 1: received the path"),
        ({"train__csv": "c/-3_.avi 0\n", "val__csv": "c/4.mp4\n"}, "val.csv, line 1: 'c/4.mp4' has no label"),
        (
            {"train__csv": "c/-3_.avi 0\n", "val__csv": "/c/4.mp4 0\n"},
            "val.csv, line 1: received '/c/4.mp4' after 'c/-3_.avi'",
        ),
    ],
)
def test_refuses(tmp_path, texts, message):
    touch(tmp_path, [*TRAIN, *VAL])
    if message.startswith(("train.csv, line", "train: ")):
        texts = {"val__csv": "c/4.mp4 0\n", **texts}
    write(tmp_path, **texts)
    with pytest.raises(InputError, match=message):
        read_lists(tmp_path)


@pytest.mark.parametrize("named", [True, False])
def test_labels_from_1(tmp_path, named, caplog):
    touch(tmp_path, [*TRAIN, *VAL])
    write(tmp_path, train__txt=text_of(TRAIN, (1, 1, 2)), val__txt=text_of(VAL, (2,)))
    if named:
        write(tmp_path, classes__txt="run\nwalk\n")
    annotations = read_lists(tmp_path)
    assert annotations.classes == (("run", "walk") if named else ("1", "2"))
    assert (annotations.train.labels.tolist(), annotations.val.labels.tolist()) == ([0, 0, 1], [1])
    assert "labels are 1 to 2: they are taken to count from 1" in caplog.text


def test_a_list_too_long_for_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.datasets.text_files.MAX_LINES", 2)
    write(tmp_path, train__txt=text_of(TRAIN[:2], (0, 0)), val__txt=text_of(VAL, (0,)))
    touch(tmp_path, [*TRAIN, *VAL])
    read_lists(tmp_path)
    write(tmp_path, train__txt=text_of(TRAIN, (0, 0, 0)))
    with pytest.raises(InputError, match="train.txt: received more than 2 lines; accepted: at most so many"):
        read_lists(tmp_path)


def test_a_name_too_long_for_the_disk_is_missing(tmp_path):
    touch(tmp_path, [*TRAIN, *VAL])
    write(tmp_path, train__txt=text_of((*TRAIN, "x" * 5000 + ".mp4"), (0, 0, 0, 0)), val__txt=text_of(VAL, (0,)))
    assert read_lists(tmp_path, max_missing_share=0.5).train.absent == (3,)


def test_two_lists_for_one_part_are_named(tmp_path):
    write(tmp_path, train__csv="a.mp4 0\n", train__txt="a.mp4 0\n")
    with pytest.raises(InputError, match=r"received several lists for train, train.csv and train.txt; accepted: one"):
        read_lists(tmp_path)
    with pytest.raises(InputError, match="absent: no such folder; accepted: the folder of train.csv"):
        read_lists(tmp_path / "absent")
