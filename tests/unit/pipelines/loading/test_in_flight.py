"""A batch is kept until the device has read it; the device is a queue that a test steps through."""

import weakref

import pytest

from pipelines.loading.in_flight import InFlight


class Batch:
    """Something to let go of."""


class Device:
    """A queue: `passed` of the events that were put into it lie behind the device."""

    def __init__(self) -> None:
        self.num_events = self.passed = self.num_waits = 0

    def mark(self) -> "Mark":
        self.num_events += 1
        return Mark(self, self.num_events)


class Mark:
    def __init__(self, device: Device, number: int) -> None:
        self.device, self.number = device, number

    def query(self) -> bool:
        return self.device.passed >= self.number

    def synchronize(self) -> None:
        if not self.query():
            self.device.num_waits += 1
            self.device.passed = self.number


@pytest.fixture
def device() -> Device:
    return Device()


def handed_out(held: InFlight, number: int) -> list[weakref.ref]:
    batches = []
    for _ in range(number):
        held.release()
        batch = Batch()
        held.hold(batch)
        batches.append(weakref.ref(batch))
    return batches


def alive(batches: list[weakref.ref]) -> list[bool]:
    return [batch() is not None for batch in batches]


def test_a_batch_lives_until_the_device_has_passed_its_reads(device):
    held = InFlight(device.mark)
    first, second, third = handed_out(held, 3)
    assert alive([first, second, third]) == [True] * 3, "nobody else holds them, and the device has read none"
    device.passed = 1
    held.release()
    assert alive([first, second, third]) == [False, True, True]
    assert device.num_waits == 0


def test_the_newest_batch_is_kept_however_far_the_device_is(device):
    held = InFlight(device.mark)
    (batch,) = handed_out(held, 1)
    device.passed = 100
    assert alive([batch]) == [True], "its reads may not be queued yet"


def test_the_host_waits_rather_than_keep_many(device):
    held = InFlight(device.mark, max_waiting=2)
    batches = handed_out(held, 6)
    assert alive(batches) == [False] * 3 + [True] * 3
    assert device.num_waits == 3


def test_the_end_waits_for_the_device(device):
    held = InFlight(device.mark)
    batches = handed_out(held, 2)
    held.drain()
    assert alive(batches) == [False, False]
    assert device.passed == 2
