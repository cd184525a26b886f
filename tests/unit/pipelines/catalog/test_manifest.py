"""manifest.py: what is probed, what is remembered, what is forgotten."""

import os
import pickle
import shutil

import numpy as np
import pytest

from pipelines.catalog import manifest as manifest_module
from pipelines.catalog.manifest import open_manifest
from pipelines.catalog.manifest_cache import manifest_file
from pipelines.errors import InputError, VideoError
from pipelines.video.probe import probe
from tests.support.videos import make_video

PATHS = ("a b/1.mp4", "a b/2.avi", "broken.mp4", "gone.mp4", "ünï,\udcff.mp4")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    (root / "a b").mkdir(parents=True)
    make_video(root / "a b/1.mp4", num_frames=20, gop=5)
    make_video(root / "a b/2.avi", num_frames=12, codec="mpeg4")
    (root / "broken.mp4").write_text("no video")
    shutil.copy(root / "a b/1.mp4", root / PATHS[4])  # a name that is not UTF-8
    return root


@pytest.fixture
def probed(monkeypatch):
    """The names of the files that were probed, in any order."""
    names: list[str] = []

    def noted(path):
        names.append(path.name)
        return probe(path)

    monkeypatch.setattr(manifest_module, "probe", noted)
    return names


def opened(root, paths=PATHS, **kwargs):
    labels = np.arange(len(paths)) % 2
    return open_manifest(root, paths, labels, cache_dir=root.parent / "cache", **kwargs)


def test_says_what_probe_says(root):
    manifest = opened(root)
    assert len(manifest) == 5
    for index in (0, 1, 4):
        facts = probe(manifest.path(index))
        assert manifest.video(index) == facts
        for name in ("num_frames", "fps", "width", "height", "exact_seek"):
            assert getattr(manifest, name)[index] == getattr(facts, name)
    assert manifest.labels.tolist() == [0, 1, 0, 1, 0]
    assert manifest.usable.tolist() == [0, 1, 4]
    (broken, reason), gone = manifest.problem_table()
    assert broken == "broken.mp4"
    assert reason.startswith("not a video")
    assert gone == ("gone.mp4", "missing")
    with pytest.raises(VideoError, match=r"^missing$"):
        manifest.video(3)


def test_remembers(root, probed):
    first = opened(root)
    assert sorted(probed) == sorted(["1.mp4", "2.avi", "broken.mp4", PATHS[4]])
    probed.clear()
    again = opened(root)
    assert not probed
    np.testing.assert_array_equal(first.facts, again.facts)
    assert first.problems == again.problems
    assert again.video(1) == first.video(1)


def test_other_lists_of_the_root_share_the_memory(root, probed):
    opened(root, PATHS[:2])
    probed.clear()
    manifest = opened(root, (PATHS[2], PATHS[1]))
    assert probed == ["broken.mp4"]
    assert manifest.video(1).num_frames == 12
    probed.clear()
    assert opened(root).usable.tolist() == [0, 1, 4]
    assert probed == [PATHS[4]]
    assert len(list((root.parent / "cache").iterdir())) == 1


def test_probes_what_changed_again(root, probed):
    opened(root)
    probed.clear()
    make_video(root / "broken.mp4", num_frames=7)
    os.utime(root / PATHS[0], ns=(1, 1))
    (root / PATHS[1]).unlink()
    manifest = opened(root)
    assert sorted(probed) == ["1.mp4", "broken.mp4"]
    assert manifest.num_frames.tolist() == [20, 0, 7, 0, 20]
    assert manifest.problems == {1: "missing", 3: "missing"}


def test_a_refusal_of_the_file_system_is_not_remembered(root, probed, monkeypatch):
    real_open = open

    def refusing(path, *args):
        if str(path).endswith("2.avi"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args)

    monkeypatch.setattr("pipelines.video.probe.open", refusing, raising=False)
    assert opened(root).problems[1] == "unreadable: Permission denied"
    monkeypatch.undo()
    assert opened(root).usable.tolist() == [0, 1, 4]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * 99])
def test_a_damaged_memory_is_built_anew(root, caplog, damage):
    first = opened(root)
    file = manifest_file(root, cache_dir=root.parent / "cache")
    file.write_bytes(damage(file.read_bytes()))
    again = opened(root)
    assert "probed again" in caplog.text
    np.testing.assert_array_equal(first.facts, again.facts)
    opened(root)
    assert caplog.text.count("probed again") == 1


def test_flipped_bytes_of_the_memory_never_lie(root):
    first = opened(root)
    file = manifest_file(root, cache_dir=root.parent / "cache")
    data = file.read_bytes()
    for at in range(0, len(data), 97):
        changed = bytearray(data)
        changed[at] ^= 0x55
        file.write_bytes(bytes(changed))
        np.testing.assert_array_equal(opened(root).facts, first.facts)


def test_an_interruption_keeps_what_was_probed(root, probed):
    def interrupt(done, total, what):
        assert (total, what) == (4, "probing videos")
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(root, num_workers=1, progress=interrupt)
    probed.clear()
    opened(root)
    assert len(probed) == 2


def test_saves_every_so_often(root, monkeypatch):
    saved = []
    monkeypatch.setattr(manifest_module, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(manifest_module, "save_table", lambda file, table: saved.append(len(table.paths)))
    manifest = opened(root)
    assert saved == [1, 2, 3, 4]
    assert manifest.usable.tolist() == [0, 1, 4]


def test_the_root_stays_untouched_and_may_be_reached_by_links(root, probed):
    before = sorted(root.rglob("*"))
    opened(root)
    assert sorted(root.rglob("*")) == before
    probed.clear()
    (root.parent / "link").symlink_to(root)
    opened(root.parent / "link")
    assert not probed


def test_goes_through_pickle(root):
    manifest = opened(root)
    assert pickle.loads(pickle.dumps(manifest)).video(1) == manifest.video(1)


def test_an_empty_list(root):
    assert opened(root, ()).usable.tolist() == []


def test_refuses_labels_of_another_number(root):
    with pytest.raises(InputError, match=r"labels: received shape \(2,\); accepted: one for each of 5 paths"):
        open_manifest(root, PATHS, np.zeros(2), cache_dir=root.parent / "cache")


def test_refuses_a_cache_that_cannot_be_written(root):
    (root.parent / "cache").write_text("a file")
    with pytest.raises(
        InputError,
        match=r"cache_dir: cannot write .*data-.*\.npz \(File exists\); accepted: a path that can be written",
    ):
        opened(root)


@pytest.mark.parametrize("slow_share", [-1.0, 2.0])
def test_a_slow_disk_is_asked_by_threads_to_the_same_answers(root, monkeypatch, slow_share):
    monkeypatch.setattr(manifest_module, "_STATS_A_TASK", 2)  # so that there is more than one task
    monkeypatch.setattr(manifest_module, "_SLOW_SHARE", slow_share)
    manifest = opened(root)
    status = [os.stat(root / path) for path in PATHS if path != "gone.mp4"]
    there = [index for index, path in enumerate(PATHS) if path != "gone.mp4"]
    assert manifest.facts["size_bytes"][[0, 1, 4]].tolist() == [status[k].st_size for k in (0, 1, 3)]
    assert manifest.file_ids[there].tolist() == [[one.st_dev, one.st_ino] for one in status]
    assert dict(manifest.problem_table())["gone.mp4"] == "missing"


def test_a_file_from_before_1970_is_taken(root):
    os.utime(root / "a b/1.mp4", ns=(0, -(10**18)))
    assert opened(root).usable.tolist() == [0, 1, 4]
    assert opened(root).usable.tolist() == [0, 1, 4]


def test_an_inode_may_take_all_64_bits(root, monkeypatch):
    def stat(path, **options):
        status = asked(path, **options)
        if not str(path).endswith("2.avi"):
            return status
        return os.stat_result((status[0], 2**64 - 5, *status[2:]), {"st_mtime_ns": status.st_mtime_ns})

    asked = os.stat
    monkeypatch.setattr(os, "stat", stat)
    assert opened(root).file_ids[:2, 1].tolist() == [asked(root / PATHS[0]).st_ino, -5]
