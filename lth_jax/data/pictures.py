"""Images in folders by class: `train/<class>/*` and `test/<class>/*`.

Labels follow the sorted names of the classes. Examples go round the classes:
the first image of each class, then the second of each, so that the first ones
of a set (`--num_train`) are of all classes. Images of formats with loss, such
as JPEG, may differ in last bits between versions of Pillow's decoders.
"""

import io

import numpy as np

from lth_jax import errors
from lth_jax.data import dataset

# Folders of the two parts.
_PARTS = {"train": "train", "training": "train"}
_PARTS |= {"test": "test", "testing": "test"}
_CHANNELS = {"L": 1, "RGB": 3}  # modes of Pillow
# Of others Pillow runs programs: Ghostscript for EPS.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")

# {(part, 'images' or 'labels'): (where it is from, array)}
Arrays = dict[tuple[str, str], tuple[str, np.ndarray]]


def read(place: dataset.Place) -> tuple[Arrays, tuple[str, ...]]:
  """Returns the images and labels of a folder, and the names of the classes.

  >>> import pathlib, tempfile
  >>> import PIL.Image
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   for name in ('train/cat', 'train/dog', 'test/dog'):
  ...     place = pathlib.Path(folder, name)
  ...     place.mkdir(parents=True)
  ...     PIL.Image.new('L', (8, 8)).save(place / '1.png')
  ...   arrays, classes = read(pathlib.Path(folder))
  >>> classes, arrays['train', 'images'][1].shape, arrays['test', 'labels']
  (('cat', 'dog'), (2, 8, 8, 1), ('test', array([1])))

  Raises:
    errors.InputError: a part is missing; a file is no image, or of another size
      or kind than the first; a class has no training image; or Pillow is not
      installed.
  """
  found = _by_class(place)
  for part, others in found.items():
    if not others:
      raise errors.InputError(
        f"{place} has no images in {part}/CLASS/; needed are train/CLASS/IMAGE "
        "and test/CLASS/IMAGE. For a missing test, move a sixth of the images "
        "there, at random."
      )
  classes = tuple(sorted(found["train"]))
  if other := sorted(found["test"].keys() - found["train"].keys()):
    raise errors.InputError(
      f"{place} has test images of class '{other[0]}' and no training images "
      "of it; add some, or remove the class."
    )
  arrays, kind = {}, None
  for part, by_class in found.items():
    turns = sorted(
      (turn, classes.index(label), path)
      for label, paths in by_class.items()
      for turn, path in enumerate(paths)
    )
    images, kind = _images([path for _, _, path in turns], kind)
    labels = np.array([number for _, number, _ in turns])
    arrays |= {
      (part, "images"): (part, images),
      (part, "labels"): (part, labels),
    }
  return arrays, classes


def _by_class(place):
  """Returns {part: {class: paths}}."""
  found = {"train": {}, "test": {}}
  for name, path in dataset.walk(place):
    *parents, label, _ = "", "", *name.split("/")
    part = _PARTS.get(parents[-1].lower())
    if part:
      found[part].setdefault(label, []).append(path)
    elif any(x.lower() in _PARTS for x in (*parents, label)):
      raise errors.InputError(
        f"{path} lies neither in train/CLASS/ nor in test/CLASS/; move it "
        "there, or remove it."
      )
  return found


def _images(paths, kind):
  """Returns images `[N, H, W, C]` and their kind; all must be of `kind`."""
  images = None
  for i, path in enumerate(paths):
    mode, pixels = _decode(path, kind)
    if images is None:
      kind = mode, pixels.shape
      shape = *pixels.shape[:2], _CHANNELS[mode]
      images = np.empty((len(paths), *shape), np.uint8)
    images[i] = pixels.reshape(images.shape[1:])
  return images, kind


def _decode(path, kind):
  """Returns the mode and the pixels of an image file."""
  contents = dataset.read(path)
  try:
    import PIL.Image
  except ImportError as error:
    raise errors.InputError(
      f"Reading {path} needs Pillow ({error}): `pip install pillow`."
    ) from error
  try:
    with PIL.Image.open(io.BytesIO(contents), formats=_FORMATS) as image:
      mode, (width, height) = image.mode, image.size
      fits = kind is None or (mode, (height, width)) == (kind[0], kind[1][:2])
      pixels = np.asarray(image) if fits and mode in _CHANNELS else None
  except Exception as error:  # decoders raise many types
    raise errors.InputError(
      f"{path} is no image of {', '.join(_FORMATS)}, or damaged "
      f"({errors.first_line(error)}); remove or replace it."
    ) from error
  if mode not in _CHANNELS:
    raise errors.InputError(
      f"{path} is of mode {mode}; convert all images to 8-bit gray ('L') or "
      "'RGB', as by PIL.Image.open(file).convert('RGB')."
    )
  if pixels is None:
    raise errors.InputError(
      f"{path} is {width}x{height} in {mode}, and the first image is "
      f"{kind[1][1]}x{kind[1][0]} in {kind[0]}; bring all to one size and mode."
    )
  return mode, pixels
