"""Convolution, pooling and BatchNorm with gradients that are fast on CPU.

XLA's own convolutions are used on GPU and TPU: `jax.lax.platform_dependent`
decides when a program is lowered. All give the same function, on every device.
"""

from lth_jax.models.cpu.convolution import convolve as convolve
from lth_jax.models.cpu.normalization import batch_norm as batch_norm
from lth_jax.models.cpu.normalization import normalize as normalize
from lth_jax.models.cpu.pooling import max_pool as max_pool
