"""The graphs as they are put together for a GPU: what can be known of them without one."""

import numpy as np
import nvidia.dali.backend
import pytest
from nvidia.dali.pipeline import Pipeline

import pipelines.loading.graph
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.graph import evaluation_graph, labeled_graph, preallocate, training_graph, unlabeled_graph
from pipelines.loading.source import EvaluationSource, TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream

GEOMETRIES = {"paper": Geometry(), "flow": Geometry(auxiliary=ClipShape(16, 8, pairs=True), flow=True)}


@pytest.fixture
def unbuilt(monkeypatch):
    """Pipelines that are put together and not started."""
    monkeypatch.setattr(Pipeline, "build", lambda pipeline: pipeline._build_graph())


def graphs(pool, media: str, geometry: Geometry) -> list[Pipeline]:
    engine, made = Engine(media=media, device_index=0), []
    for stream, graph in ((Stream.LABELED, labeled_graph), (Stream.UNLABELED, unlabeled_graph)):
        planner = Planner(pool=pool, seed=0, stream=stream, geometry=geometry)
        source = TrainSource(planner=planner, media=media, batch_size=2)
        made.append(graph(source, engine=engine))
    clips = {"shapes": (geometry.primary,), "short_videos": "loop", "num_clips": 2, "num_crops": 3, "crop_size": 64}
    source = EvaluationSource(pool=pool, media=media, batch_size=2, **clips)
    return [*made, evaluation_graph(source, engine=engine)]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("media", ["frames", "cuts", "mixed"])
def test_every_operator_of_a_gpu_graph_has_a_gpu_implementation(pool, unbuilt, media, geometry):
    registered = {
        "cpu": nvidia.dali.backend.RegisteredCPUOps(),
        "gpu": nvidia.dali.backend.RegisteredGPUOps(),
        "mixed": nvidia.dali.backend.RegisteredMixedOps(),
    }
    known = {device: {name.split("__")[-1].lstrip("_") for name in names} for device, names in registered.items()}
    for pipeline in graphs(pool, media, geometry):
        used = {(type(op._op).__name__.lstrip("_"), op._op._device) for op in pipeline._ops}
        assert {name for name, device in used if name not in known[device]} == set()
        *views, ids, problems = pipeline._graph_outputs
        assert {view.device for view in views} == {"gpu"}
        assert {ids.device, problems.device} == {"cpu"}


def test_crops_too_small_for_the_optical_flow_unit_are_refused(pool):
    small = {"crop_size": 28, "short_side": 32, "short_side_jitter": (32, 40)}
    geometry = Geometry(auxiliary=ClipShape(16, 8, pairs=True), flow=True, **small)
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=geometry)
    source = TrainSource(planner=planner, media="frames", batch_size=2)
    with pytest.raises(InputError, match="flow: received crops of 28 pixels on a GPU; accepted: 32 or more"):
        training_graph(source, engine=Engine(media="frames", device_index=0))


def test_memory_for_the_batches_in_flight_is_set_aside(pool, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(
        pipelines.loading.graph.backend,
        "PreallocateDeviceMemory",
        lambda num_bytes, index: asked.append((num_bytes, index)),
    )
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=Geometry())
    source = TrainSource(planner=planner, media="cuts", batch_size=10)
    preallocate(source, engine=Engine(media="cuts", decoder="cpu"))
    assert asked == [], "no GPU, no memory of it"
    preallocate(source, engine=Engine(media="cuts", device_index=1, prefetch_batches=2))
    pixels = 2 * int(np.mean(pool.width * pool.height)) + 2 * 224 * 224
    assert asked == [(10 * 3 * 24 * 3 * pixels, 1)]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_full_card_is_said_and_ends_nothing(pool, monkeypatch, caplog, error):
    """DALI's CUDABadAlloc is a std::bad_alloc, which Python knows as MemoryError; other ways give RuntimeError."""

    def refuse(num_bytes: int, index: int) -> None:
        raise error("out of memory\nmore words")

    monkeypatch.setattr(pipelines.loading.graph.backend, "PreallocateDeviceMemory", refuse)
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=Geometry())
    source = TrainSource(planner=planner, media="cuts", batch_size=10)
    preallocate(source, engine=Engine(media="cuts", device_index=1))
    assert "no memory set aside for 30 videos in flight: out of memory" in caplog.text
