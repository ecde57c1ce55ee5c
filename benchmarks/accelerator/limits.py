"""What the device can do at most: copies and float32 matrix products."""

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
  yield {
    "what": f"device: {device.platform}, {device.device_kind}",
    "value": len(jax.devices()),
    "unit": f"devices, jax {jax.__version__}",
  }
  size = 2**20 if asked.smoke else 2**29
  x = jax.random.normal(jax.random.key(0), (size,))
  add = jax.jit(lambda x: x + 1)
  yield {
    "what": "copy, read and written",
    "value": 2 * x.nbytes / _seconds(add, x) / 1e9,
    "unit": "GB/s",
  }
  size = 256 if asked.smoke else 8192
  for precision in ("highest", "default"):
    a, b = jax.random.normal(jax.random.key(1), (2, size, size))
    product = jax.jit(lambda a, b, p=precision: jnp.matmul(a, b, precision=p))
    yield {
      "what": f"float32 product, precision {precision}",
      "value": 2 * size**3 / _seconds(product, a, b) / 1e12,
      "unit": "TFLOP/s",
    }
  trials, batch = (2, 8) if asked.smoke else (25, 60)
  shapes = (trials, batch, 784), (trials, 784, 300)
  keys = jax.random.split(jax.random.key(2))
  a, b = (jax.random.normal(k, s) for k, s in zip(keys, shapes))
  product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
  seconds = _seconds(product, a, b)
  yield {
    "what": f"LeNet's first layer, {trials} trials, precision highest",
    "value": 2 * trials * batch * 784 * 300 / seconds / 1e12,
    "unit": "TFLOP/s",
  }
  small = jnp.ones(8)
  jax.block_until_ready(add(small))
  begin = time.perf_counter()
  for _ in range(100):
    jax.block_until_ready(add(small))
  yield {
    "what": "call of a small program, and waiting for it",
    "value": 1e6 * (time.perf_counter() - begin) / 100,
    "unit": "us",
  }


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
