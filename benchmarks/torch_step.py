"""The same networks and training steps in torch, and what limits them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.networks import Network

_NUM_IMAGES = 10_000


def make(network: Network, device: str = "cpu") -> Callable[[], None]:
  """Returns a function that does one training step of a masked network.

  Images are tensors on the device; the optimizer is fused, gradients and
  weights are masked at density 0.5.
  """
  import torch

  rng = np.random.default_rng(0)
  shape = _NUM_IMAGES, *network.image_shape
  images = torch.from_numpy(rng.integers(0, 256, shape, np.uint8))
  images = images.permute(0, 3, 1, 2).to(device).float() / 255
  labels = torch.from_numpy(rng.integers(0, 10, _NUM_IMAGES)).to(device)
  network_module = module(network)
  network_module.to(device, memory_format=torch.channels_last)
  optimizer = _optimizer(network, network_module)
  if device == "cuda" and network.optimizer == "adam":
    optimizer.param_groups[0]["capturable"] = True
  loss_fn = torch.nn.CrossEntropyLoss()
  kept = [
    (p, (torch.rand_like(p) < 0.5).float())
    for p in network_module.parameters()
    if p.dim() > 1
  ]
  with torch.no_grad():
    for p, mask in kept:
      p.mul_(mask)

  def step():
    size = (network.batch_size,)
    chosen = torch.randint(_NUM_IMAGES, size, device=device)
    optimizer.zero_grad(set_to_none=True)
    loss_fn(network_module(images[chosen]), labels[chosen]).backward()
    for p, mask in kept:
      p.grad.mul_(mask)
    optimizer.step()

  return step


def module(network: Network) -> Any:
  """Returns a network in torch."""
  from torch import nn

  channels = network.image_shape[2]
  match network.name:
    case "lenet":
      sizes = (28 * 28, 300, 100, 10)
      return nn.Sequential(nn.Flatten(), *_dense(sizes))
    case "resnet20":
      return _resnet(channels)
    case "vgg19":
      groups = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
      layers = _groups(channels, groups, norm=True)[:-1]
      return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
      )
    case name:
      pairs = int(name.removeprefix("conv")) // 2
      groups = tuple((64 * 2**i, 2) for i in range(pairs))
      pixels = (32 // 2**pairs) ** 2
      sizes = (pixels * groups[-1][0], 256, 256, 10)
      layers = _groups(channels, groups, norm=False)
      return nn.Sequential(*layers, nn.Flatten(), *_dense(sizes))


def products(network: Network) -> list[tuple[int, int, int]]:
  """Returns (M, K, N) of every matrix product of one training step.

  Forward, the gradient of the weights and, after the first layer, that of the
  layer's input; a convolution is the product of its patches.
  """
  import torch
  from torch import nn

  forward = []

  def note(layer, inputs, output):
    if isinstance(layer, nn.Conv2d):
      inner = layer.in_channels * layer.kernel_size[0] ** 2
      rows = network.batch_size * output.shape[2] * output.shape[3]
      forward.append((rows, inner, layer.out_channels))
    else:
      sizes = layer.in_features, layer.out_features
      forward.append((network.batch_size, *sizes))

  network_module = module(network)
  for layer in network_module.modules():
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
      layer.register_forward_hook(note)
  height, width, channels = network.image_shape
  with torch.no_grad():
    network_module(torch.zeros(2, channels, height, width))
  found = []
  for index, (rows, inner, columns) in enumerate(forward):
    found += [(rows, inner, columns), (inner, rows, columns)]
    if index:
      found.append((rows, columns, inner))
  return found


def state_bytes(network: Network) -> int:
  """Returns the least number of bytes that a step moves for the weights.

  Parameter and moments read and written, gradient written and read, mask read.
  """
  moments = 2 if network.optimizer == "adam" else 1
  weights = sum(
    parameter.numel()
    for parameter in module(network).parameters()
    if parameter.dim() > 1
  )
  return weights * (4 * 2 * (2 + moments) + 1)


def _optimizer(network: Network, module: Any) -> Any:
  import torch

  parameters = module.parameters()
  if network.optimizer == "adam":
    return torch.optim.Adam(parameters, network.learning_rate, fused=True)
  return torch.optim.SGD(
    parameters,
    network.learning_rate,
    momentum=0.9,
    weight_decay=network.weight_decay,
    fused=True,
  )


def _dense(sizes):
  from torch import nn

  layers: list[Any] = []
  for fan_in, fan_out in itertools.pairwise(sizes):
    layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
  return layers[:-1]


def _groups(channels, groups, norm):
  """3x3 convolutions in groups, each pooled."""
  from torch import nn

  layers: list[Any] = []
  for width, num in groups:
    for _ in range(num):
      layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
      layers += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
      channels = width
    layers.append(nn.MaxPool2d(2))
  return layers


def _resnet(channels):
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

  layers: list[Any] = [convolution(channels, 16, 3, 1), nn.ReLU()]
  channels = 16
  for stage, width in enumerate((16, 32, 64)):
    for block in range(3):
      stride = 2 if stage and not block else 1
      layers.append(Block(channels, width, stride))
      channels = width
  return nn.Sequential(
    *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
  )
