"""The networks by their names in flags."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lth_jax.models import adapters, layers
from lth_jax.models.conv import conv
from lth_jax.models.lenet import lenet
from lth_jax.models.resnet import resnet20
from lth_jax.models.vgg import vgg19


class Options(NamedTuple):
  """What flags say about a network; one of your own may ignore it.

  Attributes:
    hidden: widths of LeNet's hidden layers.
    width: factor for every hidden width and number of channels.
    dropout: rate before each dense layer of the Conv networks.
  """

  hidden: Sequence[int] = (300, 100)
  width: float = 1.0
  dropout: float = 0.0


# ((H, W, C), number of classes, options) -> the network. It raises a ValueError
# if the images do not fit it.
Maker = Callable[[tuple[int, ...], int, Options], adapters.Model]


def _conv(depth: int) -> Maker:
  return lambda shape, classes, options: conv(
    depth, shape, classes, width=options.width, dropout=options.dropout
  )


MAKERS: Mapping[str, Maker] = {
  "lenet": lambda shape, classes, options: lenet(
    shape, classes, layers.scaled(options.hidden, options.width)
  ),
  "conv2": _conv(2),
  "conv4": _conv(4),
  "conv6": _conv(6),
  "resnet20": lambda shape, classes, options: resnet20(
    shape, classes, width=options.width
  ),
  "vgg19": lambda shape, classes, options: vgg19(
    shape, classes, width=options.width
  ),
}


def make(
  name: str,
  image_shape: tuple[int, ...],
  num_classes: int,
  *,
  hidden: Sequence[int] = (300, 100),
  width: float = 1.0,
  dropout: float = 0.0,
) -> adapters.Model:
  """Returns a network of the paper.

  Args:
    name: `lenet`, `conv2`, `conv4`, `conv6`, `resnet20` or `vgg19`.
    image_shape: `(H, W, C)`.
    num_classes: number of logits.
    hidden: as in `Options`, like the others.
    width: factor of widths.
    dropout: rate.

  Raises:
    ValueError: there is no such network, or the images do not fit it.

  >>> model = make("lenet", (28, 28, 1), 10, width=0.1)
  >>> params, _ = jax.eval_shape(model.init, jax.random.key(0))
  >>> params["Dense_0"]["kernel"].shape
  (784, 30)
  """
  if name not in MAKERS:
    raise ValueError(f"there is no network '{name}'")
  options = Options(hidden, width, dropout)
  return MAKERS[name](image_shape, num_classes, options)


def with_normal_kernels(model: adapters.Model, std: float) -> adapters.Model:
  """Returns a model with kernels from one normal distribution (appendix G.6).

  Kernels are leaves with two or more axes; all have the standard deviation
  `std` (figure 30).

  >>> model = with_normal_kernels(make("lenet", (28, 28, 1), 10), std=0.5)
  >>> params, _ = model.init(jax.random.key(0))
  >>> bool(abs(params["Dense_0"]["kernel"].std() - 0.5) < 0.01)
  True
  """

  def init(key):
    model_key, kernel_key = jax.random.split(key)
    params, stats = model.init(model_key)
    leaves, structure = jax.tree.flatten(params)
    leaves = [
      std
      * jax.random.normal(jax.random.fold_in(kernel_key, i), x.shape, x.dtype)
      if jnp.ndim(x) >= 2
      else x
      for i, x in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, leaves), stats

  return model._replace(init=init)
