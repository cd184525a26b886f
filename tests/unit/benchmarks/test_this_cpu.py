"""What a CPU's stages, taken alone, predict of the whole: on figures made up."""

from dataclasses import replace

import pytest

from benchmarks.bench_loader.this_cpu import compared
from tests.support.measured import measured


def of(name: str, **settings):
    """read 1 ms, decode and augment 10 ms each, hand-off 20 us; no processor time but where given."""
    cpu = settings.pop("cpu", {})
    made = measured(read=1000, decode=100, augment=100, **settings)
    rows = {key: replace(row, cpu_seconds_per_clip=cpu.get(key, 0.0)) for key, row in made.rows.items()}
    return {found.name: found for found in compared(replace(made, rows=rows))}[name]


def test_workers_share_the_stages():
    found = of("loader", num_workers=3, loader=100)
    assert found.predicted == pytest.approx(0.021 / 3)
    assert found.limit == "workers"
    assert found.measured == pytest.approx(1 / 100)
    assert found.ratio == pytest.approx(3 / 0.021 / 100)


def test_more_workers_than_cores_gain_nothing():
    """Ten clips of 5 ms processor time each and four a video: 20 ms a video over two cores."""
    found = of("loader", num_workers=16, num_cores=2, cpu={"decode": 0.005})
    assert found.predicted == pytest.approx(4 * 0.005 / 2)
    assert found.limit == "cores"


def test_without_workers_one_thing_comes_after_the_other():
    assert of("loader", num_workers=0).predicted == pytest.approx(0.021 + 1 / 50000)
    assert of("training", num_workers=0, replayed=200).predicted == pytest.approx(0.021 + 1 / 50000 + 1 / 200)


def test_the_step_limits_training_where_it_is_slower():
    found = of("training", num_workers=8, replayed=50)
    assert found.limit == "steps"
    assert found.predicted == pytest.approx(1 / 50 + 1 / 50000)
    assert of("loader", num_workers=8, replayed=50).limit == "workers"


def test_step_and_workers_share_the_cores():
    found = of("training", num_workers=8, num_cores=4, replayed=500, cpu={"decode": 0.01, "trainer, replayed": 0.01})
    assert found.predicted == pytest.approx(4 * 0.02 / 4)
    assert found.limit == "cores"


def test_the_spread_is_that_of_the_quartiles():
    made = measured(num_workers=1, num_cores=80, read=1000, decode=100, augment=100)
    slow = replace(made.rows["decode"], lower_quartile_seconds=0.005, upper_quartile_seconds=0.03)
    found = next(iter(compared(replace(made, rows=made.rows | {"decode": slow}))))
    assert found.predicted_spread == pytest.approx((0.016, 0.041))
    assert "videos/s (24.4-62.5; workers limit it); measured: 100" in found.line()


def test_with_a_gpu_there_is_nothing_to_compare():
    assert list(compared(measured(media="cuts", device="cuda", nvdec=1000))) == []
