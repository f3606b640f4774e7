"""Finding and importing the app."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from typing import Final

DEMO: Final = "charmer.demo"


@dataclass(frozen=True)
class App:
    """The app to serve: the name of its module, and its file if it was given as one, else an empty string."""

    __slots__ = ("module", "path")

    module: str
    path: str


def find_app(named: str) -> App:
    """Work out what to import.

    Args:
        named: Path of a file (it ends in .py or has a slash) or dotted name of a module; empty means the demo.
    """
    if not (named.endswith(".py") or "/" in named):
        return App(module=named or DEMO, path="")
    path = os.path.abspath(named)
    stem = re.sub(r"\W", "_", os.path.splitext(os.path.basename(path))[0])
    return App(module=f"charmer_app_{stem}" if stem in sys.modules else stem, path=path)


def import_app(app: App) -> None:
    """Import the app under its module name, with its directory, or the current one for a module, first on sys.path.

    Raises:
        BaseException: Whatever the import raises.
    """
    sys.argv = [app.path or app.module]
    if not app.path:
        sys.path.insert(0, os.getcwd())
        importlib.import_module(app.module)
        return
    sys.path.insert(0, os.path.dirname(app.path))
    loader = importlib.machinery.SourceFileLoader(app.module, app.path)
    spec = importlib.util.spec_from_file_location(app.module, app.path, loader=loader)
    if spec is None:
        raise ImportError(f"{app.path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[app.module] = module  # pickle and multiprocessing look it up there
    loader.exec_module(module)
