"""Operations of the strong view by name: those of plug-ins are planned, made by workers and by DALI's graph."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.graph import unlabeled_graph
from pipelines.loading.loader import SemiLoader
from pipelines.loading.sample import Media
from pipelines.loading.source import TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.operations import OPERATIONS, RAND_AUGMENT_OPS, Geometric, operation, register_operation
from pipelines.plan.planner import Planner, Stream
from pipelines.plan.rand_augment import StrongSpec, draw_strong
from pipelines.registry import use_plugins
from pipelines.views.numpy_ops import photometric

SHADE = """
import pipelines


def shade_of_nodes(clip, magnitude, *, shape):
    from nvidia.dali import fn, types

    return fn.cast(fn.cast(clip, dtype=types.FLOAT) * (0.5 + 0.0 * magnitude), dtype=types.UINT8)


@pipelines.register_operation("shade", dali=shade_of_nodes)
def shade(clip, magnitude):
    assert clip.dtype == "uint8" and clip.shape[1:] == (28, 28, 3) and 0.1 <= abs(magnitude) <= 1
    return (clip * 0.5).round().astype("uint8")
"""
GEOMETRY = Geometry(
    primary=ClipShape(2, 8), auxiliary=None, crop_size=28, short_side=32, short_side_jitter=(32, 40)
)  # fmt: skip


@pytest.fixture
def shade(tmp_path, no_plugins):
    path = tmp_path / "plugin_of_shades.py"
    path.write_text(SHADE)
    use_plugins((str(path),))


def strong_clips(pool, *, ops: tuple[str, ...], engine: Engine) -> torch.Tensor:
    def plan(stream: Stream) -> Planner:
        strong = StrongSpec(ops=ops, num_ops=1, cutout_fraction=0.0)
        return Planner(pool=pool, seed=0, stream=stream, geometry=GEOMETRY, strong=strong)

    with SemiLoader(
        labeled=plan(Stream.LABELED), unlabeled=plan(Stream.UNLABELED), num_labeled=1, num_unlabeled=4, engine=engine
    ) as loader:
        return next(loader).unlabeled.strong.primary.clone()


@pytest.mark.usefixtures("shade")
@pytest.mark.parametrize("engine", [Engine(), Engine(num_workers=2), Engine(media=Media.FRAMES)], ids=str)
def test_a_plugins_operation_is_made_everywhere(pool, engine):
    shaded = strong_clips(pool, ops=("shade",), engine=engine)
    plain = strong_clips(pool, ops=("identity",), engine=engine)
    difference = (shaded.float() - plain.float() / 2).abs()
    assert difference.max() <= 1
    assert plain.float().mean() > 10


@pytest.mark.usefixtures("no_plugins")
def test_a_graph_refuses_an_operation_without_a_dali_function(pool):
    register_operation("only_here")(lambda clip, magnitude: clip)
    planner = Planner(
        pool=pool, seed=0, stream=Stream.UNLABELED, geometry=GEOMETRY, strong=StrongSpec(ops=("only_here",))
    )
    source = TrainSource(planner=planner, media=Media.FRAMES, batch_size=2)
    with pytest.raises(InputError, match=r"strong ops: received 'only_here' with a GPU, where it has no function; acc"):
        unlabeled_graph(source, engine=Engine(media=Media.FRAMES))


@pytest.mark.usefixtures("no_plugins")
def test_codes_are_places_in_the_specification():
    register_operation("last")(lambda clip, magnitude: clip)
    spec = StrongSpec(ops=("rotate", "solarize", "last"), num_ops=3)
    drawn = draw_strong([0, 0, 0, 0.9, 1.0, 0.9, 0.0, 0.5, 0, 0.4, 0.5, 0], spec=spec, size=28)
    assert drawn.photometric == (("last", -1.0), ("solarize", 256.0 - round(256 * 0.55)))
    assert drawn.codes == (3, 2)


@pytest.mark.usefixtures("no_plugins")
def test_an_own_geometric_operation_is_composed():
    OPERATIONS.register("flip_down")(Geometric(affine=lambda m, size: (1.0, 0.0, 0.0, 0.0, -1.0, float(size))))
    drawn = draw_strong([0, 0, 0, 0, 0, 0], spec=StrongSpec(ops=("flip_down",), num_ops=1), size=28)
    assert (drawn.inverse_affine, drawn.photometric) == ((1, 0, 0, 0, -1, 28), ())


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize(
    ("function", "received"),
    [
        (lambda clip, magnitude: clip.astype(np.float32), r"float32 \(2, 4, 4, 3\)"),
        (lambda clip, magnitude: clip[:1], r"uint8 \(1, 4, 4, 3\)"),
        (lambda clip, magnitude: None, "NoneType"),
    ],
)
def test_what_a_function_must_give(function, received):
    register_operation("odd")(function)
    with pytest.raises(InputError, match=rf"operation 'odd': received {received} from its function; accepted: uint8"):
        photometric(np.zeros((2, 4, 4, 3), dtype=np.uint8), "odd", 0.5)


def test_unknown_and_other_things_are_named():
    with pytest.raises(InputError, match="strong ops: received 'rotat'; did you mean 'rotate'"):
        operation("rotat")
    with pytest.raises(InputError, match="strong ops: received 'json:loads', which is function; accepted: Photometric"):
        operation("json:loads")
    with pytest.raises(InputError, match="strong ops: received 'rotate', which moves pixels"):
        photometric(np.zeros((2, 4, 4, 3), dtype=np.uint8), "rotate", 0.5)


def test_names_and_values_need_no_pixels():
    code = (
        "import sys; from pipelines.plan.operations import RAND_AUGMENT_OPS, operation; "
        "[operation(name) for name in RAND_AUGMENT_OPS]; "
        "print([m for m in ('torch', 'nvidia.dali', 'av', 'pipelines.views') if m in sys.modules])"
    )
    assert len(RAND_AUGMENT_OPS) == 14
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
