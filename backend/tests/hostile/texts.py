"""Hostile YAML, label files and tables, as generators."""

from collections.abc import Iterator

NAMES = "names: [cat, dog]\n"


def alias_bomb(levels: int = 60) -> str:
    """Nine to the power of `levels` values, if anybody follows the aliases."""
    steps = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))
    return f"a0: &a0 [x]\n{steps}\nnames: *a{levels - 1}\n"


def merge_bomb(levels: int = 60) -> str:
    """The same by merge keys, which loaders follow on their own."""
    steps = "\n".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))
    return f"a0: &a0 {{k: v}}\n{steps}\n{NAMES}"


def self_reference() -> str:
    return "names: &a [*a]\n"


def tags() -> Iterator[str]:
    """What PyYAML's other loaders would run, read or make an object of."""
    yield "names: !!python/object/apply:os.system ['touch owned']\n"
    yield "names: !!python/name:os.system\n"
    yield "names: !!python/object/new:subprocess.Popen [[touch, owned]]\n"
    yield "names: !!python/tuple [cat, dog]\n"
    yield "names: !!binary aGVsbG8=\n"
    yield "names: !include /etc/passwd\n"
    yield "!!python/object:app.settings.Settings {names: [cat]}\n"
    yield "%TAG ! tag:yaml.org,2002:\n---\nnames: !str cat\n"


def deep(levels: int = 100_000) -> str:
    return f"names: {'[' * levels}"


def deep_blocks(levels: int = 700) -> str:
    return "".join(f"{' ' * level}a:\n" for level in range(levels)) + NAMES


def wide(values: int = 170_000) -> str:
    return f"{NAMES}extra: [{'[],' * values}]"


def many_keys(keys: int = 60_000) -> str:
    return NAMES + "".join(f"{number}: a\n" for number in range(keys))


def long_scalar(length: int = 500_000) -> str:
    return f"names: [{'x' * length}]\n"


def huge_numbers() -> str:
    """Of thousands of digits, and of base sixty, which YAML 1.1 has."""
    return f"names: [cat]\nnc: {'9' * 100_000}\nother: {'1:' * 100_000}1\nkpt_shape: [{'7' * 5000}, 3]\n"


def one_line(size: int) -> bytes:
    """Numbers without end, on one line."""
    return b"0 " + b"0.5 " * (size // 4)


def lines(count: int) -> bytes:
    return b"x\n" * count
