"""What a subject reads when it is spoken to."""

from __future__ import annotations

from pellucid.base.errors import PellucidError
from pellucid.engine.subjects import Subject, model_of
from pellucid.subject.chat import Messages


def chat(subject: Subject, messages: Messages) -> list[int]:
    """The tokens of a conversation, to the point where `subject` is to speak: what `trace`, `why` and others take.

    Its own chat template makes the text, in a sandbox, bounded in time and size.

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        messages: What a user says, or messages, each with `role` and `content`.

    Returns:
        Token ids.

    Raises:
        PellucidError: A subject without a chat template, or one that refuses the messages, fails, or is not done in
            time.
    """
    tokenizer = model_of(subject).tokenizer
    if tokenizer.chat is None:
        raise PellucidError(f"{model_of(subject).subject.name} has no chat template; give it a text to go on from")
    return tokenizer.encode(tokenizer.chat.text(messages))
