"""`cmpl bench-loader --model`: the arithmetic against values computed by hand, and the command."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks.bench_loader.forecast import grounds, left_out
from benchmarks.bench_loader.gpus import ADA, GPUS, TURING, Gpu
from benchmarks.bench_loader.model import (
    BEST,
    CAREFUL,
    Assumptions,
    Work,
    advice,
    crossed,
    nvdec_seconds,
    predict,
    view_bytes,
    work_of,
)
from benchmarks.bench_loader.planned import PlannedVideo, planned_videos
from cli.main import main
from cmpl.recipes.cost import multiply_adds
from cmpl.recipes.kinetics import k400
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.commands import small

GPU = Gpu(
    name="Test",
    decoder=TURING,
    num_decoders=4,
    video_mhz=930,  # half of what the published rate was taken at
    bf16_tflops=100,
    memory_bytes_per_second=1e12,
    pcie_bytes_per_second=10e9,
)
VIDEO = PlannedVideo(
    codec="h264",
    num_pixels=1920 * 1080,
    num_wanted=10,
    num_decoded=40,
    num_bytes=1_000_000,
    cut_seconds=0.004,
)
WORK = Work(
    videos=[VIDEO], view_bytes=1e9, step_flops=1e12, videos_per_batch=10, num_workers=2, num_threads=8
)  # fmt: skip
PLAIN = Assumptions(
    name="plain",
    nvdec_share=1.0,
    frame_seconds=0.0,
    stream_seconds=0.0,
    pcie_share=1.0,
    memory_share=1.0,
    step_share=1.0,
    batch_seconds=0.0,
)


def test_an_engines_rate_scales_with_its_clock_and_with_the_pixels():
    """771 frames/s of 1920x1080 at 1860 MHz: at 930 MHz 385.5, and of a quarter of the pixels 1542."""
    assert 1 / nvdec_seconds(GPU, replace(VIDEO, num_decoded=1), PLAIN) == pytest.approx(385.5)
    quarter = replace(VIDEO, num_decoded=1, num_pixels=960 * 540)
    assert 1 / nvdec_seconds(GPU, quarter, PLAIN) == pytest.approx(1542)
    assert 1 / nvdec_seconds(GPU, replace(VIDEO, codec="hevc", num_decoded=1), PLAIN) == pytest.approx(658)
    with pytest.raises(KeyError):
        nvdec_seconds(GPU, replace(VIDEO, codec="av1"), PLAIN)


def test_frames_and_streams_cost_what_is_assumed():
    """40 frames at half of 385.5 frames/s, 0.1 ms each more, on four engines; and 10.5 ms that they do not share."""
    of_engine = 40 / 192.75 + 40 * 1e-4
    assert nvdec_seconds(GPU, VIDEO, CAREFUL) == pytest.approx(of_engine)
    assert predict(GPU, WORK, CAREFUL).nvdec == pytest.approx(of_engine / 4 + 10.5e-3)


def test_carefully_an_h100_is_predicted_as_it_was_seen():
    """77 and 90 videos a second of 100 and 23 frames of 352x256 (gpu_suite_h100.json), within a fifth."""
    for seen, num_decoded in ((77, 100), (90, 23)):
        video = replace(VIDEO, num_decoded=num_decoded, num_pixels=352 * 256)
        work = replace(WORK, videos=[video], num_threads=15)
        assert predict(GPUS["h100"], work, CAREFUL).rates["decode, NVDEC"] == pytest.approx(seen, rel=0.2)


def test_seconds_of_each_part():
    found = predict(GPU, WORK, PLAIN)
    assert found.cut == pytest.approx(0.002), "two workers"
    assert found.pcie == pytest.approx(1e-4), "1 MB at 10 GB/s"
    assert found.nvdec == pytest.approx(40 / 385.5 / 4), "four engines, however many threads"
    assert found.views == pytest.approx(1e-3), "1 GB at 1 TB/s"
    assert found.step == pytest.approx(0.01), "1 TFLOP at 100 TFLOP/s"
    assert predict(GPU, replace(WORK, num_threads=2), PLAIN).nvdec == pytest.approx(40 / 385.5 / 2)
    assert predict(GPU, WORK, replace(PLAIN, step_share=0.5)).step == pytest.approx(0.02)
    assert predict(GPU, WORK, replace(PLAIN, batch_seconds=0.3)).step == pytest.approx(0.03), "10 videos a batch"
    assert predict(GPU, replace(WORK, videos=[VIDEO, replace(VIDEO, num_decoded=80)]), PLAIN).nvdec == pytest.approx(
        60 / 385.5 / 4
    )


def test_training_is_as_fast_as_its_slowest_part():
    decoding_limits = predict(GPU, WORK, PLAIN)
    assert (decoding_limits.limit, decoding_limits.training) == ("nvdec", decoding_limits.nvdec)
    assert decoding_limits.wait_share == pytest.approx(1 - 0.011 / (40 / 385.5 / 4))
    step_limits = predict(GPU, replace(WORK, step_flops=5e12), PLAIN)
    assert (step_limits.limit, step_limits.wait_share) == ("step", 0.0)
    assert step_limits.training == pytest.approx(0.051), "views and step share the GPU"
    assert step_limits.rates["training"] == pytest.approx(1 / 0.051)
    assert step_limits.rates["loader"] == pytest.approx(4 * 385.5 / 40)


def test_a_fast_step_on_a_slow_loader_is_among_the_pairs():
    slow, fast = replace(predict(GPU, WORK, PLAIN), nvdec=0.2), replace(predict(GPU, WORK, PLAIN), nvdec=0.1, step=0.15)
    shares = [pair.wait_share for pair in crossed([slow, fast])]
    assert shares == pytest.approx([1 - 0.011 / 0.2, 1 - 0.151 / 0.2, 1 - 0.011 / 0.1, 0.0])


def test_views_are_counted_in_bytes_moved():
    """A crop reads 3 bytes a source pixel and writes 3 a pixel of the view; an operation reads and writes the view."""
    assert view_bytes(2, 1000, crop_size=10, num_ops=0) == 2 * (3000 + 300)
    assert view_bytes(2, 1000, crop_size=10, num_ops=3) == 2 * (3000 + 300 + 3 * 600)


def test_a_configurations_work_is_averaged_over_labeled_and_unlabeled_videos():
    config = k400()
    work = work_of(config, [replace(VIDEO, num_pixels=1000)], num_classes=400, workers=3, threads=5)
    labeled, unlabeled = config.batch.labeled, config.batch.unlabeled
    forward = 2 * multiply_adds(config, num_classes=400)
    weak_passes = 3 if config.method.weak_has_gradient else 1
    passes = (3 * labeled + (weak_passes + 3) * unlabeled) / (labeled + unlabeled)
    assert work.step_flops == pytest.approx(forward * passes)
    view = 3 * 224**2
    one, strong = 24 * (3000 + view), 24 * (3000 + view + 2 * view * 4)
    expected = 24 * 4500 + (one * labeled + (one + strong) * unlabeled) / (labeled + unlabeled)
    assert work.view_bytes == pytest.approx(expected), "24 frames of both clips"
    assert (work.num_workers, work.num_threads, work.videos_per_batch) == (3, 5, labeled + unlabeled)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step_flops": 1e14}, ["waits for data 0 %", "faster loading gains nothing", "larger batches"]),
        ({"num_threads": 2}, ["2 threads keep 2 of 4 NVDEC engines busy", "runtime.loader_threads=5"]),
        ({}, ["4.0 frames are decoded for each one", "`cmpl prepare`"]),
        ({"videos": [replace(VIDEO, num_wanted=30)]}, ["smaller frames", "a trial at the start of training"]),
        # NVDEC takes a hundredth of 26 ms and the GPU 11 ms: 91 videos/s x 60 ms
        ({"videos": [replace(VIDEO, num_decoded=1, cut_seconds=0.06)]}, ["Reading and cutting", "--workers 6"]),
        ({"videos": [replace(VIDEO, num_decoded=1, num_bytes=10**9)]}, ["PCIe could limit"]),
    ],
)
def test_advice_names_what_could_limit(changes, words):
    work = replace(WORK, **changes)
    said = " ".join(advice(GPU, work, [predict(GPU, work, PLAIN)]))
    assert said.startswith("Predicted for one Test, not measured: training at ")
    for word in words:
        assert word in said


def test_the_grounds_name_what_is_published_and_what_is_assumed():
    said = " ".join(grounds(GPU, WORK, (BEST, CAREFUL)))
    for words in ("771 frames/s of h264 at 1920x1080", "NVDEC Application Note", "4 engines", "at best", "carefully"):
        assert words in said
    other = replace(VIDEO, codec="mpeg4")
    assert "Left out: 2 of 3 videos, in mpeg4" in " ".join(left_out([VIDEO, other, other], [VIDEO]))
    assert list(left_out([VIDEO], [VIDEO])) == []


def test_published_figures_are_those_of_the_sources():
    """NVDEC Application Note, SDK 13.0: Hopper and GA100 as Turing; GeForce has one engine."""
    assert {name: (gpu.num_decoders, gpu.decoder) for name, gpu in GPUS.items()} == {
        "h200": (7, TURING), "h100": (7, TURING), "a100": (5, TURING), "rtx4090": (1, ADA), "l4": (4, ADA),
    }  # fmt: skip
    rate = GPUS["h100"].decoded_pixels_per_second("h264") / (1920 * 1080)
    assert rate == pytest.approx(640.4, abs=0.1)  # 771 x 1545 / 1860


def test_planned_videos_are_counted_as_their_cuts_are(pool, tmp_path):
    planner = Planner(
        pool=pool,
        seed=0,
        stream=Stream.UNLABELED,
        geometry=Geometry(primary=ClipShape(4, 4), auxiliary=ClipShape(8, 2), crop_size=28),
    )
    found = planned_videos([(planner, 3), (planner, 1)], num_videos=8)
    assert len(found) == 8
    for video in found:
        assert video.codec == "h264"
        assert 1 <= video.num_wanted <= min(12, video.num_decoded)
        assert video.num_bytes > 100
        assert video.cut_seconds > 0
    plan = planner.plan(0)
    assert found[0].num_pixels == pool.width[plan.video] * pool.height[plan.video]
    broken = replace(planner, pool=replace(pool, paths=(str(tmp_path / "gone.mp4"),) * len(pool)))
    with pytest.raises(InputError, match="videos: received none that can be read; accepted: at least one"):
        planned_videos([(broken, 1)])


def test_the_command_predicts_and_says_on_what_grounds(small_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = CliRunner().invoke(main, ["bench-loader", *small(small_folder), "--model", "l4", "--json", "out.json"])
    assert called.exit_code == 0, called.output
    for words in ("videos/s, predicted", "Predicted for one L4, not measured", "Published:", "Assumed, carefully"):
        assert words in called.output
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["measured"] is False
    assert [prediction["assumptions"] for prediction in record["predictions"]] == ["at best", "carefully"]
    best, careful = (prediction["rates"] for prediction in record["predictions"])
    assert all(careful[name] <= best[name] for name in best)
    assert best["training"] <= min(best["loader"], best["training step"])


def test_a_plot_of_a_prediction_is_refused(small_folder):
    called = CliRunner().invoke(main, ["bench-loader", *small(small_folder), "--model", "l4", "--plot", "a.png"])
    assert called.exit_code == 2
    assert "--plot: received 'a.png' with --model; accepted:" in called.output
