"""Files of code that settings name as MODULE:NAME, as inputs of rules."""

import importlib.util
import sys
import sysconfig
from pathlib import Path

# A new version of a package reruns nothing, as no version of any other package does.
_INSTALLED = tuple(Path(sysconfig.get_path(key)) for key in ("stdlib", "purelib", "platlib"))


def own_files(*settings: str) -> list[str]:
    """Return the files of the user's modules among `settings`, found without running them.

    A change of such a file reruns the rule. Modules of installed packages, and those that cannot
    be found, are left out: the command of the rule reports the latter.
    """
    found = (_file_of(value.partition(":")[0]) for value in settings if ":" in value)
    return [_from_here(file) for file in found if file is not None]


def _file_of(module: str) -> Path | None:
    here = str(Path.cwd())
    if here not in sys.path:  # as the commands of the rules import it
        sys.path.insert(0, here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    file = Path(spec.origin)
    return None if any(file.is_relative_to(folder) for folder in _INSTALLED) else file


def _from_here(file: Path) -> str:
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
