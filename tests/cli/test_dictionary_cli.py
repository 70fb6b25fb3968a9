"""`pellucid dictionary`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from pellucid.cli import app
from pellucid.dictionary.opening import open_dictionary
from pellucid.zoo.village import Village


def test_dictionaries_are_trained_and_converted(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("<|endoftext|>".join(story.text for story in Village().stories("train", 0, 150)))
    asked = ["dictionary", "train", "zoo:village", "--at", "L00.mlp", "--at", "L02.resid_post", "--width", "1x"]
    asked += [
        "-k",
        "4",
        "--tokens",
        "4000",
        "--batch",
        "200",
        "--corpus",
        str(text),
        "-o",
        str(tmp_path / "out"),
        "--json",
    ]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [Path(one["folder"]).name for one in told] == ["L00.mlp_out", "L02.resid_post"]
    assert told[0]["loss"] < told[0]["curve"][0][1]
    one = open_dictionary(tmp_path / "out" / "L02.resid_post")
    assert (one.firing, one.reads, one.unit) == ("jumprelu", ("L02.resid_post",), True)

    scored = ["dictionary", "score", "zoo:village", str(tmp_path / "out" / "L02.resid_post"), "--corpus", str(text)]
    result = CliRunner().invoke(app, [*scored, "--tokens", "600", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["tokens"] == 512
    assert figures["fvu"] > figures["pca_fvu"] > 0

    asked = ["dictionary", "convert", str(tmp_path / "out" / "L00.mlp_out"), str(tmp_path / "there"), "--format"]
    assert CliRunner().invoke(app, [*asked, "saelens"]).exit_code == 0
    assert open_dictionary(tmp_path / "there").reads == ("blocks.0.hook_mlp_out",)
    refused = CliRunner().invoke(app, [*asked, "sparsify"])
    assert refused.exit_code == 2
