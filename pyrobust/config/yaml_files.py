"""YAML files that users write: configurations and profiles."""

from pathlib import Path
from typing import Any

from pyrobust.errors import UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty one where the file is empty.

    Raises:
        UserError: the file cannot be read, is not a mapping, or gives a key twice, of which YAML's
            own reader silently keeps the last.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _refuse_repeated_keys(path, node, yaml)
        found = loader.construct_document(node) if node else {}
    except FileNotFoundError as error:
        raise UserError(
            f"cannot read {path}: there is no such file; work in the folder that contains config/, "
            "or name another file with --config"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a mapping of keys to values")
    return found


def _refuse_repeated_keys(path: Path, root: Any, yaml: Any) -> None:
    """Look at the nodes before merge keys (<<) add those that a mapping may override."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            waiting.append(value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise UserError(
                    f"{path} gives '{key.value}' twice, in lines {lines[name]} and {line}: "
                    "remove one"
                )
            lines[name] = line
