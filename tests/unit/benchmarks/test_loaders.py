"""The comparison of loaders and the GPU suite in small: equal frames, the gate, guarded sections."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.frame import PictureType

from benchmarks.gpu import decoding as gpu_decoding
from benchmarks.gpu import sections as gpu_sections
from benchmarks.gpu import setup as gpu_setup
from benchmarks.gpu import suite as gpu_suite
from benchmarks.loaders import augment, workload
from benchmarks.loaders import on_cpu as loaders
from benchmarks.loaders.decoders import LIBRARIES, OURS, Setup, reference_frames, setups
from benchmarks.loaders.videos import ALIGNED, GOP, INTRA, KINDS, ORIGINAL, make_videos
from benchmarks.training import step

SMALL_CASE = replace(
    step.cases(on_gpu=False)[0],
    networks=((10, 1 / 16, 2), (10, 1 / 16, 4)),
    stem_kernel=(3, 3, 3),
    crop_size=16,
    num_labeled=2,
    num_unlabeled=4,
)
GEOMETRY = gpu_setup.Suite(folder=Path("nowhere"), cpu=True).geometry()


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("files"), num_videos=2, num_frames=90, size=(68, 48))


@pytest.fixture(scope="module")
def workloads(videos):
    return {kind: workload.workload_of(paths, num_samples=4, geometry=GEOMETRY) for kind, paths in videos.items()}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return gpu_setup.Suite(folder=tmp_path_factory.mktemp("suite"), cpu=True)


def test_prepared_files_have_the_form_of_prepare_and_files_are_made_once(videos):
    for path in videos[GOP]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            pictures = [(frame.key_frame, frame.pict_type) for frame in container.decode(stream)]
        assert (stream.width, stream.height) == (64, 48)
        assert [key for key, _ in pictures] == [k % 16 == 0 for k in range(90)]
        assert PictureType.B not in {kind for _, kind in pictures}
    with av.open(str(videos[ORIGINAL][0])) as container:
        assert PictureType.B in {frame.pict_type for frame in container.decode(video=0)}
    before = [path.stat().st_mtime_ns for path in videos[ORIGINAL] + videos[GOP]]
    again = make_videos(videos[ORIGINAL][0].parent, num_videos=2, num_frames=90, size=(68, 48))
    assert [path.stat().st_mtime_ns for path in again[ORIGINAL] + again[GOP]] == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", LIBRARIES)
def test_every_loader_shows_the_frames_that_plain_decoding_shows(workloads, loader, kind):
    if problem := LIBRARIES[loader].problem():
        pytest.skip(problem)
    video, planned = workloads[kind].job(1)
    for frames in (planned, np.array([70, 3, 3, 41, 89, 0])):
        expected = reference_frames(video, frames).astype(np.int16)
        for setup in setups(loader, num_cores=2):
            assert np.abs(setup.decode(video, frames) - expected).mean() <= loaders.MAX_DIFFERENCE, setup


def test_the_list_is_the_same_in_every_round(workloads):
    source = workload.FrozenSource(
        planner=workloads[ORIGINAL].planner,
        media="frames",
        batch_size=4,
        setup=Setup(loader="PyAV plain", options=(("seek", "once"),)),
        num_samples=4,
    )
    for position in range(4):
        for a, b in zip(source.sample(position).media, source.sample(position + 4).media, strict=True):
            np.testing.assert_array_equal(a, b)


def test_frames_are_counted(workloads):
    """Prepared files have no picture to leave out, originals have; ours decodes none that `cut` would not keep."""
    work = {kind: loaders.decoded_per_used(workload) for kind, workload in workloads.items()}
    for counts in work.values():
        assert 1 <= counts["ours"] == counts["needed"] <= counts["whole_gops"] <= counts["from_start"]
    assert work[GOP]["needed"] == work[GOP]["whole_gops"] < work[GOP]["from_start"]
    assert work[ORIGINAL]["needed"] < work[ORIGINAL]["whole_gops"]
    assert work[ALIGNED]["needed"] < work[GOP]["needed"]
    assert work[INTRA]["ours"] == work[INTRA]["whole_gops"] == 1


def test_the_gate_names_who_shows_other_frames(workloads):
    class Runner:
        def __init__(self, shift: int, crop: int = 0) -> None:
            self.shift, self.crop = shift, crop

        def frames(self, num_samples: int) -> list[np.ndarray]:
            jobs = workloads[ORIGINAL].jobs(num_samples)
            return [reference_frames(v, np.minimum(f + self.shift, 89))[:, self.crop :] for v, f in jobs]

    found = loaders.differences({"same": Runner(0), "late": Runner(4), "cropped": Runner(0, 2)}, workloads[ORIGINAL])
    assert found["same"] == 0
    assert found["late"] > loaders.MAX_DIFFERENCE
    assert found["cropped"] == 255


def test_all_arms_are_measured_and_the_missing_named(videos, monkeypatch):
    absent = LIBRARIES["PyAV plain"].__class__(decode=lambda: None, package="no_such_package", advice="")
    monkeypatch.setattr(
        loaders, "LIBRARIES", {OURS: LIBRARIES[OURS], "PyAV plain": LIBRARIES["PyAV plain"], "absent": absent}
    )
    monkeypatch.setattr(loaders, "NUM_TRIED_ROUNDS", 1)
    said = []
    result = loaders.run(
        {ORIGINAL: videos[ORIGINAL]}, num_samples=4, num_rounds=2, num_cores=1, geometry=GEOMETRY, note=said.append
    )
    assert result["missing"] == {"absent": "no_such_package is not installed"} | loaders.GPU_OR_SOURCE_ALONE
    assert [(row["arm"], row["peer"]) for row in result["rows"]] == [
        (arm, loader) for arm in ("decode", *loaders.WHOLE_ARMS) for loader in (OURS, "PyAV plain")
    ]
    assert all(row["passed"] and row["num_samples"] == 2 and row["videos_per_second"] > 0 for row in result["rows"])
    assert result["reached"]["original-like, whole"]["best_peer"] == "PyAV plain"
    assert "without absent: no_such_package is not installed" in said
    json.dumps(result)


def test_both_ways_to_make_views_are_compared(workloads):
    decoded = augment.decoded_videos(workloads[ORIGINAL].planner, num_videos=3)
    made = augment.ways(decoded, num_threads=1)
    assert list(made)[:2] == [augment.WORKER, augment.DALI_CPU]
    assert 0 < augment.differences(made)[augment.DALI_CPU] <= augment.MAX_DIFFERENCE
    rows = augment.measure(made, num_videos=3, num_rounds=2)
    assert all(row["num_samples"] == 2 and row["median_seconds"] > 0 for row in rows.values())


def test_a_section_in_its_own_process_says_what_it_found(suite):
    result = gpu_suite.guarded("probe", suite)
    assert result["problem"] is None
    assert result["found"]["decoded"] == {"kind": "VP9", "shape": [4, 48, 64, 3]}


def test_a_section_that_takes_too_long_is_ended_and_one_that_fails_says_why(suite, monkeypatch, tmp_path):
    monkeypatch.setitem(gpu_suite.SECTIONS, "threads", (gpu_decoding.threads, 0.05))
    assert gpu_suite.guarded("threads", suite)["problem"] == "not done after 0 seconds"
    broken = gpu_setup.Suite(folder=tmp_path, cpu=True)
    for path in broken.videos()["VP9"]:
        path.write_bytes(b"")
    assert gpu_suite.guarded("decode_time", broken)["problem"].startswith("pipelines.errors.FileError")


def test_whole_files_and_cuts_give_the_gpu_table_the_same_frames(suite):
    from benchmarks.loaders.on_gpu import WHOLE_FILES, difference_of

    workload = suite.workload(suite.videos()["VP9"], num_samples=4)
    apart = [
        difference_of(loader, workload, engine=suite.engine(num_workers=0), folder=suite.folder)
        for loader in (OURS, WHOLE_FILES)
    ]
    assert apart[0] == apart[1] <= 3


LONG_SECTIONS = ("loaders", "switches")
"""Half a minute each, and their parts have tests of their own."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG_SECTIONS else ())
        for name in gpu_suite.SECTIONS
        if name != "probe"
    ],
)
def test_sections_run_in_small_without_a_gpu(suite, name, monkeypatch):
    monkeypatch.setattr("cmpl.training.wrapped.compile_options", lambda *, cuda_graphs: {"backend": "eager"})
    monkeypatch.setattr(augment, "make_videos", partial(make_videos, num_frames=90, size=(68, 48)))
    monkeypatch.setattr(step, "cases", lambda *, on_gpu: [SMALL_CASE])
    found = dict(gpu_suite.SECTIONS[name][0](suite))
    assert found
    json.dumps(found)
    if name == "parity":
        assert all(apart["mean"] <= 3 for apart in found.values())
    if name == "loaders":
        rows = [row for row in found["VP9"]["rows"] if row["peer"] == OURS]
        assert [row["arm"] for row in rows] == ["decode", "whole"]
        assert all(row["difference"] <= 3 and row["videos_per_second"] > 0 for row in rows)
        assert rows[0]["setup"] == "1 workers, 1 threads, batches of 4"
    if name == "questions":
        repeated, _, lifetimes = found.values()
        assert repeated["repeated_seconds"] > 0
        assert repeated["distinct_seconds"] > 0
        assert list(lifetimes) == ["raised"], "there is no GPU to ask"
    if name == "step":
        assert found["peak_tflops"] > 0
        assert {row["case"] for name in ("demo", "demo, and plain") for row in found[name]} == {"demo"}
        assert len(found["demo, and plain"]) == len(found["demo"]) + 1
    if name == "switches":
        assert list(found) == ["demo: none", "demo: fused_sgd", "demo: none (compiling)", "demo: compile (compiling)"]
        losses = [row["first_loss"] for row in found.values()]
        assert losses == pytest.approx([losses[0]] * 4, rel=1e-4)
        torch.compiler.reset()
    if name == "training":
        assert found["VP9, decoded on the cpu"]["videos_per_second"] > 0
        assert 0 <= found["VP9, decoded on the cpu"]["wait_share"] <= 1
    if name == "backends":
        assert len(found) == 3
        assert all(row["videos_per_second"] > 0 and row["problems"] == [] for row in found.values())
    if name == "corrupt":
        assert list(found) == list(gpu_sections.DAMAGES)
        assert found["empty"]["problems"] == ["empty file"]
        for damage in ("cut off", "no video"):
            assert found[damage]["problems"] == ["Invalid data found when processing input"]
