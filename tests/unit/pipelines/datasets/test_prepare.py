"""prepare.py: what a prepared data set holds, and that nothing stops its making."""

import dataclasses
import errno
import json
import os
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from pipelines.datasets import prepare as prepare_module
from pipelines.datasets.annotations import Annotations, VideoList
from pipelines.datasets.folder import read_folder
from pipelines.datasets.prepare import prepare
from pipelines.errors import InputError
from pipelines.shares import Share
from pipelines.video.encoding import Form, Settings
from pipelines.video.frames import decode_frames
from pipelines.video.probe import probe
from pipelines.video.transcode import transcode
from tests.support.videos import make_video, remux

SMALL = Settings(short_side=32)


@pytest.fixture
def source(tmp_path) -> Path:
    """Two classes with two training videos and one for validation each, and two unlabeled videos."""
    root = tmp_path / "source"
    for number, name in enumerate(("wave, slowly", "clap")):
        for part, count in (("train", 2), ("val", 1)):
            (root / part / name).mkdir(parents=True)
            for k in range(count):
                make_video(root / part / name / f"{k}.mp4", num_frames=20, seed=10 * number + k)
    (root / "unlabeled" / "deep").mkdir(parents=True)
    make_video(root / "unlabeled" / "deep" / "a.avi", codec="mpeg4", num_frames=12)
    make_video(root / "unlabeled" / "deep" / "a.mp4", num_frames=12, seed=3)
    return root


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_result_is_the_same_data_set(source, tmp_path):
    before = snapshot(source)
    report = prepare(read_folder(source), tmp_path / "out", settings=SMALL, num_workers=2)
    assert snapshot(source) == before
    assert (report.num_files, report.num_encoded, report.failures, report.empty_classes) == (8, 8, (), ())
    assert report.size_ratio > 0
    assert report.psnr_db >= report.psnr_db_lowest > 25
    assert report.form == "intra"
    assert len(report.examples) == 8
    assert all(Path(old).is_file() and Path(new).is_file() for old, new in report.examples)

    old, new = read_folder(source), read_folder(tmp_path / "out")
    assert new.classes == old.classes
    for part in ("train", "val", "unlabeled"):
        before, after = getattr(old, part), getattr(new, part)
        assert after.labels.tolist() == before.labels.tolist(), part
        for old_path, new_path in zip(before.paths, after.paths, strict=True):
            facts = probe(after.root / new_path)
            assert Path(new_path).suffix == ".mp4"
            assert facts.num_frames == probe(before.root / old_path).num_frames
            assert (facts.width, facts.height, facts.fps) == (32, 32, 25)  # 64x48 -> 43x32 -> 32x32
            assert (facts.codec, facts.pixel_format, facts.exact_seek) == ("h264", "yuv420p", True)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_an_interrupted_preparation_goes_on(source, tmp_path, monkeypatch):
    out, calls = tmp_path / "out", []

    def counted(path, target, *, settings):
        calls.append(path)
        if len(calls) == 4:
            Path(target).write_bytes(b"half a file")
            Path(target).with_name(".killed.mp4.1.part").write_bytes(b"half a file")  # what a kill leaves
            raise KeyboardInterrupt
        return transcode(path, target, settings=settings)

    monkeypatch.setattr(prepare_module, "transcode", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(read_folder(source), out, settings=SMALL, num_workers=1)
    assert 1 <= len(json.loads((out / "prepare.json").read_text())["files"]) <= 3
    assert [draft.name for draft in out.rglob("*.part")] == [".killed.mp4.1.part"]

    num_done = len(json.loads((out / "prepare.json").read_text())["files"])
    calls[:] = [None] * 10
    report = prepare(read_folder(source), out, settings=SMALL, num_workers=1)
    assert report.num_encoded == len(calls) - 10 == 8 - num_done
    assert len(read_folder(out).train) == 4
    assert not list(out.rglob("*.part"))

    again = prepare(read_folder(source), out, settings=SMALL)
    assert (again.num_files, again.num_encoded) == (8, 0)
    assert again.psnr_db == report.psnr_db


def test_changed_and_lost_files_are_made_again(source, tmp_path):
    out = tmp_path / "out"
    prepare(read_folder(source), out, settings=SMALL)
    make_video(source / "train" / "clap" / "0.mp4", num_frames=9)
    (out / "videos" / "train" / "clap" / "1.mp4").unlink()
    assert prepare(read_folder(source), out, settings=SMALL).num_encoded == 2
    assert probe(out / "videos" / "train" / "clap" / "0.mp4").num_frames == 9


def test_damaged_videos_are_named_and_left_out(source, tmp_path):
    train = source / "train" / "clap"
    (train / "text.mp4").write_text("no video\n" * 100)
    (train / "empty.mp4").touch()
    (train / "lost.mp4").symlink_to(tmp_path / "nowhere.mp4")
    make_video(train / "tiny.mp4", height=8, width=64, num_frames=5)
    shutil.copy(make_video(tmp_path / "inside.mp4", num_frames=20, codec_options={"bf": "0"}), train / "inside.mp4")
    zero_packet(train / "inside.mp4", 10)
    out = tmp_path / "out"
    report = prepare(read_folder(source), out, settings=SMALL)
    reasons = {Path(path).name: reason for path, reason in report.failures}
    assert reasons.keys() == {"text.mp4", "empty.mp4", "lost.mp4", "tiny.mp4", "inside.mp4"}
    assert reasons["lost.mp4"] == "missing"
    assert reasons["tiny.mp4"] == "too small: 64x8; accepted: sides of 16 pixels or more"
    assert re.match(r"damaged: \d+ of 20 frames readable", reasons["inside.mp4"])
    assert [(row["path"], row["reason"]) for row in json.loads((out / "failures.json").read_text())] == [
        *report.failures
    ]
    assert (report.num_files, len(read_folder(out).train)) == (8, 4)


def zero_packet(path: Path, number: int) -> None:
    """Overwrites one packet of a file."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
    content = bytearray(path.read_bytes())
    content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(bytes(content))


def test_what_is_mended_is_counted_and_named(source, tmp_path):
    train, out = source / "train" / "clap", tmp_path / "out"
    fast = remux(train / "0.mp4", tmp_path / "fast.mp4", container_options={"movflags": "faststart"}).read_bytes()
    (train / "truncated.mp4").write_bytes(fast[: len(fast) * 2 // 3])
    parts = [make_video(tmp_path / f"{k}.ts", num_frames=8).read_bytes() for k in range(2)]
    (train / "joined.ts").write_bytes(b"".join(parts))
    make_video(train / "rows.mp4", num_frames=6, codec_options={"x264-params": "interlaced=1"})
    arguments = ["prepare", "--dataset", source, "--out", out, "--short-side", 32]
    result = CliRunner().invoke(main, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    lines = [re.sub(r"[│┃ ]+", " ", line).strip() for line in result.stdout.splitlines()]
    cut_short = probe(train / "truncated.mp4").num_frames
    assert f"frames {6 * 20 + 2 * 12 + cut_short + 16 + 6}, each of the originals once" in lines
    assert "time stamps that jump in 1 file, set to the usual distance" in lines
    assert "interlaced 1 file, now deinterlaced" in lines
    assert "headers that claim more frames 1, kept as they decode" in lines
    assert len(read_folder(out).train) == 4 + 3


def test_an_earlier_form_of_prepared_files_is_refused(source, tmp_path):
    out = tmp_path / "out"
    prepare(read_folder(source), out, settings=SMALL)
    content = json.loads((out / "prepare.json").read_text())
    del content["format"]
    (out / "prepare.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="out: received .*, made by another version, .*; accepted: a new folder"):
        prepare(read_folder(source), out, settings=SMALL)


def test_a_class_that_lost_all_its_videos_is_named(source, tmp_path):
    for path in (source / "train" / "clap").iterdir():
        path.write_bytes(b"broken")
    assert prepare(read_folder(source), tmp_path / "out", settings=SMALL).empty_classes == ("clap",)


def test_several_roots_and_unknown_classes(source, tmp_path):
    """A video of train without a class becomes unlabeled; a file in two lists is made once."""
    other = tmp_path / "other"
    (other / "clap").mkdir(parents=True)
    make_video(other / "clap" / "0.mp4", num_frames=7)

    def videos(root, **labels):
        paths = tuple(labels)
        return VideoList(root=root, paths=paths, labels=np.array([labels[path] for path in paths], dtype=np.int32))

    annotations = Annotations(
        name="mixed",
        classes=("clap", "wave"),
        train=videos(source / "train", **{"clap/0.mp4": 0, "wave, slowly/0.mp4": 1, "clap/1.mp4": -1}),
        val=videos(other, **{"clap/0.mp4": 0}),
        unlabeled=videos(source, **{"train/clap/0.mp4": -1, "unlabeled/deep/a.avi": -1}),
        horizontal_flip=True,
    )
    out = tmp_path / "out"
    assert prepare(annotations, out, settings=SMALL).num_files == 5
    made = read_folder(out)
    assert (made.train.labels.tolist(), made.val.labels.tolist()) == ([0, 1], [0])
    assert set(made.unlabeled.paths) == {
        "videos/train/clap/0.mp4", "videos/train/clap/1.mp4", "videos/unlabeled/unlabeled/deep/a.mp4"
    }  # fmt: skip
    assert probe(out / made.val.paths[0]).num_frames == 7


def test_refuses_folders_that_hold_other_things(source, tmp_path):
    annotations = read_folder(source)
    for out in (source, source / "prepared"):
        with pytest.raises(
            InputError, match=r"out: received .*, in the source folder .*; accepted: a folder elsewhere"
        ):
            prepare(annotations, out, settings=SMALL)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"holds other things; accepted: a new or empty folder"):
        prepare(annotations, tmp_path / "home", settings=SMALL)


def test_refuses_what_cannot_be_written(source, tmp_path, monkeypatch):
    annotations = read_folder(source)
    (tmp_path / "file").touch()
    for out, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "inside", "Not a directory")):
        with pytest.raises(InputError, match=rf"out: received .* \({reason}\); accepted: a folder to write"):
            prepare(annotations, out, settings=SMALL)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*prepare.json \(No space left on device\)"):
        prepare(annotations, tmp_path / "out", settings=SMALL)


def test_a_full_disk_is_not_the_videos_fault(source, tmp_path, monkeypatch):
    def full(path, target, *, settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    monkeypatch.setattr(prepare_module, "transcode", full)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prepare_module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="is on a full disk; accepted: more room, then the same command"):
        prepare(read_folder(source), out, settings=SMALL, num_workers=1)
    monkeypatch.undo()
    assert prepare(read_folder(source), out, settings=SMALL).num_encoded == 8


def test_refuses_other_settings(source, tmp_path):
    prepare(read_folder(source), tmp_path / "out", settings=SMALL)
    with pytest.raises(InputError, match=r"made with other settings \(crf 25 -> 30\); accepted: the same, or another"):
        prepare(read_folder(source), tmp_path / "out", settings=dataclasses.replace(SMALL, crf=30))


def test_the_command(source, tmp_path):
    arguments = ["prepare", "--dataset", source, "--out", tmp_path / "out", "--short-side", 32]
    (source / "train" / "clap" / "bad.mp4").write_text("bad")

    def call(*more):
        return CliRunner().invoke(main, [str(word) for word in [*arguments, *more]])

    first = call("--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["num_encoded"] == 8
    second = call()
    assert second.exit_code == 0, second.output
    assert "8 of them from before" in second.stdout
    assert "bad.mp4: not a video: no readable header" in second.stdout
    assert f"cmpl train --dataset {tmp_path / 'out'}" in second.stdout
    third = call("--crf", 30)
    assert third.exit_code == 2
    assert "made with other settings (crf 25 -> 30)" in third.stderr
    piece = decode_frames(tmp_path / "out" / "videos" / "train" / "clap" / "0.mp4", [0, 19], exact_seek=True)
    assert piece.shape == (2, 32, 32, 3)
    assert Fraction(probe(tmp_path / "out" / "videos" / "train" / "clap" / "0.mp4").fps) == 25


def test_the_table_names_the_form_and_the_next_command_what_it_needs(source, tmp_path):
    for form, words in (("gop", "P-pictures in closed GOPs"), ("aligned", "P BBB P in closed GOPs")):
        arguments = ["prepare", "--dataset", source, "--out", tmp_path / form, "--short-side", 32, "--form", form]
        result = CliRunner().invoke(main, [str(word) for word in [*arguments, "--gop", 8]])
        assert result.exit_code == 0, result.output
        assert f"{form}: {words}" in result.stdout
        assert re.search(r"a whole sample on a CPU\W+[0-9.]+ times as fast", result.stdout)
        assert ("--set clip.start_multiple=4" in result.stdout) == (form == "aligned")


def test_another_form_in_the_same_folder_is_refused_by_name(source, tmp_path):
    out = tmp_path / "out"
    prepare(read_folder(source), out, settings=SMALL)
    with pytest.raises(InputError, match=r"other settings \(form intra -> gop, gop 1 -> 16, crf 25 -> 20\)"):
        prepare(read_folder(source), out, settings=Settings(form=Form.GOP, short_side=32))


def test_files_of_a_version_without_forms_are_kept_as_gop(source, tmp_path):
    out, settings = tmp_path / "out", Settings(form=Form.GOP, short_side=32)
    prepare(read_folder(source), out, settings=settings)
    content = json.loads((out / "prepare.json").read_text())
    for aligned, refused in ((False, None), (True, r"form stride-aligned -> gop")):
        content["settings"] = {"short_side": 32, "gop": 16, "crf": 20, "stride_aligned": aligned}
        (out / "prepare.json").write_text(json.dumps(content))
        if refused is None:
            assert prepare(read_folder(source), out, settings=settings).num_encoded == 0
        else:
            with pytest.raises(InputError, match=refused):
                prepare(read_folder(source), out, settings=settings)


def listed(out: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in out.glob("*.csv")} | {"classes": (out / "classes.txt").read_text()}


def test_shares_have_no_file_twice_and_the_last_one_writes_the_lists(source, tmp_path, monkeypatch):
    """Three shares in the order 2, 0, 1 make what one call makes; the first ones write no list."""
    next(source.glob("train/*/*")).with_name("broken.mp4").write_text("no video")
    annotations = read_folder(source)
    prepare(annotations, tmp_path / "alone", settings=SMALL, num_workers=1)
    made: list[Path] = []
    real = prepare_module.transcode

    def counted(path: Path, *args: Any, **named: Any) -> Any:
        made.append(path)
        return real(path, *args, **named)

    monkeypatch.setattr(prepare_module, "transcode", counted)
    out = tmp_path / "shared"
    for index in (2, 0, 1):
        assert not (out / "train.csv").exists()
        share = Share(index=index, number=3)
        report = prepare(annotations, out, settings=SMALL, num_workers=1, share=share)
        assert report.is_whole == (index == 1)
    assert sorted(made) == sorted(set(made))
    assert listed(out) == listed(tmp_path / "alone")
    failures = [json.loads((tmp_path / name / "failures.json").read_text()) for name in ("alone", "shared")]
    assert failures[0] == failures[1]
    assert len(failures[0]) == 1
    again = len(made)
    assert prepare(annotations, out, settings=SMALL, num_workers=1).num_encoded == 0  # one call goes on from shares
    assert len(made) == again + 1  # the broken one is tried anew


def test_a_share_that_was_stopped_holds_the_lists_back(source, tmp_path):
    annotations, out = read_folder(source), tmp_path / "out"
    shares = [Share(index=index, number=2) for index in (0, 1)]
    prepare(annotations, out, settings=SMALL, num_workers=1, share=shares[0])
    record = json.loads((out / "prepare-share-1-of-2.json").read_text())
    (out / "prepare-share-1-of-2.json").write_text(json.dumps({**record, "finished": False}))
    assert not prepare(annotations, out, settings=SMALL, num_workers=1, share=shares[1]).is_whole
    assert not (out / "train.csv").exists()
    assert prepare(annotations, out, settings=SMALL, num_workers=1, share=shares[0]).is_whole
