"""What a panel draws, read from its axes."""

from matplotlib import colors, figure


def axes_of(panel):
  axes = figure.Figure().subplots()
  panel(axes)
  return axes


def lines_of(axes):
  """{(colour, dash): line} of the means over replicates."""
  return {
    (colors.to_hex(bars[0].get_color()), bars[0].get_linestyle()): bars[0]
    for bars in axes.containers
    if len(bars[0].get_xdata()) > 0
  }
