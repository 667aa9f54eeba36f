"""XML files made to read what they should not, to grow without end, or to be what no parser expects."""

from collections.abc import Iterator

ONE = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


def annotation(inside: str = ONE) -> str:
    return f"<annotation>{inside}</annotation>"


def billion_laughs() -> str:
    entities = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f"<!DOCTYPE annotation [{entities}]>{annotation('<filename>&l9;</filename>')}"


def quadratic() -> str:
    return f'<!DOCTYPE annotation [<!ENTITY a "{"x" * 50_000}">]>{annotation("&a;" * 5_000)}'


def external_entity(path: str) -> str:
    return f'<!DOCTYPE annotation [<!ENTITY f SYSTEM "file://{path}">]>{annotation("<filename>&f;</filename>" + ONE)}'


def parameter_entity() -> str:
    return f'<!DOCTYPE annotation [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p.dtd"> %p;]>{annotation()}'


def external_dtd() -> str:
    return f'<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/voc.dtd">{annotation()}'


def refused() -> Iterator[tuple[str, str | bytes]]:
    """A name for each, and the bytes."""
    yield "billion laughs", billion_laughs()
    yield "quadratic", quadratic()
    yield "external entity", external_entity("/etc/passwd")
    yield "parameter entity", parameter_entity()
    yield "external dtd", external_dtd()
    yield "deep", "<a>" * 100_000 + "</a>" * 100_000
    yield "truncated", annotation()[:-10]
    yield "two roots", annotation() * 2
    yield "empty", ""
    yield "no utf-8", annotation("<filename>\udcff</filename>").encode("utf-8", "surrogateescape")
    yield "unknown encoding", f"<?xml version='1.0' encoding='klingon'?>{annotation()}"
    yield "encoding of several bytes", f"<?xml version='1.0' encoding='utf-7'?>{annotation()}"
    yield "NUL", b"<annotation>\0</annotation>"
    yield "too long", annotation("<filename>" + "x" * 17_000_000 + "</filename>")
