"""Commands that run a program or its subject on a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pellucid.base.defaults import TOKENS, TOP_PARTS
from pellucid.base.terminal import say, tell
from pellucid.cli.options import AsChat, AsIds, AsJson, Trust
from pellucid.cli.output import plain_errors, print_json

if TYPE_CHECKING:
    from pellucid.accounts.here import Here
    from pellucid.project.project import Project
    from pellucid.verify.lines import Where


def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR|SUBJECT", help="A directory that `decompile` wrote, or a subject.")
    ],
    prompt: Annotated[str, typer.Argument(help="The text to go on from.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to produce at most.")] = TOKENS,
    source_only: Annotated[bool, typer.Option("--source-only", help="Switch every QK and IN residual off.")] = False,
    temperature: Annotated[
        float, typer.Option(help="Draw tokens at this temperature; at 0 the likeliest is said.")
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest tokens that hold so much probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="What is drawn, is drawn from it.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this text. May be repeated.")
    ] = None,
    ids: AsIds = False,
    chat: AsChat = False,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Continue PROMPT with the program in DIR, with the likeliest tokens or with drawn ones.

    A SUBJECT is run itself: a GGUF file, a directory with a config.json, zoo:NAME or hub:NAME.
    A program without weights says what comes next after each token of PROMPT (blanks between).
    """
    with plain_errors():
        from pellucid.base.trusted import WEIGHTLESS

        if (directory / WEIGHTLESS).is_file():
            from pellucid.weightless.said import print_said, refuse, said, said_dict

            given = {"--tokens": tokens != TOKENS, "--source-only": source_only, "--temperature": temperature != 0}
            given |= {"--top-p": top_p != 1, "--seed": seed != 0, "--stop": bool(stop), "--ids": ids, "--chat": chat}
            refuse([name for name, is_given in given.items() if is_given])
            answers = said(directory, prompt, trust=trust)
            print_json(said_dict(prompt, answers)) if json_ else print_said(answers)
            return
        only: Literal["code"] | None = "code" if source_only else None
        how: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": stop or ()}
        if not (ids or chat) and (text := _said_as_checked(directory, prompt, tokens, only, how)) is not None:
            print_json({"prompt": prompt, "continuation": text}) if json_ else say(prompt + text)
            return
        if _is_subject(directory):
            prompt, text = _said_by_subject(
                str(directory), prompt, tokens, how, ids=ids, chat=chat, sources=source_only
            )
            print_json({"prompt": prompt, "continuation": text}) if json_ else say(prompt + text)
            return
        from pellucid.project.project import Project

        project = Project.open(directory, trust=trust)
        if chat:
            spoken = _spoken(project, prompt)
            text = project.generate(spoken, tokens, source_only=source_only, **how)
            prompt = project.running(only)[0].model.vocabulary.decode(spoken)
        elif ids:
            from pellucid.subject.tokenizer import ids_in

            listed = ids_in(prompt, project.running(only)[0].n_vocab, project.manifest.subject.name)
            text = " ".join(map(str, project.next_ids(listed, tokens, source_only=source_only, **how)))
            prompt = f"{' '.join(map(str, listed))} "
        else:
            text = project.generate(prompt, tokens, source_only=source_only, **how)
        if unheard := project.running(only)[1]:
            tell(f"pellucid: {unheard}")
        print_json({"prompt": prompt, "continuation": text}) if json_ else say(prompt + text)


def _said_as_checked(
    directory: Path, prompt: str, tokens: int, only: Literal["code"] | None, how: dict[str, Any]
) -> str | None:
    """What a program says that was checked as it is now, without reading it again; None where none was."""
    from pellucid.project.checked import open_as_checked, written_behind

    if (program := open_as_checked(directory, only)) is None:
        return None
    from pellucid.exact.writing import Sampling

    choice = Sampling(how["temperature"], how["top_p"], how["seed"])
    text = written_behind(program, prompt, choice, tokens, how["stop"]).text
    if program.idle:
        from pellucid.program.idle import said

        tell(f"pellucid: {said(program.idle, str(directory))}")
    return text


def _is_subject(directory: Path) -> bool:
    """Whether what `run` is given is a subject itself, and no directory of a program."""
    from pellucid.base.trusted import MANIFEST

    is_file, named = directory.suffix.lower() == ".gguf" and directory.is_file(), str(directory)
    has_config = (directory / "config.json").is_file() and not (directory / MANIFEST).is_file()
    return is_file or has_config or named.startswith(("zoo:", "hub:"))


def _said_by_subject(
    subject: str, prompt: str, tokens: int, how: dict[str, Any], *, ids: bool, chat: bool, sources: bool
) -> tuple[str, str]:
    """The prompt as the subject reads it, and what it says behind it."""
    from pellucid.engine.chat import chat as conversation
    from pellucid.engine.generate import generate
    from pellucid.engine.subjects import model_of
    from pellucid.subject.tokenizer import ids_in
    from pellucid.verify.running import open_subject

    model = model_of(open_subject(subject, source_only=sources))
    listed = ids_in(prompt, model.n_vocab, subject) if ids else conversation(model, prompt) if chat else None
    (found,) = generate(model, listed or prompt, tokens, **how)
    if ids:
        return f"{' '.join(map(str, listed or ()))} ", " ".join(map(str, found.ids))
    return (found.prompt if chat else prompt), found.text


def _spoken(project: Project, prompt: str) -> list[int]:
    """The tokens of a conversation with a program. Raises `PellucidError` where it has no chat template."""
    from pellucid.base.errors import PellucidError
    from pellucid.subject.chat import Chat

    vocabulary = project.running()[0].model.vocabulary
    if vocabulary.chat is None:
        raise PellucidError(f"{project.directory} is of a subject without a chat template; give a text to go on from")
    text = Chat(str(vocabulary.chat.get("template")), dict(vocabulary.chat.get("tokens", {}))).text(prompt)
    return list(vocabulary.encode(text))


def why(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT|DIR", help="A subject, or a directory of its program.")],
    prompt: Annotated[str, typer.Argument(help="The text whose continuation is to be explained.")],
    instead: Annotated[
        str | None, typer.Option(help="A token that could have been said; without it, the runner-up.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many parts to verify.")] = TOP_PARTS,
    source_only: Annotated[
        bool, typer.Option("--source-only", help="Switch every QK and IN residual of DIR off.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Save a picture as one HTML file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Save a picture as PNG.")] = None,
    ids: AsIds = False,
    chat: AsChat = False,
    graph_: Annotated[
        Path | None, typer.Option("--graph", help="Save a graph of the parts: a name in .png, .svg or .html.")
    ] = None,
    trust: Trust = False,
    json_: AsJson = False,
) -> None:
    """Explain what is said next after PROMPT: the parts that made it, ranked, and verified by ablating them.

    Of a directory it also shows the lines of source that one would change, and what its accounts say there.
    """
    with plain_errors():
        from pellucid.accounts.here import here
        from pellucid.engine.chat import chat as conversation
        from pellucid.engine.subjects import model_of
        from pellucid.project.manifest import MANIFEST
        from pellucid.project.project import Project
        from pellucid.study.why import why as explained
        from pellucid.subject.tokenizer import ids_in
        from pellucid.verify.lines import where
        from pellucid.verify.running import open_subject
        from pellucid.view.pictures import graph, picture

        opened_subject = open_subject(subject, source_only=source_only, trust=trust)
        asked = ids_in(prompt, model_of(opened_subject).n_vocab, subject) if ids else prompt
        asked = conversation(opened_subject, prompt) if chat else asked
        found = explained(opened_subject, asked, instead, top=top)
        drawn = picture(found)
        if html:
            drawn.save_html(html)
        if png:
            drawn.save_png(png)
        if graph_:
            graph(found).save(graph_)
        more: list[Where | Here] = []
        if (Path(subject) / MANIFEST).is_file():
            project = Project.open(subject, trust=trust)
            spoken = here(project, asked)
            more = [where(found, project.listing(), subject), *([spoken] if spoken else [])]
        if json_:
            print_json(found.to_dict() | {key: value for one in more for key, value in one.to_dict().items()})
        else:
            say("\n\n".join([found.text, *(one.text for one in more)]))
