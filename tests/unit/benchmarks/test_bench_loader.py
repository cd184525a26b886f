"""`cmpl bench-loader`: counting, words, the chart and the table. No test depends on a time."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from benchmarks.bench_loader.plot import STAGE_COLOR, WHOLE_COLOR, check_plots, save_plot
from benchmarks.bench_loader.report import advice, bars, facts, limit, rate
from benchmarks.bench_loader.rows import STAGES, WHOLE, row_of
from benchmarks.bench_loader.stages import (
    LEAST_SECONDS,
    Cost,
    Stopwatch,
    StreamStages,
    plan_that_decodes,
    stage_rows,
)
from benchmarks.bench_loader.whole import Replayed, copied
from benchmarks.decode_work import DecodeWork, decode_work
from benchmarks.usage import DecoderMeter, usage
from cli.bench_loader import configuration, show
from cli.main import main
from cmpl.config import flattened
from cmpl.recipes.demo import demo
from cmpl.recipes.kinetics import k400
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.loader import SemiLoader, clips_of
from pipelines.loading.source import TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.commands import SMALL
from tests.support.measured import WORK, measured
from tests.support.nvdec import vp9, vp9_pool
from tests.support.videos import make_video

GEOMETRY = Geometry(
    primary=ClipShape(4, 4), auxiliary=ClipShape(8, 2), crop_size=28, short_side=32, short_side_jitter=(32, 40)
)
DRAWS = importlib.util.find_spec("matplotlib") is not None

ALL_BUSY = {"num_workers": 7, "loader_threads": 1}
ON_GPU = {"media": "cuts", "device": "cuda", "nvdec": 1000}
DECODED_BY_CPU = {"media": "frames", "device": "cuda"}


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ("trainer", {"wait_share": 0.01}),
        ("workers", {"decode": 50}),
        ("workers", {"decode": 50, "num_workers": 6}),
        ("decode", {"decode": 10, **ALL_BUSY}),
        ("read", {"read": 8, "decode": 10, **ALL_BUSY}),
        ("workers", {"augment": 50}),
        ("augment", {"augment": 50, **ALL_BUSY}),
        ("threads", {**ON_GPU, "nvdec": 50, "decode": 1}),
        ("decode", {**ON_GPU, "nvdec": 50, "decode": 1, "loader_threads": 8}),
        ("augment", {**DECODED_BY_CPU, "augment": 50}),
        ("decode", {**DECODED_BY_CPU, "decode": 10, **ALL_BUSY}),
        ("augment", {**ON_GPU, "augment": 50}),
        ("cut", {**ON_GPU, "cut": 5, **ALL_BUSY}),
        ("workers", {**ON_GPU, "cut": 5, "num_workers": 2}),
    ],
)
def test_the_narrowest_part_is_named(expected, settings):
    """Without a GPU workers do everything, with one they read and decode, with NVDEC they read and cut."""
    assert limit(measured(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"wait_share": 0.013, "training": 190}, ["waits for data 1.3 %", "training step limits", "A GPU would help"]),
        # 1/5000 + 1/40 + 1/400 s a video, 200 videos/s wanted: 5.54 processes
        ({"decode": 40}, ["Too few workers", "read and decode and augment take 27.7 ms", "--workers 6"]),
        ({"decode": 10}, ["Too few workers", "the one worker,", "--workers 7"]),
        ({"decode": 10, "num_workers": 0}, ["in the trainer's own process, and cores are free"]),
        ({"decode": 10, **ALL_BUSY}, ["Decoding limits", "each of 7", "3.0 frames are decoded", "`cmpl prepare`"]),
        ({"decode": 10, **ALL_BUSY, "work": replace(WORK, needed=110)}, ["Decoding limits", "large frames smaller"]),
        ({"read": 8, **ALL_BUSY}, ["Reading files limits", "125 ms and 4 MB a video", "`cmpl prepare`", "disk"]),
        ({"augment": 50, **ALL_BUSY}, ["Augmentation limits", "20 ms a video in each of 7", "`cmpl prepare`"]),
        ({**ON_GPU, "cut": 5, **ALL_BUSY}, ["Cutting files limits", "`cmpl prepare`"]),
        ({**ON_GPU, "nvdec": 50}, ["Decoding limits", "20 ms a video on NVDEC, with 1", "runtime.loader_threads=2"]),
        ({**ON_GPU, "nvdec": 50, "loader_threads": 8}, ["Decoding limits", "on NVDEC", "`cmpl prepare`"]),
        ({**ON_GPU, "augment": 50}, ["Augmentation limits", "on the GPU."]),
        ({"num_cores": 2, "loader_threads": 4}, ["6 threads and processes share 2 cores", "fewer may be faster"]),
        ({"loader": 300, "training": 100}, ["share 8 cores", "50 % of what the slower one does alone"]),
        ({"loader": 50, "training": 45}, ["3.8 times slower than its narrowest stage"]),
    ],
)  # fmt: skip
def test_advice_says_what_limits_and_what_to_change(settings, words):
    said = " ".join(advice(measured(**settings)))
    for word in words:
        assert word in said


def test_a_machine_that_waits_for_nothing_is_told_to_change_nothing():
    said = " ".join(advice(measured(wait_share=0.0, training=198)))
    assert "--workers" not in said
    assert "prepare" not in said
    assert "fewer" not in said


def test_facts_hold_what_was_counted_and_what_is_missing():
    lines = facts(measured(missing={"NVDEC use": "no GPU is used"}))
    assert "3.00 needed, 5.00 from the keyframes on, 9.00 without seeking" in lines[0]
    assert lines[1:] == [
        "Host memory of training, all its processes: 3.00 GiB.", "NVDEC use: not measured: no GPU is used."
    ]  # fmt: skip
    on_gpu = measured(**ON_GPU)
    training = replace(on_gpu.rows["training"], gpu_memory_bytes=2**31, nvdec_share=0.45)
    said = " ".join(facts(replace(on_gpu, rows=on_gpu.rows | {"training": training})))
    assert "GPU memory of training: 2.00 GiB." in said
    assert "NVDEC while training: 45 % busy." in said


def test_rows_are_medians_a_video():
    made = row_of("read", [4.0, 1.0, 2.0, 3.0, 5.0], num_videos=10, clips_per_video=4, cpu_seconds_per_clip=0.0)
    assert (made.seconds_per_video, made.lower_quartile_seconds, made.upper_quartile_seconds) == (0.3, 0.2, 0.4)
    assert made.videos_per_second == pytest.approx(10 / 3)
    assert made.clips_per_second == pytest.approx(40 / 3)
    assert made.to_json()["clips_per_second"] == made.clips_per_second


def test_augmentation_on_a_gpu_is_what_decoding_leaves():
    samples = [
        {"decode, NVDEC": Cost(seconds=2.0), "augment": Cost(seconds=seconds), "read": Cost(seconds=1.0, num_bytes=80)}
        for seconds in (5.0, 1.0, 5.0)
    ]
    rows = stage_rows(samples, num_videos=2, clips_per_video=4.0)
    assert rows["augment"].seconds_per_video == 1.5
    assert rows["augment"].lower_quartile_seconds == pytest.approx((LEAST_SECONDS + 3) / 2 / 2)
    assert rows["read"].bytes_per_clip == 10
    assert list(rows) == ["read", "decode, NVDEC", "augment"]


def plain_counts(path: Path, wanted: list[int]) -> tuple[int, int]:
    """(packets up to each wanted one since its keyframe, those of them that count) of an H.264 file by its packets in
    the file's order; a packet counts that is wanted or whose first slice has nal_ref_idc > 0."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    shown = sorted(range(len(packets)), key=lambda i: packets[i].pts)
    needed = set()
    for index in wanted:
        position = shown[index]
        keyframe = max(i for i in range(position + 1) if packets[i].is_keyframe)
        needed |= set(range(keyframe, position + 1))
    asked = {shown[index] for index in wanted}
    kept = {i for i in needed if i in asked or referred_to(bytes(packets[i]))}
    return len(needed), len(kept)


def referred_to(data: bytes) -> bool:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4] & 31 in (1, 5):
            return bool(data[at + 4] & 0x60)
        at += 4 + length
    raise AssertionError("no slice")


def test_decoded_frames_are_counted_as_the_packets_say(tmp_path):
    path = make_video(
        tmp_path / "v.mp4", num_frames=90, gop=24, codec_options={"x264-params": "keyint=24:scenecut=0:open-gop=0"}
    )
    for wanted in ([0], [5, 60, 61], [30, 34, 38, 42, 46], [89]):
        from_keyframes, needed = plain_counts(path, wanted)
        counted = decode_work(path, np.array([*wanted, wanted[0]]), exact_seek=True)
        assert counted == DecodeWork(
            num_wanted=len(wanted), from_start=wanted[-1] + 1, from_keyframes=from_keyframes, needed=needed
        )
    unsafe = decode_work(path, np.array([30, 50]), exact_seek=False)
    assert unsafe == DecodeWork(num_wanted=2, from_start=51, from_keyframes=51, needed=51)


def test_work_adds_up():
    assert DecodeWork(num_wanted=200, from_start=1800, from_keyframes=1000, needed=600) == WORK + WORK


def planner_of(pool, stream=Stream.UNLABELED) -> Planner:
    return Planner(pool=pool, seed=0, stream=stream, geometry=GEOMETRY)


def test_a_broken_video_is_measured_as_its_replacement(pool, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    planner = planner_of(replace(pool, paths=(str(tmp_path / "broken.mp4"), *pool.paths[1:])))
    source = TrainSource(planner=planner, media="views", batch_size=6)
    shown = [plan_that_decodes(source, position).video for position in range(6)]
    assert 0 not in shown
    assert 0 in [planner.plan(position).video for position in range(6)]


@pytest.mark.parametrize("media", ["views", "frames", "cuts"])
def test_stages_make_what_the_loader_makes(media, tmp_path):
    """The views of the second batch, stage by stage, are the loader's, bit for bit."""
    pool = replace(vp9_pool(vp9(tmp_path, 3), num_frames=80), exact_seek=np.ones(3, dtype=bool))
    planner, engine = planner_of(pool), Engine(media=media, decoder="cpu")
    stages = StreamStages(planner, num_videos=2, engine=engine)
    watch = Stopwatch()
    stages.run(0, watch)
    ours = [clips_of(view) for view in stages.run(1, watch)]
    stages.close()
    loader = SemiLoader(
        labeled=planner_of(pool, Stream.LABELED),
        unlabeled=planner,
        num_labeled=1,
        num_unlabeled=2,
        engine=engine,
        first_micro_step=1,
    )
    expected = next(loader).unlabeled
    theirs = [expected.weak.primary, expected.weak.auxiliary, expected.strong.primary, expected.strong.auxiliary]
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    assert set(watch.costs) == set(STAGES) - ({"decode, NVDEC"} if media != "cuts" else set())
    num_pictures, lines = 2 * 2 * 12, 48 + 2 * 24  # of 4:2:0; FFmpeg's are 64 bytes apart here, chroma's too
    assert watch.costs["decode"].num_bytes == num_pictures * lines * 64
    assert watch.costs["augment"].num_bytes == 2 * sum(view.numel() for view in ours)
    assert watch.num_clips == 2 * 2 * 4, "two batches of two videos, weak and strong for two networks"


def test_a_replayed_batch_is_a_copy_in_the_same_order():
    clips = torch.zeros(2, 4, 5, 5, 3, dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    batch = SemiBatch(labeled=LabeledBatch(standard=ClipBatch(primary=clips), labels=torch.zeros(2, dtype=torch.int64)))
    replayed = Replayed(batch)
    clips += 1
    seen = next(replayed).labeled.standard.primary
    assert next(replayed).labeled.standard.primary is seen
    assert seen.stride() == clips.stride()
    assert seen.max() == 0
    assert copied(batch).unlabeled is None
    views = ClipBatch(primary=clips)
    unlabeled = UnlabeledBatch(weak=views, strong=views, truth=torch.zeros(2, dtype=torch.int64), videos=(3, 5))
    again = copied(SemiBatch(labeled=batch.labeled, unlabeled=unlabeled)).unlabeled
    assert again.videos == (3, 5)
    assert again.weak.primary is not clips


def test_usage_counts_children():
    code = "x = bytearray(64 << 20)\nfor _ in range(3_000_000): pass\nprint('ready', flush=True); input()"
    before = usage()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        during = usage()
    finally:
        child.communicate(b"\n")
    assert during.memory_bytes - before.memory_bytes > 60 << 20
    assert during.cpu_seconds > before.cpu_seconds
    after = usage()
    assert after.memory_bytes < during.memory_bytes
    assert after.cpu_seconds >= during.cpu_seconds, "an ended child's time is its parent's"


class Nvml:
    """Only those functions of the library that are called; `fails` gives that function's code."""

    def __init__(self, fails: dict[str, int]) -> None:
        self._fails = fails

    def __getattr__(self, name: str):
        def function(*arguments) -> int:
            if name == "nvmlDeviceGetHandleByUUID":
                assert arguments[0] == b"GPU-1234"
            if name == "nvmlDeviceGetDecoderUtilization":
                arguments[1]._obj.value = 37
            return self._fails.get(name, 0)

        return function


def test_nvdec_is_asked_through_nvml(monkeypatch):
    class Properties:
        uuid = "1234"

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    meter = DecoderMeter(0, library=Nvml({}))
    assert meter.problem is None
    assert meter.share() == 0.37
    broken = DecoderMeter(0, library=Nvml({"nvmlDeviceGetDecoderUtilization": 3}))
    assert broken.problem == "NVML's nvmlDeviceGetDecoderUtilization failed with code 3"
    assert broken.share() is None
    assert DecoderMeter(None).problem == "no GPU is used"


def test_bars_end_where_nothing_limits():
    shown = bars(measured(replayed=200, training=90, read=5000, decode=300))
    lengths = {row.name: (length, cut_off) for row, length, cut_off in shown}
    assert lengths["read"] == (1.0, True)
    assert lengths["decode"] == (0.5, False)
    assert [row.name for row, *_ in shown] == [name for name in (*STAGES, *WHOLE) if name != "decode, NVDEC"]


def test_the_picture_has_the_bars(tmp_path):
    """Decoding reaches half of the scale and reading all of it, in the stages' color."""
    pytest.importorskip("matplotlib")
    save_plot(measured(replayed=200, training=90, read=5000, decode=300), tmp_path / "bars.png")
    with av.open(str(tmp_path / "bars.png")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    runs = {}
    for name in (STAGE_COLOR, WHOLE_COLOR):
        color = [int(name[k : k + 2], 16) for k in (1, 3, 5)]
        lengths = (picture == color).all(axis=2).sum(axis=1)
        runs[name] = sorted({int(length) for length in lengths if length > 0})
    assert runs[STAGE_COLOR][0] == pytest.approx(runs[STAGE_COLOR][-1] / 2, rel=0.02)
    assert runs[WHOLE_COLOR][-1] == pytest.approx(runs[STAGE_COLOR][-1] / 3, rel=0.02), "200 of 600"


def test_a_picture_without_matplotlib_names_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--plot: received 'a.png'.*; accepted: .*pip install 'cmpl\[plots\]'"):
        check_plots("a.png")


def test_rates_are_short():
    assert [rate(value) for value in (0.1234, 12.34, 123.4, 12345.6)] == ["0.123", "12.3", "123", "12,346"]


def options(**given) -> dict:
    return {
        "dataset": "demo",
        "data_root": None,
        "settings": (),
        "labeled": None,
        "workers": None,
        "seed": None,
    } | given


def test_a_recipe_is_measured_on_other_data():
    made = configuration("k400", **options(workers=3, seed=5, settings=("batch.unlabeled=4",)))
    expected = flattened(k400())
    differing = {key for key, value in flattened(made).items() if value != expected[key]}
    assert differing == {"data.dataset", "data.labeled", "runtime.workers", "seed", "batch.unlabeled"}
    assert made.data == demo().data
    assert configuration(None, **options()) == demo()
    assert configuration("k400", **options(labeled="10pct")).method.unlabeled_weight == 2.0


def test_the_table_fits_a_terminal():
    console = Console(file=io.StringIO(), width=80)
    show(console, measured())
    text = console.file.getvalue()
    assert "…" not in text
    words = [line.split() for line in text.splitlines()]
    assert ["decode", "400", "1,600", "2.5", "2.5-2.5", "10", "-", "-"] in words
    assert ["training", "90", "360", "11.1", "11.1-11.1", "10", "-", "50", "%"] in words
    assert sum(line[:2] == ["trainer,", "replayed"] for line in words) == 2, "in the table and in the chart"


def test_the_command_measures_saves_and_leaves_nobody_behind(small_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    called = CliRunner().invoke(
        main,
        ["bench-loader", "--dataset", str(small_folder), "--labeled", "1", "--device", "cpu", "--workers", "1",
         *settings, "--seconds", "0.01", "--json", "out.json", *(["--plot", "out.png"] if DRAWS else [])],
    )  # fmt: skip
    assert called.exit_code == 0, called.output
    record = json.loads((tmp_path / "out.json").read_text())
    assert [row["name"] for row in record["rows"]] == [name for name in (*STAGES, *WHOLE) if name != "decode, NVDEC"]
    assert set(record["missing"]) == {"decode, NVDEC", "GPU memory", "NVDEC use"}
    assert record["config"]["batch"]["unlabeled"] == 3
    assert {"cpu_model", "package_versions"} <= set(record["environment"])
    for row in record["rows"]:
        assert row["lower_quartile_seconds"] <= row["seconds_per_video"] <= row["upper_quartile_seconds"]
        assert row["clips_per_video"] == pytest.approx((2 * 2 + 3 * 4) / 5)
    training = record["rows"][-1]
    assert 0 <= training["wait_share"] <= 1
    assert training["host_memory_bytes"] > 100e6
    assert record["work"]["num_wanted"] <= record["work"]["needed"] <= record["work"]["from_keyframes"]
    files = {"out.json", "out.png"} if DRAWS else {"out.json"}
    assert {path.name for path in tmp_path.iterdir()} == files, "networks are not kept"
    assert readers() == []


def readers() -> list[str]:
    """Command lines of processes that this one has spawned and that live."""
    mine = f"parent_pid={os.getpid()}"
    for _ in range(50):
        lines = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(file.read_bytes().decode())
            except OSError:
                continue
        found = [line for line in lines if "spawn_main" in line and mine in line]
        if not found:
            return []
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_file_that_cannot_be_written_is_named_before_measuring(option):
    called = CliRunner().invoke(main, ["bench-loader", "--dataset", "demo", option, "nowhere/file"])
    assert called.exit_code == 2
    assert f"{option}: received 'nowhere/file'" in called.output
