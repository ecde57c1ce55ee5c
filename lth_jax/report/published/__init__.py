"""The published claims, as data.

Values are those of Frankle & Carbin (2019). The bands are ours, written down
before any run and never tuned to one; a claim without a number has the band
"more than nothing".
"""

from lth_jax.report.published import conv, lenet, residual, tickets
from lth_jax.report.published.claim import Claim as Claim
from lth_jax.report.published.claim import applies as applies

# Those that one run can decide.
CLAIMS = lenet.CLAIMS + tickets.CLAIMS + conv.CLAIMS + residual.CLAIMS
