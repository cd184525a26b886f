"""The README names every module and every command, so that a newcomer knows where each line lives."""

from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MODULES = [
    path
    for package in ("pipelines", "cmpl", "cli", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_its_line(path):
    assert f"`{path.relative_to(ROOT)}`" in README


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_its_line(command):
    assert f"`cmpl {command}" in README


def test_the_dependencies_are_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0].split("=")[0].split("<")[0]
        assert name in README.split("## Dependencies")[1]
