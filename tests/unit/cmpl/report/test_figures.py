"""The paper's figures: their numbers by hand and against numpy, and what is refused."""

import numpy as np
import pytest

from cmpl.recipes.registry import row_config
from cmpl.report import gaps, pseudo_labels, strides, sweeps
from cmpl.report.drawing import styled
from cmpl.report.figures import FIGURES, draw_figure
from cmpl.report.values import runs_at, values_of
from cmpl.training.answers import Answers, Span
from pipelines.errors import InputError
from tests.support.made_runs import CLASSES, NUM_STEPS, NUM_UNLABELED, TRUTH, listing_of, made_run

RNG = np.random.default_rng(5)


def metrics(right: float, *, known: float = 1.0) -> list[dict]:
    shares = {f"pseudo_right_{network}": right * known for network in ("primary", "auxiliary")}
    return [{"step": step, "loss": 1.0, "truth_known": known, **shares} for step in (20, 40)]


def kept(seed: int, *, networks: tuple[str, ...]) -> dict:
    """Answers to all unlabeled videos in two spans."""
    rng = np.random.default_rng(seed)

    def columns() -> dict:
        made = {"videos": np.arange(NUM_UNLABELED, dtype=np.int32)}
        for network in networks:
            made[f"{network}_class"] = rng.integers(0, len(CLASSES), NUM_UNLABELED).astype(np.int32)
            made[f"{network}_confidence"] = rng.random(NUM_UNLABELED).astype(np.float32)
        return made

    return {(17, 20): columns(), (37, 40): columns()}


@pytest.fixture
def folder(tmp_path):
    """A folder of one run of each kind."""
    both = {"primary": (0.9, 0.4, 0.35, 0.6), "auxiliary": (0.5, 0.5, 0.5, 0.5)}
    networks = ("primary", "auxiliary")
    made_run(tmp_path / "cmpl", per_class=both, metrics=metrics(0.6), answers=kept(1, networks=networks))
    made_run(
        tmp_path / "fixmatch",
        method="fixmatch",
        per_class={"primary": (0.7, 0.4, 0.5, 0.5)},
        metrics=metrics(0.4),
        answers=kept(2, networks=networks[:1]),
    )
    for name, width, shares in (("large", "0.25", (0.8, 0.2, 0.4, 0.3)), ("small", "0.125", (0.15, 0.6, 0.4, 0.15))):
        made_run(
            tmp_path / name,
            method="supervised",
            per_class={"primary": shares},
            evaluations=[
                {"step": NUM_STEPS, "clips": 2, "crops": 1, "clip_stride": s, "primary": {"top1": 0.4 / (1 + s)}}
                for s in strides.STRIDES
            ],
            **{"primary.width": width},
        )
    return tmp_path


def test_figure_1_has_the_gap_of_each_class_the_greatest_first(folder):
    small, large = (values_of(folder / name).result["primary"]["per_class"] for name in ("small", "large"))
    found = gaps.gaps_of(small, large)
    assert [name for name, _ in found] == ["clap", "dive", "wave", "bow"]
    assert [gap for _, gap in found] == pytest.approx([0.4, 0.0, -0.15, -0.65])
    figure = gaps.category_gap(runs_at([folder / "small", folder / "large"]))
    heights = [bar.get_height() for bar in figure.axes[0].patches[:4]]
    assert heights == pytest.approx([0.4, 0.0, -0.15, -0.65])


def test_figure_1_averages_subsets(folder):
    made_run(
        folder / "small-2",
        method="supervised",
        per_class={"primary": (0.25, 0.8, 0.4, 0.15)},
        **{"primary.width": "0.125"},
    )
    figure = gaps.category_gap(runs_at([folder / "large", folder / "small", folder / "small-2"]))
    assert figure.axes[0].patches[0].get_height() == pytest.approx(0.7 - 0.2)


def test_figure_2_is_of_all_videos_of_known_class(folder):
    epochs, ratio = pseudo_labels.ratio_of_right(values_of(folder / "cmpl"), network="primary")
    assert epochs.tolist() == [5, 10]  # 12 videos, 3 a step
    assert ratio.tolist() == [0.6, 0.6]
    made_run(folder / "half", metrics=metrics(0.6, known=0.5))
    assert pseudo_labels.ratio_of_right(values_of(folder / "half"), network="primary")[1] == pytest.approx([0.6, 0.6])
    figure = pseudo_labels.ratio_of_correct(runs_at([folder / "fixmatch", folder / "cmpl"]))
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"CMPL, for the primary": [0.6, 0.6], "CMPL, for the auxiliary": [0.6, 0.6], "FixMatch": [0.4, 0.4]}


def test_figure_2_invents_no_truth(folder):
    lines = [{"step": 20, "loss": 1.0, "truth_known": 0.0, "pseudo_share_primary": 0.5}]
    made_run(folder / "unknown", metrics=lines)
    with pytest.raises(InputError, match=r"unknown: has no share of right pseudo-labels; accepted"):
        pseudo_labels.ratio_of_correct(runs_at([folder / "unknown", folder / "fixmatch"]))


def test_figure_5_takes_one_evaluation_at_each_stride(folder):
    top1 = strides.top1_by_stride(values_of(folder / "large"))
    assert top1 == pytest.approx({1: 0.2, 2: 0.4 / 3, 4: 0.08, 8: 0.4 / 9})
    assert strides.drop_ratios(top1) == pytest.approx([0, -1 / 3, -0.6, -7 / 9])
    lines = strides.accuracy_drop(runs_at([folder / "small", folder / "large"])).axes[0].lines
    assert [line.get_label() for line in lines] == ["3D-ResNet10 x1/4", "3D-ResNet10 x1/8"]


def test_figure_5_mixes_no_other_clips_and_crops(folder):
    one = {"step": NUM_STEPS, "crops": 1, "primary": {"top1": 0.5}}
    found = [{**one, "clips": 10 if stride == 8 else 2, "clip_stride": stride} for stride in strides.STRIDES]
    made_run(folder / "mixed", method="supervised", evaluations=found)
    wanted = r"no evaluation at clip stride 8; .*cmpl eval .*mixed --clips 2 --crops 1 --clip-stride 8"
    with pytest.raises(InputError, match=wanted):
        strides.top1_by_stride(values_of(folder / "mixed"))


def by_hand(cmpl: Answers, fixmatch: Answers, truth, threshold: float) -> dict[str, float]:
    """Video by video."""
    right, number = {"primary": 0, "auxiliary": 0, "fixmatch": 0}, 0
    others = dict(zip(fixmatch.videos.tolist(), fixmatch.classes["primary"].tolist(), strict=True))
    for k, video in enumerate(cmpl.videos.tolist()):
        if cmpl.confidences["auxiliary"][k] < threshold or truth[video] < 0 or video not in others:
            continue
        number += 1
        right["primary"] += cmpl.classes["primary"][k] == truth[video]
        right["auxiliary"] += cmpl.classes["auxiliary"][k] == truth[video]
        right["fixmatch"] += others[video] == truth[video]
    return {source: count / number for source, count in right.items()}


def drawn_answers(videos: list[int], networks: tuple[str, ...]) -> Answers:
    return Answers(
        span=Span(first_step=1, last_step=4),
        videos=np.array(videos),
        classes={network: RNG.integers(0, 3, len(videos)) for network in networks},
        confidences={network: RNG.random(len(videos)).astype(np.float32) for network in networks},
    )


def test_figure_6_counts_what_the_auxiliary_labels():
    cmpl = drawn_answers(list(range(40)), ("primary", "auxiliary"))
    fixmatch = drawn_answers(list(range(5, 60)), ("primary",))
    truth = RNG.integers(-1, 3, 60)
    found = pseudo_labels.right_where_sure(cmpl, fixmatch, truth, threshold=0.4)
    assert list(found.values()) == pytest.approx(list(by_hand(cmpl, fixmatch, truth, 0.4).values()))
    assert list(found) == ["Primary of CMPL", "Auxiliary of CMPL", "Backbone of FixMatch"]
    assert pseudo_labels.right_where_sure(cmpl, fixmatch, np.full(60, -1), threshold=0.4) is None
    assert pseudo_labels.right_where_sure(cmpl, fixmatch, truth, threshold=1.1) is None


def test_figure_6_has_a_point_for_each_span(folder):
    cmpl, fixmatch = values_of(folder / "cmpl"), values_of(folder / "fixmatch")
    points = pseudo_labels.points_of(cmpl, fixmatch)
    assert [epoch for epoch, _ in points] == [5, 10]
    tau = cmpl.config.method.threshold
    for (_, accuracy), ours, theirs in zip(points, cmpl.answers, fixmatch.answers, strict=True):
        assert list(accuracy.values()) == pytest.approx(list(by_hand(ours, theirs, TRUTH, tau).values()))


def test_figure_6_refuses_other_videos_and_none_of_known_class(folder):
    networks = ("primary", "auxiliary")
    hidden = listing_of(truth=[-1] * NUM_UNLABELED)
    made_run(folder / "hidden", listing=hidden, answers=kept(1, networks=networks))
    with pytest.raises(InputError, match="hidden and fixmatch, of other unlabeled videos; accepted"):
        pseudo_labels.sources(runs_at([folder / "hidden", folder / "fixmatch"]))
    made_run(folder / "blind", method="fixmatch", listing=hidden, answers=kept(1, networks=networks[:1]))
    with pytest.raises(InputError, match="hidden: knows no class of an unlabeled video; accepted"):
        pseudo_labels.sources(runs_at([folder / "hidden", folder / "blind"]))


def test_figure_7_bins_by_hand():
    centers, means = gaps.binned(
        np.array([0.0, 0.049, 0.05, 0.15, 0.99, 1.0]), np.array([1.0, 3.0, 5.0, 7.0, 2.0, 4.0])
    )
    assert centers.tolist() == pytest.approx([0.025, 0.075, 0.175, 0.975])
    assert means.tolist() == [2.0, 5.0, 7.0, 3.0]


def test_figure_7_bins_against_numpy():
    x, y = RNG.random(300), RNG.normal(size=300)
    edges = np.linspace(0, 1, 21)
    sums, counts = np.histogram(x, edges, weights=y)[0], np.histogram(x, edges)[0]
    centers, means = gaps.binned(x, y)
    np.testing.assert_allclose(means, (sums / np.maximum(counts, 1))[counts > 0])
    np.testing.assert_allclose(centers, ((edges[1:] + edges[:-1]) / 2)[counts > 0])


def test_figure_7_line_against_numpy():
    x, y = RNG.random(17), RNG.normal(size=17)
    np.testing.assert_allclose(gaps.least_squares(x, y), np.polyfit(x, y, 1))
    assert gaps.least_squares(np.array([0.5, 0.5]), np.array([1.0, 2.0])) is None


def test_figure_7_has_the_gain_over_the_accuracy_alone(folder):
    """bow .15 and wave .15 share a bin with gains .2 and .1; dive .4 loses .15; clap .6 gains nothing."""
    figure = gaps.primary_gain(runs_at([folder / name for name in ("cmpl", "fixmatch", "small")]))
    points = figure.axes[0].lines[0]
    assert points.get_xdata().tolist() == pytest.approx([0.175, 0.425, 0.625])
    assert points.get_ydata().tolist() == pytest.approx([0.15, -0.15, 0.0])


def test_figure_4_has_a_panel_a_sweep(tmp_path):
    for recipe, top1 in (("tau-0.3", 0.2), ("tau-0.9", 0.5), ("ratio-1", 0.4), ("ratio-10", 0.45), ("lambda-2", 0.3)):
        config = row_config(f"fig4-{recipe}", dataset="demo")
        made_run(tmp_path / recipe, per_class={"primary": (top1,) * 4}, config=config)
    runs = runs_at(sorted(tmp_path.iterdir()))
    found = {sweep.name: sweeps.points_of(runs, sweep) for sweep in sweeps.SWEEPS}
    assert found["tau"] == {0.3: [pytest.approx(20)], 0.9: [pytest.approx(50)]}
    assert list(found["ratio"]) == [1, 5, 10]  # tau 0.9 is the point that all panels share
    assert list(found["lambda"]) == [2, 5]
    figure = sweeps.sweeps(runs)
    assert [axes.get_title(loc="left")[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    assert sweeps.printed_of(sweeps.SWEEPS[0], ("k400", "1pct")) == {0.3: 9.53, 0.7: 11.47, 0.9: 12.9}


@pytest.mark.parametrize(
    ("number", "names", "match"),
    [
        (1, ("large", "cmpl"), "RUNS: received cmpl of method cmpl; accepted: runs of supervised, .*fig1-auxiliary"),
        (1, ("large",), "RUNS: received runs of 1 network; accepted: of two, .*table1-supervised"),
        (2, ("cmpl",), "RUNS: received no run of method fixmatch; accepted: at least one, .*table1-fixmatch-r50"),
        (4, ("cmpl",), "RUNS: received cmpl, made by no recipe of Figure 4; accepted: .*fig4-tau-0.3"),
        (5, ("large",), "RUNS: received runs of 1 network; accepted: of two, .*fig5-auxiliary"),
        (6, ("cmpl", "large"), "RUNS: received large of method supervised; accepted: runs of cmpl and fixmatch"),
        (7, ("cmpl", "fixmatch"), "RUNS: received no run of method supervised; accepted"),
        (7, ("cmpl", "fixmatch", "large"), "received large, a 3D-ResNet10 x1/4 alone; accepted: the auxiliary network"),
        (3, ("cmpl",), "NUMBER: received 3; accepted: 1, 2, 4, 5, 6, 7"),
        (2, (), "RUNS: received none; accepted: .*table1-cmpl-r50, table1-fixmatch-r50; or --demo"),
    ],
)
def test_runs_that_do_not_fit_are_refused_with_what_makes_fitting_ones(folder, number, names, match):
    with pytest.raises(InputError, match=match):
        draw_figure(number, [folder / name for name in names], out=folder / "figure.png")
    assert not (folder / "figure.png").exists()


def test_other_classes_and_unfinished_runs_are_refused(folder):
    made_run(folder / "other", method="supervised", per_class={"primary": (0.5,) * 2}, classes=("a", "b"))
    with pytest.raises(InputError, match="large and other, of other classes; accepted: runs on one data set"):
        draw_figure(1, [folder / "large", folder / "other"], out=folder / "figure.png")
    made_run(folder / "new", method="supervised")
    with pytest.raises(InputError, match="new: not evaluated yet; accepted"):
        draw_figure(1, [folder / "large", folder / "new"], out=folder / "figure.png")


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (1, ("large", "small")),
        (2, ("cmpl", "fixmatch")),
        (5, ("large", "small")),
        (6, ("cmpl", "fixmatch")),
        (7, ("cmpl", "fixmatch", "small")),
    ],
)
def test_every_figure_is_written(folder, number, names):
    out = folder / "figure.png"
    draw_figure(number, [folder / name for name in names], out=out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("draw", "names"),
    [
        (gaps.category_gap, ("large", "small")),
        (strides.accuracy_drop, ("large", "small")),
        (pseudo_labels.sources, ("cmpl", "fixmatch")),
        (gaps.primary_gain, ("cmpl", "fixmatch", "small")),
    ],
)
def test_titles_stay_inside_their_drawing(folder, draw, names):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with styled():
        figure = draw(runs_at([folder / name for name in names]))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    axes = figure.axes[0]
    for text in (axes._left_title, axes.xaxis.label, axes.yaxis.label):
        extent = text.get_window_extent(canvas.get_renderer())
        assert extent.x0 >= 0, text.get_text()
        assert extent.y0 >= 0, text.get_text()
        assert extent.x1 <= figure.bbox.width, text.get_text()
        assert extent.y1 <= figure.bbox.height, text.get_text()


def test_the_same_runs_give_the_same_file(folder):
    files = [folder / f"{k}.svg" for k in range(2)]
    for file in files:
        draw_figure(1, [folder / "large", folder / "small"], out=file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("out", "match"), [("figure.jpeg", "ends in .png, .svg, .pdf"), ("no/figure.png", "no/figure")]
)
def test_where_nothing_can_be_written(folder, out, match):
    with pytest.raises(InputError, match=match):
        draw_figure(1, [folder / "large", folder / "small"], out=folder / out)


def test_all_figures_of_the_paper_but_its_diagram_are_there():
    assert list(FIGURES) == [1, 2, 4, 5, 6, 7]
    for figure in FIGURES.values():
        assert [row_config(recipe).recipe for recipe in figure.recipes] == list(figure.recipes)
