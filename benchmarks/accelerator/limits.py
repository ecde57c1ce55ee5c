"""Limits of the device: copies, float32 matrix products, calls."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.accelerator import child


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields the speed of memory and of products at two precisions."""
  device = jax.devices()[0]
  name = f"device: {device.platform}, {device.device_kind}"
  yield _row(name, len(jax.devices()), f"devices, jax {jax.__version__}")
  x = jax.random.normal(jax.random.key(0), (2**20 if asked.smoke else 2**29,))
  add = jax.jit(lambda x: x + 1)
  speed = 2 * x.nbytes / _seconds(add, x) / 1e9
  yield _row("copy, read and written", speed, "GB/s")
  size = 256 if asked.smoke else 8192
  for precision in ("highest", "default"):
    speed = _product_speed(1, (size, size, size), precision)
    name = f"float32 product, precision {precision}"
    yield _row(name, speed, "TFLOP/s")
  trials, batch = (2, 8) if asked.smoke else (25, 60)
  speed = _product_speed(trials, (batch, 784, 300), "highest")
  name = f"LeNet's first layer, {trials} trials, precision highest"
  yield _row(name, speed, "TFLOP/s")
  small = jnp.ones(8)
  seconds = _seconds(lambda x: jax.block_until_ready(add(x)), small)
  yield _row("call of a small program, and waiting for it", 1e6 * seconds, "us")


def _row(what, value, unit):
  return {"what": what, "value": value, "unit": unit}


def _product_speed(num, sizes, precision):
  """TFLOP/s of `num` products `[m, k] x [k, n]` side by side."""
  m, k, n = sizes
  keys = jax.random.split(jax.random.key(1))
  a, b = (
    jax.random.normal(key, (num, *shape))
    for key, shape in zip(keys, ((m, k), (k, n)))
  )
  product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
  return 2 * num * m * k * n / _seconds(product, a, b) / 1e12


def _seconds(function, *arguments):
  """Median of 10 times, each of 10 calls."""
  jax.block_until_ready(function(*arguments))
  times = []
  for _ in range(10):
    begin = time.perf_counter()
    for _ in range(10):
      result = function(*arguments)
    jax.block_until_ready(result)
    times.append((time.perf_counter() - begin) / 10)
  return statistics.median(times)
