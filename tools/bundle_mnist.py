"""Makes lth_jax/data/mnist_10k.xz from the original files of MNIST.

  python tools/bundle_mnist.py FOLDER_OF_THE_ORIGINAL_FILES OUTPUT_FILE

The same originals give the same contents, and with liblzma 5.4 the same file.
"""

import argparse
import hashlib
import lzma
import pathlib

import numpy as np

from lth_jax.data import bundled, idx

SEED = 2019
# Pixels are single bytes, so no position bits; 4 bits of the last pixel are the
# best context that was tried.
_FILTER = {
  "id": lzma.FILTER_LZMA2,
  "preset": 9 | lzma.PRESET_EXTREME,
  "lc": 4,
  "lp": 0,
  "pb": 0,
}


def pick(labels: np.ndarray, num_picked: int) -> np.ndarray:
  """Picks examples at random with the class proportions of the whole.

  Class sizes are rounded by largest remainder. NumPy's `RandomState` is used
  since its stream never changes.

  Args:
    labels: `[N]`, the class of each example.
    num_picked: number of examples to pick, at most N.

  Returns:
    `[num_picked]` indices, ascending.
  """
  shuffled = np.random.RandomState(SEED).permutation(labels.size)
  counts = np.bincount(labels)
  sizes, remainders = np.divmod(counts * num_picked, labels.size)
  largest = np.argsort(-remainders, kind="stable")[: num_picked - sizes.sum()]
  sizes[largest] += 1
  picked = [
    shuffled[labels[shuffled] == label][:size]
    for label, size in enumerate(sizes)
  ]
  return np.sort(np.concatenate(picked))


def main() -> None:
  """Writes the packed subset and prints its checksum and size."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("folder", type=pathlib.Path, help="the four .gz files")
  parser.add_argument("output", type=pathlib.Path, help="file to write")
  args = parser.parse_args()
  original = idx.load("mnist", args.folder)
  contents = b""
  for split, size in (
    (original.train, bundled.NUM_TRAIN),
    (original.test, bundled.NUM_TEST),
  ):
    picked = pick(split.labels, size)
    contents += split.images[picked].tobytes()
    contents += split.labels[picked].astype(np.uint8).tobytes()
  args.output.write_bytes(lzma.compress(contents, filters=[_FILTER]))
  print(f"sha256 of the contents: {hashlib.sha256(contents).hexdigest()}")
  print(f"bytes: {args.output.stat().st_size:,} (of {len(contents):,})")


if __name__ == "__main__":
  main()
