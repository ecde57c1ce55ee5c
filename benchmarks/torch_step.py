"""The same networks and training steps in torch, and what limits them."""

import itertools
from collections.abc import Callable
from typing import Any

from benchmarks import tables
from lth_jax.config import configs

_NUM_IMAGES = 10_000


def make(
  config: configs.Config, device: str = "cpu", layout: str = "channels_last"
) -> Callable[[], None]:
  """Returns a function that does one training step of a masked network.

  Images are tensors on the device; the optimizer is fused, gradients and
  weights are masked at density 0.5.

  Args:
    config: of the network.
    device: "cpu" or "cuda".
    layout: of images and kernels, "channels_last" or "contiguous_format".
  """
  import torch

  name, batch_size = config.model.model, config.training.batch_size
  memory_format = getattr(torch, layout)
  network = _network(config).to(device, memory_format=memory_format)
  images = torch.rand(_NUM_IMAGES, *_image_shape(name), device=device)
  images = images.to(memory_format=memory_format)
  labels = torch.randint(10, (_NUM_IMAGES,), device=device)
  optimizer = _optimizer(config.training, network.parameters(), device)
  loss_fn = torch.nn.CrossEntropyLoss()
  kept = [
    (p, (torch.rand_like(p) < 0.5).float())
    for p in network.parameters()
    if p.dim() > 1
  ]
  with torch.no_grad():
    for p, mask in kept:
      p.mul_(mask)

  def step():
    chosen = torch.randint(_NUM_IMAGES, (batch_size,), device=device)
    optimizer.zero_grad(set_to_none=True)
    loss_fn(network(images[chosen]), labels[chosen]).backward()
    for p, mask in kept:
      p.grad.mul_(mask)
    optimizer.step()

  return step


def measure(
  config: configs.Config, precision: str, seconds: float
) -> tables.Row:
  """Returns the time of a step on the device, on a GPU as a CUDA graph.

  Args:
    config: of the network.
    precision: "highest" for float32, "default" for TF32.
    seconds: how long to time it.
  """
  import torch

  cuda = torch.cuda.is_available()
  torch.backends.cuda.matmul.allow_tf32 = precision == "default"
  torch.backends.cudnn.allow_tf32 = precision == "default"
  torch.backends.cudnn.benchmark = True
  step = make(config, "cuda" if cuda else "cpu")
  replay = _captured(step) if cuda else step

  def run(num_steps):
    for _ in range(num_steps):
      replay()
    if cuda:
      torch.cuda.synchronize()

  step_s, spread = tables.seconds_a_step(run, seconds)
  return {
    "network": config.model.model,
    "precision": precision,
    "how": "CUDA graph" if cuda else "CPU, no graph",
    "step_ms": 1e3 * step_s,
    "spread": spread,
    "examples_per_s": config.training.batch_size / step_s,
    "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    "torch": torch.__version__,
  }


def _captured(step):
  """A step as one graph, captured after five on a stream of its own."""
  import torch

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


def products(config: configs.Config) -> list[tuple[int, int, int]]:
  """Returns (M, K, N) of every matrix product of one training step.

  Forward, the gradient of the weights and, after the first layer, that of the
  layer's input; a convolution is the product of its patches.
  """
  import torch
  from torch import nn

  name, batch_size = config.model.model, config.training.batch_size
  forward = []

  def note(layer, inputs, output):
    if isinstance(layer, nn.Conv2d):
      inner = layer.in_channels * layer.kernel_size[0] ** 2
      rows = batch_size * output.shape[2] * output.shape[3]
      forward.append((rows, inner, layer.out_channels))
    else:
      forward.append((batch_size, layer.in_features, layer.out_features))

  network = _network(config)
  for layer in network.modules():
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
      layer.register_forward_hook(note)
  with torch.no_grad():
    network(torch.zeros(2, *_image_shape(name)))
  found = []
  for index, (rows, inner, columns) in enumerate(forward):
    found += [(rows, inner, columns), (inner, rows, columns)]
    if index:
      found.append((rows, columns, inner))
  return found


def state_bytes(config: configs.Config) -> int:
  """Returns the least number of bytes that a step moves for the weights.

  Parameter and moments read and written, gradient written and read, mask read.
  """
  moments = 2 if config.training.optimizer == "adam" else 1
  parameters = _network(config).parameters()
  weights = sum(p.numel() for p in parameters if p.dim() > 1)
  return weights * (4 * 2 * (2 + moments) + 1)


def _image_shape(name):
  return (1, 28, 28) if name == "lenet" else (3, 32, 32)


def _optimizer(settings, parameters, device):
  import torch

  if settings.optimizer == "adam":
    return torch.optim.Adam(
      parameters,
      settings.learning_rate,
      fused=True,
      capturable=device == "cuda",
    )
  return torch.optim.SGD(
    parameters,
    settings.learning_rate,
    momentum=settings.momentum,
    weight_decay=settings.weight_decay,
    fused=True,
  )


def _network(config: configs.Config) -> Any:
  from torch import nn

  name = config.model.model

  def wide(*sizes):
    return [max(1, round(config.model.width * size)) for size in sizes]

  match name:
    case "lenet":
      return nn.Sequential(
        nn.Flatten(), *_dense((28 * 28, *wide(300, 100), 10))
      )
    case "resnet20":
      return _resnet(wide(16, 32, 64))
    case "vgg19":
      widths = wide(64, 128, 256, 512, 512)
      layers = _groups(zip(widths, (2, 2, 4, 4, 4)), norm=True)[:-1]
      return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], 10),
      )
    case _:
      pairs = int(name.removeprefix("conv")) // 2
      widths = wide(*(64 * 2**i for i in range(pairs)))
      pixels = (32 // 2**pairs) ** 2
      sizes = (pixels * widths[-1], *wide(256, 256), 10)
      layers = _groups([(width, 2) for width in widths], norm=False)
      return nn.Sequential(*layers, nn.Flatten(), *_dense(sizes))


def _dense(sizes):
  from torch import nn

  layers = []
  for fan_in, fan_out in itertools.pairwise(sizes):
    layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
  return layers[:-1]


def _groups(groups, norm):
  """3x3 convolutions in groups, each pooled."""
  from torch import nn

  channels, layers = 3, []
  for width, num in groups:
    for _ in range(num):
      layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
      layers += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
      channels = width
    layers.append(nn.MaxPool2d(2))
  return layers


def _resnet(widths):
  from torch import nn

  def convolution(channels, width, size, stride):
    return nn.Sequential(
      nn.Conv2d(channels, width, size, stride, size // 2, bias=False),
      nn.BatchNorm2d(width),
    )

  class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels, width, stride):
      super().__init__()
      self.first = convolution(channels, width, 3, stride)
      self.second = convolution(width, width, 3, 1)
      same = stride == 1 and channels == width
      self.shortcut = (
        nn.Identity() if same else convolution(channels, width, 1, stride)
      )

    def forward(self, x):
      inner = self.second(nn.functional.relu(self.first(x)))
      return nn.functional.relu(inner + self.shortcut(x))

  layers: list[Any] = [convolution(3, widths[0], 3, 1), nn.ReLU()]
  channels = widths[0]
  for stage, width in enumerate(widths):
    for block in range(3):
      stride = 2 if stage and not block else 1
      layers.append(Block(channels, width, stride))
      channels = width
  return nn.Sequential(
    *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)
  )
