"""The published claims as data, and what runs say about them.

`table.csv` has one claim a line, with the estimator that computes our number;
`verdicts` says when a claim holds.
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
from lth_jax.report.claims.verdicts import Result as Result
from lth_jax.report.claims.verdicts import judge as judge
from lth_jax.report.claims.verdicts import measure as measure


def evaluate(run: records.Run) -> tuple[Result, ...]:
  """Judges every published claim about runs like this one.

  Args:
    run: the run.

  >>> from lth_jax.report import example
  >>> found = evaluate(example.run(ticket=[(500, 98.0)]))
  >>> found[0].verdict, found[0].note
  ('not measured', 'the run has no such data')
  """
  return tuple(
    judge(claim, measure(claim, run))
    for claim in CLAIMS
    if applies(claim, run.config)
  )
