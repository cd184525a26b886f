"""A table of the paper beside measured results, as text for a document."""

import csv
import io
from dataclasses import replace

import pytest

from cmpl.recipes.measured import FORMATS, Measured, as_text, compare
from cmpl.recipes.registry import row_config


@pytest.fixture(scope="module")
def lines():
    config = row_config("table3-aux-r18")
    runs = [
        Measured(path=f"runs/{seed}", config=replace(config, seed=seed), top1=10.0 + seed, top5=30.0) for seed in (0, 1)
    ]
    return compare("3", runs)[0]


def test_markdown(lines):
    text = as_text("3", lines, form="markdown")
    assert text.startswith(
        "Table 3, top-1 in percent\n\n| row | data | paper | measured | runs |\n| --- | --- | ---: |"
    )
    assert "| 3D-ResNet18 | k400 1pct | 10.63 | 10.50 ± 0.71 | 2 |" in text
    assert "| 3D-ResNet10 | k400 1pct | 10.88 | - | - |" in text
    assert "top-5" in as_text("6", compare("6", [])[0], form="markdown")


def test_latex_is_a_tabular_whose_special_characters_are_escaped(lines):
    text = as_text("3", lines, form="latex")
    assert r"\begin{tabular}{llrrr}" in text
    assert r"3D-ResNet18 & k400 1pct & 10.63 & 10.50 $\pm$ 0.71 & 2 \\" in text
    assert r"L\_s\textasciicircum{}A" in as_text("6", compare("6", [])[0], form="latex")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {4}


def test_csv_has_full_figures_in_columns_of_their_own(lines):
    rows = {row["recipe"]: row for row in csv.DictReader(io.StringIO(as_text("3", lines, form="csv")))}
    assert rows["table3-aux-r18"]["measured_top1"] == "10.5"
    assert rows["table3-aux-r18"]["deviation"] == "0.71"
    assert rows["table3-aux-r10"]["measured_top1"] == ""
    assert len(rows) == len(lines)


@pytest.mark.parametrize("form", FORMATS)
def test_no_row_is_lost(lines, form):
    text = as_text("3", lines, form=form)
    assert all(line["row"] in text for line in lines)
