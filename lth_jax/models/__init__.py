"""Networks behind one pair of pure functions, `Model(init, apply)`.

Nothing outside this package imports flax.
"""

from lth_jax.models.adapters import Model as Model
from lth_jax.models.adapters import from_linen as from_linen
from lth_jax.models.adapters import from_nnx as from_nnx
from lth_jax.models.conv import conv as conv
from lth_jax.models.lenet import lenet as lenet
from lth_jax.models.named import MAKERS as MAKERS
from lth_jax.models.named import Maker as Maker
from lth_jax.models.named import Options as Options
from lth_jax.models.named import make as make
from lth_jax.models.named import with_normal_kernels as with_normal_kernels
from lth_jax.models.resnet import resnet20 as resnet20
from lth_jax.models.vgg import vgg19 as vgg19
