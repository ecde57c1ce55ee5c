"""One training as pure, compiled functions of (start, data, keys).

`state` has the types, `loop` the compiled segments; `evaluation` and
`schedules` serve each step; `sharding` splits a batch over devices.
"""

from lth_jax.training.loop import make as make
from lth_jax.training.loop import make_step as make_step
from lth_jax.training.loop import plan as plan
from lth_jax.training.state import Augment as Augment
from lth_jax.training.state import Best as Best
from lth_jax.training.state import Data as Data
from lth_jax.training.state import History as History
from lth_jax.training.state import Inputs as Inputs
from lth_jax.training.state import Plan as Plan
from lth_jax.training.state import Progress as Progress
from lth_jax.training.state import Split as Split
from lth_jax.training.state import Start as Start
from lth_jax.training.state import Step as Step
from lth_jax.training.state import Summary as Summary
from lth_jax.training.state import Trainer as Trainer
from lth_jax.training.state import TrainState as TrainState
