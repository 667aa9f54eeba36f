import pytest
from vision_client.sse import Message, messages

STREAM = 'id: 7\nevent: metrics\ndata: {"a": 1}\n\n: still here\n\nid: 8\ndata: first\ndata: second\n\n'
EXPECTED = [Message("7", "metrics", '{"a": 1}'), None, Message("8", "message", "first\nsecond")]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_messages_are_the_same_if_they_arrive_in_pieces(ending: str, size: int) -> None:
    raw = STREAM.replace("\n", ending).encode()
    assert list(messages(raw[start : start + size] for start in range(0, len(raw), size))) == EXPECTED


def test_text_is_whole_if_a_character_is_cut() -> None:
    raw = "data: 손글씨 \u2028 줄\n\n".encode()
    assert list(messages(bytes([byte]) for byte in raw)) == [Message("", "message", "손글씨 \u2028 줄")]


def test_unfinished_message_is_dropped_if_the_connection_breaks() -> None:
    assert list(messages([b"data: whole\n\n", b"id: 9\ndata: ha"])) == [Message("", "message", "whole")]


def test_message_without_data_is_skipped() -> None:
    assert list(messages([b"event: ping\n\nid: 3\n\ndata: x\n\n"])) == [Message("3", "message", "x")]
