"""LeNet-300-100, the fully connected network of LeCun et al. (1998)."""

from collections.abc import Sequence

import flax.linen as nn

from lth_jax.models import adapters, layers


class LeNet(nn.Module):
  """Dense layers with ReLU between, `[B, H, W, C] -> [B, num_classes]`.

  Attributes:
    hidden: widths of the hidden layers.
    num_classes: width of the output layer.
  """

  hidden: Sequence[int] = (300, 100)
  num_classes: int = 10

  @nn.compact
  def __call__(self, images, train: bool = False):
    """Returns logits; `train` changes nothing, there is no dropout."""
    del train
    x = images.reshape(images.shape[0], -1)
    for width in self.hidden:
      x = nn.relu(layers.dense(width)(x))
    return layers.dense(self.num_classes)(x)


def lenet(
  image_shape: tuple[int, ...],
  num_classes: int,
  hidden: Sequence[int] = (300, 100),
) -> adapters.Model:
  """Returns LeNet-300-100: 266,200 weights on 28x28 images (figure 2).

  Kernels are drawn from Glorot's normal distribution, biases start at zero
  (section 2). JAX's `glorot_normal` is cut at two standard deviations and
  scaled to the variance 2 / (fan_in + fan_out); the authors' "Gaussian Glorot"
  in TensorFlow 1 had the same variance.

  Args:
    image_shape: `(H, W, C)`.
    num_classes: number of logits.
    hidden: widths of the hidden layers.

  Returns:
    The model, with leaves `Dense_i/kernel` `[fan_in, fan_out]` and
    `Dense_i/bias` `[fan_out]`.

  >>> import jax
  >>> model = lenet((28, 28, 1), 10)
  >>> params, _ = jax.eval_shape(model.init, jax.random.key(0))
  >>> sum(layer["kernel"].size for layer in params.values())
  266200
  """
  module = LeNet(hidden=tuple(hidden), num_classes=num_classes)
  return adapters.from_linen(module, image_shape, f"Dense_{len(hidden)}/kernel")
