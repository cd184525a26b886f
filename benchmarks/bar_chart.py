"""A bar chart as a picture, with numpy alone: every installation can draw it.

Its letters are the small pictures below, enlarged.
"""

import functools

import numpy as np

_GLYPH_HEIGHT, _GLYPH_WIDTH = 8, 5
_SHEETS = (
    """
a     b     c     d     e     f     g     h     i     j     k     l     m
..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. .....
..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... ..#.. .....
.###. #.##. .###. .##.# .###. ####. .#### #.##. .##.. ..##. #..#. ..#.. ##.#.
....# ##..# #.... #..## #...# .#... #...# ##..# ..#.. ...#. #.#.. ..#.. #.#.#
.#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ###.. ..#.. #.#.#
#...# ##..# #.... #..## #.... .#... .#### #...# ..#.. ...#. #..#. ..#.. #.#.#
.#### #.##. .###. .##.# .###. .#... ....# #...# .###. #..#. #...# .###. #.#.#
..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... .....
""",
    """
n     o     p     q     r     s     t     u     v     w     x     y     z
..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
#.##. .###. #.##. .##.# #.##. .#### ####. #...# #...# #...# #...# #...# #####
##..# #...# ##..# #..## ##..# #.... .#... #...# #...# #.#.# .#.#. #...# ...#.
#...# #...# #...# #...# #.... .###. .#... #...# #...# #.#.# ..#.. #...# ..#..
#...# #...# ##..# #..## #.... ....# .#..# #..## .#.#. #.#.# .#.#. .#### .#...
#...# .###. #.##. .##.# #.... ####. ..##. .##.# ..#.. .#.#. #...# ....# #####
..... ..... #.... ....# ..... ..... ..... ..... ..... ..... ..... .###. .....
""",
    """
0     1     2     3     4     5     6     7     8     9
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ..##. #..#. ....# ####. ...#. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .##..
..... ..... ..... ..... ..... ..... ..... ..... ..... .....
""",
    """
.     ,     -     +     >     /     :     (     )
..... ..... ..... ..... #.... ....# ..... ...#. .#...
..... ..... ..... ..#.. .#... ....# ..... ..#.. ..#..
..... ..... ..... ..#.. ..#.. ...#. ..#.. ..#.. ..#..
..... ..... ##### ##### ...#. ..#.. ..... ..#.. ..#..
..... ..... ..... ..#.. ..#.. .#... ..... ..#.. ..#..
..... ..#.. ..... ..#.. .#... #.... ..#.. ..#.. ..#..
..#.. ..#.. ..... ..... #.... #.... ..... ...#. .#...
..... .#... ..... ..... ..... ..... ..... ..... .....
""",
)
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_SCALE = 2
_ROW_PIXELS, _MARGIN_PIXELS, _BAR_PIXELS, _FIGURE_PIXELS = 32, 16, 560, 150
"""Of a bar with its gap, around everything, of the longest bar, and for the text behind it."""


@functools.cache
def glyphs() -> dict[str, np.ndarray]:
    """Character -> (8, 5) bool."""
    found = {" ": np.zeros((_GLYPH_HEIGHT, _GLYPH_WIDTH), dtype=bool)}
    for sheet in _SHEETS:
        names, *rows = sheet.strip("\n").splitlines()
        for place, name in enumerate(names.split()):
            cells = [row.split()[place] for row in rows]
            found[name] = np.array([[dot == "#" for dot in cell] for cell in cells])
    return found


def text_mask(text: str) -> np.ndarray:
    """(height, width) bool: the text in small letters; characters without a picture are left blank."""
    space = np.zeros((_GLYPH_HEIGHT, 1), dtype=bool)
    known = glyphs()
    parts = [part for letter in text.lower() for part in (known.get(letter, known[" "]), space)]
    mask = np.concatenate(parts or [space], axis=1)
    return mask.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def bar_chart(bars: list[tuple[str, float, str, tuple[int, int, int]]], *, title: str) -> np.ndarray:
    """(height, width, 3) uint8 of (label, length from 0 to 1, text behind the bar, colour), the first on top."""
    labels = [text_mask(label) for label, *_ in bars]
    left = 2 * _MARGIN_PIXELS + max(label.shape[1] for label in labels)
    heading = text_mask(title)
    width = max(left + _BAR_PIXELS + _FIGURE_PIXELS, heading.shape[1] + 2 * _MARGIN_PIXELS)
    height = 2 * _MARGIN_PIXELS + _ROW_PIXELS * (len(bars) + 1)
    picture = np.full((height + height % 2, width + width % 2, 3), _PAPER, dtype=np.uint8)
    _write(picture, heading, top=_MARGIN_PIXELS, left=_MARGIN_PIXELS)
    for row, (label, (_, length, figure, color)) in enumerate(zip(labels, bars, strict=True), 1):
        top = _MARGIN_PIXELS + row * _ROW_PIXELS
        end = left + max(1, round(length * _BAR_PIXELS))
        picture[top : top + _ROW_PIXELS - 8, left:end] = color
        _write(picture, label, top=top + 4, left=_MARGIN_PIXELS)
        _write(picture, text_mask(figure), top=top + 4, left=end + 6)
    return picture


def _write(picture: np.ndarray, mask: np.ndarray, *, top: int, left: int) -> None:
    place = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    place[mask[:, : place.shape[1]]] = _INK
