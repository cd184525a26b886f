"""Both ways to make views, by the workers and by DALI's graph, against the plain numpy twin, on real encoded
video; and the promises of the hand-off."""

import dataclasses

import numpy as np
import pytest
import torch

from pipelines.loading.engine import Engine
from pipelines.loading.loader import SemiLoader, shared_workers
from pipelines.plan.boxes import stored_box
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.operations import RAND_AUGMENT_OPS
from pipelines.plan.planner import ViewPlan
from pipelines.plan.rand_augment import StrongSpec
from tests.support import reference
from tests.support.operations import GEOMETRIC, PHOTOMETRIC
from tests.support.videos import decode_plainly, needs_real_videos, real_videos
from tests.support.views import (
    assert_same_view,
    loader,
    pixels,
    planners,
    seen_by,
)

STRONG_TOLERANCE = {"frames": 3, "views": 14}  # which the operations after it may spread ...
STRONG_MEAN = {"frames": 0.2, "views": 0.25}  # ... but seldom ...
WHOLE_RANGE_MEAN = 0.75  # ... unless it moves an extreme of the clip, by which all values are stretched


@pytest.fixture(params=["frames", "views"])
def engine(request) -> Engine:
    return Engine(media=request.param)


def twin(make, engine: Engine, video: np.ndarray, view: ViewPlan) -> np.ndarray:
    """What a function of the twin, standard_view or strong_view, makes of a view's plan."""
    video, box = seen_by(engine, video, view.box)
    return make(video, dataclasses.replace(view, box=box), size=28).astype(int)


def test_weak_and_standard_views_equal_the_twin(pool, decoded, engine):
    made, plans = loader(pool, engine=engine), planners(pool)
    for step in range(3):
        batch = next(made)
        for j in range(6):
            plan = plans["unlabeled"].plan(step * 6 + j)
            for view, clips in zip(
                plan.views, (batch.unlabeled.weak.primary, batch.unlabeled.weak.auxiliary), strict=True
            ):
                video, box = seen_by(engine, decoded[plan.video], plan.weak)
                assert_same_view(clips[j], reference.weak_view(video, view, box, size=28), engine)
            assert batch.unlabeled.truth[j] == plan.video % 3
        for j in range(2):
            plan = plans["labeled"].plan(step * 2 + j)
            for view, clips in zip(
                plan.views, (batch.labeled.standard.primary, batch.labeled.standard.auxiliary), strict=True
            ):
                assert_same_view(clips[j], twin(reference.standard_view, engine, decoded[plan.video], view), engine)
            assert batch.labeled.labels[j] == plan.video % 3


@pytest.mark.parametrize("op", RAND_AUGMENT_OPS)
def test_every_strong_operation_equals_the_twin(pool, decoded, op, engine):
    strong = StrongSpec(ops=(op,), num_ops=1)
    made, plans = loader(pool, strong=strong, engine=engine), planners(pool, strong=strong)
    applied = 0
    for step in range(2):
        batch = next(made)
        for j in range(6):
            plan = plans["unlabeled"].plan(step * 6 + j)
            for view, clips in zip(
                plan.views, (batch.unlabeled.strong.primary, batch.unlabeled.strong.auxiliary), strict=True
            ):
                plain = twin(reference.standard_view, engine, decoded[plan.video], view)
                expected = twin(reference.strong_view, engine, decoded[plan.video], view)
                difference = np.abs(pixels(clips[j]) - expected)
                if op in ("solarize", "posterize", "equalize"):  # a step of rounding may cross a threshold
                    assert (difference[:, 1:-1, 1:-1] > 2).mean() < 0.02
                else:
                    assert difference.max() <= STRONG_TOLERANCE[engine.media]
                stretches = op in ("autocontrast", "equalize")
                assert difference.mean() <= (WHOLE_RANGE_MEAN if stretches else STRONG_MEAN[engine.media])
                applied += not np.array_equal(reference.cut_out(plain, view.strong.cutout), expected)
    assert (applied == 0) == (op == "identity")


def test_two_operations_are_applied_in_the_order_drawn(pool, decoded, engine):
    made, plans = loader(pool, engine=engine), planners(pool)
    seen = set()
    for step in range(5):
        batch = next(made)
        for j in range(6):
            plan = plans["unlabeled"].plan(step * 6 + j)
            view = plan.primary
            seen.update(op for op, _ in view.strong.photometric)
            expected = twin(reference.strong_view, engine, decoded[plan.video], view)
            difference = np.abs(pixels(batch.unlabeled.strong.primary[j]) - expected)
            assert difference.mean() <= WHOLE_RANGE_MEAN
    assert len(seen) >= 5


def test_strong_parameters_are_constant_over_the_frames(pool, engine):
    """A video of one frame repeated gives a strong clip of one frame repeated, whatever is drawn."""
    geometry = Geometry(
        primary=ClipShape(6, 1000),
        auxiliary=None,
        crop_size=28,
        short_side=32,
        short_side_jitter=(32, 40),
        short_videos="repeat-last",
    )
    one_frame = pool.__class__(**{**vars(pool), "num_frames": np.ones(len(pool), dtype=np.int64)})
    made = loader(one_frame, geometry=geometry, engine=engine)
    for _ in range(4):
        clips = next(made).unlabeled.strong.primary
        assert (clips == clips[:, :, :1]).all()


def test_supervised_methods_decode_no_unlabeled_video(pool):
    made = SemiLoader(
        labeled=planners(pool)["labeled"],
        unlabeled=None,
        num_labeled=2,
        num_unlabeled=6,
        engine=Engine(),
    )
    assert next(made).unlabeled is None


def test_hand_off_is_channels_last_and_stays_valid(pool, engine):
    """Clips come without a copy; what a batch holds must survive the batches after it."""
    made = loader(pool, engine=engine)
    batches = [next(made) for _ in range(6)]
    clips = [b.unlabeled.strong.primary for b in batches]
    assert all(c.is_contiguous(memory_format=torch.channels_last_3d) and c.dtype == torch.uint8 for c in clips)
    copies = [c.clone() for c in clips]
    for _ in range(4):
        next(made)
    assert all(torch.equal(a, b) for a, b in zip(clips, copies, strict=True))


@pytest.mark.parametrize("num_workers", [1, 3])
def test_batches_do_not_depend_on_the_workers(pool, num_workers):
    alone, parallel = loader(pool), loader(pool, engine=Engine(num_workers=num_workers, num_threads=2))
    for _ in range(3):
        a, b = next(alone), next(parallel)
        assert torch.equal(a.labeled.standard.primary, b.labeled.standard.primary)
        assert torch.equal(a.unlabeled.strong.auxiliary, b.unlabeled.strong.auxiliary)
        assert alone.unlabeled.positions == parallel.unlabeled.positions


def test_a_loader_taken_up_again_goes_on_with_the_same_batches(pool):
    whole = loader(pool)
    batches = [next(whole) for _ in range(5)]
    later = loader(pool, first_micro_step=3)
    for batch in batches[3:]:
        again = next(later)
        assert torch.equal(batch.unlabeled.strong.primary, again.unlabeled.strong.primary)
        assert torch.equal(batch.labeled.labels, again.labeled.labels)


def test_two_ranks_see_what_one_sees(pool):
    """Rank r's batch of 3 is the r-th half of one rank's batch of 6."""

    def made(batch_size: int, **ranks) -> SemiLoader:
        return SemiLoader(**planners(pool), num_labeled=1, num_unlabeled=batch_size, engine=Engine(), **ranks)

    one, two = made(6), [made(3, rank=r, num_ranks=2) for r in range(2)]
    for _ in range(3):
        whole = next(one).unlabeled.weak.primary
        halves = torch.cat([next(part).unlabeled.weak.primary for part in two])
        assert torch.equal(whole, halves)


@needs_real_videos
@pytest.mark.parametrize("path", [p for p in real_videos() if "340x256" in p.name], ids=lambda p: p.name)
def test_real_clips_at_full_size(path, tmp_path, engine):
    """8x8 and 16x4 at 224 pixels, as Kinetics is trained on."""
    from pipelines.catalog.manifest import open_manifest
    from pipelines.catalog.pool import pool_of

    manifest = open_manifest(path.parent, [path.name], np.zeros(1), cache_dir=tmp_path)
    pool = pool_of((manifest, np.arange(1)))
    video = decode_plainly(path)
    geometry = Geometry(max_offset_seconds=10.0)
    made, plans = loader(pool, geometry=geometry, engine=engine), planners(pool, geometry=geometry)
    plan, batch = plans["unlabeled"].plan(0), next(made)
    seen, box = seen_by(engine, video, stored_box(plan.weak, pool.picture(0))[:4])  # pixels of 340x256 are not square
    expected = reference.weak_view(seen, plan.primary, box, size=224)
    assert_same_view(batch.unlabeled.weak.primary[0], expected, engine)
    assert batch.unlabeled.strong.auxiliary.shape == (6, 3, 16, 224, 224)


@pytest.mark.parametrize(
    ("num_workers", "shares"), [(0, (0, 0)), (1, (1, 1)), (2, (1, 1)), (6, (1, 5)), (12, (2, 10)), (16, (3, 13))]
)
def test_reading_processes_are_shared_by_the_streams(num_workers, shares):
    assert shared_workers(num_workers, 2, 10) == shares


def test_operation_names_are_fourteen():
    assert ("identity", *GEOMETRIC, *PHOTOMETRIC) == RAND_AUGMENT_OPS
    assert len(RAND_AUGMENT_OPS) == 14
