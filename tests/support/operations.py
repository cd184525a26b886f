"""The built-in operations of the strong view by kind, and what a level of theirs means."""

from pipelines.plan.operations import RAND_AUGMENT_OPS, Affine, Geometric, Photometric, operation

PHOTOMETRIC = tuple(name for name in RAND_AUGMENT_OPS if isinstance(operation(name), Photometric))
GEOMETRIC = tuple(name for name in RAND_AUGMENT_OPS if name != "identity" and name not in PHOTOMETRIC)


def affine_of(name: str, *, level: float, sign: int, size: int) -> Affine:
    """Inverse map of a geometric operation at a level of 1 to 10."""
    drawn = operation(name)
    assert isinstance(drawn, Geometric)
    return drawn.affine(sign * level / 10, size)


def photometric_value(name: str, *, level: float, sign: int) -> float:
    """Value of a photometric operation at a level of 1 to 10."""
    drawn = operation(name)
    assert isinstance(drawn, Photometric)
    return drawn.value(sign * level / 10)
