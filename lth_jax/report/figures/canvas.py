"""Figures as files: rows of panels with a title, a legend and a note.

Each figure is two files with all of its panels, and one SVG element a panel,
which a page can stack on a narrow screen.
"""

from __future__ import annotations  # so that matplotlib is loaded late

import io
import itertools
import math
import re
import textwrap
import typing
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax.report.figures import panels

if typing.TYPE_CHECKING:
  from matplotlib import figure as mpl_figure

_STYLE = {
  "axes.axisbelow": True,  # no grid across a histogram
  "axes.edgecolor": "#888888",
  "axes.grid": True,
  "axes.labelcolor": "#222222",
  "axes.labelsize": 10,
  "axes.linewidth": 0.8,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlelocation": "left",
  "axes.titlesize": 11,
  "axes.titleweight": "bold",
  "axes.titley": 1.0,  # where it is anyway, found without measuring all labels
  "font.family": "DejaVu Sans",
  "font.size": 10,
  "grid.color": "#e4e4e4",
  "grid.linewidth": 0.7,
  "legend.frameon": False,
  "legend.fontsize": 9.5,
  "pdf.fonttype": 42,  # embeds fonts whole; many venues refuse type 3
  "svg.fonttype": "path",
  "svg.hashsalt": "lth_jax",
  "text.parse_math": False,  # names are shown as they are
  "xtick.color": "#444444",
  "ytick.color": "#444444",
  "xtick.labelsize": 9,
  "ytick.labelsize": 9,
}


# Most panels in a row; four are two rows of two. All else is in inches, so that
# panels keep their size whatever is around them. At the right there is half of
# an axis's last label.
_COLUMNS = 3
_WIDE, _HIGH, _LEFT, _RIGHT, _BESIDE, _BELOW = 3.5, 2.8, 0.72, 0.28, 0.75, 0.95
# Width of a PDF, in inches: a column of ICML's and of most two-column styles.
_COLUMN = 3.25
# A line of the title and of the legend; an entry of the legend without its
# label, and a letter of the label.
_LINE, _HANDLE, _LETTER = 0.22, 0.55, 0.075
# Letters of the title in a line, for each panel in a row.
_TITLE = 36


class Drawn(NamedTuple):
  """A figure: as two files, and as one SVG a panel for a page.

  Attributes:
    name: stem of its files, such as "figure_4a".
    title: what it shows.
    svg: all panels.
    png: the same, at 160 dots per inch.
    panels: an SVG element for each panel.
    caption: how to read it.
  """

  name: str
  title: str
  svg: bytes
  png: bytes
  panels: tuple[str, ...]
  caption: str = ""


def draw_parts(
  name: str, title: str, parts: Sequence[panels.DrawPanel], note: str
) -> Drawn:
  """Draws panels, three in a row, below a title and above a note.

  Args:
    name: stem of the files.
    title: written above the panels.
    parts: the panels.
    note: written below, "" for none.

  Returns:
    The figure without a caption.
  """
  from matplotlib import style

  # The reader's settings and window system must not change the bytes.
  with style.context(["default", _STYLE]):
    whole = _canvas(parts, title, note)
    elements = tuple(
      _element(_save(_canvas([part]), "svg"), f"{name}-{index}")
      for index, part in enumerate(parts)
    )
    svg, png = (_save(whole, kind) for kind in ("svg", "png"))
  return Drawn(name, title, svg, png, elements)


def draw_pdfs(parts: Sequence[panels.DrawPanel]) -> list[bytes]:
  """Draws each panel as a PDF of a column's width, without title and note."""
  from matplotlib import style

  scale = _COLUMN / (_LEFT + _WIDE + _RIGHT)
  smaller = {
    name: scale * value
    for name, value in _STYLE.items()
    if isinstance(value, float | int) and name.endswith(("size", "s.linewidth"))
  }
  with style.context(["default", _STYLE, smaller]):
    return [_save(_scaled(_canvas([part]), scale), "pdf") for part in parts]


def _scaled(canvas: mpl_figure.Figure, scale: float) -> mpl_figure.Figure:
  """Makes a figure smaller, with what is measured in points and inches."""
  from matplotlib import collections, lines, patches

  width, height = canvas.get_size_inches()
  canvas.set_size_inches(scale * width, scale * height)
  for line in canvas.findobj(lines.Line2D):
    line.set_linewidth(scale * line.get_linewidth())
    line.set_markersize(scale * line.get_markersize())
  for stairs in canvas.findobj(patches.StepPatch):
    stairs.set_linewidth(scale * stairs.get_linewidth())
  for each in canvas.findobj(collections.LineCollection):
    widths = np.atleast_1d(each.get_linewidth())
    each.set_linewidth([scale * float(width) for width in widths])
  return canvas


def _canvas(
  parts: Sequence[panels.DrawPanel], title: str = "", note: str = ""
) -> mpl_figure.Figure:
  """Lays out title, legend, rows of panels and note, from the top."""
  from matplotlib import figure as mpl_figure

  canvas = mpl_figure.Figure()
  columns = 2 if len(parts) == 4 else min(len(parts), _COLUMNS)
  rows = math.ceil(len(parts) / columns)
  legend = _draw_panels(canvas.subplots(rows, columns, squeeze=False), parts)
  title = textwrap.fill(title, _TITLE * columns)
  note = textwrap.fill(note, 60 * columns)
  width = _LEFT + columns * _WIDE + (columns - 1) * _BESIDE + _RIGHT
  per_row = _per_row(legend, width)
  above = 0.18 + _LINE * len(title.splitlines()) if title else 0.06
  head = above + _LINE * math.ceil(len(legend) / per_row) + 0.38
  foot = 0.55 + 0.145 * len(note.splitlines())
  height = head + rows * _HIGH + (rows - 1) * _BELOW + foot
  canvas.set_size_inches(width, height)
  canvas.subplots_adjust(
    _LEFT / width,
    foot / height,
    1 - _RIGHT / width,
    1 - head / height,
    wspace=_BESIDE / _WIDE,
    hspace=_BELOW / _HIGH,
  )
  edge = 0.1 / width
  canvas.text(edge, 1 - 0.1 / height, title, va="top", weight="bold", size=13)
  canvas.text(edge, 0.06 / height, note, va="bottom", size=8.5, color="#555555")
  canvas.legend(
    legend.values(),
    legend.keys(),
    loc="upper left",
    bbox_to_anchor=(edge, 1 - above / height),
    borderaxespad=0,
    ncols=per_row,
    columnspacing=1.2,
    handlelength=2.0,
  )
  return canvas


def _draw_panels(
  grid: np.ndarray, parts: Sequence[panels.DrawPanel]
) -> dict[str, Any]:
  """Draws each panel and returns the legend of all, {label: handle}."""
  legend = {}
  for axes, part in itertools.zip_longest(grid.flatten(), parts):
    if part is None:
      axes.remove()
      continue
    part(axes)
    handles, labels = axes.get_legend_handles_labels()
    legend |= dict(zip(labels, handles))
  return legend


def _per_row(labels: Collection[str], width: float) -> int:
  """How many entries of a legend fit in a row; at least one."""
  each = [_HANDLE + _LETTER * len(label) for label in labels]
  if sum(each) <= width:
    return max(1, len(each))
  return max(1, int(width / max(each)))


def _save(canvas: mpl_figure.Figure, kind: str) -> bytes:
  # Without the date and the software, equal runs give equal bytes.
  unsigned = {
    "svg": ("Date", "Creator"),
    "png": ("Software",),
    "pdf": ("CreationDate", "Creator", "Producer"),
  }[kind]
  out = io.BytesIO()
  canvas.savefig(out, format=kind, dpi=160, metadata=dict.fromkeys(unsigned))
  return out.getvalue()


def _element(svg: bytes, prefix: str) -> str:
  """Cuts the SVG element out of a file, its ids unique in a page."""
  text = svg.decode()
  text = text[text.index("<svg") :]
  text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
  text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
  return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
