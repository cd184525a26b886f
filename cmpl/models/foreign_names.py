"""Names of tensors as other projects write them, turned into those of the networks here.

A name here is one inside a network: `stem.conv.weight`, `stages.2.0.conv1.weight`, `head.bias`. Names of a network of
two pathways begin with `slow_` or `fast_`; `fusions.0.` are its joints.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
PREFERRED = ("encoder_q", "module", "model", "backbone", "net", "encoder")
"""Last part of the prefix that is taken where two lead to the same names: MoCo's query encoder, not its key's."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a project names a ResNet's tensors."""

    project: str
    rules: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]

    def translated(self, name: str) -> str | None:
        """The name here, or None where the project has none like it."""
        for pattern, made in self.rules:
            if match := pattern.fullmatch(name):
                return made(match) if callable(made) else match.expand(made)
        return None


def _naming(project: str, *rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> Naming:
    return Naming(project=project, rules=tuple((re.compile(pattern), made) for pattern, made in rules))


def _stage(first: int, template: str) -> Callable[[re.Match[str]], str]:
    """Fills a template with the match's groups; `stage` counts from `first` there and from 0 here."""

    def made(match: re.Match[str]) -> str:
        groups = {name: value or "" for name, value in match.groupdict().items()}
        groups["stage"] = str(int(groups["stage"]) - first)
        if "letter" in groups:
            groups["number"] = str("abc".index(groups["letter"]) + 1)
        if "path" in groups:
            groups["path"] = PATHWAYS[groups["path"]]
        return template.format(**groups)

    return made


PATHWAYS = {"0": "slow_", "1": "fast_", "slow_path.": "slow_", "fast_path.": "fast_", "": ""}

OWN = _naming("this project", (r"(?:(?:slow|fast)_)?(?:stem|stages)\..+|fusions\..+|head\..+", r"\g<0>"))

_BLOCK = r"layer(?P<stage>\d)\.(?P<block>\d+)\."

TORCHVISION = _naming(
    "torchvision, timm, TSM",
    (r"conv1\.weight", "stem.conv.weight"),
    (rf"bn1\.{_BN}", r"stem.bn.\1"),
    (_BLOCK + r"conv(?P<k>\d)\.(?:net\.)?weight", _stage(1, "stages.{stage}.{block}.conv{k}.weight")),
    (_BLOCK + rf"bn(?P<k>\d)\.(?P<rest>{_BN})", _stage(1, "stages.{stage}.{block}.bn{k}.{rest}")),
    (_BLOCK + r"downsample\.0\.weight", _stage(1, "stages.{stage}.{block}.shortcut.conv.weight")),
    (_BLOCK + rf"downsample\.1\.(?P<rest>{_BN})", _stage(1, "stages.{stage}.{block}.shortcut.bn.{rest}")),
    (r"(?:fc|new_fc)\.(weight|bias)", r"head.\1"),
)

TIMM_D = Naming(
    project="timm, resnet-d",
    rules=(
        (re.compile(_BLOCK + r"downsample\.1\.weight"), _stage(1, "stages.{stage}.{block}.shortcut.conv.weight")),
        (
            re.compile(_BLOCK + rf"downsample\.2\.(?P<rest>{_BN})"),
            _stage(1, "stages.{stage}.{block}.shortcut.bn.{rest}"),
        ),
        *(rule for rule in TORCHVISION.rules if "downsample" not in rule[0].pattern),
    ),
)

TORCHVISION_VIDEO = _naming(
    "torchvision.models.video",
    (r"stem\.0\.weight", "stem.conv.weight"),
    (rf"stem\.1\.{_BN}", r"stem.bn.\1"),
    (_BLOCK + r"conv(?P<k>\d)\.0\.weight", _stage(1, "stages.{stage}.{block}.conv{k}.weight")),
    (_BLOCK + rf"conv(?P<k>\d)\.1\.(?P<rest>{_BN})", _stage(1, "stages.{stage}.{block}.bn{k}.{rest}")),
    (_BLOCK + r"downsample\.0\.weight", _stage(1, "stages.{stage}.{block}.shortcut.conv.weight")),
    (_BLOCK + rf"downsample\.1\.(?P<rest>{_BN})", _stage(1, "stages.{stage}.{block}.shortcut.bn.{rest}")),
    (r"fc\.(weight|bias)", r"head.\1"),
)

_PATH = r"(?P<path>slow_path\.|fast_path\.|)"

MMACTION = _naming(
    "MMAction2",
    (_PATH + r"conv1\.conv\.weight", lambda m: f"{PATHWAYS[m['path']]}stem.conv.weight"),
    (_PATH + rf"conv1\.bn\.(?P<rest>{_BN})", lambda m: f"{PATHWAYS[m['path']]}stem.bn.{m['rest']}"),
    (
        _PATH + _BLOCK + r"conv(?P<k>\d)\.conv\.(?:net\.)?weight",
        _stage(1, "{path}stages.{stage}.{block}.conv{k}.weight"),
    ),
    (_PATH + _BLOCK + rf"conv(?P<k>\d)\.bn\.(?P<rest>{_BN})", _stage(1, "{path}stages.{stage}.{block}.bn{k}.{rest}")),
    (
        _PATH + _BLOCK + rf"downsample\.(?P<kind>conv|bn)\.(?P<rest>{_BN})",
        _stage(1, "{path}stages.{stage}.{block}.shortcut.{kind}.{rest}"),
    ),
    (rf"slow_path\.conv1_lateral\.(conv|bn)\.{_BN}", r"fusions.0.\1.\2"),
    (rf"slow_path\.layer(\d)_lateral\.(conv|bn)\.{_BN}", r"fusions.\1.\2.\3"),
)

_RES = r"s(?P<stage>\d)\.pathway(?P<path>\d)_res(?P<block>\d+)\."

PYSLOWFAST = _naming(
    "PySlowFast",
    (
        rf"s1\.pathway(?P<path>\d)_stem\.(?P<kind>conv|bn)\.(?P<rest>{_BN})",
        lambda m: f"{PATHWAYS[m['path']]}stem.{m['kind']}.{m['rest']}",
    ),
    (_RES + r"branch1\.weight", _stage(2, "{path}stages.{stage}.{block}.shortcut.conv.weight")),
    (_RES + rf"branch1_bn\.(?P<rest>{_BN})", _stage(2, "{path}stages.{stage}.{block}.shortcut.bn.{rest}")),
    (_RES + r"branch2\.(?P<letter>[abc])\.weight", _stage(2, "{path}stages.{stage}.{block}.conv{number}.weight")),
    (
        _RES + rf"branch2\.(?P<letter>[abc])_bn\.(?P<rest>{_BN})",
        _stage(2, "{path}stages.{stage}.{block}.bn{number}.{rest}"),
    ),
    (r"s(?P<stage>\d)_fuse\.conv_f2s\.weight", _stage(1, "fusions.{stage}.conv.weight")),
    (rf"s(?P<stage>\d)_fuse\.bn\.(?P<rest>{_BN})", _stage(1, "fusions.{stage}.bn.{rest}")),
    (r"head\.projection\.(weight|bias)", r"head.\1"),
)

_MULTI = r"(?:multipathway_blocks\.(?P<path>\d)\.|)"
_UNIT = r"blocks\.(?P<stage>\d)\." + _MULTI + r"res_blocks\.(?P<block>\d+)\."

PYTORCHVIDEO = _naming(
    "PyTorchVideo",
    (
        r"blocks\.0\." + _MULTI + rf"(?P<kind>conv|norm)\.(?P<rest>{_BN})",
        lambda m: f"{PATHWAYS[m['path'] or '']}stem.{'conv' if m['kind'] == 'conv' else 'bn'}.{m['rest']}",
    ),
    (_UNIT + r"branch1_conv\.weight", _stage(1, "{path}stages.{stage}.{block}.shortcut.conv.weight")),
    (_UNIT + rf"branch1_norm\.(?P<rest>{_BN})", _stage(1, "{path}stages.{stage}.{block}.shortcut.bn.{rest}")),
    (_UNIT + r"branch2\.conv_(?P<letter>[abc])\.weight", _stage(1, "{path}stages.{stage}.{block}.conv{number}.weight")),
    (
        _UNIT + rf"branch2\.norm_(?P<letter>[abc])\.(?P<rest>{_BN})",
        _stage(1, "{path}stages.{stage}.{block}.bn{number}.{rest}"),
    ),
    (r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.weight", r"fusions.\1.conv.weight"),
    (rf"blocks\.(\d)\.multipathway_fusion\.norm\.{_BN}", r"fusions.\1.bn.\2"),
    (r"blocks\.\d\.proj\.(weight|bias)", r"head.\1"),
)

NAMINGS = (OWN, TORCHVISION, TIMM_D, TORCHVISION_VIDEO, MMACTION, PYSLOWFAST, PYTORCHVIDEO)


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A file's names as names here: `names` has those that were understood, found name -> name here."""

    naming: Naming
    prefix: str  # taken off the found names first, such as "backbone."
    names: dict[str, str]

    @property
    def is_own(self) -> bool:
        """Whether the file has the names of this project."""
        return self.naming is OWN


def translation_of(found: Sequence[str], wanted: Iterable[str]) -> Translation:
    """Returns the reading of a file's names under which most of the `wanted` names are met; maybe none.

    wanted: a network's names. Of readings that meet as many, one with a PREFERRED prefix goes before, then the first in
    the file. Where the network has one pathway, its names are met by the slow one; where it has two, a single pathway
    is its slow one.
    """
    wanted = frozenset(wanted)
    has_pathways = any(name.startswith("slow_") for name in wanted)
    best = Translation(naming=OWN, prefix="", names={})
    for prefix in _prefixes(found):
        inner = [name for name in found if name.startswith(prefix)]
        for naming in NAMINGS:
            names: dict[str, str] = {}
            for name in inner:
                made = naming.translated(name[len(prefix) :])
                if made is not None:
                    names[name] = _in_pathway(made, has_pathways=has_pathways)
            number = len(wanted.intersection(names.values()))
            if number > len(wanted.intersection(best.names.values())):
                best = Translation(naming=naming, prefix=prefix, names=names)
    return best


def _in_pathway(name: str, *, has_pathways: bool) -> str:
    if has_pathways and name.startswith(("stem.", "stages.")):
        return f"slow_{name}"
    return name if has_pathways else name.removeprefix("slow_")


def _prefixes(found: Sequence[str]) -> list[str]:
    """What the names begin with, up to four parts, each with its dot; the preferred ones first."""
    made = {""}
    ordered = [""]
    for name in found:
        parts = name.split(".")
        for number in range(1, min(5, len(parts))):
            prefix = ".".join(parts[:number]) + "."
            if prefix not in made:
                made.add(prefix)
                ordered.append(prefix)
    return sorted(ordered, key=_preference)


def _preference(prefix: str) -> int:
    last = prefix.rstrip(".").rpartition(".")[2]
    return PREFERRED.index(last) if last in PREFERRED else len(PREFERRED)
