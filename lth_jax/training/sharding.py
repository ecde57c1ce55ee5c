"""Devices that train one trial together, each with a part of every batch.

Parameters are copied to all of them. GSPMD adds up gradients over the axis, and
BatchNorm's statistics, which are of whole batches.
"""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Name of the axis over which the images of a batch are split.
BATCH = "batch"


def make(devices: Sequence[jax.Device]) -> Mesh | None:
  """Returns the mesh of several devices; None for a single one.

  >>> make(jax.devices()[:1]) is None
  True
  """
  if len(devices) == 1:
    return None
  return Mesh(np.array(devices), (BATCH,), axis_types=(AxisType.Auto,))


def copy_to_all(tree: Any, mesh: Mesh) -> Any:
  """Returns a tree with a whole copy of every array on each device of a mesh.

  The arrays are the same in each process of the mesh.

  >>> mesh = Mesh(np.array(jax.devices()[:1]), (BATCH,))
  >>> copy_to_all({"w": np.ones(2)}, mesh)["w"].sharding.is_fully_replicated
  True
  """
  sharding = NamedSharding(mesh, PartitionSpec())
  if not mesh.is_multi_process:
    return jax.device_put(tree, sharding)

  def copy(leaf):
    # Keys have no callback, and device_put compares arrays between processes.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      data = copy(jax.random.key_data(leaf))
      return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(
      array.shape, sharding, lambda index: array[index]
    )

  return jax.tree.map(copy, tree)


def gathered(tree: Any, mesh: Mesh) -> Any:
  """Returns a tree whose arrays each process of a mesh holds as a whole.

  >>> mesh = Mesh(np.array(jax.devices()[:1]), (BATCH,))
  >>> gathered(jnp.ones(2), mesh)
  Array([1., 1.], dtype=float32)
  """
  if not mesh.is_multi_process:
    return tree
  return _gather(NamedSharding(mesh, PartitionSpec()))(tree)


@functools.cache
def _gather(sharding: NamedSharding):
  return jax.jit(lambda tree: tree, out_shardings=sharding)


def use(mesh: Mesh | None) -> contextlib.AbstractContextManager:
  """Returns a context in which `split` and `whole` use this mesh.

  >>> with use(None):
  ...   float(split(jax.numpy.ones(4), num_parts=1).sum())
  4.0
  """
  return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def split(batch: jax.Array, num_parts: int) -> jax.Array:
  """Returns a batch that is split over the devices of the mesh in use.

  Args:
    batch: `[B, ...]`, B a multiple of `num_parts`.
    num_parts: devices of the mesh; 1 where there is none.

  >>> split(jax.numpy.arange(3), num_parts=1)
  Array([0, 1, 2], dtype=int32)
  """
  if num_parts == 1:
    return batch
  return jax.lax.with_sharding_constraint(batch, PartitionSpec(BATCH))


def whole(tree: Any, num_parts: int) -> Any:
  """Returns a tree with a whole copy of every array on each device in use.

  Args:
    tree: pytree of traced arrays, which GSPMD could leave split.
    num_parts: devices of the mesh; 1 where there is none.

  >>> whole(jax.numpy.arange(3), num_parts=1)
  Array([0, 1, 2], dtype=int32)
  """
  if num_parts == 1:
    return tree
  return jax.lax.with_sharding_constraint(tree, PartitionSpec())
