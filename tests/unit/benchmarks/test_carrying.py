"""The comparison of carriers in small: all bring the same bytes, and a CPU needs no DALI."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import installed
from benchmarks.loaders import carriers, carrying
from tests.support.commands import small

TINY = replace(carriers.DEMO, crop_size=8, batch_size=3, num_batches=2)


def test_every_carrier_takes_its_turns_and_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr(carrying, "DEMO", TINY)
    monkeypatch.setattr(carrying, "PAPER", replace(TINY, name="paper"))
    monkeypatch.setattr(carrying, "import_seconds", lambda modules: 0.5)
    monkeypatch.setattr(carrying, "NUM_WORKERS", (1,))
    file = tmp_path / "new" / "carriers.json"
    called = CliRunner().invoke(carrying.main, ["--rounds", "2", "--json", str(file)])
    assert called.exit_code == 0, called.output
    record = json.loads(file.read_text())
    assert [(row["case"], row["num_workers"], row["carrier"]) for row in record["rows"]] == [
        (case, 1, name) for case in ("paper", "demo") for name in (carriers.OURS, carriers.TORCH, carriers.DALI)
    ]
    for row in record["rows"]:
        assert row["bytes_per_video"] == 2 * (4 + 8) * 8 * 8 * 3, "weak and strong views of both clips"
        assert row["num_samples"] == 2
        assert 0 < row["lower_quartile_seconds"] <= row["median_seconds"] <= row["upper_quartile_seconds"]
    assert record["installed_bytes"][carrying.DALI_PACKAGE] > 100e6
    assert "nvidia-nvimgcodec-cu13" in record["installed_bytes"], "what DALI brings counts"
    assert "numpy" not in record["installed_bytes"], "the project needs it anyway"


def test_the_gate_names_who_brings_other_bytes():
    source = carriers.replayed(TINY)

    class Carrier:
        def __init__(self, change: int) -> None:
            self.change = change

        def next(self) -> tuple[torch.Tensor, ...]:
            views = [np.stack(views) for views in zip(*(sample.media for sample in source.batch), strict=True)]
            views[3][-1, -1, -1, -1, -1] += self.change
            return tuple(map(torch.from_numpy, views))

    carrying.check({"good": Carrier(0)}, source)
    with pytest.raises(ValueError, match="carrier: received other bytes from bad; accepted:"):
        carrying.check({"good": Carrier(0), "bad": Carrier(1)}, source)


def test_import_time_is_that_of_a_new_process():
    assert 0 < installed.import_seconds("numpy", num_repeats=1) < 60


def test_measuring_the_loader_on_a_cpu_imports_no_dali(small_folder: Path):
    arguments = ["bench-loader", *small(small_folder), "--workers", "1", "--seconds", "0.01"]
    code = f"import sys; sys.modules['nvidia'] = None; from cli.main import main; main({arguments!r})"
    called = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert called.returncode == 0, called.stderr
    assert "Training runs at" in called.stdout
