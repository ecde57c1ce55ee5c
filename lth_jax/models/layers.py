"""The layers of the paper's networks: Glorot normal kernels, zero biases."""

import flax.linen as nn

from lth_jax.models import convolution as convolution_lib


def dense(width: int) -> nn.Dense:
  """Returns a dense layer, `[B, C] -> [B, width]`.

  Args:
    width: number of outputs.

  >>> dense(300).features
  300
  """
  return nn.Dense(width, kernel_init=nn.initializers.glorot_normal())


def convolution(width: int) -> nn.Conv:
  """Returns a 3x3 convolution, `[B, H, W, C] -> [B, H, W, width]`.

  Args:
    width: number of output channels.

  >>> convolution(64).kernel_size
  (3, 3)
  """
  return nn.Conv(
    width,
    (3, 3),
    kernel_init=nn.initializers.glorot_normal(),
    conv_general_dilated=_convolve,
  )


def _convolve(images, kernel, strides, padding, **options):
  del options
  if tuple(strides) != (1, 1) or padding != "SAME":
    raise ValueError(f"strides {strides}, padding {padding!r}: not this layer")
  return convolution_lib.convolve(images, kernel)
