"""Every public name says what it is, and every function shows it."""

import ast
import pathlib

import lth_jax

_PACKAGE = pathlib.Path(lth_jax.__file__).parent

# Runnable examples belong to what a stranger reads: the library (the modules at
# the top) and the science. Effects have prose and tests.
_WITH_EXAMPLES = ("models", "data", "training", "lottery", "analysis")
# Functions of these without an example, and why.
EXEMPT = {
  "data.prepare.download": "needs a network",
  "data.prepare.main": "a process",
  "data.prepare.run_builder": "needs a network and an optional package",
  "data.sheets.read": "needs files that are not in the package",
  "data.tfds.import_library": "an optional package",
  "data.tfds.load": "needs a prepared data set and an optional package",
  "report.drawings": "needs the folder of a run",
  "report.write": "needs the folder of a run",
  "report.write_pdfs": "needs the folder of a run",
}


def _definitions():
  """{dotted name: (node, docstring)} of what is public in public modules."""
  found = {}
  for path in sorted(_PACKAGE.rglob("*.py")):
    parts = path.relative_to(_PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__":
      parts = parts[:-1]
    if any(part.startswith("_") for part in parts):
      continue
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
      if _is_public(node):
        docstring = ast.get_docstring(node) or ""
        found[".".join([*parts, node.name])] = node, docstring
  return found


def _is_public(node):
  kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
  return (
    isinstance(node, kinds)
    and not node.name.startswith("_")
    and not any(
      ast.unparse(decorator).split(".")[-1] == "overload"
      for decorator in node.decorator_list
    )
  )


def _functions():
  """{dotted name: whether its docstring has an example}."""
  return {
    name: ">>>" in docstring
    for name, (node, docstring) in _definitions().items()
    if not isinstance(node, ast.ClassDef)
    and (name.count(".") == 1 or name.startswith(_WITH_EXAMPLES))
  }


def test_every_public_function_and_class_has_a_docstring():
  found = _definitions()
  assert {"lottery.rounds.rounds", "report.write", "masks.full"} <= set(found)
  assert [name for name, (_, text) in found.items() if not text] == []


def test_every_function_of_the_library_and_the_science_has_an_example():
  lack = {name for name, shown in _functions().items() if not shown}
  assert sorted(lack - set(EXEMPT)) == []


def test_exemptions_are_of_functions_that_exist_and_lack_an_example():
  functions = _functions()
  assert [name for name in EXEMPT if functions.get(name, True)] == []
