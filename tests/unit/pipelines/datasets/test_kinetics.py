"""datasets/kinetics.py: the layouts, lists and file names that users have, and every way to get them wrong."""

import numpy as np
import pytest

from pipelines.datasets.kinetics import read_kinetics, read_kinetics_train
from pipelines.datasets.labeled_subset import labeled_subset
from pipelines.errors import InputError
from tests.support.trees import K400_CLASSES, kinetics_csv, kinetics_tree, kinetics_videos, touch

CLASSES = ("air drumming", "massaging person's head", "passing American football (in game)", "tai chi")
VIDEOS = kinetics_videos(CLASSES, num_train=40, num_val=12)


def contents(videos, classes):
    """(root, path, class) of every video, as a set."""
    return {(videos.root, path, classes[k]) for path, k in zip(videos.paths, videos.labels, strict=True)}


def test_the_real_set_in_names():
    videos = kinetics_videos()
    assert len(K400_CLASSES) == 400
    assert [sum(v.part == part for v in videos) for part in ("train", "val")] == [240_436, 19_796]
    assert len({v.video_id for v in videos}) == len(videos)
    assert any(v.video_id.startswith("-") for v in videos)
    assert any("_" in v.video_id for v in videos)


@pytest.mark.parametrize("bare_ids", [False, True])
@pytest.mark.parametrize("layout", ["flat", "spaces", "underscores"])
def test_layouts_and_file_names(tmp_path, layout, bare_ids):
    kinetics_tree(tmp_path, VIDEOS, layout=layout, bare_ids=bare_ids)
    annotations = read_kinetics(tmp_path)
    assert annotations.classes == CLASSES
    assert annotations.horizontal_flip
    for part in ("train", "val"):
        videos = getattr(annotations, part)
        wanted = [v for v in VIDEOS if v.part == part]
        assert videos.names == tuple(v.video_id for v in wanted)
        assert videos.absent == ()
        assert [CLASSES[k] for k in videos.labels] == [v.label for v in wanted]
        assert all((videos.root / path).is_file() for path in videos.paths)
        assert all(v.video_id in path for v, path in zip(wanted, videos.paths, strict=True))


def test_every_layout_draws_the_same_subset(tmp_path):
    drawn = []
    for number, layout in enumerate(("flat", "spaces", "underscores")):
        root = kinetics_tree(tmp_path / layout, VIDEOS[:: -1 if number else 1], layout=layout, bare_ids=number == 1)
        train = read_kinetics(root).train
        chosen = labeled_subset(
            "3", paths=train.paths, names=train.names, labels=train.labels, classes=CLASSES, split_seed=0
        )
        drawn.append({train.names[index] for index in chosen})
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(drawn[0]) == 12


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ("annotations", ("train.csv", "val.csv")),
        ("", ("kinetics_train.csv", "kinetics_val.csv")),
        ("kinetics400", ("train.csv", "validate.csv")),
    ],
)
def test_lists_quoted_and_crlf(tmp_path, lists, names):
    kinetics_tree(tmp_path, VIDEOS, lists=None)
    (tmp_path / lists).mkdir(exist_ok=True)
    for part, name in zip(("train", "val"), names, strict=True):
        text = "\ufeff" + kinetics_csv([v for v in VIDEOS if v.part == part], quoted=True, newline="\r\n")
        text += "\r\n  \r\n"
        (tmp_path / lists / name).write_text(text, encoding="utf-8", newline="")
    annotations = read_kinetics(tmp_path)
    assert (annotations.classes, len(annotations.train), len(annotations.val)) == (CLASSES, 40, 12)
    assert not annotations.train.absent


@pytest.mark.parametrize("home", ["k400", "kinetics400"])
def test_the_root_may_hold_several_data_sets(tmp_path, home):
    kinetics_tree(tmp_path / home, VIDEOS)
    assert read_kinetics(tmp_path).train.root == tmp_path / home


def test_class_folders_may_stand_for_the_list(tmp_path):
    listed = read_kinetics(kinetics_tree(tmp_path / "a", VIDEOS, layout="spaces"))
    folders = read_kinetics(kinetics_tree(tmp_path / "b", VIDEOS, layout="underscores", lists=None))
    assert folders.classes == listed.classes
    assert dict(zip(folders.train.names, folders.train.labels, strict=True)) == dict(
        zip(listed.train.names, listed.train.labels, strict=True)
    )


def test_other_folder_names_and_links(tmp_path):
    """As CVDF's script sorts them: links in videos/<part>/<class>/."""
    kinetics_tree(tmp_path / "cvdf", VIDEOS)
    for video in VIDEOS:
        folder = tmp_path / "links" / "videos" / video.part / video.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{video.stem}.mp4").symlink_to(tmp_path / "cvdf" / video.part / f"{video.stem}.mp4")
    (tmp_path / "links" / "annotations").symlink_to(tmp_path / "cvdf" / "annotations")
    assert len(read_kinetics(tmp_path / "links").train) == 40


def test_replacements_go_before_the_originals(tmp_path):
    kinetics_tree(tmp_path, VIDEOS, missing={VIDEOS[1].video_id})
    repaired = [f"replacement/replacement_for_corrupted_k400/{VIDEOS[k].stem}.mp4" for k in (0, 1)]
    touch(tmp_path, repaired)
    train = read_kinetics(tmp_path).train
    assert list(train.paths[:2]) == repaired
    assert train.paths[2] == f"train/{VIDEOS[2].stem}.mp4"
    assert train.absent == ()


def test_an_id_with_several_lines_is_told_apart_by_its_times(tmp_path):
    twin = VIDEOS[0]._replace(start_seconds=VIDEOS[0].start_seconds + 100, label="tai chi")
    kinetics_tree(tmp_path, [*VIDEOS, twin])
    train = read_kinetics(tmp_path).train
    assert train.names[0] == VIDEOS[0].stem
    assert train.names[-1] == twin.stem
    assert train.paths[-1] == f"train/{twin.stem}.mp4"
    (tmp_path / train.paths[-1]).unlink()
    assert read_kinetics(tmp_path).train.absent == (40,)


def test_other_times_in_the_file_name_do_not_matter(tmp_path):
    kinetics_tree(tmp_path, [VIDEOS[0]._replace(start_seconds=999), *VIDEOS[1:]], lists=None)
    kinetics_tree(tmp_path, VIDEOS, missing={v.video_id for v in VIDEOS})
    assert read_kinetics(tmp_path).train.absent == ()
    assert "_000999_" in read_kinetics(tmp_path).train.paths[0]


@pytest.mark.parametrize(
    ("layout", "expected"), [("flat", "train/{}.mp4"), ("underscores", "train/air_drumming/{}.mp4")]
)
def test_missing_files_keep_their_places(tmp_path, layout, expected):
    lost = {VIDEOS[1].video_id, VIDEOS[3].video_id}
    annotations = read_kinetics(kinetics_tree(tmp_path, VIDEOS, layout=layout, missing=lost))
    assert annotations.train.absent == (1, 3)
    assert annotations.train.paths[1] == expected.format(VIDEOS[1].stem)
    assert annotations.train.names == tuple(v.video_id for v in VIDEOS if v.part == "train")


def test_too_many_missing_files_are_an_error(tmp_path):
    lost = {v.video_id for v in VIDEOS[:4]}
    kinetics_tree(tmp_path, VIDEOS, missing=lost)
    message = (
        rf"train.csv: 4 of 40 videos are missing \(10.0%\), such as train/{VIDEOS[0].stem}.mp4, .*; looked in train/;"
    )
    with pytest.raises(InputError, match=message + r" accepted: at most 5.0%"):
        read_kinetics(tmp_path)
    assert len(read_kinetics(tmp_path, max_missing_share=0.1).train.absent) == 4


def test_the_training_part_alone(tmp_path):
    kinetics_tree(tmp_path, [v for v in VIDEOS if v.part == "train"])
    assert len(read_kinetics_train(tmp_path)) == 40
    with pytest.raises(InputError, match="no videos for val; accepted: one of the folders val/, validation/"):
        read_kinetics(tmp_path)


def test_a_class_spelled_otherwise_is_shown_in_both_spellings(tmp_path):
    kinetics_tree(tmp_path, VIDEOS, layout="underscores")
    (tmp_path / "train" / "tai_chi").rename(tmp_path / "train" / "TaiChi")
    with pytest.raises(
        InputError, match="train: the class 'tai chi' of .*train.csv has no folder, and the folder 'TaiChi'"
    ):
        read_kinetics(tmp_path)


def test_folders_beyond_the_list_are_logged(tmp_path, caplog):
    kinetics_tree(tmp_path, VIDEOS, layout="spaces")
    touch(tmp_path, ["train/zumba/x.mp4", "train/empty/readme.txt"])
    assert len(read_kinetics(tmp_path).train) == 40
    assert "1 folders ignored, not in" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv, line 1: received ''; accepted: the header label,youtube_id"),
        ("train/a.mp4 0\n", "train.csv, line 1: received 'train/a.mp4 0'; accepted: the header .* --dataset lists"),
        ("label,youtube_id,time_start,time_end\n", "train.csv: lists no video"),
        ("label,youtube_id,time_start,time_end\nx,abc\n", "line 2: received 'x,abc'; accepted: label,youtube_id"),
        ("label,youtube_id,time_start,time_end\nx,abc,one,2\n", "line 2: received 'x,abc,one,2'"),
        ("label,youtube_id\n,abc\n", "line 2: received label '' and id 'abc'"),
        ('label,youtube_id\n"x,abc\n', "line 2: .*accepted: Kinetics' csv format"),
        (b"label,youtube_id\nx,\xff\n", "train.csv: not UTF-8"),
    ],
)
def test_refuses_lists(tmp_path, text, message):
    kinetics_tree(tmp_path, VIDEOS)
    (tmp_path / "annotations" / "train.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        read_kinetics(tmp_path)


def test_refuses_a_validation_class_that_training_lacks(tmp_path):
    kinetics_tree(tmp_path, [*VIDEOS[:-1], VIDEOS[-1]._replace(label="tay chi")])
    with pytest.raises(InputError, match=r"val.csv, line 13: class 'tay chi' is not in .*; did you mean 'tai chi'"):
        read_kinetics(tmp_path)


def test_refuses_other_folders(tmp_path):
    with pytest.raises(InputError, match="no training videos; accepted: .*train/"):
        read_kinetics(tmp_path)
    with pytest.raises(InputError, match="absent: no such folder"):
        read_kinetics(tmp_path / "absent")
    kinetics_tree(tmp_path, VIDEOS, lists=None)
    with pytest.raises(InputError, match="no list for train, .*accepted: annotations/train.csv"):
        read_kinetics(tmp_path)


def check_size(tmp_path, *, divisor):
    """Reads, splits, opens and plans a tree of the real set's size divided by `divisor`; returns the annotations."""
    from cmpl import build
    from cmpl.config import with_settings
    from cmpl.recipes.registry import recipe_for
    from tests.support.trees import NUM_K400, remember_as_probed

    num_train, num_val = (NUM_K400[part] // divisor for part in ("train", "val"))
    videos = kinetics_videos(num_train=num_train, num_val=num_val)
    lost = {v.video_id for v in videos[::50]}
    kinetics_tree(tmp_path / "k400", videos, layout="underscores", missing=lost)
    settings = {"data.root": str(tmp_path), "data.labeled": "6", "data.split_scheme": "category-wise"}
    config = with_settings(recipe_for("k400")(), settings)
    annotations = build.annotations_of(config)
    assert (len(annotations.train), len(annotations.val), len(annotations.classes)) == (num_train, num_val, 400)
    assert len(annotations.train.absent) + len(annotations.val.absent) == len(lost)
    remember_as_probed([annotations.train, annotations.val], cache_dir=tmp_path / "cache" / "manifests")
    data = build.open_data(config)
    assert len(data.labeled) == 2400
    assert len(data.problems()) == len(lost)
    assert set(data.problems().values()) == {"missing"}
    labeled, unlabeled = build.planners(config, data)
    assert (len(labeled.pool), len(unlabeled.pool)) == (2400, num_train - len(annotations.train.absent))
    assert np.diff(unlabeled.plan(7).primary.frames).tolist() == [8] * 7


def test_a_twentieth_of_the_real_size(tmp_path, monkeypatch):
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path / "cache"))
    check_size(tmp_path, divisor=20)


@pytest.mark.slow
def test_the_real_size(tmp_path, monkeypatch):
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path / "cache"))
    check_size(tmp_path, divisor=1)
