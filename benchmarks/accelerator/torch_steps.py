"""A training step in torch on the same device, replayed as a CUDA graph."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import networks, torch_step
from benchmarks.accelerator import child


def rows(asked: child.Asked) -> Iterator[dict[str, Any]]:
  """Yields a row a network and precision; none where torch is missing."""
  try:
    import torch
  except ImportError as error:
    yield {"what": f"torch is not here: {error}"}
    return
  names = ("lenet",) if asked.smoke else ("lenet", "conv2", "resnet20", "vgg19")
  for name in names:
    for precision in ("highest", "default"):
      if asked.left() < 5:
        yield {"what": f"{name}, {precision}: no time left"}
        continue
      yield _row(torch, networks.NETWORKS[name], precision, asked.smoke)


def _row(torch, network, precision, smoke):
  cuda = torch.cuda.is_available()
  torch.backends.cuda.matmul.allow_tf32 = precision == "default"
  torch.backends.cudnn.allow_tf32 = precision == "default"
  torch.backends.cudnn.benchmark = True
  step = torch_step.make(network, "cuda" if cuda else "cpu")
  replay = _captured(torch, step) if cuda else step

  def seconds(num_steps):
    begin = time.perf_counter()
    for _ in range(num_steps):
      replay()
    if cuda:
      torch.cuda.synchronize()
    return (time.perf_counter() - begin) / num_steps

  rough = min(seconds(2 if smoke else 20) for _ in range(2))
  num_steps = max(2, int((0.02 if smoke else 0.5) / rough))
  step_s = statistics.median(seconds(num_steps) for _ in range(3))
  return {
    "network": network.name,
    "precision": precision,
    "how": "CUDA graph" if cuda else "CPU, no graph",
    "step_ms": 1e3 * step_s,
    "examples_per_s": network.batch_size / step_s,
    "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    "torch": torch.__version__,
  }


def _captured(torch, step):
  """A step as one graph, captured after five on a stream of its own."""
  stream = torch.cuda.Stream()
  stream.wait_stream(torch.cuda.current_stream())
  with torch.cuda.stream(stream):
    for _ in range(5):
      step()
  torch.cuda.current_stream().wait_stream(stream)
  graph = torch.cuda.CUDAGraph()
  with torch.cuda.graph(graph):
    step()
  return graph.replay
