"""Chat logs of four kinds: messages, speakers, times, places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lindoc.core.documents import Document, Piece, Segment
from lindoc.core.formats.chat import detect_chat

Make = Callable[..., Document]
Lawful = Callable[..., list[Segment]]

LOGS = {
    "ios": (
        "[24/12/23, 18:03:11] Family: \u200eMessages and calls are end-to-end encrypted.\n"
        "[24/12/23, 18:03:12] Ana Ruiz: Are you coming tonight?\nBring the cake.\n"
        "\u200e[24/12/23, 18:05:40] Ben: \u200eimage omitted\n[24/12/23, 6:07:01\u202fPM] Ana Ruiz: good\n",
        ["Family", "Ana Ruiz", "Ben", "Ana Ruiz"],
        "24/12/23, 18:03:12",
    ),
    "android": (
        "24/12/2023, 18:03 - Messages and calls are end-to-end encrypted.\n"
        "24/12/2023, 18:03 - Ana Ruiz: Are you coming tonight?\nBring the cake.\n"
        "24/12/2023, 18:05 - +49 170 1234567: yes: at 8\n24/12/23, 6:07\u202fpm - Ana Ruiz: good\n",
        [None, "Ana Ruiz", "+49 170 1234567", "Ana Ruiz"],
        "24/12/2023, 18:03",
    ),
    "irc": (
        "[18:03] <@ana> does the build start?\n[18:03] * ben shrugs\n"
        "[18:04] === cat has joined #build\n[18:05] <|d|> no: error 5\n[18:06] <ben> same\n",
        ["ana", "ben", None, "|d|", "ben"],
        "18:03",
    ),
    "bare irc": (
        "18:03 <ana> does the build start?\n18:04 < ben> no\n18:05 <ana> why?\n18:05 <ben> error 5\n",
        ["ana", "ben", "ana", "ben"],
        "18:04",
    ),
    "generic": (
        "[2024-05-01 09:00:00] Ana: good morning\n[2024-05-01 09:00:20] Ben: hello\n[2024-05-01 09:01] Ana: so\n",
        ["Ana", "Ben", "Ana"],
        "2024-05-01 09:00:20",
    ),
}
NO_CHAT = {
    "server log": "".join(f"2024-05-01 09:0{i}:00 INFO: started worker {i}\n" for i in range(9)),
    "prose": "Note: this is prose.\nIt has lines: some with colons.\nAt 18:03: nothing.\n" * 4,
    "two messages": "[18:03] <ana> hi\n[18:04] <ben> ho\n",
}


@pytest.mark.parametrize("kind", LOGS)
def test_messages_speakers_and_times(kind: str, document: Make, lawful: Lawful) -> None:
    text, speakers, second_time = LOGS[kind]
    opened = document("log.txt", text)
    assert opened.kind == "chat"
    pieces = list(opened.pieces())
    assert [piece.mark.speaker for piece in pieces] == speakers
    assert [piece.mark.message for piece in pieces] == list(range(1, len(speakers) + 1))
    assert pieces[1].mark.time == second_time
    lawful(opened)


@pytest.mark.parametrize("text", NO_CHAT.values(), ids=NO_CHAT)
def test_what_is_no_chat(text: str) -> None:
    assert detect_chat(text) is None


def test_a_quote_knows_its_message(document: Make, lawful: Lawful) -> None:
    opened = document("log.txt", LOGS["ios"][0])
    (segment,) = lawful(opened)
    at = segment.text.index("Bring the cake")
    place = segment.locate(opened.name, segment.start + at, segment.start + at + 14)
    assert (place.message_start, place.message_end, place.speaker, place.line_start) == (2, 2, "Ana Ruiz", 3)


def test_a_message_with_many_lines_stays_one(document: Make, lawful: Lawful) -> None:
    text = "".join(f"1/2/24, 9:0{i} AM - Ana: a list\n" + "- one more thing\n" * 5 for i in range(6))
    opened = document("log.txt", text)
    assert opened.kind == "chat"
    assert [piece.mark.message for piece in opened.pieces()] == [1, 2, 3, 4, 5, 6]


def test_a_pause_and_a_new_day_begin_a_conversation(document: Make) -> None:
    times = ["24/12/2023, 09:00", "24/12/2023, 09:10", "24/12/2023, 15:00", "25/12/2023, 15:01"]
    pieces: list[Piece] = list(document("log.txt", "".join(f"{time} - Ana: hello\n" for time in times)).pieces())
    assert [piece.boundary for piece in pieces] == [2, 1, 2, 2]


def test_segments_are_runs_of_whole_messages(document: Make, lawful: Lawful) -> None:
    text = "".join(f"[10:{i:02d}] <{'ab'[i % 2]}> message {i} about the broken build and its log\n" for i in range(60))
    found = lawful(document("log.txt", text))
    assert len(found) > 3
    assert all(segment.text.startswith("[10:") for segment in found)
    numbers = [segment.locate("", segment.start, segment.end) for segment in found]
    assert [place.message_start for place in numbers[1:]] == [(place.message_end or 0) + 1 for place in numbers[:-1]]
