"""datasets/ucf101.py: the official lists and the folders users have, and every way to get them wrong."""

import pytest

from pipelines.datasets.ucf101 import read_ucf101
from pipelines.errors import InputError
from tests.support.trees import UCF_CLASSES, touch, ucf_tree, ucf_videos

CLASSES = ("Archery", "HandstandPushups", "YoYo")
VIDEOS = ucf_videos(CLASSES, num_train=30, num_val=12)


def tree(root, **options):
    return ucf_tree(root, VIDEOS, **{"classes": CLASSES, **options})


def test_the_real_size(tmp_path):
    annotations = read_ucf101(ucf_tree(tmp_path, ucf_videos()))
    assert annotations.classes == UCF_CLASSES
    assert (len(annotations.train), len(annotations.val), len(annotations.classes)) == (9_537, 3_783, 101)
    assert not annotations.train.absent
    assert "HandstandPushups/v_HandStandPushups_g08_c01.avi" in annotations.train.names


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("folder", ["UCF-101", "videos", ""])
@pytest.mark.parametrize("lists", ["ucfTrainTestlist", "annotations", ""])
def test_layouts(tmp_path, lists, folder, newline):
    annotations = read_ucf101(tree(tmp_path, lists=lists, folder=folder, newline=newline))
    assert annotations.classes == CLASSES
    assert annotations.train.names == tuple(VIDEOS["train"])
    inside = f"{folder}/" if folder else ""
    assert annotations.train.paths == tuple(inside + path for path in VIDEOS["train"])
    assert annotations.val.paths == tuple(inside + path for path in VIDEOS["val"])
    assert [CLASSES[k] for k in annotations.train.labels] == [path.split("/")[0] for path in VIDEOS["train"]]
    assert [CLASSES[k] for k in annotations.val.labels] == [path.split("/")[0] for path in VIDEOS["val"]]
    assert annotations.horizontal_flip
    assert not annotations.train.absent
    assert not annotations.val.absent


@pytest.mark.parametrize("home", ["ucf101", "UCF101"])
def test_the_root_may_hold_several_data_sets(tmp_path, home):
    tree(tmp_path / home)
    assert read_ucf101(tmp_path).train.root == tmp_path / home


def test_official_splits(tmp_path):
    tree(tmp_path)
    swapped = {"train": VIDEOS["val"], "val": VIDEOS["train"]}
    ucf_tree(tmp_path, swapped, classes=CLASSES, split=3)
    assert read_ucf101(tmp_path, split=3).train.names == tuple(VIDEOS["val"])
    assert read_ucf101(tmp_path).train.names == tuple(VIDEOS["train"])
    with pytest.raises(InputError, match="no trainlist02.txt; accepted: UCF-101's lists in ucfTrainTestlist/"):
        read_ucf101(tmp_path, split=2)
    with pytest.raises(InputError, match="official_split: received 4; accepted: UCF-101's 1, 2 or 3"):
        read_ucf101(tmp_path, split=4)


def test_a_transcoded_copy_without_class_folders(tmp_path):
    tree(tmp_path, missing={path for part in VIDEOS.values() for path in part})
    files = [path.split("/")[1].replace(".avi", ".mp4") for part in VIDEOS.values() for path in part]
    touch(tmp_path / "videos", files)
    train = read_ucf101(tmp_path).train
    assert train.paths == tuple(f"videos/{path.split('/')[1].replace('.avi', '.mp4')}" for path in VIDEOS["train"])
    assert train.names == tuple(VIDEOS["train"])


def test_missing_files(tmp_path):
    lost = VIDEOS["train"][4:6]
    tree(tmp_path, missing=lost)
    with pytest.raises(
        InputError, match=rf"trainlist01.txt: 2 of 30 videos are missing \(6.7%\), such as UCF-101/{lost[0]}"
    ):
        read_ucf101(tmp_path)
    train = read_ucf101(tmp_path, max_missing_share=0.07).train
    assert train.absent == (4, 5)
    assert train.paths[4] == f"UCF-101/{lost[0]}"


def test_a_class_spelled_otherwise_is_shown_in_both_spellings(tmp_path):
    tree(tmp_path)
    (tmp_path / "UCF-101" / "HandstandPushups").rename(tmp_path / "UCF-101" / "HandStandPushups")
    message = (
        "the class 'HandstandPushups' of .*classInd.txt has no folder, and the folder 'HandStandPushups' has no class"
    )
    with pytest.raises(InputError, match=message):
        read_ucf101(tmp_path)


def test_the_nearest_spelling_is_shown(tmp_path):
    tree(tmp_path, folder="")
    (tmp_path / "YoYo").rename(tmp_path / "Yo-Yo")
    touch(tmp_path, ["samples/intro.mp4"])
    with pytest.raises(InputError, match="the class 'YoYo' .*, and the folder 'Yo-Yo' has no class"):
        read_ucf101(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classInd.txt", "1 Archery\n1 YoYo\n", "classInd.txt, line 2: received '1 YoYo'"),
        ("classInd.txt", "1 Archery\nYoYo\n", "classInd.txt, line 2: received 'YoYo'; accepted: `1 ApplyEyeMakeup`"),
        ("classInd.txt", "0 Archery\n1 YoYo\n", "classInd.txt: 2 classes with other numbers than 1 to 2"),
        ("classInd.txt", b"1 \xff\n", "classInd.txt: not UTF-8"),
        ("trainlist01.txt", "Archrey/v_a.avi 1\n", "line 1: class 'Archrey' is not in .*; did you mean 'Archery'"),
        ("trainlist01.txt", "Archery/v_a.avi 3\n", "line 1: 'Archery' is given number 3; accepted: classInd.txt's, 1"),
        ("trainlist01.txt", "Archery/a 1\n", "line 1: received the path 'Archery/a'; accepted: `path label`"),
        ("trainlist01.txt", "\n", "trainlist01.txt: lists no video"),
        ("testlist01.txt", VIDEOS["train"][0], "is in both train and val"),
    ],
)
def test_refuses_lists(tmp_path, name, text, message):
    tree(tmp_path)
    (tmp_path / "ucfTrainTestlist" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        read_ucf101(tmp_path)


def test_refuses_other_folders(tmp_path):
    with pytest.raises(InputError, match="absent: no such folder"):
        read_ucf101(tmp_path / "absent")
    tree(tmp_path, missing={path for part in VIDEOS.values() for path in part})
    with pytest.raises(InputError, match="no videos; accepted: UCF-101/<class>/<video>"):
        read_ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist" / "classInd.txt").unlink()
    with pytest.raises(InputError, match="classInd.txt: cannot be read .*; accepted: UCF-101's classInd.txt"):
        read_ucf101(tmp_path)
