"""The documents: what they promise is there, and what is made by a script is as the script makes it."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MOST_README_LINES = 130
BENCHMARKS = sorted(set(re.findall(r"python -m ([\w.]+)", (ROOT / "benchmarks" / "README.md").read_text())))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name: str) -> ModuleType:
    """A script of docs/, imported from where it lies."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken_links(page: Path) -> list[str]:
    """Relative links and pictures of a page that point to no file."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


def test_the_architecture_is_as_its_script_makes_it():
    maker = script("make_architecture")
    assert maker.TARGET.read_text() == maker.architecture(), f"docs/ARCHITECTURE.md is old: run `{maker.COMMAND}`"


def test_every_module_has_a_first_line():
    maker = script("make_architecture")
    modules = [path for paths in maker.modules_of(ROOT).values() for path in paths]
    assert len(modules) > 50
    assert [str(path.relative_to(ROOT)) for path in modules if not maker.first_line(path)] == []


def test_a_new_module_comes_into_the_architecture(tmp_path):
    maker = script("make_architecture")
    new = tmp_path / "pipelines" / "new"
    new.mkdir(parents=True)
    (new / "__init__.py").write_text('"""A new folder."""\n')
    (new / "one.py").write_text('"""One a|b.\n\nMore.\n"""\n')
    (new / "two.py").write_text('"""Two goes\non.\n\nMore.\n"""\n')
    text = maker.architecture(tmp_path)
    assert "### pipelines/new/\n\nA new folder.\n" in text
    assert "| `pipelines/new/one.py` | One a\\|b. |\n| `pipelines/new/two.py` | Two goes on. |\n" in text


@pytest.mark.parametrize("name", ["loaders", "methods"])
def test_a_chart_is_as_its_script_draws_it(name):
    drawer = script(f"draw_{name}")
    drawn = drawer.draw(json.loads(drawer.SOURCE.read_text()))
    assert drawer.TARGET.read_text() == drawn, f"docs/{name}.svg is old: run `python docs/draw_{name}.py`"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_its_line(command: str):
    assert f"| `cmpl {command}" in README


def test_the_dependencies_are_explained():
    rows = re.findall(r"^\| ([\w, -]+) \|", (ROOT / "CONTRIBUTING.md").read_text().split("## Dependencies")[1], re.M)
    explained = {name for row in rows for name in row.split(", ")}
    assert {re.split(r"[<>=!~\[; ]", requirement)[0] for requirement in PROJECT["dependencies"]} <= explained


def test_the_readme_is_a_page():
    assert len(README.splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_to_files(page: Path):
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#top) [b](https://x.y/z) [c](gone.md) ![d](gone.png)")
    assert broken_links(page) == ["gone.md", "gone.png"]


@pytest.mark.parametrize("module", BENCHMARKS)
def test_benchmarks_named_are_there(module: str):
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert path.is_file()
    assert "__main__" in path.read_text()


def test_benchmarks_are_named():
    assert len(BENCHMARKS) >= 5


def test_every_recipe_of_the_paper_has_its_line():
    result = CliRunner().invoke(main, ["recipes", "--json"])
    assert result.exit_code == 0
    names = [row["name"] for row in json.loads(result.stdout)]
    assert names
    page = (ROOT / "docs" / "reproduce.md").read_text()
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_the_readme_promises_what_is_run():
    run = (ROOT / ".ci" / "run").read_text()
    assert "\npip install . && cmpl train --dataset demo\n" in README
    assert "\npip install '.[test]' && pytest\n" in README
    assert re.search(r"^pip install (--quiet )?'\.\[test\]' && pytest$", run, re.M)
