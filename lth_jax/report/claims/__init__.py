"""The published claims as data, and the verdicts of runs on them.

`table.csv` has one claim a line, with the estimator that computes our number;
`verdicts` tells when a claim holds.
"""

from lth_jax.report import records
from lth_jax.report.claims.table import BY_CHANCE as BY_CHANCE
from lth_jax.report.claims.table import CLAIMS as CLAIMS
from lth_jax.report.claims.table import Claim as Claim
from lth_jax.report.claims.table import applies as applies
from lth_jax.report.claims.table import is_comparative as is_comparative
from lth_jax.report.claims.table import registered as registered
from lth_jax.report.claims.table import timestamp as timestamp
from lth_jax.report.claims.verdicts import VERDICTS as VERDICTS
from lth_jax.report.claims.verdicts import Judgment as Judgment
from lth_jax.report.claims.verdicts import judge as judge
from lth_jax.report.claims.verdicts import measure as measure
from lth_jax.report.claims.verdicts import untrained as untrained


def evaluate(run: records.Run) -> tuple[Judgment, ...]:
  """Judges every published claim about runs like this one."""
  return tuple(
    judge(claim, measure(claim, run))
    for claim in CLAIMS
    if applies(claim, run.config)
  )
