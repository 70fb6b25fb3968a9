"""`pellucid zoo`: the subjects that ship."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pellucid.base.terminal import say
from pellucid.cli.options import AsJson
from pellucid.cli.output import plain_errors, print_json

STORY_END = "<|endoftext|>"


def list_(json_: AsJson = False) -> None:
    """List the subjects that ship with pellucid."""
    with plain_errors():
        from pellucid.zoo import registry

        if json_:
            print_json({name: registry.card(name) for name in registry.names()})
            return
        for name in registry.names():
            say(f"zoo:{name:<20} {registry.card(name)['summary']}")


def card(name: Annotated[str, typer.Argument(help="A name from `zoo list`.")], json_: AsJson = False) -> None:
    """Print how a zoo subject was trained and how well it follows its rules."""
    with plain_errors():
        from pellucid.zoo import registry

        name = name.removeprefix("zoo:")
        if json_:
            print_json(registry.card(name))
        else:
            say((registry.path(name) / "card.md").read_text(encoding="utf-8"))


def stories(
    count: Annotated[int, typer.Option(min=1, help="How many stories.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="The number of the first; a number is always the same story.")] = 0,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Stories and wordings as in training, or unseen ones.")
    ] = "test",
    json_: AsJson = False,
) -> None:
    """Print stories of the village, which the models zoo:village… were trained on, as a text to work on."""
    with plain_errors():
        from pellucid.zoo.village import Village

        texts = [story.text for story in Village().stories(split, first, count)]
        print_json(texts) if json_ else say(STORY_END.join(texts))
