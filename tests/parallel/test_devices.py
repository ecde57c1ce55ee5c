"""The devices of a run, how trials share them, and the images on them."""

import subprocess
import sys
from unittest import mock

import jax
import pytest
from helpers import tiny

from lth_jax import data, errors
from lth_jax.config import configs
from lth_jax.parallel import devices as devices_lib
from lth_jax.parallel.devices import Layout
from lth_jax.training import loop


def choose(platform, *before, num_devices=1, **flags):
  devices = [mock.Mock(platform=platform)] * num_devices
  return devices_lib.choose_layout(configs.from_flat(flags), devices, before)


@pytest.mark.parametrize(
  ("platform", "model", "side_by_side"),
  [
    ("cpu", "lenet", False),
    ("cpu", "conv2", False),
    ("gpu", "lenet", True),
    ("gpu", "conv2", False),
    ("gpu", "resnet20", False),
    ("tpu", "lenet", True),
    ("tpu", "conv2", True),
  ],
)
def test_automatic_layout_follows_device_and_network(
  platform, model, side_by_side
):
  """On GPU, stacked convolutions have gradients of no use."""
  assert (choose(platform, model=model) != Layout(1)) == side_by_side


def test_automatic_layout_is_that_of_the_first_start():
  assert choose("tpu", replicates=2) == Layout(10)
  assert choose("tpu", num_devices=4, replicates=2) == Layout(3)
  assert choose("tpu", num_devices=4, batch_devices=2) == Layout(13, 2)
  assert choose("tpu", replicates=100) == Layout(32)
  seen = Layout(1), Layout(4), Layout(5)
  assert choose("tpu", *seen, replicates=2) == Layout(4)
  assert choose("cpu", *seen, replicates=2) == Layout(1)


def test_a_layout_that_is_asked_for_is_chosen():
  for platform in ("cpu", "gpu", "tpu"):
    for num in (1, 7):
      assert choose(platform, Layout(3), trials_per_device=num) == Layout(num)


def test_devices_are_as_many_as_asked_for_or_as_trials():
  devices = jax.local_devices()
  assert devices_lib.find(0, 100) == devices
  assert devices_lib.find(0, 2) == devices[:2]
  assert devices_lib.find(3, 100) == devices[:3]
  assert devices_lib.find(5, 1) == devices[:1]


def test_more_devices_than_there_are_is_an_error():
  with pytest.raises(errors.InputError, match=r"--devices=5: there are 4"):
    devices_lib.find(5, 100)


def test_a_first_run_of_few_trials_limits_no_later_one():
  """In a new process, since the number is fixed with the first use."""
  cpus = devices_lib.usable_cpus()
  program = (
    "from lth_jax.parallel import devices; print(len(devices.find(1, 1)), "
    f"len(devices.find(0, 99)), len(devices.find({cpus}, 99)))"
  )
  found = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=False
  )
  assert found.stdout.split() == ["1", str(cpus), str(cpus)], found.stderr


@pytest.mark.parametrize(
  ("counts", "asked", "says"),
  [
    ((2, 3), {}, "the processes have 2, 3 devices; each must have as many"),
    ((4, 0), {}, "the processes have 4, 0 devices"),
    ((2, 2), {"num_devices": 1}, "--devices=1: 2 processes use all"),
    ((4, 4), {"batch_devices": 3}, "a divisor of 4, or 4 times a divisor of 2"),
    ((2, 2), {"batch_devices": 5}, "--batch_devices=5: there are 4"),
  ],
)
def test_devices_that_processes_cannot_share_are_an_error(
  monkeypatch, counts, asked, says
):
  devices = [
    mock.Mock(process_index=process, id=index, device_kind="cpu")
    for process, num in enumerate(counts)
    for index in range(num)
  ]
  monkeypatch.setattr(jax, "devices", lambda: devices)
  monkeypatch.setattr(jax, "process_count", lambda: len(counts))
  asked = {"num_devices": 0, "num_trials": 99} | asked
  with pytest.raises(errors.InputError, match=says):
    devices_lib.find(**asked)


def test_every_device_has_the_images():
  workers = devices_lib.make_workers(jax.local_devices()[:3], tiny.data())
  assert len(workers) == 3
  for worker, device in zip(workers, jax.local_devices()):
    assert worker.devices == (device,)
    assert all(array.devices() == {device} for array in worker.data)
    tiny.assert_equal_bits(worker.data, tiny.data())


def test_host_devices_share_the_images_of_a_data_set():
  loaded = data.load("mnist_10k")
  arrays = loop.Data(*loaded.train, *loaded.test)
  for worker in devices_lib.make_workers(jax.local_devices()[:2], arrays):
    for array, placed in zip(arrays, worker.data):
      assert placed.unsafe_buffer_pointer() == array.ctypes.data
