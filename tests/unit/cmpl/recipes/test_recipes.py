"""The paper's experiments as recipes: names, figures, what each changes, the commands that list and compare them."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from cli.main import main
from cli.options import config_of
from cmpl.build import geometry_of, method_of, networks_of
from cmpl.config import Config, changed, checked, flattened, from_json, to_json, with_settings
from cmpl.models.resnet2d import ResNet2D
from cmpl.recipes.cost import SUSTAINED_TFLOPS, gpu_hours
from cmpl.recipes.measured import table_name
from cmpl.recipes.registry import RECIPES, ROWS, row_config, row_for
from cmpl.recipes.rows import TABLES
from cmpl.registries import method_class
from cmpl.session import train
from cmpl.training.plan import steps_of
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape
from tests.support.videos import class_folder

TEACHER = "teacher.pth"


def configured(name: str, **where) -> Config:
    """A row's configuration, with a teacher where one is wanted."""
    config = row_config(name, **where)
    if "teacher" in config.method.field_names():
        config = changed(config, "method", teacher=TEACHER)
    return checked(config)


def call(*arguments: str):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def given(**options) -> dict:
    return {"dataset": None, "data_root": None, "settings": (), **options}


PRINTED = {  # the tables' figures once more, row by row
    "1": [4.4, 29.1, 8.6, 10.1, 42.0, 8.5, 17.0, 16.5, 17.6],
    "2": [6.78, 7.12, 7.68, 12.04, 12.90, 13.71],
    "3": [6.78, 7.12, 9.97, 10.63, 10.88, 11.57, 12.90, 12.08],
    "4": [12.04, 12.90, 12.94],
    "5": [12.90, 12.64, 13.44, 13.71],
    "6": [6.78, 10.57, 10.32, 12.90],
    "A1": [61.1, 86.2, 88.9],
    "A2": [6.78, 10.80, 11.13, 11.85, 12.16, 12.90],
    "A3": [12.90, 12.68],
    "Fig. 1": [None],
    "Fig. 5": [None],
    "Fig. 4": [9.53, 11.47, 12.90, None, None, 12.90, None, None, 11.73, 12.90, None],
}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_there_with_its_figure(table):
    assert [row.top1 for row in ROWS.values() if row.table == table] == PRINTED[table]


def test_table_1_has_four_columns():
    assert row_for("table1-cmpl-r50").expected == {
        ("ucf101", "1pct"): 25.1,
        ("ucf101", "10pct"): 79.1,
        ("k400", "1pct"): 17.6,
        ("k400", "10pct"): 58.4,
    }
    assert row_for("table1-s4l").expected == {("ucf101", "10pct"): 29.1}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dataset", ["own", "demo", "ucf101"])
def test_every_recipe_can_be_built_on_every_data(name, dataset):
    config = configured(name, dataset=None if dataset == "own" else dataset)
    assert config.recipe == name
    assert config.data.dataset == (row_for(name).dataset if dataset == "own" else dataset)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    geometry_of(config)


def test_rows_of_one_table_differ():
    """Only Fig. 4's three panels share a point, and Table A1's rows differ in the weights that one is given."""
    shared = {"Fig. 4": 2, "A1": 1}
    for table in TABLES:
        configs = [dataclasses.replace(row_config(row.name), recipe="") for row in ROWS.values() if row.table == table]
        assert len({json.dumps(to_json(config)) for config in configs}) == len(configs) - shared.get(table, 0)


def changes(name: str) -> dict:
    """What a row changes beside the ablations' own conditions."""
    before, now = flattened(row_config("table2-frame-rates")), flattened(row_config(name))
    return {key: now[key] for key in now if now[key] != before[key] and key != "recipe"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("table3-aux-r18", {"auxiliary.depth": 18, "auxiliary.width": 1.0}),
        ("table3-primary-16", {"method.shared_weights": True}),
        ("table2-temporal-loc", {"clip.max_offset_seconds": 10.0}),
        ("table4-32x2", {"clip.auxiliary": "32x2"}),
        ("table5-ts-2", {"clip.max_offset_seconds": 2.0}),
        ("table6-supervised", {"method.auxiliary_unsupervised": False}),
        ("tablea2-self-first", {"method.scheme": "self-first"}),
        ("tablea3-category-wise", {"data.split_scheme": "category-wise"}),
        ("fig4-tau-0.7", {"method.threshold": 0.7}),
        ("fig4-ratio-10", {"batch.unlabeled": 20}),
        ("fig4-lambda-2", {"method.unlabeled_weight": 2.0}),
    ],
)
def test_a_study_changes_one_thing(name, expected):
    assert changes(name) == expected


def test_supervised_training_on_all_labels_passes_over_them_200_times():
    for name in ("tablea1-random-init", "tablea1-imagenet-init"):
        config = row_config(name)
        assert (config.method.name, config.data.labeled) == ("supervised", "all")
        steps = steps_of(config, num_unlabeled_videos=9_600, num_ranks=16)
        assert steps * 16 * config.batch.labeled == 200 * 9_600
        assert 16 * config.batch.labeled == 192


def test_the_demo_keeps_an_experiments_proportions():
    config = row_config("fig4-ratio-10", dataset="demo")
    assert (config.batch.labeled, config.batch.unlabeled) == (4, 40)
    config = row_config("table3-aux-r50-eighth", dataset="demo")
    assert config.primary.width == 8 * config.auxiliary.width
    config = row_config("table5-ts-10", dataset="demo")
    assert (config.clip.primary, config.clip.auxiliary, config.clip.max_offset_seconds) == ("4x2", "8x1", 2.5)
    slowfast = row_config("table1-fixmatch-slowfast", dataset="demo").primary
    assert (slowfast.architecture, slowfast.zero_init_residual) == ("slowfast", True)
    assert config.optim == RECIPES["demo"]().optim
    tcl = row_config("table1-tcl", dataset="demo")
    assert (tcl.primary.architecture, tcl.primary.depth, tcl.primary.width) == ("tsm", 10, 0.25)
    assert tcl.optim.clip_gradient_norm == 20


def test_tcl_has_the_network_of_its_row():
    network = row_config("table1-tcl").primary
    assert (network.architecture, network.depth, network.width) == ("tsm", 18, 1.0)


def test_methods_ask_for_their_clips_without_being_named():
    shapes = {}
    for name in ("table1-supervised", "table1-s4l", "table1-tcl", "table1-mvpl", "table1-cmpl-r50"):
        geometry = geometry_of(row_config(name))
        shapes[name] = (str(geometry.primary), str(geometry.auxiliary), geometry.max_offset_seconds)
    assert geometry_of(row_config("table1-fixmatch-slowfast")).shapes == (ClipShape(32, 2),)
    assert shapes == {
        "table1-supervised": ("8x8", "None", 0.0),
        "table1-s4l": ("16x4", "None", 0.0),
        "table1-tcl": ("8x8", "4x16", 0.0),
        "table1-mvpl": ("8x8", "16x8 pairs", 0.0),
        "table1-cmpl-r50": ("8x8", "16x4", 10.0),
    }


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("table1")])
def test_one_network_is_evaluated_but_for_cmpl(name):
    method = method_of(configured(name, dataset="demo"), num_classes=3)
    assert list(networks_of(method)) == (["primary", "auxiliary"] if "cmpl" in name else ["primary"])
    assert type(method) is method_class(row_config(name).method.name)


def test_cost_by_hand():
    """FixMatch on 1 % of Kinetics: 22 clips of 51.48 G multiply-adds a batch of 10 unlabeled videos, 50 epochs."""
    by_hand = 50 * 240_436 / 10 * 22 * 51.48e9 * 6 / (SUSTAINED_TFLOPS * 1e12) / 3600
    assert gpu_hours(row_config("table2-fixmatch")) == pytest.approx(by_hand, rel=1e-3)
    assert gpu_hours(row_config("table2-fixmatch", dataset="folder")) is None


def test_an_unknown_recipe_names_the_nearest():
    for words in (("recipes", "table3-aux-r19"), ("train", "--recipe", "table3-aux-r19")):
        result = call(*words)
        assert result.exit_code == 2
        assert "recipe: received 'table3-aux-r19'; did you mean 'table3-aux-r18'?" in result.output
    assert "accepted: a name that `cmpl recipes` lists" not in call("recipes", "Table3-Aux-R18").output
    begun = "recipe: received 'table4'; accepted: table4-8x8, table4-16x4, table4-32x2"
    assert begun in " ".join(call("recipes", "table4").output.split())


@pytest.mark.parametrize(("name", "meant"), [("UCF-101", "ucf101"), ("kinetics", "k400"), ("Kinetics-400", "k400")])
def test_other_names_of_a_data_set_are_known(name, meant):
    with pytest.raises(InputError, match=f"--dataset: received '{name}', no data set.*; did you mean '{meant}'"):
        config_of(**given(dataset=name))


def test_options_win_over_the_recipe():
    config = config_of(**given(recipe="fig4-tau-0.7", settings=("method.threshold=0.8",), seed=3))
    assert (config.method.threshold, config.seed, config.data.dataset) == (0.8, 3, "k400")
    assert config_of(**given(recipe="table1-cmpl-r50", labeled="10pct")).method.unlabeled_weight == 2
    assert config_of(**given(recipe="table1-cmpl-r50", settings=("data.labeled=10pct",))).method.unlabeled_weight == 2
    assert config_of(**given(recipe="table1-cmpl-r50", dataset="ucf101")).optim.weight_decay == 1e-3
    teacher = config_of(**given(recipe="table1-videossl", settings=("method.teacher=r18.pth",))).method.teacher
    assert teacher == str(Path("r18.pth").absolute())


def test_weights_that_a_recipe_starts_from_are_asked_for():
    with pytest.raises(InputError, match=r"--init: received none, but tablea1-imagenet-init starts from ImageNet"):
        config_of(**given(recipe="tablea1-imagenet-init"))
    config = config_of(**given(recipe="tablea1-imagenet-init", init="r50.pth"))
    assert Path(config.init).is_absolute()
    with pytest.raises(InputError, match=r"--dataset: received none; accepted: demo, folder"):
        config_of(**given())


def test_recipes_are_listed_and_shown():
    listed = json.loads(call("recipes", "--json").stdout)
    assert [fact["name"] for fact in listed] == list(ROWS)
    assert all(fact["gpu_hours"] > 0 for fact in listed)
    text = call("recipes").output
    assert all(name in text for name in ROWS)
    assert "GPU-hours are an estimate" in text
    shown = call("recipes", "fig4-tau-0.7").output
    assert "  method.threshold = 0.7  (default 0.9)" in shown
    assert "optim.epochs = 50.0  (default 200.0)" in shown
    assert "batch.labeled" not in shown


def finished_run(path: Path, config: Config, top1: float) -> str:
    run = RunDirectory(path)
    run.claim(config)
    run.write_result({"primary": {"top1": top1, "top5": min(1.0, 2 * top1)}})
    return str(path)


def test_measured_results_stand_beside_the_papers(tmp_path):
    base = row_config("table2-auxiliary")
    seeds = [
        dataclasses.replace(base, data=dataclasses.replace(base.data, split_seed=k, root=f"/data/{k}")) for k in (0, 1)
    ]
    runs = [
        finished_run(tmp_path / str(k), config, top1)
        for k, (config, top1) in enumerate([(seeds[0], 0.11), (seeds[1], 0.13)])
    ]
    runs.append(finished_run(tmp_path / "demo", row_config("table2-fixmatch", dataset="demo"), 0.5))
    runs.append(finished_run(tmp_path / "other", row_config("fig4-lambda-1"), 0.1))
    result = call("table", "2", *runs, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    lines = {(line["recipe"], line["dataset"]): line for line in told["rows"]}
    both = lines["table2-auxiliary", "k400"]
    assert (both["paper_top1"], both["measured_top1"], both["deviation"], both["num_runs"]) == (12.04, 12.0, 1.41, 2)
    assert lines["table2-fixmatch", "k400"]["measured_top1"] is None
    assert (lines["table2-fixmatch", "demo"]["paper_top1"], lines["table2-fixmatch", "demo"]["measured_top1"]) == (
        None,
        50,
    )
    assert told["elsewhere"] == [str(tmp_path / "other")]
    fourth = json.loads(call("table", "4", runs[0], "--json").stdout)
    assert [line["num_runs"] for line in fourth["rows"]] == [1, 0, 0]  # the same settings are Table 4's 8x8
    assert "± 1.41" in call("table", "2", *runs).output


def test_a_run_that_left_its_recipe_is_shown_as_such(tmp_path):
    config = with_settings(row_config("table6-both"), {"optim.epochs": "20", "batch.accumulate": "16", "seed": "1"})
    run = finished_run(tmp_path / "run", config, 0.1)
    told = json.loads(call("table", "6", run, "--json").stdout)["rows"]
    assert [line["changed"] for line in told if line["num_runs"]] == [["optim.epochs"]]
    assert "table6-both on k400 1pct is not as the recipe has it: optim.epochs" in call("table", "6", run).output
    assert "is not as the recipe" not in call("table", "6").output


def test_table_6_has_top_5_beside(tmp_path):
    run = finished_run(tmp_path / "run", row_config("table6-both"), 0.1)
    told = json.loads(call("table", "6", run, "--json").stdout)["rows"]
    assert [line["paper_top5"] for line in told] == [17.92, 25.53, 24.46, 28.19]
    assert [line["measured_top5"] for line in told] == [None, None, None, 20.0]
    assert re.search(r"28\.19 +20\.00", call("table", "6", run).output)
    assert "top-5" not in call("table", "2", run).output


def test_a_folder_of_subsets_is_all_its_runs(tmp_path):
    for k in range(3):
        finished_run(tmp_path / f"subset-{k}", row_config("table2-auxiliary"), 0.1 + k / 100)
    (tmp_path / "subsets.json").write_text("{}")
    line = next(row for row in json.loads(call("table", "2", tmp_path, "--json").stdout)["rows"] if row["num_runs"])
    assert (line["recipe"], line["measured_top1"], line["deviation"], line["num_runs"]) == (
        *("table2-auxiliary", 11.0),
        *(1.0, 3),
    )


@pytest.mark.parametrize("text", ["fig4", "Fig. 4", "figure 4"])
def test_tables_by_name(text):
    if text == "figure 4":
        with pytest.raises(InputError, match=r"table: received 'figure 4'; did you mean 'fig4'"):
            table_name(text)
    else:
        assert table_name(text) == "Fig. 4"
    assert table_name("a1") == "A1"
    assert table_name("table 2") == "2"


def test_a_run_without_a_result_has_no_place(tmp_path):
    result = call("table", "2", tmp_path)
    assert result.exit_code == 2
    assert "holds no result.json; accepted: folders of finished runs" in result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two classes, three videos each for training and one for validation, and a teacher beside them."""
    root = class_folder(tmp_path_factory.mktemp("videos"), num_train=3, num_val=1)
    save_file(ResNet2D(depth=18).state_dict(), root / "teacher.safetensors")
    return root


def run_tiny(name: str, folder: Path, run: Path) -> dict:
    """Two steps of a recipe, shrunk to the demo and further, on real files; then its evaluation."""
    settings = {
        "data.dataset": "folder",
        "data.root": str(folder),
        "method.teacher": str(folder / "teacher.safetensors"),
        "method.unlabeled_delay": "0",
        "method.finetune_share": "0.5",
        "optim.steps": "2",
        "batch.labeled": "2",
        "batch.unlabeled": "3",
        "evaluation.clips": "2",
        "evaluation.crops": "1",
        "runtime.workers": "0",
        "runtime.torch_threads": "1",
        "runtime.log_every_steps": "1",
    }
    config = dataclasses.replace(configured(name, dataset="demo"), init=None)
    config = with_settings(config, {key: text for key, text in settings.items() if key in flattened(config)})
    outcome = train(config, path=run, reporter=Reporter())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines)
    return outcome.result


@pytest.mark.parametrize("name", ["table1-mvpl", "table1-tcl"])
def test_a_method_with_a_second_clip_runs_to_its_result(name, folder, tmp_path):
    result = run_tiny(name, folder, tmp_path / "run")
    assert result["num_evaluated"] == 2
    assert "auxiliary" not in result
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ["loss_pseudo_primary" in line for line in lines] == [False, name == "table1-tcl"]  # its last phase


def test_a_teacher_that_cannot_be_read_leaves_no_run_behind(folder, tmp_path):
    settings = {"data.dataset": "folder", "data.root": str(folder), "runtime.workers": "0", "batch.labeled": "2"}
    for file, message in (
        ("absent.pth", "method.teacher: received absent.pth: no such file"),
        (str(folder / "train" / "clap" / "clap0.mp4"), "clap0.mp4: (cannot be read as weights|refused)"),
    ):
        config = with_settings(configured("table1-videossl", dataset="demo"), settings | {"method.teacher": file})
        with pytest.raises(InputError, match=message):
            train(config, path=tmp_path / "run", reporter=Reporter())
        assert not (tmp_path / "run").exists()


def test_from_recipe_to_table(folder, tmp_path, monkeypatch):
    """`cmpl train --recipe` keeps its run under the recipe's name, and `cmpl table` finds its row."""
    monkeypatch.chdir(tmp_path)
    small = (
        "clip.primary=4x4", "clip.auxiliary=8x2", "clip.crop_size=28", "clip.short_side=32",
        "clip.short_side_jitter=32,40", "primary.depth=10", "primary.width=0.125", "auxiliary.depth=10",
        "auxiliary.width=0.0625", "batch.labeled=2", "batch.unlabeled=3", "evaluation.short_side=32",
        "evaluation.clips=1", "evaluation.crops=1", "runtime.torch_threads=1",
    )  # fmt: skip
    settings = [word for setting in small for word in ("--set", setting)]
    words = ["--recipe", "table6-both", "--dataset", folder, "--labeled", "1", "--device", "cpu", "--steps", "1"]
    trained = call("train", *words, "--workers", "0", *settings)
    assert trained.exit_code == 0, trained.output
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("table6-both-")
    assert RunDirectory(run).config().recipe == "table6-both"
    told = json.loads(call("table", "6", run, "--json").stdout)
    assert [line["recipe"] for line in told["rows"] if line["num_runs"]] == ["table6-both"]
    assert told["elsewhere"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_every_recipe_runs(name, folder, tmp_path):
    assert run_tiny(name, folder, tmp_path / "run")["steps"] == 2
