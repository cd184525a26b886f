"""The calls that make threads sleep while they wait for a GPU, on a driver made by hand."""

import ctypes

from pipelines.loading.waiting import wait_asleep


class Driver:
    """Hands out device number * 10, and fails at one call where asked."""

    def __init__(self, failing: str = "") -> None:
        self.calls, self.failing = [], failing

    def _code(self, name: str) -> int:
        return 201 if name == self.failing else 0

    def cuInit(self, flags):
        self.calls.append(("cuInit", flags))
        return self._code("cuInit")

    def cuDeviceGet(self, device, index):
        device._obj.value = 10 * index
        self.calls.append(("cuDeviceGet", index))
        return self._code("cuDeviceGet")

    def cuDevicePrimaryCtxSetFlags_v2(self, device, flags):
        self.calls.append(("cuDevicePrimaryCtxSetFlags_v2", device.value, flags))
        return self._code("cuDevicePrimaryCtxSetFlags_v2")


def test_the_primary_context_of_the_device_is_told():
    driver = Driver()
    assert wait_asleep(3, driver=driver) is None
    assert driver.calls == [("cuInit", 0), ("cuDeviceGet", 3), ("cuDevicePrimaryCtxSetFlags_v2", 30, 4)]


def test_a_driver_that_says_no_is_quoted_and_asked_no_further():
    driver = Driver(failing="cuDeviceGet")
    assert wait_asleep(0, driver=driver) == "cuDeviceGet gave 201"
    assert len(driver.calls) == 2


def test_no_driver_or_an_old_one_is_a_problem_and_no_error(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "libcuda.so.1: cannot open" in wait_asleep(0)
    old = type("Old", (), {"cuInit": staticmethod(lambda flags: 0), "cuDeviceGet": staticmethod(lambda *_: 0)})()
    assert "cuDevicePrimaryCtxSetFlags_v2" in wait_asleep(0, driver=old)
