"""packets.py: the table of a stream, and which packets some frames need."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.video.packets import PacketTable, packet_table, select_packets

# Decode order I2 B0 B1 P4 B3 | I7 B5 B6 P9 B8 | I10 P11, an open GOP in the middle.
TABLE = PacketTable(
    pts=np.array([2, 0, 1, 4, 3, 7, 5, 6, 9, 8, 10, 11]) * 512,
    keyframe=np.isin(np.arange(12), [0, 5, 10]),
    discard=np.zeros(12, dtype=bool),
)


@pytest.mark.parametrize(
    ("frames", "ranges"),
    [
        ([3], (range(0, 5),)),
        ([4], (range(0, 4),)),  # nothing after the last packet needed
        ([8], (range(5, 10),)),
        ([5], (range(0, 7),)),  # leading: the keyframe before
        ([7, 6], (range(0, 8),)),
        ([11], (range(10, 12),)),
        ([2, 11], (range(0, 1), range(10, 12))),  # the GOP in between is left out
        ([8, 11], (range(5, 12),)),  # neighbors are one range
    ],
)
def test_selects_the_fewest_packets(frames, ranges):
    assert select_packets(TABLE, np.array(frames)) == ranges


def test_discarded_packets_have_no_index():
    table = PacketTable(pts=TABLE.pts, keyframe=TABLE.keyframe, discard=TABLE.pts < 3 * 512)
    assert table.shown.tolist() == [4, 3, 6, 7, 5, 9, 8, 10, 11]
    assert select_packets(table, np.array([0])) == (range(0, 5),)


@pytest.mark.parametrize("frames", [[], [-1], [3, 12]])
def test_select_packets_refuses_unknown_frames(frames):
    with pytest.raises(InputError, match=r"frames: received .*; accepted: indices from 0 to 11"):
        select_packets(TABLE, np.array(frames))


def test_no_table_without_unique_time_stamps():
    assert packet_table([(0, True, False), (None, False, False)]) is None
    assert packet_table([(0, True, False), (0, False, False)]) is None
    assert packet_table([]) is None


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_ranges_are_disjoint_and_hold_the_frames(data):
    """For any order of presentation and any keyframes."""
    num_packets = data.draw(st.integers(1, 16))
    pts = data.draw(st.permutations(range(num_packets)))
    keyframe = [True, *(data.draw(st.booleans()) for _ in range(num_packets - 1))]
    table = PacketTable(pts=np.array(pts), keyframe=np.array(keyframe), discard=np.zeros(num_packets, dtype=bool))
    frames = np.array(data.draw(st.lists(st.integers(0, num_packets - 1), min_size=1)))
    ranges = select_packets(table, frames)
    assert all(table.keyframe[chosen.start] for chosen in ranges)
    assert all(before.stop < after.start for before, after in itertools.pairwise(ranges))
    assert {position for chosen in ranges for position in chosen} >= set(table.shown[frames].tolist())
