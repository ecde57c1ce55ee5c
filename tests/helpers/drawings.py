"""What panels draw, read from their axes."""

from typing import NamedTuple

from matplotlib import axes as mpl_axes
from matplotlib import colors, figure

from lth_jax.report.figures import canvas


class Shown(NamedTuple):
  """What a figure shows."""

  title: str
  axes: list[mpl_axes.Axes]
  note: str


def keep(monkeypatch):
  """Returns {name: what a figure shows}; its files are empty, which is fast."""
  kept = {}

  def draw_parts(name, title, parts, note):
    kept[name] = Shown(title, list(map(axes_of, parts)), note)
    return canvas.Drawn(name, title, b"", b"", ("<svg/>",) * len(parts))

  monkeypatch.setattr(canvas, "draw_parts", draw_parts)
  return kept


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
