"""A run's network as a file of its own: the same answers, for any number of clips, without this project."""

import json
import re
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import cmpl.export
from cli.main import main
from cmpl import build, load_run
from cmpl.export import Answering, export
from cmpl.predict import predict_videos, runtime_of
from cmpl.run import Run
from cmpl.selection import videos_at
from cmpl.training.ranks import Ranks
from pipelines.errors import InputError
from tests.support.videos import make_video

PAGE = Path(__file__).parents[2] / "docs" / "answers.md"


@pytest.fixture(scope="module")
def run(finished, folder) -> Run:
    """The finished run, with a last layer of the primary whose answers differ from video to video."""
    run = load_run(finished)
    rows = predict_videos(run, sorted((folder / "val").rglob("*.mp4")), clips=1, crops=1, with_features=True)
    features = torch.from_numpy(np.stack([row.features for row in rows]))
    deviation, mean = torch.std_mean(features, dim=0)
    head = run.networks["primary"].head
    with torch.no_grad():
        nn.init.normal_(head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
        head.weight /= deviation + 0.1 * deviation.max()
        head.bias.copy_(-head.weight @ mean)
    return run


def clips_of(metadata: dict, number: int) -> Tensor:
    """Random clips (number, T, S, S, 3) uint8."""
    shape = number, metadata["frames"], metadata["side"], metadata["side"], 3
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def view_of(run: Run, video: Path) -> Tensor:
    """The middle clip (T, S, S, 3) of the evaluation."""
    loader = build.evaluation_loader_of(
        run.config, videos_at([video]).pool(), runtime=runtime_of(run), ranks=Ranks(), clips=1, crops=1
    )
    with loader:
        return next(iter(loader)).clips[0][0, 0].permute(1, 2, 3, 0)


def test_a_file_of_torch_answers_as_the_run(run, tmp_path):
    done = export(run, tmp_path / "a.pt2", network="auxiliary")
    extra = {"metadata.json": ""}
    network = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()
    about = json.loads(extra["metadata.json"])
    assert about == done.metadata
    shape = run.geometry.auxiliary
    assert (about["classes"], about["network"]) == (["clap", "wave"], "auxiliary")
    assert (about["frames"], about["stride"]) == (shape.num_frames, shape.stride)
    for number in (1, 5):
        clips = clips_of(about, number)
        with torch.no_grad():
            logits = run.networks["auxiliary"]((clips.permute(0, 4, 1, 2, 3).float() - 0.45 * 255) / (0.225 * 255))
        found = network(clips)
        assert torch.allclose(found, logits.softmax(dim=1), atol=1e-5)
        assert torch.allclose(found.sum(dim=1), torch.ones(number))
    assert done.largest_difference <= 1e-5


def test_a_file_of_onnx_answers_as_the_run(finished, tmp_path, monkeypatch):
    """As the command writes it."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", str(finished), "--format", "onnx", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["file"] == "whole-primary.onnx"
    assert result["largest_difference"] <= 1e-5
    session = runtime.InferenceSession("whole-primary.onnx", providers=["CPUExecutionProvider"])
    stored = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert result["metadata"].items() <= stored.items()
    for number in (1, 5):
        clips = clips_of(stored, number)
        with torch.no_grad():
            expected = Answering(load_run(finished).networks["primary"])(clips).numpy()
        assert np.allclose(session.run(None, {"clips": clips.numpy()})[0], expected, atol=1e-5)


def test_a_file_that_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cmpl.export, "_answers_of_file", lambda path, clips, *, format: torch.full((3, 2), 0.5))
    (tmp_path / "a.pt2").write_text("from before")
    with pytest.raises(InputError, match=r"differ from the run's by 0\.\d+; accepted: at most 0.001; nothing"):
        export(run, tmp_path / "a.pt2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.pt2", "from before")]


def test_what_cannot_be_exported_is_said(run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="network: received 'third'; accepted: primary, auxiliary"):
        export(run, tmp_path / "a", network="third")
    with pytest.raises(InputError, match="format: received 'tf'; accepted: torch, onnx"):
        export(run, tmp_path / "a", format="tf")

    class Odd(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            return clips[:, 0, 0, 0, : int(clips.sum())]

    monkeypatch.setitem(run.networks, "primary", Odd())
    with pytest.raises(InputError, match=r"network=primary: torch.export cannot trace it \(.+\); accepted"):
        export(run, tmp_path / "a")
    monkeypatch.setattr(cmpl.export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"'onnx', but onnx, onnxscript, onnxruntime cannot be imported; .*cmpl\[onnx\]"
    ):
        export(run, tmp_path / "a", format="onnx")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_the_page_s_script_names_a_video_s_class(run, folder, tmp_path, monkeypatch, capsys):
    """It runs without this project, and shows the network what the evaluation shows of one clip and one crop."""
    script = next(code for code in re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.S) if "torch.export" in code)
    assert "cmpl" not in script
    assert "pipelines" not in script
    (tmp_path / "script.py").write_text(script)
    export(run, tmp_path / "primary.pt2")
    monkeypatch.chdir(tmp_path)
    videos = sorted((folder / "val").rglob("*.mp4"))
    wide = make_video(tmp_path / "wide.mp4", stretch=Fraction(3, 2))
    long = make_video(tmp_path / "long.mp4", num_frames=150)
    names = set()
    for video in (*videos, wide, long):
        monkeypatch.setattr(sys, "argv", ["script.py", str(video)])
        done = runpy.run_path("script.py")
        name, confidence = capsys.readouterr().out.split()
        probabilities = Answering(run.networks["primary"])(torch.stack(done["clip"])[None])[0]
        assert name == run.classes[probabilities.argmax()]
        assert float(confidence) == pytest.approx(float(probabilities.max()), abs=1e-5)
        assert float((torch.stack(done["clip"]).float() - view_of(run, video).float()).abs().mean()) < 4
        names.add(name)
    assert names == set(run.classes)
