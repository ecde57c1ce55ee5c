"""VGG-19 for CIFAR-10, with BatchNorm and a single dense layer."""

import flax.linen as nn

from lth_jax.models import adapters, cpu, layers

# (output channels, number of convolutions) of each group (figure 2).
_GROUPS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG(nn.Module):
  """Groups of 3x3 convolutions with pooling between, then a dense layer.

  Attributes:
    channels: output channels of each group.
    convolutions: number of convolutions in each group.
    num_classes: width of the output layer.
  """

  channels: tuple[int, ...]
  convolutions: tuple[int, ...]
  num_classes: int

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns logits `[B, num_classes]`; `train` as in `BatchNorm`."""
    x = images
    for group, width in enumerate(self.channels):
      x = cpu.max_pool(x) if group else x
      for _ in range(self.convolutions[group]):
        x = layers.convolution(width, use_bias=False)(x)
        x = layers.BatchNorm(train, relu=True)(x)
    return layers.dense(self.num_classes)(x.mean((1, 2)))


def vgg19(
  image_shape: tuple[int, ...], num_classes: int, *, width: float = 1.0
) -> adapters.Model:
  """Returns VGG-19: 20,024,000 weights on CIFAR-10 (figure 2, I.2).

  5,120 of them are in the output layer, which the paper does not prune (I.2).
  The last group ends in the mean over all pixels, 2x2 on CIFAR-10. Convolutions
  have no bias and are followed by BatchNorm. Kernels are drawn from Glorot's
  normal distribution (figure 2), scales start at one, biases at zero.

  Args:
    image_shape: `(H, W, C)`, H and W at least 16; each pooling halves them,
      rounded down.
    num_classes: number of logits.
    width: factor for the channels.

  Returns:
    The model. Its params are `Conv_0/kernel` to `Conv_15/kernel`
    `[3, 3, C, N]`, `Dense_0/kernel`, `Dense_0/bias`, `BatchNorm_i/scale` and
    `BatchNorm_i/bias`, its stats `BatchNorm_i/mean` and `BatchNorm_i/var`.
    Reset both together: `apply` returns new stats in training.

  Raises:
    ValueError: images smaller than that.

  >>> import jax
  >>> model = vgg19((32, 32, 3), 10)
  >>> params, _ = jax.eval_shape(model.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
  20024000
  """
  smallest = 2 ** (len(_GROUPS) - 1)  # one pooling between two groups
  if min(image_shape[:2]) < smallest:
    raise ValueError(
      f"images of {image_shape[0]} x {image_shape[1]} pixels: VGG-19 halves "
      f"them four times, so both sizes must be {smallest} or more"
    )
  channels, convolutions = zip(*_GROUPS)
  module = VGG(
    channels=layers.scaled(channels, width),
    convolutions=convolutions,
    num_classes=num_classes,
  )
  return adapters.from_linen(module, image_shape, "Dense_0/kernel")
