"""YAML files of the user, read as icp-cli reads them: YAML 1.2, and no key twice.

PyYAML follows YAML 1.1, where `no` is false, `1:30` a number and `<<` an instruction; only its
parser is used here, and plain words are given their meaning below.
"""

import re
from pathlib import Path
from typing import Final

import yaml

from dfx_backup.errors import ProjectError
from dfx_backup.project.document import Node, printable, read_text

_TAG: Final = "tag:yaml.org,2002:"
_STR, _NULL, _BOOL, _INT = (_TAG + name for name in ("str", "null", "bool", "int"))
_MAX_DIGITS: Final = 40


class _Loader(yaml.SafeLoader):
    """Composes nodes and resolves plain words by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: Final = {}  # type: ignore[misc] # PyYAML's own are those of YAML 1.1


_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    _INT, re.compile(rf"[-+]?[0-9]{{1,{_MAX_DIGITS}}}$"), list("-+0123456789")
)


def read_yaml(file: Path) -> Node | None:
    """Read a YAML file whose top is an object; None when there is no such file.

    An empty file is an empty object.

    Raises:
        ProjectError: it can't be read, is no YAML, or its top is no object.
    """
    text = read_text(file)
    if text is None:
        return None
    try:
        value = _Values(file).of(yaml.compose(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = printable(error.problem or "it can't be parsed")
        raise ProjectError(f"{file} is not valid YAML: {reason}{at}") from None
    except yaml.YAMLError:
        raise ProjectError(f"{file} is not valid YAML: it holds a character not allowed") from None
    except (ValueError, OverflowError, RecursionError):
        raise ProjectError(f"{file} is not valid YAML: a value is too large or too deep") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ProjectError(f"{file} must be an object with keys, not a list or a single value")
    return Node(file=file, path=(), value=value)


class _Values:
    """Turns composed nodes into values; what an alias repeats is made once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made: dict[int, object] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node | None) -> object:
        if node is None:
            return None
        known = id(node)
        if known in self._open:
            raise self._error(node, "an alias stands inside of what it repeats")
        if known not in self._made:
            self._open.add(known)
            self._made[known] = self._make(node)
            self._open.remove(known)
        return self._made[known]

    def _make(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.of(each) for each in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._error(node, f"the tag {node.tag!r} is not understood")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        made: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.of(key_node)
            if not isinstance(key, str):
                raise self._error(key_node, "a key must be text")
            if key in made:
                raise self._error(key_node, f"the key {key!r} stands twice")
            made[key] = self.of(value_node)
        return made

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text: str = node.value
        if node.tag == _STR:
            return text
        if node.tag == _NULL and text in ("", "~", "null", "Null", "NULL"):
            return None
        if node.tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if node.tag == _INT and re.fullmatch(rf"[-+]?[0-9]{{1,{_MAX_DIGITS}}}", text):
            return int(text)
        raise self._error(node, f"{text[:40]!r} does not go with its tag {node.tag!r}")

    def _error(self, node: yaml.Node, reason: str) -> ProjectError:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        return ProjectError(
            f"{self._file} can't be used: {printable(reason)} at line {line}, column {column}"
        )
