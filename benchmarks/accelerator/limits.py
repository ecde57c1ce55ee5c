"""Limits of the device: copies, float32 matrix products, calls, pruning."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from benchmarks import pruning as pruning_lib
from benchmarks import tables
from benchmarks.accelerator import child


def speeds(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields the speed of memory and of products at two precisions."""
  device = jax.devices()[0]
  name = f"device: {device.platform}, {device.device_kind}"
  yield _row(name, len(jax.devices()), f"devices, jax {jax.__version__}")
  x = jax.random.normal(jax.random.key(0), (2**20 if asked.smoke else 2**29,))
  add = jax.jit(lambda x: x + 1)
  speed = 2 * x.nbytes / _seconds(add, x) / 1e9
  yield _row("copy, read and written", speed, "GB/s")
  size = 256 if asked.smoke else 8192
  trials, batch = (2, 8) if asked.smoke else (25, 60)
  square, layer = (1, size, size, size), (trials, batch, 784, 300)
  for what, sizes, precision in (
    ("float32 product", square, "highest"),
    ("float32 product", square, "default"),
    (f"LeNet's first layer, {trials} trials", layer, "highest"),
  ):
    speed = _product_speed(*sizes, precision)
    yield _row(f"{what}, precision {precision}", speed, "TFLOP/s")
  small = jnp.ones(8)
  seconds = _seconds(lambda x: jax.block_until_ready(add(x)), small)
  yield _row("call of a small program, and waiting for it", 1e6 * seconds, "us")


def pruning(asked: child.Asked) -> Iterator[tables.Row]:
  """Yields the time of pruning for each size and scope."""
  for size in (10**5,) if asked.smoke else (10**8, 10**9):
    for scope in pruning_lib.SCOPES:
      yield pruning_lib.check(size, scope)


def _row(what, value, unit):
  return {"what": what, "value": value, "unit": unit}


def _product_speed(num, m, k, n, precision):
  """TFLOP/s of `num` products `[m, k] x [k, n]` side by side."""
  a = jax.random.normal(jax.random.key(1), (num, m, k))
  b = jax.random.normal(jax.random.key(2), (num, k, n))
  product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
  return 2 * num * m * k * n / _seconds(product, a, b) / 1e12


def _seconds(function, *arguments):
  """Seconds of a call, of ten that are waited for together."""

  def ten_calls():
    for _ in range(10):
      result = function(*arguments)
    jax.block_until_ready(result)

  return tables.alternate({"calls": ten_calls}, 10)["calls"] / 10
