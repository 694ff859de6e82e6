"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

SplitChoice = Literal["train", "test", "all"]
ModeChoice = Literal["direct", "think", "think_after"]
DtypeChoice = Literal["auto", "float32", "bfloat16"]

Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use at most this many items.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random draw.")]
Split = Annotated[SplitChoice, typer.Option("--split", help="Which split to use.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print plan and counts, load no model, write nothing.")]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="ROOT", help="Folder that the image paths in the data start from.")
]
AllowIdentified = Annotated[
    bool,
    typer.Option("--allow-identified", help="Read DICOM files that do not say PatientIdentityRemoved = YES."),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="D",
        help="sample, a folder with manifest/*.jsonl, an Items JSONL, a Med-R1 JSON or an OmniMedVQA JSON.",
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="M",
        help="nano, nano-robust, nano-noise, a local folder, a hub id, openai:URL#NAME, or a baseline: majority, "
        "option_count.",
    ),
]
RunFolder = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder; an existing run is gone on with.")]
Asked = Annotated[ModeChoice, typer.Option("--mode", help="How the model is asked to answer.")]
BatchTokens = Annotated[
    int | None, typer.Option("--batch-tokens", min=1, help="Tokens per batch; default: by device and memory.")
]
Dtype = Annotated[DtypeChoice, typer.Option("--dtype", help="auto: bfloat16 on a GPU, else float32.")]
