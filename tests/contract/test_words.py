"""One spelling and one grammar, all over the project (CONTRIBUTING.md has the glossary)."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = ("tests/support/names/", "tests/contract/test_words.py", "LICENSE")
BRITISH = re.compile(
    r"labell|colour|\bgrey|initialis|normalis|optimis|summaris|synchronis|recognis|neighbour|behaviour|\bcentre\b"
    r"|learnt|spelt|per cent|reading process",
    re.IGNORECASE,
)
MADE = (r"\blabelled['\"]",)
"""Words that a test misspells on purpose."""


def files(*endings: str) -> list[Path]:
    """The project's files of these endings: those that git has, or where there is no git, those that lie here."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = told.stdout.split("\n") if told.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.*")]
    return [ROOT / name for name in names if name.endswith(endings) and not name.startswith(NOT_OURS)]


@pytest.mark.parametrize("ending", [".py", ".md"])
def test_american_spelling_and_the_field_s_words(ending):
    found = []
    for path in files(ending):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if BRITISH.search(line) and not any(re.search(word, line) for word in MADE):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_docstrings_name_their_noun_or_verb_first():
    """Never `Of ...`, which leaves open what is spoken of."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(".py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.strip().startswith('"""Of ')
    ]
    assert not found, "\n".join(found)


def messages_of(path: Path) -> list[tuple[int, str]]:
    """Line and text of each InputError that a file raises; what is put into the text reads as {}."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "InputError" and node.args:
            first = node.args[0]
            parts = first.values if isinstance(first, ast.JoinedStr) else [first]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            found.append((node.lineno, text))
    return found


def test_errors_say_what_came_and_what_would_do_in_one_grammar():
    """`field: received X; accepted: Y`, never `got X` or `expected Y`."""
    found = []
    for path in files(".py"):
        if path.is_relative_to(ROOT / "tests"):
            continue
        for number, text in messages_of(path):
            if re.search(r"\bgot\b|\bexpected\b|, accepted", text):
                found.append(f"{path.relative_to(ROOT)}:{number}: {text}")
    assert not found, "\n".join(found)
