"""`lindoc ask`: a question, answered with an exact quote and its place."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import Session, check_input, finish, open_session, stdin_is_terminal
from lindoc.cli.show import answer_record, print_answer, print_json, print_record
from lindoc.core.errors import UsageError

PROMPT = "? "


@options.with_settings()
def ask(
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", show_default=False)] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="F", help="A file, a directory or '-'; may be repeated."),
    ] = None,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="DIR", help="A directory; places are given relative to it.")
    ] = None,
    *,
    settings: options.Settings,
    json: options.Json = False,
) -> None:
    """Answer a question with the exact quote and its place.

    Without QUESTION a prompt opens; if questions come through a pipe, each line is one and each answer a JSON line.
    With neither --file nor --repo, the document is what is piped in with QUESTION; if nothing is, the whole index.

    \b
    lindoc ask --file contract.pdf "When does the agreement end?"
    lindoc ask --repo ./src
    cat chat.log | lindoc ask "Who broke the build?"
    """
    files = list(file or [])
    _check(question, files)
    check_input(settings, given=bool(files) or repo is not None, stdin=question is not None)
    with open_session(settings) as session:
        if not session.read(files, repo=repo, stdin=question is not None):
            finish(session.console, found=False)
        if question is not None:
            found = _answer(session, question, as_json=json)
        elif stdin_is_terminal():
            found = _answer_all(session, _prompted(), lines=json)
        else:
            found = _answer_all(session, (line.strip() for line in sys.stdin), lines=True)
        session.exit(found=found)


def _check(question: str | None, files: list[str]) -> None:
    """Raises UsageError where it cannot be known what standard input is."""
    if question is not None and not question.strip():
        raise UsageError("the question is empty")
    if files.count("-") > 1 or (question is None and "-" in files):
        raise UsageError("standard input is one document: give the question as an argument and '-' once")


def _answer(session: Session, question: str, *, as_json: bool) -> bool:
    answer = session.library.ask(question)
    if as_json:
        print_json(answer_record(answer), indent=2)
    else:
        print_answer(answer)
    return answer.answerable


def _answer_all(session: Session, questions: Iterable[str], *, lines: bool) -> bool:
    """Whether any question was answered; true if none was asked."""
    asked = answered = 0
    for question in questions:
        if not question:
            continue
        answer = session.library.ask(question)
        asked += 1
        answered += answer.answerable
        if lines:
            print_record(answer_record(answer))
        else:
            print_answer(answer)
            print(flush=True)
    return answered > 0 or not asked


def _prompted() -> Iterator[str]:
    """Questions from a terminal until an empty line or Ctrl-D; the prompt itself goes to stderr."""
    while True:
        sys.stderr.write(PROMPT)
        sys.stderr.flush()
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
