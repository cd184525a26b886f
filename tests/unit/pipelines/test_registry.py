"""Names that stand for code: where they are looked for, and what is said of those that are not found."""

import os
import subprocess
import sys

import pytest

from pipelines import registry
from pipelines.errors import InputError
from pipelines.registry import PLUGINS_VARIABLE, Registry, use_plugins


@pytest.fixture
def animals() -> Registry:
    return Registry("animal", group="cmpl.animals", built_in={"ordered": "collections:OrderedDict"})


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    before = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before[0]:
        del sys.modules[name]
    sys.path[:] = before[1]
    os.environ.pop(PLUGINS_VARIABLE, None)


def test_a_built_in_name_is_imported_when_it_is_asked_for(animals):
    from collections import OrderedDict

    assert animals.get("ordered", field="animal") is OrderedDict


def test_a_decorator_registers(animals):
    @animals.register("cat")
    def cat():
        return "meow"

    assert animals.get("cat", field="animal") is cat
    assert animals.names() == ("ordered", "cat")


def test_a_name_is_given_once(animals):
    animals.register("cat")(len)
    with pytest.raises(InputError, match="animal: received the name 'cat'"):
        animals.register("cat")(print)
    for name in ("ordered", "a:b", ""):
        with pytest.raises(InputError, match="accepted: one that is free"):
            animals.register(name)(print)


def test_an_unknown_name_gets_the_nearest(animals):
    with pytest.raises(InputError, match="the.field: received 'orderd'; did you mean 'ordered'"):
        animals.get("orderd", field="the.field")


def test_module_and_attribute(animals):
    assert animals.get("os.path:join", field="x") is os.path.join
    with pytest.raises(InputError, match="x: received 'os.path:joinn'; os.path has no 'joinn'; did you mean 'join'"):
        animals.get("os.path:joinn", field="x")
    with pytest.raises(InputError, match="x: received 'no_such_module', which cannot be imported"):
        animals.get("no_such_module:thing", field="x")


PLUGIN = "from {place} import animals\n\n\n@animals.register('dog')\ndef dog():\n    return 'wuff'\n"


def test_a_plug_in_is_imported_by_name_from_the_current_folder_or_by_path(animals, tmp_path, monkeypatch):
    holder = type(sys)("holder_of_animals")
    holder.animals = animals
    monkeypatch.setitem(sys.modules, "holder_of_animals", holder)
    (tmp_path / "kennel.py").write_text(PLUGIN.format(place="holder_of_animals"))
    monkeypatch.chdir(tmp_path)
    use_plugins(("kennel",))
    assert animals.get("dog", field="animal")() == "wuff"
    assert os.environ[PLUGINS_VARIABLE] == "kennel"
    del sys.modules["kennel"]
    use_plugins(("kennel.py",))
    assert os.environ[PLUGINS_VARIABLE] == f"kennel:{tmp_path / 'kennel.py'}"
    assert animals.get("dog", field="animal")() == "wuff"


def test_a_plug_in_that_fails_says_why(tmp_path):
    (tmp_path / "broken_plugin.py").write_text("import no_such_thing\n")
    with pytest.raises(InputError, match=r"--plugin: received .*broken_plugin.py'.*No module named 'no_such_thing'"):
        use_plugins((str(tmp_path / "broken_plugin.py"),))


def test_an_entry_point_adds_a_name(animals, monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint(name="fox", value="os.path:join", group="cmpl.animals")

    def entry_points(**wanted):
        return [point] if wanted.get("name", "fox") == "fox" and wanted["group"] == "cmpl.animals" else []

    monkeypatch.setattr(registry.importlib.metadata, "entry_points", entry_points)
    assert animals.names() == ("ordered", "fox")
    assert animals.get("fox", field="animal") is os.path.join


def test_the_registry_is_light():
    code = "import sys, pipelines.registry; print([m for m in sys.modules if m in ('torch', 'nvidia.dali', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
