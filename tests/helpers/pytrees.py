"""One table of pytrees that every jax-only function is tested on.

Each entry builds params with kernels (two or more axes), biases (one axis) and
whatever its library mixes in. Shapes recur, to keep compilations few.
"""

import functools
import itertools
from typing import NamedTuple

import equinox
import flax.linen
import haiku
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

DTYPES = ("float32", "bfloat16", "float16")


class Pair(NamedTuple):
  """A container whose leaves are attributes."""

  kernel: jax.Array
  bias: jax.Array | None


def linen():
  net = flax.linen.Sequential([flax.linen.Dense(4), flax.linen.Dense(2)])
  return net.init(jax.random.key(0), jnp.ones((1, 3)))["params"]


def nnx_state():
  rngs = nnx.Rngs(0)
  net = nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs))
  return nnx.split(net, nnx.Param)[1]


def haiku_params():
  net = haiku.transform(lambda x: haiku.nets.MLP([4, 2])(x))
  return net.init(jax.random.key(0), jnp.ones((1, 3)))


def equinox_module():
  return equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))


def tuples():
  return (_kernel(3, 4), _kernel(4), (_kernel(2, 2, 2), ()))


def lists():
  return [_kernel(3, 4), [_kernel(4), _kernel(4, 2)]]


def none_nodes():
  return {"a": None, "b": (_kernel(3, 4), None), "z": [_kernel(4, 2), None]}


def namedtuples():
  return Pair(Pair(_kernel(3, 4), _kernel(4)), Pair(_kernel(4, 2), None))


def mixed_leaves():
  return {
    "activation": jax.nn.relu,
    "kernel": _kernel(3, 4),
    "steps": jnp.zeros((2, 2), jnp.int32),
    "width": 4,
    "z": _kernel(4, 2),
  }


TABLE = {
  build.__name__: build
  for build in (
    linen,
    nnx_state,
    haiku_params,
    equinox_module,
    tuples,
    lists,
    none_nodes,
    namedtuples,
    mixed_leaves,
  )
}

# Compilations take long, so those tests take each tree in one dtype, in turn.
IN_TURN = tuple(zip(TABLE, itertools.cycle(DTYPES)))


@functools.cache
def build(name, dtype):
  """Params of the table with float leaves of a dtype."""
  return jax.tree.map(
    lambda leaf: leaf.astype(dtype) if is_float(leaf) else leaf, TABLE[name]()
  )


def is_float(leaf):
  return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def over_arrays(function, *trees):
  """`function(*trees)` as `f(arrays)`: jit and vmap take arrays alone."""
  leaves, structure = jax.tree.flatten(trees)
  places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

  def on_arrays(arrays):
    filled = list(leaves)
    for place, array in zip(places, arrays):
      filled[place] = array
    out = jax.tree.leaves(function(*jax.tree.unflatten(structure, filled)))
    return [leaf for leaf in out if hasattr(leaf, "dtype")]

  return on_arrays, [leaves[place] for place in places]


def assert_transforms(function, *trees):
  """`jit(vmap(function))` on two copies gives the bits of `function`, twice."""
  on_arrays, arrays = over_arrays(function, *trees)
  both = jax.jit(jax.vmap(on_arrays))([np.stack([a, a]) for a in arrays])
  for i in range(2):
    assert_same([np.asarray(leaf)[i] for leaf in both], on_arrays(arrays))


def assert_same(a, b):
  """Equal structure, dtypes and bits."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    if hasattr(x, "dtype"):
      assert (x.dtype, x.shape) == (y.dtype, y.shape)
      assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    else:
      assert x is y or x == y


def _kernel(*shape):
  return jax.random.normal(jax.random.key(sum(shape)), shape)
