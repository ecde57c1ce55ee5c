"""Devices that train one lane together, each a part of every batch.

GSPMD does the rest: parameters are on all of them, so that gradients are added
up over the axis, and so are BatchNorm's statistics, which are of whole batches.
"""

import contextlib
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Name of the axis over which the images of a batch are split.
BATCH = "batch"


def make(devices: Sequence[jax.Device]) -> Mesh | None:
  """Returns the mesh of several devices; of a single one there is none.

  Args:
    devices: one or more.

  >>> make(jax.devices()[:1]) is None
  True
  """
  if len(devices) == 1:
    return None
  return Mesh(np.array(devices), (BATCH,), axis_types=(AxisType.Auto,))


def everywhere(
  devices: Sequence[jax.Device], mesh: Mesh | None
) -> jax.Device | NamedSharding:
  """Returns where to put what all devices need: a whole copy on each.

  Args:
    devices: as given to `make`.
    mesh: what it returned.

  >>> device = jax.devices()[0]
  >>> everywhere([device], None) == device
  True
  """
  return devices[0] if mesh is None else NamedSharding(mesh, PartitionSpec())


def use(mesh: Mesh | None) -> contextlib.AbstractContextManager:
  """Returns a context in which `split` means this mesh.

  Args:
    mesh: as from `make`.

  >>> with use(None):
  ...   float(split(jax.numpy.ones(4), num_parts=1).sum())
  4.0
  """
  return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def split(batch: jax.Array, num_parts: int) -> jax.Array:
  """Splits a batch over the devices of the mesh that is in use.

  Args:
    batch: `[B, ...]`, B a multiple of `num_parts`.
    num_parts: devices of the mesh; 1 where there is none.

  >>> split(jax.numpy.arange(3), num_parts=1)
  Array([0, 1, 2], dtype=int32)
  """
  if num_parts == 1:
    return batch
  return jax.lax.with_sharding_constraint(batch, PartitionSpec(BATCH))
