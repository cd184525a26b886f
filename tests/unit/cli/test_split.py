"""`cmpl split`, and one data set's videos as the unlabeled pool of another (Table A1)."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from cli.options import config_of
from cmpl import build
from cmpl.build import annotations_of, labels_drawn
from cmpl.recipes.registry import RECIPES
from pipelines.datasets.registry import DATASETS
from pipelines.errors import InputError
from tests.support.trees import (
    K400_CLASSES,
    UCF_CLASSES,
    kinetics_tree,
    kinetics_videos,
    remember_as_probed,
    touch,
    ucf_tree,
    ucf_videos,
)

KINETICS = kinetics_videos(K400_CLASSES[:5], num_train=400, num_val=10)
UCF = ucf_videos(UCF_CLASSES[:4], num_train=60, num_val=12)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CMPL_DATA", raising=False)


def split(*arguments) -> dict:
    result = CliRunner().invoke(main, ["split", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def config(dataset, root, *, settings=(), **given):
    return config_of(dataset=dataset, data_root=str(root), settings=settings, **given)


def test_kinetics(tmp_path):
    kinetics_tree(tmp_path / "k400", KINETICS)
    result = split("--dataset", "k400", "--data-root", "k400", "--labeled", "1pct", "--seed", "0")
    assert result["file"] == "k400-1pct-s0.csv"
    assert (result["num_labeled"], result["num_train"], result["num_val"], result["num_missing"]) == (30, 400, 10, 0)
    assert result["per_class"] == dict.fromkeys(K400_CLASSES[:5], 6)
    lines = (tmp_path / result["file"]).read_text().splitlines()
    label_of = {video.video_id: video.label for video in KINETICS}
    assert all(label_of[video_id] == label for video_id, _, label in (line.rpartition(",") for line in lines))
    assert lines == sorted(lines)


def test_the_list_comes_back_in_another_copy(tmp_path):
    """Drawn where the files lie flat, given back where they lie in class folders under bare ids."""
    kinetics_tree(tmp_path / "flat", KINETICS)
    kinetics_tree(tmp_path / "sorted", KINETICS[::-1], layout="underscores", bare_ids=True)
    drawn = split("--dataset", "k400", "--data-root", "flat", "--seed", "2")
    assert split("--dataset", "k400", "--data-root", "sorted", "--seed", "2")["sha256"] == drawn["sha256"]
    again = config("k400", "sorted", labeled=drawn["file"])
    train = annotations_of(again).train
    names = sorted(train.names[index] for index in labels_drawn(again, annotations_of(again)))
    assert names == [line.rpartition(",")[0] for line in (tmp_path / drawn["file"]).read_text().splitlines()]


def test_seeds_and_schemes(tmp_path):
    kinetics_tree(tmp_path, KINETICS)
    results = [split("--dataset", "k400", "--data-root", ".", "--seed", seed) for seed in (0, 1, 2)]
    assert len({result["sha256"] for result in results}) == 3
    result = split("--dataset", "k400", "--data-root", ".", "--scheme", "category-wise")
    assert result["file"] == "k400-1pct-category-wise-s0.csv"
    sizes = {name: sum(v.label == name and v.part == "train" for v in KINETICS) for name in K400_CLASSES[:5]}
    assert result["num_labeled"] == 30
    assert all(abs(count - 30 * sizes[name] / 400) < 1 for name, count in result["per_class"].items())


def test_missing_files_are_counted_and_named(tmp_path):
    whole = kinetics_tree(tmp_path / "whole", KINETICS)
    drawn = split("--dataset", "k400", "--data-root", whole)
    listed = (tmp_path / drawn["file"]).read_text().splitlines()
    lost = {listed[0].rpartition(",")[0], listed[7].rpartition(",")[0]}
    kinetics_tree(tmp_path / "partly", KINETICS, missing=lost)
    partly = split("--dataset", "k400", "--data-root", "partly", "--out", "partly.csv")
    assert partly["num_labeled"] == 30
    assert partly["num_missing"] == 2
    assert {path[len("train/") :][:11] for path in partly["missing"]} == lost
    common = set(listed) & set((tmp_path / "partly.csv").read_text().splitlines())
    assert len(common) == 28
    shown = CliRunner().invoke(main, ["split", "--dataset", "k400", "--data-root", "partly"])
    assert "k400-1pct-s0.csv: 30 of 400 training videos, 6 in each of 5 classes" in shown.stdout
    assert "2 of 410 listed files are missing: train/" in shown.stdout
    assert "Next: cmpl train --dataset k400 --data-root partly --labeled k400-1pct-s0.csv" in shown.stdout


def test_ucf_and_its_official_splits(tmp_path, monkeypatch):
    ucf_tree(tmp_path / "ucf101", UCF, classes=UCF_CLASSES[:4])
    ucf_tree(tmp_path / "ucf101", {"train": UCF["val"], "val": UCF["train"]}, classes=UCF_CLASSES[:4], split=2)
    monkeypatch.setenv("CMPL_DATA", str(tmp_path))
    assert split("--dataset", "ucf101", "--labeled", "10pct")["num_labeled"] == 40
    second = split("--dataset", "ucf101", "--set", "data.official_split=2")
    assert (second["file"], second["num_labeled"], second["num_train"]) == ("ucf101-split2-1pct-s0.csv", 4, 12)
    everything = split("--dataset", "ucf101", "--labeled", "all")
    assert everything["num_labeled"] == everything["num_train"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "k40"], "did you mean 'k400'"),
        (
            ["--dataset", "k400"],
            "data.root: received none; accepted: the data set's folder (--data-root or $CMPL_DATA)",
        ),
        (["--dataset", "k400", "--data-root", "."], "no training videos; accepted: the folder of Kinetics-400"),
        (["--dataset", "k400", "--data-root", "k"], "class 'abseiling' has 1 usable videos; accepted: at most 1"),
        (["--dataset", "k400", "--data-root", "k", "--scheme", "categorywise"], "did you mean 'category-wise'"),
        (
            ["--dataset", "k400", "--data-root", "k", "--labeled", "ten"],
            "labeled: received 'ten' (no such file); accepted: 1p",
        ),
        (
            ["--dataset", "k400", "--data-root", "k", "--labeled", "list.csv"],
            "has no training video 'abc'; accepted: p",
        ),
        (
            ["--dataset", "k400", "--data-root", "k", "--labeled", "1", "--out", "no/x.csv"],
            "no/x.csv: cannot be written",
        ),
        (["--dataset", "lists", "--data-root", "."], "no list for train; accepted: train.csv"),
        (["--dataset", "ucf101", "--data-root", "."], "no trainlist01.txt; accepted"),
        (["--dataset", "ucf101", "--data-root", ".", "--set", "data.official_split=9"], "received 9; accepted"),
        (["--dataset", "k400", "--data-root", "k", "--set", "data.max_missing_share=2"], "accepted: 0 to 1"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, message):
    kinetics_tree(tmp_path / "k", kinetics_videos(K400_CLASSES[:3], num_train=5, num_val=3))
    (tmp_path / "list.csv").write_text("abc,abseiling\n")
    result = CliRunner().invoke(main, ["split", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def table_a1(tmp_path, monkeypatch, **given):
    """UCF-101 with Kinetics as the unlabeled pool, both opened."""
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path / "cache"))
    ucf_tree(tmp_path / "ucf101", UCF, classes=UCF_CLASSES[:4])
    kinetics_tree(tmp_path / "k400", [video for video in KINETICS if video.part == "train"])
    run = config("ucf101", tmp_path, unlabeled="k400", **given)
    annotations = annotations_of(run)
    for videos in ([annotations.train, annotations.val], [annotations.unlabeled]):
        remember_as_probed(videos, cache_dir=tmp_path / "cache" / "manifests")
    return run, build.open_data(run)


def test_table_a1(tmp_path, monkeypatch):
    run, data = table_a1(tmp_path, monkeypatch, labeled="all")
    assert data.classes == UCF_CLASSES[:4]
    assert len(data.labeled) == 60
    assert len(data.unlabeled) == 400
    assert set(data.unlabeled.labels.tolist()) == {-1}
    labeled, unlabeled = build.planners(run, data)
    assert (len(labeled.pool), len(unlabeled.pool)) == (60, 460)
    without = config("ucf101", tmp_path, unlabeled="k400", labeled="all", settings=("data.labeled_in_unlabeled=false",))
    pool = build.unlabeled_pool(without, data)
    assert len(pool) == 400
    assert all("k400/train/" in path for path in pool.paths)


def test_a_folder_of_videos_as_the_pool(tmp_path):
    ucf_tree(tmp_path / "ucf101", UCF, classes=UCF_CLASSES[:4])
    touch(tmp_path / "more", ["a/b/c.mp4", "d.webm", "e.txt"])
    run = config("ucf101", "ucf101", unlabeled=str(tmp_path / "more"))
    assert annotations_of(run).unlabeled.paths == ("a/b/c.mp4", "d.webm")
    assert annotations_of(run).unlabeled.root == tmp_path / "more"
    touch(tmp_path / "own", ["train/x/1.mp4", "val/x/2.mp4", "unlabeled/3.mp4"])
    run = config("ucf101", "ucf101", unlabeled="folder", unlabeled_root="own")
    assert annotations_of(run).unlabeled.paths == ("train/x/1.mp4", "unlabeled/3.mp4")
    assert np.all(annotations_of(run).unlabeled.labels == -1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unlabeled": "k40"}, "data.unlabeled: received 'k40'; did you mean 'k400'"),
        ({"unlabeled": "k400", "unlabeled_root": "absent"}, "absent: no such folder; accepted: the folder of Kinetics"),
        ({"unlabeled": "empty"}, "empty: no videos; accepted: files at any depth"),
        ({"unlabeled": "empty", "unlabeled_root": "x"}, "--unlabeled-root: received 'x', but --unlabeled is a folder"),
    ],
)
def test_refuses_unlabeled(tmp_path, given, message):
    ucf_tree(tmp_path / "ucf101", UCF, classes=UCF_CLASSES[:4])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        annotations_of(config("ucf101", "ucf101", **given))


def test_missing_files_of_ones_own_lists(tmp_path):
    touch(tmp_path / "own", [f"v/{k}.mp4" for k in range(12)])
    (tmp_path / "own" / "train.csv").write_text("".join(f"v/{k}.mp4,x\n" for k in range(10)) + "v/lost.mp4,x\n")
    (tmp_path / "own" / "val.csv").write_text("v/11.mp4,x\n")
    result = split("--dataset", "own", "--labeled", "all", "--set", "data.max_missing_share=0.1")
    assert (result["num_labeled"], result["num_train"], result["missing"]) == (10, 11, ["v/lost.mp4"])
    with pytest.raises(InputError, match=r"own/train.csv: 1 of 11 videos are missing \(9.1%\), such as v/lost.mp4"):
        annotations_of(config_of(dataset="own", data_root=None, settings=()))


def test_a_data_set_with_unlabeled_videos_takes_no_others(tmp_path):
    touch(tmp_path / "own", ["train/x/1.mp4", "val/x/2.mp4", "unlabeled/3.mp4"])
    with pytest.raises(InputError, match="data.unlabeled: received 'k400', but own has unlabeled videos of its own"):
        annotations_of(config_of(dataset="own", data_root=None, settings=(), unlabeled="k400"))


def test_every_recipe_names_a_data_set_that_can_be_read():
    assert {RECIPES[name]().data.dataset for name in RECIPES} == set(DATASETS)
