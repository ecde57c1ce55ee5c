"""Conv-2, Conv-4 and Conv-6, the paper's scaled-down VGG networks."""

import flax.linen as nn

from lth_jax.models import adapters, cpu, layers

# Output channels of the convolutions, two before each pooling (figure 2).
_CHANNELS = {2: (64,), 4: (64, 128), 6: (64, 128, 256)}
_DENSE = (256, 256)


class Conv(nn.Module):
  """3x3 convolutions in pairs, each pair pooled, then dense layers.

  Attributes:
    channels: output channels of each pair.
    dense: widths of the hidden dense layers.
    num_classes: width of the output layer.
    dropout: rate before each dense layer; 0.5 in section 4, else 0.
  """

  channels: tuple[int, ...]
  dense: tuple[int, ...]
  num_classes: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns logits `[B, num_classes]`; dropout is on if `train`."""
    x = images
    for width in self.channels:
      for _ in range(2):
        x = nn.relu(layers.convolution(width)(x))
      x = cpu.max_pool(x)
    x = x.reshape(len(x), -1)
    for width in self.dense:
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
      x = nn.relu(layers.dense(width)(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return layers.dense(self.num_classes)(x)


def conv(
  num_convolutions: int,
  image_shape: tuple[int, ...],
  num_classes: int,
  *,
  width: float = 1.0,
  dropout: float = 0.0,
) -> adapters.Model:
  """Returns Conv-2, -4 or -6: 4.3M, 2.4M or 2.3M weights (figure 2).

  Kernels are drawn from Glorot's normal distribution, biases start at zero.

  Args:
    num_convolutions: 2, 4 or 6.
    image_shape: `(H, W, C)`; each pooling halves H and W, rounded down.
    num_classes: number of logits.
    width: factor for the channels and the dense layers.
    dropout: rate before each dense layer.

  Returns:
    The model, with leaves `Conv_i/kernel` `[3, 3, C, N]`, `Dense_i/kernel`
    `[fan_in, fan_out]` and their biases.

  Raises:
    ValueError: another number of convolutions, or images that are too small
      for the poolings.

  >>> import jax
  >>> model = conv(6, (32, 32, 3), 10)
  >>> params, _ = jax.eval_shape(model.init, jax.random.key(0))
  >>> sum(layer["kernel"].size for layer in params.values())
  2261184
  """
  if num_convolutions not in _CHANNELS:
    raise ValueError(
      f"there is no Conv-{num_convolutions}: choose one of {[*_CHANNELS]}"
    )
  smallest = 2 ** len(_CHANNELS[num_convolutions])
  if min(image_shape[:2]) < smallest:
    raise ValueError(
      f"images of {image_shape[0]} x {image_shape[1]} pixels: "
      f"Conv-{num_convolutions} needs {smallest} or more in both directions"
    )
  module = Conv(
    channels=layers.scaled(_CHANNELS[num_convolutions], width),
    dense=layers.scaled(_DENSE, width),
    num_classes=num_classes,
    dropout=dropout,
  )
  return adapters.from_linen(module, image_shape, f"Dense_{len(_DENSE)}/kernel")
