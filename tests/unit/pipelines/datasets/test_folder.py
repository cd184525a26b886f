"""datasets/folder.py: both layouts, and every way to get them wrong."""

import os
import unicodedata

import numpy as np
import pytest

from pipelines.datasets.annotations import Annotations, ListOptions, VideoList
from pipelines.datasets.folder import read_folder
from pipelines.datasets.prepare import prepare
from pipelines.datasets.registry import read_dataset
from pipelines.errors import InputError
from pipelines.video.transcode import Settings
from tests.support.videos import make_video


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
        ((), "no train/; accepted: a folder with\n  train/<class>/<video>"),
        (("train/a/1.mp4", "test/a/2.mp4"), "no val/, but test; accepted: the name val/, or --val 20pct"),
        (("train/1.mp4", "val/1.mp4"), r"train/ holds no class folder; (.|\n)*--dataset k400, ucf101 or lists"),
        (("val/a/1.mp4",), "no train/; accepted"),
        (("train.csv", "validation.csv"), "no val.csv, but validation.csv; accepted: the name val.csv"),
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
        ("", "train.csv: lists no video; accepted: path,class, one a line"),
        ("a.mp4\0,x\n", r"train.csv, line 1: received the path 'a.mp4.x00'; accepted: a path relative"),
        ("../../etc/passwd,x\n", "line 1: received the path '../../etc/passwd'; .*, or any with --set data.outside_ro"),
        ("v/../v.mp4,x\n", "'v.mp4' is in both train and val"),
        ("movie,what\na.mp4,x\n", "line 1: received 'movie', which names no video; accepted: titles such as path"),
        ('id,choice\n1.mp4,"{""choices"": [""x""]}"\n', "line 2: received several classes, .*; accepted: one"),
        (f"a.mp4,{'x' * 200_000}\n", r"train.csv, line 1: field larger than field limit .*; accepted: path,label"),
    ],
)
def test_refuses_csv_lists(tmp_path, train, message):
    csv(tmp_path, train=train, val="v.mp4,x\n")
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "video_path;label\nclips/a.mp4;walk\nclips/b, 2.mp4;run\n",
        "Label\tFile Name\twho\nwalk\tclips/a.mp4\tme\nrun\tclips/b, 2.mp4\tyou\n",
        'id,video,choice,annotator\n7,/data/upload/3/a.mp4,walk,1\n8,"/data/local-files/?d=clips/b%2C%202.mp4",run,1\n',
        'class,url\nwalk,https://host.example/x/a.mp4?sig=1\nrun,"s3://bucket/b, 2.mp4"\n',
        'ID,Category,video\n7,walk,ROOT/clips/a.mp4\n8,run,"ROOT/clips/b, 2.mp4"\n',
    ],
    ids=["semicolon", "tab", "Label Studio", "addresses", "absolute"],
)
def test_csv_lists_of_other_programs(tmp_path, text):
    csv(tmp_path, train=text.replace("ROOT", str(tmp_path)), val="clips/v.mp4,walk\n")
    train = read_folder(tmp_path).train
    assert [path.removeprefix("clips/") for path in train.paths] == ["a.mp4", "b, 2.mp4"]
    assert train.labels.tolist() == [1, 0]


def test_columns_by_their_titles(tmp_path):
    csv(tmp_path, train="where,path,what,label\na.mp4,x,walk,9\n", val="where,what\nb.mp4,walk\n")
    options = ListOptions(path_column="Where", label_column="what")
    annotations = read_folder(tmp_path, lists=options)
    assert (annotations.classes, annotations.train.paths) == (("walk",), ("a.mp4",))
    with pytest.raises(InputError, match="--path-column: received 'wo', not in .*, line 1; accepted: where, path"):
        read_folder(tmp_path, lists=ListOptions(path_column="wo"))


def test_videos_outside_the_root_are_a_choice(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    csv(root, train=f"../other/a.mp4,x\n{tmp_path}/b.mp4,x\n", val="v.mp4,x\n")
    assert read_folder(root, lists=ListOptions(outside_root=True)).train.paths == ("../other/a.mp4", "../b.mp4")


ODD_NAMES = (" lead trail ", "x\ny", 'say "hi"', "caf\udce9", "a;b", "tab\there", "comma, blank", "plain", "'", '"q"')


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_survives_the_programs_own_lists(tmp_path, name):
    """As `cmpl prepare` writes them and `cmpl train` reads them."""
    for part in ("train", "val"):
        for folder in (name, "other"):
            (tmp_path / "old" / part / folder).mkdir(parents=True)
            make_video(tmp_path / "old" / part / folder / f"{name}.mp4", num_frames=3)
    old = read_folder(tmp_path / "old")
    prepare(old, tmp_path / "new", settings=Settings(short_side=32), num_workers=1)
    new = read_folder(tmp_path / "new")
    assert new.classes == old.classes
    for part in ("train", "val"):
        before, after = getattr(old, part), getattr(new, part)
        assert after.labels.tolist() == before.labels.tolist()
        assert after.paths == tuple(f"videos/{path}" for path in before.paths)
        assert all((after.root / path).is_file() for path in after.paths)


def test_sub_folders_belong_to_the_class_folder(folders, caplog):
    touch(folders, "train/walk/cam2/deep/1.mp4", "train/walk/cam2/notes.txt")
    (folders / "train/walk/all").symlink_to(folders / "train")
    (folders / "train/walk/run").symlink_to(folders / "train/run fast")
    annotations = read_folder(folders)
    assert annotations.train.paths[-1] == "train/walk/cam2/deep/1.mp4"
    assert annotations.train.labels.tolist() == [0, 1, 1, 1]
    assert "1 of 4 videos lie in sub-folders and belong to the class folder above" in caplog.text


def test_system_folders_are_named_and_passed_over(folders, caplog, monkeypatch):
    touch(
        folders,
        "train/__MACOSX/x.mp4",
        "val/lost+found/.x",
        "train/walk/._b.mp4",
        "unlabeled/a.mp4",
        "unlabeled/no/b.mp4",
    )
    (folders / "train/walk/itself").symlink_to(folders / "train/walk/itself")
    (folders / "unlabeled/itself.mp4").symlink_to(folders / "unlabeled/itself.mp4")
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("unlabeled/no"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    annotations = read_folder(folders)
    assert annotations.classes == ("run fast", "walk")
    assert len(annotations.train) == 3
    assert annotations.unlabeled.paths == ("unlabeled/a.mp4", "unlabeled/itself.mp4"), "the latter will be set aside"
    for said in (
        "train: 1 hidden or system files or folders passed over (such as __MACOSX)",
        "val: 1 hidden or system files or folders passed over (such as lost+found)",
        "walk: 1 hidden or system files or folders passed over (such as ._b.mp4)",
        "no: passed over, it cannot be read (Permission denied)",
        "1 files ignored, no videos (such as itself)",
    ):
        assert said in caplog.text


def test_a_class_without_a_validation_video_is_named(folders, caplog):
    touch(folders, "val/run fast/notes.txt")
    assert read_folder(folders).val.paths == ("val/walk/9.mkv",)
    assert "no video of class 'run fast' to evaluate on" in caplog.text


@pytest.mark.parametrize("suffix", [".MTS", ".m2ts", ".gif", ".webm", ".3gp", ".VOB"])
def test_suffixes_of_cameras(folders, suffix):
    touch(folders, f"train/walk/c{suffix}")
    assert f"train/walk/c{suffix}" in read_folder(folders).train.paths


def test_one_class_in_two_spellings_of_an_accent(tmp_path, caplog):
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    touch(tmp_path, f"train/{two}/1.mp4", f"val/{one}/2.mp4", "train/Cafe/1.mp4", "train/cafe/1.mp4")
    (tmp_path / "classes.txt").write_text(f"{one}\ncafe\nCafe\n", encoding="utf-8")
    annotations = read_folder(tmp_path)
    assert (annotations.classes[0], annotations.val.labels.tolist()) == (one, [0])
    assert sorted(annotations.train.labels.tolist()) == [0, 1, 2]
    assert "classes 'cafe' and 'Cafe' differ in upper and lower case alone" in caplog.text


def test_a_path_in_another_spelling_of_an_accent_is_found(tmp_path):
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{two}.mp4", "v.mp4")
    csv(tmp_path, train=f"{one}.mp4,x\n", val="v.mp4,x\n")
    train = read_dataset("folder", tmp_path).train
    assert (train.paths, train.absent) == ((f"{two}.mp4",), ())


def test_refuses_a_csv_list_that_is_not_utf8(tmp_path):
    csv(tmp_path, val="v.mp4,x\n")
    (tmp_path / "train.csv").write_bytes(b"\xff\xfea.mp4,x\n")
    with pytest.raises(InputError, match=r"train.csv, line 1: not UTF-8 .character 1.; accepted: a UTF-8 csv file"):
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
