"""The composition root: pools, geometry and networks that a configuration asks for."""

import numpy as np
import pytest

from cmpl import build
from cmpl.config import with_settings
from cmpl.recipes.demo import demo
from cmpl.recipes.kinetics import k400
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import on_cpu
from tests.support.videos import make_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes; one training video is 4:4:4, which NVDEC does not decode."""
    root = tmp_path_factory.mktemp("folder")
    for k, name in enumerate(("a", "b")):
        for part, count in (("train", 4), ("val", 1)):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                odd = {"pixel_format": "yuv444p"} if (name, part, i) == ("b", "train", 3) else {}
                make_video(root / part / name / f"{name}{i}.mp4", num_frames=20, seed=10 * k + i, **odd)
    return root


def opened(folder, **settings: str) -> tuple:
    config = with_settings(demo("1"), {"data.dataset": "folder", "data.root": str(folder)} | settings)
    return config, build.open_data(config)


def test_labeled_videos_stay_in_the_unlabeled_pool_unless_told(folder):
    config, data = opened(folder)
    assert len(data.labeled_pool()) == 2
    assert len(build.unlabeled_pool(config, data)) == 8
    apart = with_settings(config, {"data.labeled_in_unlabeled": "false"})
    pool = build.unlabeled_pool(apart, data)
    assert len(pool) == 6
    assert not set(pool.paths) & set(data.labeled_pool().paths)


def test_what_nvdec_cannot_decode_stays_in_the_pool(folder):
    config, data = opened(folder)
    pool = build.unlabeled_pool(config, data)
    assert len(pool) == 8
    known = on_cpu(pool)
    assert known.codings == {"h264 yuv444p"}
    assert [pool.paths[k].endswith("b3.mp4") for k in range(8)] == [known.must(pool, k) for k in range(8)]
    assert data.problems() == {}


def test_the_data_set_says_whether_to_flip_unless_the_user_does(folder):
    config, data = opened(folder)
    assert build.planners(config, data)[0].horizontal_flip
    still = with_settings(config, {"data.horizontal_flip": "false"})
    assert not build.planners(still, data)[1].horizontal_flip


def test_the_same_seed_gives_the_same_networks():
    config = demo()
    a, b = (dict(build.method_of(config, num_classes=10).named_parameters()) for _ in range(2))
    assert all(np.array_equal(a[name].detach(), b[name].detach()) for name in a)
    other = dict(build.method_of(with_settings(config, {"seed": "1"}), num_classes=10).named_parameters())
    assert not np.array_equal(a["primary.stem.conv.weight"].detach(), other["primary.stem.conv.weight"].detach())


def test_shared_weights_are_one_network():
    method = build.method_of(with_settings(demo(), {"method.shared_weights": "true"}), num_classes=4)
    assert method.primary is method.auxiliary


def test_a_data_set_without_its_folder_says_so():
    with pytest.raises(InputError, match="data.root"):
        build.open_data(k400())


def test_evaluation_batches_feed_nvdec_and_fit_a_machine():
    ten_by_three = 10 * 24 * 3 * 256 * 256
    assert build.evaluated_at_once(ten_by_three, Engine()) == 1
    assert build.evaluated_at_once(24 * 256 * 256, Engine()) == 10
    assert build.evaluated_at_once(28 * 28, Engine()) == 16
    gpu = Engine(media="cuts", device_index=0)
    assert build.evaluated_at_once(ten_by_three, gpu) == 8
    assert build.evaluated_at_once(28 * 28, gpu) == 16
