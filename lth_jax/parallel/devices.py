"""Which devices there are to train on; on CPU one host device a core."""

import contextlib
import os

import jax

from lth_jax import errors


def usable_cpus() -> int:
  """Returns the number of CPUs that this process may use.

  >>> usable_cpus() >= 1
  True
  """
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def split_host() -> None:
  """Makes a host device of each core, unless JAX's backend is up already.

  As many as any later run of this process could use, since their number is
  fixed once the backend starts.

  >>> split_host()
  >>> len(jax.local_devices()) >= 1
  True
  """
  with contextlib.suppress(RuntimeError):  # the backend is up
    jax.config.update("jax_num_cpu_devices", usable_cpus())


def find(wanted: int, num_trials: int, together: int = 1) -> list[jax.Device]:
  """Returns the devices to train on, of all processes.

  Must come before anything that makes JAX start its backend; see `split_host`.

  Args:
    wanted: how many, 0 for all; of several processes all devices are taken.
    num_trials: trials that could run at once, 1 or more; one process uses no
      more devices than that, since the others would stay idle.
    together: devices that split each batch; only whole groups are returned.

  Returns:
    Those of process 0 first; a group is either of one process, or of all
    devices of several.

  Raises:
    InputError: there are fewer than wanted, and trials for more; or fewer than
      are to work together; or processes that do not fit each other or the
      groups.

  >>> len(find(0, num_trials=1))
  1
  """
  split_host()
  devices = sorted(jax.devices(), key=lambda x: (x.process_index, x.id))
  if together > min(wanted or len(devices), len(devices)):
    raise errors.InputError(
      f"--batch_devices={together}: there are {len(devices)} of kind "
      f"'{devices[0].device_kind}' (--devices={wanted}); ask for fewer."
    )
  if jax.process_count() > 1:
    _check_processes(devices, wanted, together)
    num = len(devices)
  else:
    num = min(wanted or len(devices), num_trials * together)
    if num > len(devices):
      raise errors.InputError(
        f"--devices={wanted}: there are {len(devices)} of kind "
        f"'{devices[0].device_kind}'; ask for no more than that, or for 0."
      )
  return devices[: num - num % together]


def _check_processes(devices, wanted: int, together: int) -> None:
  num_processes = jax.process_count()
  each, left = divmod(len(devices), num_processes)
  counts = [0] * num_processes
  for device in devices:
    counts[device.process_index] += 1
  if left or set(counts) != {each}:
    raise errors.InputError(
      f"--distributed: the processes have {', '.join(map(str, counts))} "
      "devices; each must have as many as the others."
    )
  if wanted:
    raise errors.InputError(
      f"--devices={wanted}: {num_processes} processes use all their devices; "
      "leave it out."
    )
  whole = together % each == 0 and len(devices) % together == 0
  if each % together and not whole:
    raise errors.InputError(
      f"--batch_devices={together}: with {num_processes} processes of {each} "
      f"devices it must be a divisor of {each}, or those of a divisor of "
      f"{num_processes} processes."
    )
