"""The gpu back end's own path (a file's bytes into DALI's decoder), with DALI's software decoder in NVDEC's place.

It decodes VP9, so all but the silicon is what runs on a GPU. What NVDEC itself does is tested in `tests/gpu`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.catalog.pool import Pool
from pipelines.loading.engine import Engine
from pipelines.loading.loader import EvaluationLoader
from pipelines.loading.nvdec import OnCpu, after_refusal
from pipelines.loading.sample import Media
from pipelines.loading.source import EvaluationSource
from tests.support.nvdec import GEOMETRY, close, loader, vp9, vp9_pool
from tests.support.videos import make_video

SOFTWARE = Engine(media=Media.CUTS, decoder="cpu")


@pytest.mark.parametrize("exact_seek", [False, True])
def test_encoded_files_give_the_views_that_frames_give(tmp_path, exact_seek, caplog):
    """GOPs cut out of files; where packets do not lead to frames, the workers decode."""
    pool = vp9_pool(vp9(tmp_path, 3), num_frames=80, exact_seek=exact_seek)
    ours, decoded = loader(pool, SOFTWARE), loader(pool, Engine(media="frames"))
    for _ in range(3):
        a, b = next(ours), next(decoded)
        assert close(a.labeled.standard.primary, b.labeled.standard.primary)
        assert close(a.unlabeled.weak.auxiliary, b.unlabeled.weak.auxiliary)
        assert torch.equal(a.unlabeled.truth, b.unlabeled.truth)
    said = "3 of 3 videos (100.0 %) are decoded on the CPU: their packets do not lead to their frames"
    assert (said in caplog.text) == (not exact_seek)


def test_a_stream_that_the_decoder_refuses_is_set_aside_and_training_goes_on(tmp_path):
    paths = vp9(tmp_path, 3)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 3] + b"\0" * 2000)
    made = loader(vp9_pool(paths, num_frames=80), SOFTWARE)
    positions = []
    for _ in range(4):
        batch = next(made)
        positions += made.unlabeled.positions
        assert 1 not in batch.unlabeled.truth.tolist()
        assert batch.unlabeled.strong.primary.float().std() > 1
    assert positions == list(range(16))
    assert list(made.problems) == [str(paths[1])]


def test_a_stream_with_a_hole_is_set_aside_too(tmp_path):
    """What the decoder neither refuses nor delivers: fewer frames than asked for."""
    paths = vp9(tmp_path, 3)
    content, third = paths[1].read_bytes(), len(paths[1].read_bytes()) // 3
    paths[1].write_bytes(content[:third] + bytes(third) + content[2 * third :])
    made = loader(vp9_pool(paths, num_frames=80, exact_seek=True), SOFTWARE)
    for _ in range(4):
        assert 1 not in next(made).unlabeled.truth.tolist()
    assert list(made.problems) == [str(paths[1])]


def test_an_empty_file_is_replaced_before_the_decoder(tmp_path):
    paths = vp9(tmp_path, 3)
    paths[2].write_bytes(b"")
    made = loader(vp9_pool(paths, num_frames=80), SOFTWARE)
    for _ in range(3):
        assert 2 not in next(made).unlabeled.truth.tolist()
    assert made.problems == {str(paths[2]): "empty file"}


def h264_among_vp9(tmp_path: Path, *, declared: bool) -> Pool:
    """Four videos of VP9 and two of H.264, which DALI's software decoder refuses; `declared` says so beforehand."""
    paths = vp9(tmp_path, 4) + [make_video(tmp_path / f"h{k}.mp4", num_frames=80, gop=20, seed=k) for k in (4, 5)]
    pool = vp9_pool(paths, num_frames=80, exact_seek=True)
    foreign = {"codings": ("vp9 yuv420p", "h263 yuv420p"), "coding": np.array([0, 0, 0, 0, 1, 1])}
    return Pool(**vars(pool) | foreign) if declared else pool


@pytest.mark.parametrize("declared", [True, False])
def test_what_the_decoder_does_not_take_is_decoded_on_the_cpu(tmp_path, declared, caplog):
    pool = h264_among_vp9(tmp_path, declared=declared)
    ours, decoded = loader(pool, SOFTWARE), loader(pool, Engine(media="frames"))
    for _ in range(5):
        a, b = next(ours), next(decoded)
        assert ours.unlabeled.positions == decoded.unlabeled.positions
        assert torch.equal(a.unlabeled.truth, b.unlabeled.truth)
        assert torch.equal(a.labeled.labels, b.labeled.labels)
        assert close(a.unlabeled.weak.auxiliary, b.unlabeled.weak.auxiliary)
        assert close(a.unlabeled.strong.primary, b.unlabeled.strong.primary)
    assert ours.problems == {}
    assert ("h4.mp4 is decoded on the CPU from here on" in caplog.text) == (not declared)
    known = "2 of 6 videos (33.3 %) are decoded on the CPU: NVDEC does not take h263 yuv420p"
    assert (known in caplog.text) == declared, "what NVDEC is known not to take is said, too"


def test_a_coding_that_is_always_refused_is_given_up_as_a_whole():
    pool = vp9_pool([Path(f"{k}") for k in range(6)], num_frames=80)
    pool = Pool(**vars(pool) | {"codings": ("a x", "b x"), "coding": np.array([0, 0, 0, 1, 1, 1])})
    known = after_refusal(OnCpu(), pool, refused={0, 3, 4}, tried={0, 1, 3, 4})
    assert known == OnCpu(codings=frozenset({"b x"}), videos=frozenset({0, 3, 4}))
    assert [known.must(pool, k) for k in range(6)] == [True, False, False, True, True, True]
    assert after_refusal(OnCpu(), pool, refused={3}, tried={3}).codings == frozenset(), "one may just be broken"


@pytest.mark.parametrize("declared", [True, False])
def test_evaluation_goes_on_too(tmp_path, declared):
    pool = h264_among_vp9(tmp_path, declared=declared)
    (tmp_path / "2.webm").write_bytes(b"broken")
    source = EvaluationSource(
        pool=pool,
        shapes=GEOMETRY.shapes,
        short_videos="loop",
        num_clips=2,
        num_crops=1,
        crop_size=32,
        media=Media.CUTS,
        batch_size=4,
    )
    made = EvaluationLoader(source, engine=SOFTWARE)
    seen = [video for videos, _, _ in made for video in videos]
    made.close()
    assert seen == [0, 1, 3, 4, 5]
    assert list(made.problems) == [str(tmp_path / "2.webm")]
