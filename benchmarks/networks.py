"""The networks that benchmarks train, with the values of figure 2."""

from typing import NamedTuple

from lth_jax import models


class Network(NamedTuple):
  """A network and how it is trained.

  Attributes:
    name: as `models.make` knows it.
    image_shape: `(H, W, C)`.
    batch_size: images a step.
    optimizer: as `optim.create` knows it.
    learning_rate: of that optimizer.
    weight_decay: as `optim.create` takes it.
  """

  name: str
  image_shape: tuple[int, int, int]
  batch_size: int = 60
  optimizer: str = "adam"
  learning_rate: float = 3e-4
  weight_decay: float = 0.0


_CIFAR = (32, 32, 3)
NETWORKS = {
  network.name: network
  for network in (
    Network("lenet", (28, 28, 1), learning_rate=1.2e-3),
    Network("conv2", _CIFAR, learning_rate=2e-4),
    Network("conv4", _CIFAR),
    Network("conv6", _CIFAR),
    Network("resnet20", _CIFAR, 128, "momentum", 0.1, 1e-4),
    Network("vgg19", _CIFAR, 64, "momentum", 0.1, 1e-4),
  )
}


def model(network: Network) -> models.Model:
  """Returns the network of lth_jax."""
  return models.make(network.name, network.image_shape, 10)
