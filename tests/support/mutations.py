"""Damage of files and lists as it happens or as somebody makes it, by a seed."""

import numpy as np

FIELDS = (
    *("", " ", '"', "\0", "\x1b[2J", "\xa0", "ünï", "\udcff", "=1+1", "a" * 300, "x" * 200_000),
    *("../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://a/b.mp4"),
    *("-1", "0", "1", "99999999999999999999", "100000000", "1e5", "NaN", "None"),
)
"""Fields that lists hold by mistake or by malice."""


def mutated_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes of a file changed in one of seven ways."""
    changed, size = bytearray(content), len(content)
    kind = int(rng.integers(7))
    if kind == 0:  # some bytes anywhere
        for at in rng.integers(size, size=rng.integers(1, 20)):
            changed[at] = rng.integers(256)
    elif kind == 1:  # broken off
        del changed[rng.integers(1, size) :]
    elif kind in (2, 3):  # bits of the first or of the last part, where headers lie
        low = 0 if kind == 2 else max(0, size - 2000)
        for at in rng.integers(low, min(size, low + 2000), size=rng.integers(1, 6)):
            changed[at] ^= 1 << int(rng.integers(8))
    elif kind == 4:  # a hole
        at, length = int(rng.integers(size)), int(rng.integers(1, 5000))
        changed[at : at + length] = bytes(min(length, size - at))
    elif kind == 5:  # a piece left out
        at = int(rng.integers(size))
        del changed[at : at + int(rng.integers(1, 3000))]
    else:  # a number that is too large
        at = int(rng.integers(min(size - 4, 3000)))
        changed[at : at + 4] = b"\xff\xff\xff\xff" if rng.random() < 0.5 else b"\x7f\xff\xff\xff"
    return bytes(changed)


def mutated_text(text: str, rng: np.random.Generator) -> bytes:
    """Returns a list changed in one of eight ways: bytes, lines, fields, separators, line ends, encodings."""
    kind = int(rng.integers(8))
    if kind == 0:
        return mutated_bytes(text.encode(), rng)
    lines = text.splitlines()
    at = int(rng.integers(len(lines)))
    if kind == 1:  # another field
        separator = next((s for s in (",", ";", "\t", " ") if s in lines[at]), ",")
        fields = lines[at].split(separator)
        fields[int(rng.integers(len(fields)))] = FIELDS[int(rng.integers(len(FIELDS)))]
        lines[at] = separator.join(fields)
    elif kind == 2:  # a line twice, left out, or elsewhere
        line = lines.pop(at)
        for _ in range(int(rng.integers(3))):
            lines.insert(int(rng.integers(len(lines) + 1)), line)
    elif kind == 3:  # more fields
        lines[at] += "".join(rng.choice(list(",;\t ")) + FIELDS[int(rng.integers(len(FIELDS)))] for _ in range(2))
    elif kind == 4:  # quotes
        place = int(rng.integers(len(lines[at]) + 1))
        lines[at] = lines[at][:place] + str(rng.choice(['"', "'", '""', '"\n'])) + lines[at][place:]
    elif kind == 5:  # another separator, in all lines or in one
        old, new = rng.choice(list(",;\t ")), rng.choice(list(",;\t |"))
        lines = [line.replace(old, new) if rng.random() < 0.7 else line for line in lines]
    elif kind == 6:  # titles, comments, blank lines
        lines.insert(int(rng.integers(len(lines) + 1)), str(rng.choice(["path,label", "#", "", "\ufeff", "a b c d"])))
    end = str(rng.choice(["\n", "\r\n", "\r", "\n\n"]))
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])) if kind == 7 else "utf-8"
    joined = end.join(lines) + ("" if rng.random() < 0.3 else end)
    return joined.encode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
