"""YAML of strangers, as a tree of plain text: no tags, no aliases, bounded in size and depth, nothing constructed.

Every scalar stays the text that was written, so that `names: [yes, no, 01]` are the classes yes, no and 01.
"""

from typing import Any

import yaml

from app.errors import Invalid

MAX_BYTES = 2**19
MAX_NODES = 100_000
MAX_DEPTH = 8
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULLS = ("", "~", "null", "Null", "NULL")


def parse(text: str) -> yaml.Node | None:
    """The only document of `text`; None of an empty one. `Invalid` says what is wrong and on which line."""
    try:
        _check(text)
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise Invalid(f"is not readable YAML: {' '.join(str(error).split())}") from error
    return node


def _check(text: str) -> None:
    """Refuse by the stream of events, before there is a tree: what is an alias, a tag, too much or too deep."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise Invalid(f"has an alias, *{event.anchor}, on line {line}; write the value out")
        if (tag := getattr(event, "tag", None)) is not None:
            raise Invalid(f"has a tag, {tag[:60]}, on line {line}; write plain values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or number > MAX_NODES:
            raise Invalid(f"is nested deeper than {MAX_DEPTH} or has more than {MAX_NODES} values, on line {line}")


def entries(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    """Keys and values of a mapping, repeated keys included; keys that are no scalars are left out."""
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(str(key.value), value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def items(node: yaml.Node | None) -> list[yaml.Node]:
    """The values of a sequence."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def scalar(node: yaml.Node | None) -> str | None:
    """The text of a scalar; None of anything else, and of a null."""
    if not isinstance(node, yaml.ScalarNode) or (not node.style and node.value in _NULLS):
        return None
    return str(node.value)


def line_of(node: yaml.Node | None) -> int | None:
    return None if node is None else int(node.start_mark.line) + 1


def shown(node: yaml.Node | None) -> str:
    """A value for a message; of a structure its kind alone."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
