"""Server-sent events, as the WHATWG HTML standard describes them (section 9.2.6), and nothing more.

httpx's own line iterator also splits at U+2028 and friends, which may stand inside an event's JSON; so the bytes are
split here.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    id: str
    event: str
    data: str


def messages(chunks: Iterable[bytes]) -> Iterator[Message | None]:
    """Each message as it completes; None for a comment, which is how a server says that it is still there."""
    last_id, event, data = "", "", list[str]()
    for line in _lines(chunks):
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "id" if "\0" not in value:
                    last_id = value
                case "event":
                    event = value
                case "data":
                    data.append(value)
        else:
            if data:
                yield Message(last_id, event or "message", "\n".join(data))
            event, data = "", []


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines, ended by CR LF, LF or CR; an unfinished last line is dropped, as the standard wants."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest, after_cr = "", False
    for chunk in chunks:
        text = decoder.decode(chunk)
        if not text:
            continue
        text = text.removeprefix("\n") if after_cr else text
        after_cr = text.endswith("\r")
        *whole, rest = (rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from whole
