"""datasets/folder.py: both layouts, and every way to get them wrong."""

import numpy as np
import pytest

from pipelines.datasets.annotations import Annotations, VideoList
from pipelines.datasets.folder import read_folder
from pipelines.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def folders(tmp_path):
    touch(tmp_path, "train/walk/b.MP4", "train/walk/a, b.mp4", "train/run fast/1.avi", "val/walk/9.mkv")
    return tmp_path


def test_a_folder_a_class(folders):
    annotations = read_folder(folders)
    assert annotations.name == folders.name
    assert annotations.classes == ("run fast", "walk")
    assert annotations.train.paths == ("train/run fast/1.avi", "train/walk/a, b.mp4", "train/walk/b.MP4")
    assert annotations.train.labels.tolist() == [0, 1, 1]
    assert annotations.val.paths == ("val/walk/9.mkv",)
    assert annotations.val.labels.tolist() == [1]
    assert annotations.unlabeled is None
    assert annotations.horizontal_flip is True
    assert read_folder(folders, horizontal_flip=False).horizontal_flip is False


def test_unlabeled_videos_lie_at_any_depth(folders):
    touch(folders, "unlabeled/z.mp4", "unlabeled/a/b/c.webm", "unlabeled/a/note.txt", "unlabeled/.x/d.mp4")
    (folders / "unlabeled/a/loop").symlink_to(folders / "unlabeled")
    unlabeled = read_folder(folders).unlabeled
    assert unlabeled.paths == ("unlabeled/a/b/c.webm", "unlabeled/z.mp4")
    assert unlabeled.labels.tolist() == [-1, -1]


def test_hidden_files_and_other_files_are_left_out(folders, caplog):
    touch(folders, "train/walk/.hidden.mp4", "train/walk/notes.txt", "train/readme.md", "train/.git/x.mp4")
    assert len(read_folder(folders).train) == 3
    assert "1 files ignored, no videos (such as notes.txt)" in caplog.text
    assert "1 files ignored, not in a class folder (such as readme.md)" in caplog.text


def test_links_are_followed_and_broken_ones_kept(folders, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    touch(elsewhere, "jump/1.mp4")
    (folders / "train/jump").symlink_to(elsewhere / "jump")
    (folders / "train/walk/gone.mp4").symlink_to(elsewhere / "absent.mp4")
    annotations = read_folder(folders)
    assert "jump" in annotations.classes
    assert "train/walk/gone.mp4" in annotations.train.paths  # the manifest will call it missing


def test_classes_txt_sets_the_order(folders):
    (folders / "classes.txt").write_text("walk\n\nrun fast\n")
    annotations = read_folder(folders)
    assert annotations.classes == ("walk", "run fast")
    assert annotations.train.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("walk\nrun fst\n", "train: class 'run fast' is not in classes.txt; did you mean 'run fst'"),
        ("walk\nwalk\nrun fast\n", "class 'walk' is there twice"),
        ("walk\nrun fast\nswim\n", "empty class 'swim'"),
    ],
)
def test_refuses_classes_txt(folders, text, message):
    (folders / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_folder(folders)


def test_refuses_an_empty_class(folders):
    touch(folders, "train/sit/notes.txt")
    with pytest.raises(InputError, match=r"empty class 'sit': train/sit holds no video; accepted: .*mp4"):
        read_folder(folders)


def test_refuses_a_validation_class_that_training_lacks(folders):
    touch(folders, "val/wlak/1.mp4")
    with pytest.raises(InputError, match="val: class 'wlak' is not in train; did you mean 'walk'"):
        read_folder(folders)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no train/ and no val/; accepted: a folder with\n  train/<class>/<video>"),
        (("train/a/1.mp4",), "no val/; accepted"),
        (("train/1.mp4", "val/1.mp4"), r"train/ holds no class folder; (.|\n)*--dataset k400, ucf101 or lists"),
        (("val/a/1.mp4",), "no train/; accepted"),
        (("train.csv",), "train.csv but no val.csv; accepted"),
    ],
)
def test_refuses_another_layout(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


def test_refuses_a_missing_root(tmp_path):
    with pytest.raises(InputError, match="absent: no such folder; accepted: a folder with"):
        read_folder(tmp_path / "absent")


def csv(root, **texts):
    for name, text in texts.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def test_csv_lists(tmp_path):
    csv(
        tmp_path,
        train='\ufeffPath,Label\r\nclips/b 1.mp4,walk\r\n"clips/a, 2.mp4", run fast\r\n',
        val="./clips/c.mp4,walk\n\n",
        unlabeled="clips/d.mp4\nclips/e.mp4,ignored\n",
    )
    annotations = read_folder(tmp_path)
    assert annotations.classes == ("run fast", "walk")
    assert annotations.train.paths == ("clips/b 1.mp4", "clips/a, 2.mp4")
    assert annotations.train.labels.tolist() == [1, 0]
    assert annotations.val.paths == ("clips/c.mp4",)
    assert annotations.unlabeled.paths == ("clips/d.mp4", "clips/e.mp4")
    assert annotations.unlabeled.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("a.mp4,x\nb, 2.mp4,x\n", "train.csv, line 2: received 3 fields; accepted: path,label .quote a path"),
        ("a.mp4,x\nb.mp4\n", "train.csv, line 2: 'b.mp4' has no class; accepted: path,class"),
        ("/a.mp4,x\n", "train.csv, line 1: received the path '/a.mp4'; accepted: a path relative"),
        ("a.mp4,x\na.mp4,x\n", "'a.mp4' is listed 2 times; accepted: each video once"),
        ("v.mp4,x\n", "'v.mp4' is in both train and val"),
        ('"a.mp4,x\n', "train.csv, line 1: .*accepted: path,label"),
        ("a.mp4,y\n", "val.csv, line 1: class 'x' is not in train; accepted: y"),
        ("", "no classes; accepted: at least one|val.csv, line 1: class 'x' is not in train"),
    ],
)
def test_refuses_csv_lists(tmp_path, train, message):
    csv(tmp_path, train=train, val="v.mp4,x\n")
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


def test_refuses_a_csv_list_that_is_not_utf8(tmp_path):
    csv(tmp_path, val="v.mp4,x\n")
    (tmp_path / "train.csv").write_bytes(b"\xff\xfea.mp4,x\n")
    with pytest.raises(InputError, match=r"train.csv: not UTF-8"):
        read_folder(tmp_path)


def video_list(root, paths, labels):
    return VideoList(root=root, paths=paths, labels=np.array(labels, dtype=np.int32))


@pytest.mark.parametrize(
    ("classes", "train_labels", "message"),
    [
        ((), [0, 1], "no classes"),
        (("x", "x"), [0, 1], "class 'x' is named twice"),
        (("x", "y"), [0, 2], "train: received label 2; accepted: -1 to 1"),
        (("x", "y"), [0, -1], "train: empty class 'y'"),
    ],
)
def test_annotations_refuse_contradictions(tmp_path, classes, train_labels, message):
    with pytest.raises(InputError, match=message):
        Annotations(
            name="set",
            classes=classes,
            train=video_list(tmp_path, ("a", "b"), train_labels),
            val=video_list(tmp_path, ("c",), [0]),
            unlabeled=None,
            horizontal_flip=True,
        )


@pytest.mark.parametrize(
    ("paths", "labels", "message"),
    [
        (("a",), np.zeros(2, np.int32), "labels: received int32"),
        (("a",), np.zeros(1), "labels: received float64"),
        (("a",), np.full(1, -2, np.int32), "labels: received -2"),
        (("",), np.zeros(1, np.int32), "received the path ''"),
        (("/a",), np.zeros(1, np.int32), "received the path '/a'"),
    ],
)
def test_video_lists_refuse(tmp_path, paths, labels, message):
    with pytest.raises(InputError, match=message):
        VideoList(root=tmp_path, paths=paths, labels=labels)
