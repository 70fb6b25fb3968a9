"""What the emitted `vocabulary.py` makes of text, beside the `tokenizers` package: ids, and text of ids.

    python benchmarks/text_ids.py [--texts 10000] [--json] [KIND ...]

Sixteen kinds of tokenizers (pre-tokenizers of Llama 3, Qwen, GPT-NeoX, SmolLM2, Falcon, Mistral's Tekken, DeepSeek;
SentencePiece-like ones of Llama 2 and Gemma), each trained on a little text, with tokens added at random. The texts
are random, of all scripts, with much of what is odd. Of each kind it prints how many texts get other ids, or other text
back, and how many texts a second the program's tokenizer reads.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import tokenizers

import cutting
import pellucid.program.vocabulary as emitted
from pellucid.listing import pages
from pellucid.subject.tokenizer_files import load_tokenizer


def compared(kind: str, texts: list[str]) -> dict[str, Any]:
    """How often the two differ on `texts`."""
    theirs = cutting.with_tokens(cutting.KINDS[kind](), random.Random(kind))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        theirs.save(str(place / "tokenizer.json"))
        subject = load_tokenizer(place, {}, 1 << 20).tokenizer
        (place / "vocabulary.json").write_text(pages.vocabulary(subject), encoding="utf-8")
        emitted.__file__ = str(place / "vocabulary.py")
        ours = emitted.Vocabulary()
        start = time.process_time()
        found = [ours.encode(text) for text in texts]
        seconds = time.process_time() - start
        other_ids = sum(ids != wanted(theirs, text) for ids, text in zip(found, texts, strict=True))
        other_text = sum(not _same_text(ours, theirs, ids) for ids in found)
    return {"kind": kind, "texts": len(texts), "ids": other_ids, "text": other_text, "per_second": len(texts) / seconds}


def wanted(theirs: tokenizers.Tokenizer, text: str) -> list[int]:
    """The ids of `text`, without what opens and closes texts."""
    return list(theirs.encode(text, add_special_tokens=False).ids)


def _same_text(ours: emitted.Vocabulary, theirs: tokenizers.Tokenizer, ids: list[int]) -> bool:
    """Whether the text is the same; of bytes that are no character each side shows what it likes."""
    text = theirs.decode(ids, skip_special_tokens=False)
    return "\ufffd" in text or ours.text(ids) == text


def main() -> None:
    """Compare the kinds that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(cutting.KINDS)}")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = cutting.strings(options.texts)
    rows = [compared(kind, texts) for kind in options.kinds or cutting.KINDS]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        other = f"{row['ids']} with other ids, {row['text']} with other text"
        print(f"{row['kind']:16} {row['texts']} texts: {other}; {row['per_second']:,.0f} texts a second")


if __name__ == "__main__":
    main()
