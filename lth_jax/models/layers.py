"""The layers of the paper's networks: Glorot normal kernels, zero biases."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from lth_jax.models import cpu


def dense(width: int) -> nn.Dense:
  """Returns a dense layer, `[B, C] -> [B, width]`.

  >>> dense(300).features
  300
  """
  return nn.Dense(width, kernel_init=nn.initializers.glorot_normal())


def convolution(
  width: int,
  kernel_size: int = 3,
  strides: int = 1,
  *,
  use_bias: bool = True,
  name: str | None = None,
) -> nn.Conv:
  """Returns a convolution, `[B, H, W, C] -> [B, H', W', width]`.

  H' is `ceil(H / strides)`. Windows lie around the pixels 0, strides,
  2 strides, ..., with zeros outside the image: PyTorch's `padding=1` for a 3x3
  kernel. XLA's `SAME` pads an even size by 0 and 1 at stride 2, which moves the
  windows off the pixels that a 1x1 shortcut of stride 2 takes.

  Args:
    width: number of output channels.
    kernel_size: height and width of the kernel, odd.
    strides: pixels from one window to the next.
    use_bias: False before a `BatchNorm`, which would cancel the bias.
    name: name in the tree of params; by default `Conv_i`.

  >>> convolution(64).kernel_size
  (3, 3)
  """
  return nn.Conv(
    width,
    (kernel_size, kernel_size),
    (strides, strides),
    padding=kernel_size // 2,
    use_bias=use_bias,
    kernel_init=nn.initializers.glorot_normal(),
    conv_general_dilated=_convolve,
    name=name,
  )


class BatchNorm(nn.Module):
  """A BatchNorm of the last axis with a scale and a bias.

  The paper states neither momentum nor epsilon. Momentum is 0.9: running
  statistics start at 0 and 1 in each round, and `0.9**steps` of that start is
  left. After 100 steps that is 3e-5; at 0.99 it would be 37%, so evaluations of
  short runs and early steps would not measure the network that was trained.
  Epsilon is 1e-5, the default of Flax and PyTorch.

  Attributes:
    train: True normalises by the batch and updates the running statistics,
      False normalises by these.
    relu: whether a ReLU follows; both have one gradient, in fewer passes.
    momentum: share of the running statistics that stays in a step.

  >>> BatchNorm(train=True).momentum
  0.9
  """

  train: bool
  relu: bool = False
  momentum: float = 0.9

  @nn.compact
  def __call__(self, images):
    """Returns `[B, H, W, C]`, as the images are."""
    shape = images.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    var = self.variable("batch_stats", "var", jnp.ones, shape)
    if not self.train:
      return cpu.normalize(
        images, mean.value, var.value, scale, bias, self.relu
      )
    images, *found = cpu.batch_norm(images, scale, bias, self.relu)
    if not self.is_initializing():
      for running, new in zip((mean, var), found):
        running.value = (
          self.momentum * running.value + (1 - self.momentum) * new
        )
    return images


def scaled(widths: Sequence[int], factor: float) -> tuple[int, ...]:
  """Returns widths times a factor, rounded, each at least 1.

  >>> scaled((16, 32, 64), 0.25)
  (4, 8, 16)
  """
  return tuple(max(1, round(factor * width)) for width in widths)


def _convolve(images, kernel, strides, padding, **options):
  del padding, options  # `convolution` sets what `cpu.convolve` assumes
  return cpu.convolve(images, kernel, strides)
