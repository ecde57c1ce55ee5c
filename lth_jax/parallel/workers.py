"""Workers: devices that train one trial at a time, and the images on them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from lth_jax.training import sharding
from lth_jax.training.loop import Data


class Worker(NamedTuple):
  """Devices that train together, one or more, and the images on each.

  Attributes:
    devices: which, of one process or of several.
    mesh: over which a batch is split; None for a single device.
    data: the images; on the devices of this process, if some are.
  """

  devices: tuple[jax.Device, ...]
  mesh: jax.sharding.Mesh | None
  data: Data

  @property
  def local_devices(self) -> list[jax.Device]:
    """Those of this process."""
    here = jax.process_index()
    return [device for device in self.devices if device.process_index == here]

  @property
  def is_here(self) -> bool:
    """Whether this process has a part in it."""
    return bool(self.local_devices)

  @property
  def is_told_from_here(self) -> bool:
    """Whether it is this process that tells the others what it trained."""
    return self.devices[0].process_index == jax.process_index()

  def put(self, tree: Any) -> Any:
    """Puts what all its devices need where they have it."""
    if self.mesh is None:
      return jax.device_put(tree, self.devices[0])
    return sharding.copy_to_all(tree, self.mesh)

  def get(self, tree: Any) -> Any:
    """Returns arrays of its devices so that this process has all of each."""
    return tree if self.mesh is None else sharding.gathered(tree, self.mesh)


def make(
  devices: Sequence[jax.Device], data: Data, together: int = 1
) -> list[Worker]:
  """Puts the images on every device of this process.

  Host devices use NumPy arrays in place if they are aligned, as those of
  `lth_jax.data` are, so that memory holds them once.

  Args:
    devices: one or more, of all processes.
    data: images and labels, NumPy.
    together: how many devices make a worker, a divisor of their number.

  >>> import numpy as np
  >>> images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int32)
  >>> data = Data(images, labels, images, labels)
  >>> (worker,) = make(jax.local_devices()[:1], data)
  >>> worker.data.images.devices() == {*worker.devices}
  True
  """
  workers = []
  for index in range(0, len(devices), together):
    group = tuple(devices[index : index + together])
    worker = Worker(group, sharding.make(group), data)
    if worker.is_here:
      worker = worker._replace(data=worker.put(data))
    workers.append(worker)
  return workers
