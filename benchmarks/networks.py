"""The networks that are timed: as ours, as torch's, and as matrix products."""

from typing import Any, NamedTuple

from lth_jax import models


class Network(NamedTuple):
  """What a benchmark needs to know of a network.

  Attributes:
    image_shape: `(H, W, C)`.
    channels: output channels of the 3x3 convolutions, a pair before each
      pooling; empty for LeNet.
    dense: widths of all dense layers, the output last.
    learning_rate: Adam's, as in the paper (figure 2).
  """

  image_shape: tuple[int, int, int]
  channels: tuple[int, ...]
  dense: tuple[int, ...]
  learning_rate: float


BATCH_SIZE = 60  # figure 2
NETWORKS = {
  "lenet": Network((28, 28, 1), (), (300, 100, 10), 1.2e-3),
  "conv2": Network((32, 32, 3), (64,), (256, 256, 10), 2e-4),
  "conv4": Network((32, 32, 3), (64, 128), (256, 256, 10), 3e-4),
  "conv6": Network((32, 32, 3), (64, 128, 256), (256, 256, 10), 3e-4),
}


def model(network: Network) -> models.Model:
  """Returns the network of lth_jax."""
  if not network.channels:
    return models.lenet(network.image_shape, 10, network.dense[:-1])
  return models.conv(2 * len(network.channels), network.image_shape, 10)


def torch_module(network: Network) -> Any:
  """Returns the same network in torch, channels last."""
  from torch import nn

  height, width, last = network.image_shape
  layers: list[Any] = []
  for channels in network.channels:
    for _ in range(2):
      layers += [nn.Conv2d(last, channels, 3, padding=1), nn.ReLU()]
      last = channels
    layers.append(nn.MaxPool2d(2))
    height, width = height // 2, width // 2
  layers.append(nn.Flatten())
  last *= height * width
  for features in network.dense:
    layers += [nn.Linear(last, features), nn.ReLU()]
    last = features
  return nn.Sequential(*layers[:-1])


def products(network: Network) -> list[tuple[int, int, int]]:
  """Returns (M, K, N) of every matrix product of one training step.

  Forward, the gradient of the weights and, behind the first layer, that of
  the layer's input; a convolution is the product of its patches.
  """
  height, width, last = network.image_shape
  forward = []
  for channels in network.channels:
    for _ in range(2):
      pixels = BATCH_SIZE * height * width
      forward.append((pixels, 9 * last, channels))
      last = channels
    height, width = height // 2, width // 2
  last *= height * width
  for features in network.dense:
    forward.append((BATCH_SIZE, last, features))
    last = features
  found = []
  for index, (rows, inner, columns) in enumerate(forward):
    found += [(rows, inner, columns), (inner, rows, columns)]
    if index:
      found.append((rows, columns, inner))
  return found


def num_weights(network: Network) -> int:
  """Returns the number of weights of all kernels."""
  height, width, last = network.image_shape
  total = 0
  for channels in network.channels:
    for _ in range(2):
      total += 9 * last * channels
      last = channels
    height, width = height // 2, width // 2
  last *= height * width
  for features in network.dense:
    total += last * features
    last = features
  return total
