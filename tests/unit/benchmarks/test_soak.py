"""The soak: the line through the samples, what is counted, and that it runs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.loaders.soak import MIB, Sample, configuration, growth_of, main, soak, summary
from benchmarks.usage import Footprint, footprint
from pipelines.errors import InputError


def samples_of(memory_mib: list[float], *, every_seconds: float = 36.0) -> list[Sample]:
    return [
        Sample(
            seconds=k * every_seconds,
            num_videos=10 * k,
            held=Footprint(memory_bytes=round(mib * MIB), num_processes=2, num_threads=9 + k % 2, num_files=40),
        )
        for k, mib in enumerate(memory_mib)
    ]


def test_the_slope_is_that_of_a_line_in_mib_an_hour():
    growth = growth_of(samples_of([100 + 2 * k for k in range(20)], every_seconds=36.0), warm_up_share=0.0)
    assert growth.slope_mib_per_hour == pytest.approx(200.0)  # 2 MiB every hundredth of an hour
    assert growth.standard_error_mib_per_hour == pytest.approx(0.0, abs=1e-6)
    assert (growth.lowest_mib, growth.highest_mib, growth.num_samples) == (100.0, 138.0, 20)


def test_the_standard_error_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    memory = 500 + rng.normal(0, 3, 40).round(3)
    growth = growth_of(samples_of(memory.tolist()), warm_up_share=0.0)
    (slope, _), covariance = np.polyfit(np.arange(40) / 100, memory, 1, cov=True)
    assert growth.slope_mib_per_hour == pytest.approx(slope, rel=1e-4)
    assert growth.standard_error_mib_per_hour == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-4)


def test_the_warm_up_does_not_count():
    memory = [10.0, 200.0, 300.0] + [400.0] * 8
    growth = growth_of(samples_of(memory), warm_up_share=0.3)
    assert growth.slope_mib_per_hour == pytest.approx(0.0, abs=1e-6)
    assert growth.num_samples == 8


@pytest.mark.parametrize("number", [0, 2])
def test_a_line_needs_samples(number):
    with pytest.raises(ValueError, match=f"samples: received {number} after the warm-up; accepted: 3 or more"):
        growth_of(samples_of([1.0] * number), warm_up_share=0.0)


def test_the_summary_gives_slope_error_files_and_threads():
    samples = samples_of([100 + 2 * k for k in range(20)])
    said = " ".join(summary(samples, growth_of(samples)))
    for words in ("190 videos", "+200.0 MiB an hour (standard error 0.0, 16 samples)", "files 40 to 40", "9 to 10"):
        assert words in said


def test_the_footprint_counts_children_and_shares_once():
    code = "import os; x = bytearray(os.urandom(1 << 20)) * 48; os.fork(); os.write(1, b'.'); os.read(0, 1)"
    before = footprint()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.read(2) == b"..", "both are there"
        during = footprint()
    finally:
        child.communicate()
    assert 48 * MIB < during.memory_bytes - before.memory_bytes < 80 * MIB, "two processes share the 48 MiB"
    assert during.num_processes == before.num_processes + 2
    assert during.num_threads >= before.num_threads + 2
    assert during.num_files >= before.num_files + 6


class Batches:
    """A loader whose batches hold three videos each."""

    num_videos = 3

    def __next__(self) -> "Batches":
        return self


def test_every_look_knows_the_videos_that_came():
    looks = list(soak(Batches(), seconds=0.3, every_seconds=0.0, settle_device=lambda: None))
    assert [look.num_videos for look in looks] == [3 * k for k in range(1, len(looks) + 1)]
    assert looks[-1].held.memory_bytes > MIB
    assert len(list(soak(Batches(), seconds=0.01, every_seconds=60.0, settle_device=lambda: None))) == 1


def test_what_is_loaded(tmp_path):
    assert configuration("demo", workers=3).runtime.workers == 3
    of_folder = configuration(str(tmp_path), workers=None)
    assert (of_folder.data.dataset, of_folder.data.root) == ("folder", str(tmp_path))
    with pytest.raises(InputError, match="--dataset: received 'no_such_thing', no data set and no folder"):
        configuration("no_such_thing", workers=None)


def test_the_loader_is_looped_and_written_down(tmp_path, monkeypatch):
    monkeypatch.setenv("CMPL_CACHE", os.environ.get("CMPL_CACHE", str(tmp_path)))
    monkeypatch.setattr("benchmarks.loaders.soak.make_videos", small_videos)
    file = tmp_path / "soak.json"
    arguments = ["--minutes", "0.05", "--every", "0.2", "--workers", "0", "--benchmark-files", "--json", str(file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "MiB an hour (standard error" in result.output
    record = json.loads(file.read_text())
    assert record["benchmark"] == "soak"
    assert record["environment"]["num_cpu_cores"] >= 1
    assert record["growth"]["num_samples"] >= 3
    assert record["samples"][-1]["held"]["num_files"] > 3
    assert record["problems"] == {}


def small_videos(folder, *, num_videos, kinds):
    from benchmarks.loaders.videos import make_videos

    return make_videos(folder / "small", num_videos=2, num_frames=40, size=(64, 48), kinds=kinds)
