"""ResNet-20 for CIFAR-10, which the paper calls Resnet-18."""

import flax.linen as nn

from lth_jax.models import adapters, layers

# Output channels of the stages, and blocks in each (figure 2).
_CHANNELS = (16, 32, 64)
_BLOCKS = 3


class Block(nn.Module):
  """Two 3x3 convolutions, and a shortcut that is added to their output.

  Attributes:
    width: output channels.
    strides: of the first convolution and of the shortcut.
  """

  width: int
  strides: int = 1

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns `[B, ceil(H / strides), ceil(W / strides), width]`."""
    x = layers.convolution(self.width, strides=self.strides, use_bias=False)(
      images
    )
    x = layers.BatchNorm(train, relu=True)(x)
    x = layers.convolution(self.width, use_bias=False)(x)
    x = layers.BatchNorm(train)(x)
    if images.shape != x.shape:
      images = layers.convolution(
        self.width, 1, self.strides, use_bias=False, name="shortcut"
      )(images)
      images = layers.BatchNorm(train, name="shortcut_norm")(images)
    return nn.relu(images + x)


class ResNet(nn.Module):
  """A 3x3 convolution, stages of blocks, the mean of all pixels, an output.

  Attributes:
    channels: output channels of each stage; all but the first start with
      stride 2.
    blocks: number of blocks in a stage.
    num_classes: width of the output layer.
  """

  channels: tuple[int, ...]
  blocks: int
  num_classes: int

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns logits `[B, num_classes]`; `train` as in `BatchNorm`."""
    x = layers.convolution(self.channels[0], use_bias=False)(images)
    x = layers.BatchNorm(train, relu=True)(x)
    for stage, width in enumerate(self.channels):
      for block in range(self.blocks):
        strides = 2 if stage > 0 and block == 0 else 1
        x = Block(width, strides)(x, train)
    return layers.dense(self.num_classes)(x.mean((1, 2)))


def resnet20(
  image_shape: tuple[int, ...], num_classes: int, *, width: float = 1.0
) -> adapters.Model:
  """Returns ResNet-20, the paper's "Resnet-18" (figure 2, I.3).

  It has 270,896 weights: 267,696 in 3x3 convolutions, 2,560 in the 1x1
  convolutions of the two shortcuts at which the shape changes, 640 in the
  output layer; the paper prunes only the first (I.3). Convolutions have no bias
  and are followed by BatchNorm. Kernels are drawn from Glorot's normal
  distribution (figure 2), scales start at one, biases at zero.

  Args:
    image_shape: `(H, W, C)`, of any size.
    num_classes: number of logits.
    width: factor for the channels.

  Returns:
    The model. Its params are `Conv_0/kernel` `[3, 3, C, 16]`; `Conv_0/kernel`
    and `Conv_1/kernel` in `Block_0` to `Block_8`; `shortcut/kernel`
    `[1, 1, C, N]` in `Block_3` and `Block_6`; `Dense_0/kernel` and
    `Dense_0/bias`; `scale` and `bias` of each BatchNorm. Its stats are `mean`
    and `var` of each BatchNorm. Reset both together: `apply` returns new stats
    in training.

  >>> import jax
  >>> model = resnet20((32, 32, 3), 10)
  >>> params, _ = jax.eval_shape(model.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
  270896
  """
  module = ResNet(
    channels=layers.scaled(_CHANNELS, width),
    blocks=_BLOCKS,
    num_classes=num_classes,
  )
  return adapters.from_linen(module, image_shape, "Dense_0/kernel")
