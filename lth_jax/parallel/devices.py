"""The devices of a run: which there are, how trials share them, their images.

On CPU, JAX is asked for one host device a core, so that each core trains a
trial. XLA compiles every program once for each host device.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.config.configs import Config
from lth_jax.training import sharding
from lth_jax.training.loop import Data

# More trials at once than this are seldom faster, and all need memory.
_MAX_TRIALS = 32


class Layout(NamedTuple):
  """How trials share devices; the last bits of a result depend on it.

  Attributes:
    trials_per_device: 1 trains one trial after the other; n trains n side by
      side under `jax.vmap`.
    batch_devices: devices that split each batch, and share these trials.
  """

  trials_per_device: int
  batch_devices: int = 1


class Worker(NamedTuple):
  """Devices that train the same trials, and the images on each of them.

  Attributes:
    devices: one or more, of one process or of several.
    mesh: over which a batch is split; None for a single device.
    data: the images; on the devices of this process, if some are.
  """

  devices: tuple[jax.Device, ...]
  mesh: jax.sharding.Mesh | None
  data: Data

  @property
  def local_devices(self) -> list[jax.Device]:
    """The devices of this process."""
    here = jax.process_index()
    return [device for device in self.devices if device.process_index == here]

  @property
  def owner(self) -> int:
    """Index of the process that sends the results to the others."""
    return self.devices[0].process_index

  def put(self, tree: Any) -> Any:
    """Copies a pytree to every device."""
    if self.mesh is None:
      return jax.device_put(tree, self.devices[0])
    return sharding.copy_to_all(tree, self.mesh)

  def get(self, tree: Any) -> Any:
    """Returns arrays such that this process holds all of each."""
    return tree if self.mesh is None else sharding.gathered(tree, self.mesh)


def usable_cpus() -> int:
  """Returns the number of CPUs that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def split_host() -> None:
  """Makes a host device of each core, unless JAX's backend is up already.

  Makes all of them, since their number is fixed once the backend has started
  and a later run of this process may need more than the first one.
  """
  with contextlib.suppress(RuntimeError):  # the backend is up
    jax.config.update("jax_num_cpu_devices", usable_cpus())


def find(
  num_devices: int, num_trials: int, batch_devices: int = 1
) -> list[jax.Device]:
  """Returns the devices to train on, of all processes.

  Must come before anything that starts JAX's backend; see `split_host`.

  Args:
    num_devices: how many to use, 0 for all; several processes use all.
    num_trials: trials that could run at once, 1 or more; a single process uses
      no more devices than these can.
    batch_devices: devices that split each batch.

  Returns:
    A multiple of `batch_devices`, the devices of process 0 first. Each group
    of `batch_devices` is part of one process, or all devices of several.

  Raises:
    InputError: there are too few devices, or processes do not fit the groups.
  """
  split_host()
  devices = sorted(jax.devices(), key=lambda x: (x.process_index, x.id))
  known = f"there are {len(devices)} of kind '{devices[0].device_kind}'"
  if batch_devices > min(num_devices or len(devices), len(devices)):
    raise errors.InputError(
      f"--batch_devices={batch_devices}: {known} (--devices={num_devices}); "
      "ask for fewer."
    )
  if jax.process_count() > 1:
    _check_processes(devices, num_devices, batch_devices)
    num = len(devices)
  else:
    num = min(num_devices or len(devices), num_trials * batch_devices)
    if num > len(devices):
      raise errors.InputError(
        f"--devices={num_devices}: {known}; ask for no more than that, or for "
        "0."
      )
  return devices[: num - num % batch_devices]


def choose_layout(
  config: Config, devices: Sequence[jax.Device], before: Sequence[Layout]
) -> Layout:
  """Returns how many trials a device trains at once, and splits of a batch.

  Args:
    config: of the run; `--trials_per_device=0` leaves the number open.
    devices: all that train.
    before: the layouts with which this run was started before, oldest first. A
      number that is left open stays as the run began, so that bits are equal,
      except where it is always 1: on CPU, and for convolutions on GPU.
  """
  asked, batch_devices = config.execution, config.execution.batch_devices
  if asked.trials_per_device:
    return Layout(asked.trials_per_device, batch_devices)
  platform = devices[0].platform
  # Under vmap, XLA makes grouped convolutions of stacked ones; cuDNN has no
  # kernel gradient for those, and gets one with a window as large as the image.
  slow = platform == "gpu" and config.model.model != "lenet"
  if platform == "cpu" or slow:
    return Layout(1, batch_devices)
  num_workers = len(devices) // batch_devices
  num = min(-(-plan.num_at_once(config) // num_workers), _MAX_TRIALS)
  began = [x.trials_per_device for x in before if x.trials_per_device > 1]
  return Layout(began[0] if began else num, batch_devices)


def make_workers(
  devices: Sequence[jax.Device], data: Data, batch_devices: int = 1
) -> list[Worker]:
  """Puts the images on every device of this process.

  Host devices use NumPy arrays in place if they are aligned, as those of
  `lth_jax.data` are, so that memory holds them once.

  Args:
    devices: of all processes.
    data: images and labels, NumPy.
    batch_devices: devices of a worker, a divisor of their number.
  """
  workers = []
  for index in range(0, len(devices), batch_devices):
    group = tuple(devices[index : index + batch_devices])
    worker = Worker(group, sharding.make(group), data)
    if worker.local_devices:
      worker = worker._replace(data=worker.put(data))
    workers.append(worker)
  return workers


def _check_processes(devices, num_devices: int, batch_devices: int) -> None:
  num_processes = jax.process_count()
  owners = [device.process_index for device in devices]
  counts = [owners.count(index) for index in range(num_processes)]
  each = len(devices) // num_processes
  if len(set(counts)) > 1:
    raise errors.InputError(
      f"--distributed: the processes have {', '.join(map(str, counts))} "
      "devices; each must have as many as the others."
    )
  if num_devices:
    raise errors.InputError(
      f"--devices={num_devices}: {num_processes} processes use all their "
      "devices; leave it out."
    )
  whole = batch_devices % each == 0 and len(devices) % batch_devices == 0
  if each % batch_devices and not whole:
    raise errors.InputError(
      f"--batch_devices={batch_devices}: with {num_processes} processes of "
      f"{each} devices it must be a divisor of {each}, or {each} times a "
      f"divisor of {num_processes}."
    )
