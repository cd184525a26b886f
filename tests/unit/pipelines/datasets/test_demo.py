"""The demo data set: its pictures, its files, and what happens when the making or the folder is disturbed."""

import colorsys
import itertools
import json
import runpy
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.datasets import demo, demo_scenes
from pipelines.datasets.demo import (
    DemoSize,
    DemoVideo,
    demo_videos,
    ensure_demo,
    render_demo_video,
)
from pipelines.datasets.demo_scenes import Look
from pipelines.errors import InputError

GOLDEN = Path(__file__).parents[3] / "golden"
SMALL = DemoSize(num_classes=2, num_train_per_class=3, num_val_per_class=1, num_frames=12, width=50, height=48)


@pytest.fixture(scope="module")
def small_root(tmp_path_factory):
    """A small data set that no test may change."""
    return ensure_demo(tmp_path_factory.mktemp("demo") / "small", size=SMALL)


@pytest.fixture
def own_root(tmp_path):
    """A small data set that a test may damage."""
    return ensure_demo(tmp_path / "own", size=SMALL)


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_rendered_frames_match_golden():
    made = runpy.run_path(str(GOLDEN / "make_demo_frames.py"))["golden_frames"]()
    assert made == json.loads((GOLDEN / "demo_frames.json").read_text())


def test_video_is_pure_function_of_seed_class_split_number():
    video = DemoVideo(class_index=3, split="train", number=2)
    frames = render_demo_video(video, size=SMALL, seed=0)
    larger = replace(SMALL, num_train_per_class=7)
    assert np.array_equal(frames, render_demo_video(video, size=larger, seed=0))
    others = [replace(video, class_index=4), replace(video, split="val"), replace(video, number=3)]
    assert all(not np.array_equal(frames, render_demo_video(v, size=SMALL, seed=0)) for v in others)
    assert not np.array_equal(frames, render_demo_video(video, size=SMALL, seed=1))


def track(motion, *, seed):
    rng = np.random.default_rng(seed)
    return demo_scenes.motion_track(motion, rng, num_frames=60, width=64, height=56, unit=1.4, size=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_motions_go_where_their_names_say(seed):
    for motion, axis, sign in (("right", "x", 1), ("left", "x", -1), ("up", "y", -1), ("down", "y", 1)):
        path = track(motion, seed=seed)
        moved, still = (path.x, path.y) if axis == "x" else (path.y, path.x)
        assert np.median(np.diff(moved)) * sign > 0.3
        assert np.ptp(still) == 0
    for motion, sign in (("zoom_in", 1), ("zoom_out", -1)):
        assert np.median(np.diff(track(motion, seed=seed).radius)) * sign > 0.1
    for motion, sign in (("orbit_cw", 1), ("orbit_ccw", -1)):
        path = track(motion, seed=seed)
        dx, dy = np.diff(path.x), np.diff(path.y)
        turn = dx[:-1] * dy[1:] - dy[:-1] * dx[1:]  # positive: to the right, since y points down
        assert (turn * sign > 0).all()
    for motion, axis in (("sway", "x"), ("bob", "y")):
        steps = np.diff(getattr(track(motion, seed=seed), axis))
        assert (steps > 0).any()
        assert (steps < 0).any()


def test_object_of_class_is_seen_moving():
    """The colorful pixels of class `right` drift to the right in the pictures themselves."""
    rng = np.random.default_rng(0)
    frames = demo_scenes.render_shot(rng, class_index=0, look=Look.OBJECT, num_frames=8, width=54, height=48)
    weight = np.clip(np.ptp(frames.astype(np.float64), axis=3) - 60, 0, None)  # (T, H, W) colorfulness
    x = (weight * np.arange(54)).sum((1, 2)) / weight.sum((1, 2))
    assert x[-1] - x[0] > 5


@pytest.mark.parametrize("class_index", range(10))
def test_a_shot_shows_the_hue_of_its_class_on_the_object_or_on_the_ground(class_index):
    """The hue where it is to be seen, of the mean over many shots; gray elsewhere."""
    for look, wanted in ((Look.OBJECT, demo_scenes.OBJECT_HUES), (Look.GROUND, demo_scenes.GROUND_HUES)):
        hues, grays = [], []
        for number in range(8):
            rng = np.random.default_rng([class_index, number])
            planes = [np.full((1, 8, 8), 80, np.float32) for _ in range(3)]
            seen = demo_scenes._colored(planes, rng, class_index=class_index, look=look)
            ground = np.array([plane[0, 0, 0] for plane in planes])
            colored, gray = (seen, ground) if look is Look.OBJECT else (ground, seen)
            hues.append(colorsys.rgb_to_hsv(*(colored - min(colored.min(), 0)))[0] * 2 * np.pi)
            grays.append(np.ptp(gray))
        mean = np.arctan2(np.sin(hues).mean(), np.cos(hues).mean()) / (2 * np.pi)
        assert abs((mean - wanted[class_index] + 0.5) % 1 - 0.5) < 0.03
        assert max(grays) < 25


def test_classes_that_are_neighbors_in_one_look_are_not_in_the_other():
    def apart(hues, a, b):
        return abs((hues[a] - hues[b] + 0.5) % 1 - 0.5)

    looks = (demo_scenes.OBJECT_HUES, demo_scenes.GROUND_HUES)
    for a, b in itertools.combinations(range(10), 2):
        near, far = sorted(apart(hues, a, b) for hues in looks)
        assert near > 0.09
        assert near > 0.11 or far > 0.29
    assert min(abs(x - y) for x in looks[0] for y in looks[1]) > 0.04


def test_the_two_shots_of_a_video_draw_their_looks_apart(monkeypatch):
    """Each look comes first and second in half of the videos, whatever the other shot shows."""
    seen = []

    def shot(rng, *, look, num_frames, **_):
        seen.append(look)
        return np.zeros((num_frames, 2, 2, 3), np.uint8)

    monkeypatch.setattr(demo_scenes, "render_shot", shot)
    for number in range(400):
        rng = demo_scenes.scene_rng(0, class_index=2, split="train", number=number)
        assert len(demo_scenes.render_video(rng, class_index=2, num_frames=21, width=54, height=48)) == 21
    pairs = Counter(zip(seen[::2], seen[1::2], strict=True))
    assert len(pairs) == 4
    assert all(60 < number < 140 for number in pairs.values())


def test_the_cut_between_shots_is_seen_in_the_middle_of_a_video():
    size = DemoSize()
    for number in range(3):
        video = DemoVideo(class_index=8, split="train", number=number + 6)
        frames = render_demo_video(video, size=size, seed=0).astype(np.float64)
        change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        assert change.argmax() == 19


def test_read_demo_lists_the_made_files(small_root):
    found = demo.read_demo(small_root, size=SMALL)
    assert (found.name, found.classes, found.horizontal_flip) == ("demo", ("left", "right"), False)
    videos = demo_videos(SMALL)
    for split, listed in (("train", found.train), ("val", found.val)):
        want = {v.path: found.classes.index(demo_scenes.MOTIONS[v.class_index]) for v in videos if v.split == split}
        assert dict(zip(listed.paths, listed.labels.tolist(), strict=True)) == want
    assert found.unlabeled is None


def test_kinds_of_files_are_spread_over_classes():
    videos = demo_videos(DemoSize())
    assert len(videos) == 10 * (60 + 25)
    for class_index in range(10):
        train = [v for v in videos if v.class_index == class_index and v.split == "train"]
        assert sum(v.is_avi for v in train) == 6
        assert sum(v.is_short for v in train) == 3
    assert len({v.path for v in videos}) == len(videos)


def test_files_are_what_the_docstring_says(small_root):
    avi, mp4 = small_root / "train/right/right_000.avi", small_root / "train/right/right_002.mp4"
    for path, codec, fps in ((avi, "mpeg4", Fraction(25, 2)), (mp4, "h264", 15)):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == (codec, fps)
            assert (stream.width, stream.height, stream.codec_context.pix_fmt) == (50, 48, "yuv420p")
            frames = list(container.decode(stream))
            assert len(frames) == 12
            if path == mp4:
                assert av.video.frame.PictureType.B in {frame.pict_type for frame in frames}
    short = decoded(small_root / "train/right/right_001.mp4")
    assert 6 <= len(short) <= 9
    assert {p.parent.name for p in small_root.glob("val/*/*")} == {"right", "left"}


@pytest.mark.parametrize("number", [0, 2])
def test_encoders_keep_the_colors(small_root, number):
    video = DemoVideo(class_index=0, split="train", number=number)
    shown = decoded(small_root / video.path).astype(np.float64)
    drawn = render_demo_video(video, size=SMALL, seed=0).astype(np.float64)
    assert np.abs(shown - drawn).mean() < 7  # mostly the sensor noise, which an encoder drops
    colorful = np.ptp(drawn, axis=3) > 100
    assert colorful.sum() > 200
    assert np.abs((shown - drawn)[colorful].mean(axis=0)).max() < 12


def test_same_bytes_with_one_worker_and_with_two(tmp_path):
    size = replace(SMALL, num_train_per_class=14, num_val_per_class=2)
    one = ensure_demo(tmp_path / "one", size=size, num_workers=1)
    two = ensure_demo(tmp_path / "two", size=size, num_workers=2)
    assert (one / demo.CHECKSUMS_NAME).read_bytes() == (two / demo.CHECKSUMS_NAME).read_bytes()
    paths = json.loads((one / demo.CHECKSUMS_NAME).read_text())["files"]
    assert [path for path in paths if (one / path).read_bytes() != (two / path).read_bytes()] == []


def test_default_root_is_in_the_cache_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path))
    calls = []
    first = ensure_demo(size=SMALL, progress=lambda *call: calls.append(call))
    assert first.parent == tmp_path
    assert [call[:2] for call in calls] == [(i, 8) for i in range(1, 9)]
    assert ensure_demo(size=SMALL, progress=lambda *call: calls.append(call)) == first
    assert len(calls) == 8
    assert ensure_demo(size=SMALL, seed=1) != first


def test_interrupted_making_goes_on(tmp_path, small_root):
    def stop_at_three(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    root = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt):
        ensure_demo(root, size=SMALL, progress=stop_at_three)
    assert not root.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert kept
    ensure_demo(root, size=SMALL)
    made = {path.name: path.stat().st_mtime_ns for path in root.rglob("*.mp4")}
    assert kept.items() <= made.items()
    assert (root / demo.CHECKSUMS_NAME).read_bytes() == (small_root / demo.CHECKSUMS_NAME).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"demo", "demo.lock"}
    assert {path.name for path in root.iterdir()} == {"train", "val", demo.CHECKSUMS_NAME}


def test_drafts_of_a_killed_making_are_removed(tmp_path):
    folder = tmp_path / f"demo.{demo._digest(demo._identity(SMALL, 0))}.partial" / "train" / "left"
    folder.mkdir(parents=True)
    (folder / ".left_001.mp4.123.part").write_bytes(b"half")
    root = ensure_demo(tmp_path / "demo", size=SMALL)
    assert (root / "train/left/left_001.mp4").exists()
    assert not list(root.rglob(".*"))


def test_leftovers_of_another_seed_are_not_taken(tmp_path, small_root):
    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_demo(tmp_path / "demo", size=SMALL, seed=1, progress=stop)
    root = ensure_demo(tmp_path / "demo", size=SMALL)
    assert (root / demo.CHECKSUMS_NAME).read_bytes() == (small_root / demo.CHECKSUMS_NAME).read_bytes()


def test_of_two_at_once_one_makes_and_one_waits(tmp_path):
    calls = []

    def make(_):
        return ensure_demo(tmp_path / "demo", size=SMALL, progress=lambda *call: calls.append(call))

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(make, range(2))) == {tmp_path / "demo"}
    assert len(calls) == 8


def test_missing_added_and_cut_files_are_named(own_root):
    path = own_root / "train/left/left_001.mp4"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match=r"damaged \(missing train/left/left_001.mp4\); delete the folder"):
        ensure_demo(own_root, size=SMALL)
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"another length in train/left/left_001\.mp4"):
        ensure_demo(own_root, size=SMALL)
    path.write_bytes(data)
    (own_root / "val/left/.hidden").write_bytes(data)
    assert ensure_demo(own_root, size=SMALL) == own_root
    (own_root / "val/left/mine.mp4").write_bytes(data)
    with pytest.raises(InputError, match=r"not of the data set: val/left/mine\.mp4"):
        ensure_demo(own_root, size=SMALL)


def test_another_data_set_is_refused(small_root):
    with pytest.raises(InputError, match=r"holds another demo data set, .*'seed': 0.* wanted .*'seed': 1"):
        ensure_demo(small_root, size=SMALL, seed=1)


def test_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"has no checksums\.json; accepted: an empty folder or a demo"):
        ensure_demo(tmp_path, size=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "match"), [("{", "is not JSON"), ("[]", "lacks a field"), ('{"seed": 0}', "lacks a field")]
)
def test_broken_record_is_named(own_root, text, match):
    (own_root / demo.CHECKSUMS_NAME).write_text(text)
    with pytest.raises(InputError, match=match):
        ensure_demo(own_root, size=SMALL)


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("num_classes", 11, "2 to 10"),
        ("num_train_per_class", 0, "1 or more"),
        ("num_val_per_class", 0, "1 or more"),
        ("num_frames", 7, "8 or more"),
        ("width", 65, "even numbers from 48"),
        ("height", 32, "even numbers from 48"),
    ],
)
def test_size_says_what_it_accepts(field, value, accepted):
    with pytest.raises(InputError, match=f"{field}: received {value}.*{accepted}"):
        DemoSize(**{field: value})


def test_seed_and_workers_say_what_they_accept(tmp_path):
    with pytest.raises(InputError, match="seed: received -1; accepted: 0 to"):
        ensure_demo(tmp_path / "demo", size=SMALL, seed=-1)
    with pytest.raises(InputError, match="num_workers: received 0; accepted: 1 or more"):
        ensure_demo(tmp_path / "demo", size=SMALL, num_workers=0)


def test_workers_import_neither_torch_nor_dali():
    code = "import sys, pipelines.datasets.demo; assert not {'torch', 'nvidia.dali'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])
