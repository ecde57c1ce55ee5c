"""The published claims that compare runs of the catalog, as data.

Values are those of Frankle & Carbin (2019), sections 2 to 5, appendices B and F
to I. The bands are ours, written down before any of these runs.
"""

from experiments.claims import conv, lenet, residual
from experiments.claims.across import Across as Across

CLAIMS: tuple[Across, ...] = lenet.CLAIMS + conv.CLAIMS + residual.CLAIMS
