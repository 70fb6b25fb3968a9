"""The folder `program/accounts/` of a project: what pellucid writes into it, and its accounts, read and checked."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pellucid.accounts.check import check
from pellucid.accounts.language import (
    OWN,
    SHARED,
    TABLES,
    AccountError,
    Accounts,
    Spelling,
    account_files,
    is_variable,
    spelling_of,
)
from pellucid.base.errors import SourceError
from pellucid.base.files import MOST_OF_PAGE, read_text
from pellucid.base.trusted import write_own
from pellucid.project.project import Project

FOLDER = "program/accounts"
_HERE = Path(__file__).resolve().parent
_PACKAGE = (
    '''"""What the model does, as short programs: `python -m program.accounts "Some text"`. See `language.py`."""\n'''
)


@dataclass(frozen=True)
class Folder:
    """The accounts of a project."""

    project: Project

    @property
    def path(self) -> Path:
        """Where they lie."""
        return self.project.directory / FOLDER

    @property
    def files(self) -> list[Path]:
        """The files of accounts, in the order of their names; none where there is no folder."""
        return account_files(self.path)

    @property
    def texts(self) -> list[Path]:
        """The file of the variables that accounts share, where there is one, and the files of accounts."""
        shared = self.path / SHARED
        return [*([shared] if shared.is_file() else []), *self.files]

    @property
    def tables(self) -> list[Path]:
        """The files of tables and classes."""
        return sorted(path for path in (self.path / TABLES).glob("*") if path.is_file())

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Accounts and what they share, by file, in the language of accounts. Raises `SourceError` for what is not."""
        return {path.name: parsed(path) for path in self.texts}

    @cached_property
    def spelling(self) -> Spelling:
        """How the subject's tokens are written."""
        tokenizer = self.project.model.tokenizer
        return spelling_of(tokenizer, self.project.model.n_vocab, tokenizer.kind == "words")

    def accounts(self) -> Accounts:
        """The accounts, ready to be asked. Raises `ProjectError` if they are a stranger's, `SourceError` if broken."""
        self.project.require_trust()
        own = self.trees[SHARED].body if SHARED in self.trees else []
        shared = [node.name for node in own if isinstance(node, ast.FunctionDef) and is_variable(node)]
        for file, tree in self.trees.items():
            check(tree, file, self.project.model, [path.name for path in self.tables], shared)
        try:
            return Accounts(self.path, self.spelling)
        except AccountError as error:
            raise SourceError(f"{FOLDER}/{error}") from None

    def furnish(self) -> list[str]:
        """Write the files that every folder of accounts has, where they are missing or of another version."""
        written = []
        for name, text in sorted(own_files().items()):
            path = self.path / name
            if not path.is_file() or read_text(path, MOST_OF_PAGE) != text:
                write_own(self.project.directory, f"{FOLDER}/{name}", text)
                written.append(name)
        return written


def own_files() -> dict[str, str]:
    """The files of the folder that are no accounts, by name: the language as it is, and what asks the accounts."""
    main = (_HERE / "main.py").read_text(encoding="utf-8")
    for module, here in (("pellucid.accounts.", "."), ("pellucid.program.", "..")):
        main = main.replace(f"from {module}", f"from {here}")
    texts = {"__init__.py": _PACKAGE, "__main__.py": main}
    texts["language.py"] = (_HERE / "language.py").read_text(encoding="utf-8")
    assert set(texts) == OWN
    return texts


def parsed(path: Path) -> ast.Module:
    """The syntax of the file at `path`. Raises `SourceError` for what is no Python."""
    try:
        return ast.parse(read_text(path, MOST_OF_PAGE))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SourceError(f"{FOLDER}/{path.name}:{line}: no Python that can be read: {error}") from None
