"""Runs as logs of Inspect (inspect-ai): clean and perturbed of an item side by side in its viewer, as two epochs."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.interchange.asked_again import Asked
from medproof.interchange.source import NO_IMAGE, may_copy
from medproof.models.prompts import messages
from medproof.records import LETTERS, Item, Message, Outcome, Response
from medproof.runs.atomic import disk_errors
from medproof.runs.images import Images
from medproof.runs.store import RunData
from medproof.scoring.asked import asked
from medproof.scoring.scored import CLEAN, Scored, counted, is_correct, score

SCORER = "outcome"
VALUES = {"correct": "C", "wrong": "I", "abstain": "N", "unparsed": "N"}
"""Inspect's letters: correct, incorrect, no answer. Which kind of no answer stands in the score's metadata."""


def write_inspect(run: RunData, out: Path, *, copy_all: bool = False) -> list[Path]:
    """One .eval log per condition into the folder `out`, with the clean answers as epoch 1 and those under the
    condition as epoch 2; one log of clean alone where nothing else was run. Returns their paths.

    copy_all: embed pictures whose licence class is not permissive too; else they are named by hash only. Messages are
    made again from the run (`asked_again`); where they cannot be, the sample says so and shows the plain question.
    Raises UserError where inspect-ai is not installed or the run is empty.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise UserError("export to inspect needs inspect-ai: pip install 'medproof[inspect]'")
    from inspect_ai.log import write_eval_log

    scored = score(run)
    keys = [key for key in scored.conditions if scored.outcomes[key]]
    if not keys:
        raise UserError(f"{run.path} holds no responses yet: run medproof run first")
    makers = {key: _Arm(run, scored, key, copy_all, Asked(run).under(key)) for key in keys}
    others = [key for key in keys if key != CLEAN]
    pairs = [[makers[key] for key in (CLEAN, other) if key in makers] for other in others] or [[makers[CLEAN]]]
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, arms in enumerate(pairs, 1):
        path = out / f"{number:02d}_{_file_name(arms[-1].condition)}.eval"
        with disk_errors(path):
            write_eval_log(_log(run, arms), str(path))
        paths.append(path)
    return paths


@dataclass(frozen=True)
class _Arm:
    """One condition of the run, on its way into samples."""

    run: RunData
    scored: Scored
    condition: str
    copy_all: bool
    conversations: Mapping[str, tuple[Message, ...]]

    def result(self) -> Any:
        from inspect_ai.log import EvalMetric, EvalScore

        arm = self.scored.outcomes[self.condition]
        kept = counted(arm)
        right = sum(map(is_correct, kept.values()))
        values = {"accuracy": right / len(kept) if kept else 0.0, "n": len(kept), "errors": len(arm) - len(kept)}
        metrics = {name: EvalMetric(name=name, value=value) for name, value in values.items()}
        return EvalScore(name=self.condition, scorer=SCORER, metrics=metrics)

    def samples(self, epoch: int) -> list[Any]:
        found = self.scored.responses[self.condition]
        outcomes = self.scored.outcomes[self.condition]
        return [self._sample(self.scored.items[i], found[i], outcomes[i], epoch) for i in found]

    def _sample(self, item: Item, response: Response, outcome: Outcome, epoch: int) -> Any:
        from inspect_ai.log import EvalError, EvalSample
        from inspect_ai.model import ModelOutput, ModelUsage

        shown = asked(item, response.info)
        said, proven = self._messages(item, response)
        attachments, sha = {}, response.image_sha256
        if sha != NO_IMAGE and may_copy(item, self.copy_all):
            path = Images(self.run.path).path(sha)
            if path.is_file():
                attachments[sha] = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        model, cut = str(self.run.meta["model"]), response.truncated
        output = ModelOutput.from_content(model, response.text, stop_reason="max_tokens" if cut else "stop")
        tokens = (response.prompt_tokens, response.completion_tokens)
        output.usage = ModelUsage(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
        history = [_chat(message, sha if sha in attachments else None) for message in said]
        failure = response.error or (outcome.rule if outcome.status == "error" else None)
        return EvalSample(
            id=item.id,
            epoch=epoch,
            input=history,
            choices=list(shown.options),
            target=shown.answer_letter,
            messages=[*history, output.message],
            output=output,
            scores=None if outcome.status == "error" else {SCORER: _score(shown, outcome)},
            metadata=self._metadata(item, response, outcome, proven),
            attachments=attachments,
            error=failure and EvalError(message=failure, traceback=failure, traceback_ansi=failure),
        )

    def _messages(self, item: Item, response: Response) -> tuple[tuple[Message, ...], bool]:
        """What was asked, and whether its hash proves it."""
        if item.id in self.conversations:
            return self.conversations[item.id], True
        return messages(item, response.mode, image=response.image_sha256 != NO_IMAGE), False

    def _metadata(self, item: Item, response: Response, outcome: Outcome, proven: bool) -> dict[str, Any]:
        from medproof.conditions import resolve

        condition = resolve(self.condition)
        return {
            "condition": self.condition,
            "control_twin": condition.twin,
            "expected": condition.expected,
            "status": outcome.status,
            "outcome_rule": outcome.rule,
            "forced_choice": outcome.forced_choice,
            "pixels_sha256": response.image_sha256,
            "messages": "as asked" if proven else "the plain question; what was asked is not stored",
            "case": item.case,
            "stage": item.stage,
            "modality": item.modality,
            "question_type": item.question_type,
            "source": item.source,
            "license": item.license or item.license_class,
            "info": dict(response.info),
        }


def _score(shown: Item, outcome: Outcome) -> Any:
    from inspect_ai.scorer import Score

    letter = LETTERS[shown.options.index(outcome.chosen)] if outcome.chosen in shown.options else None
    said = {"status": outcome.status, "rule": outcome.rule, "forced_choice": outcome.forced_choice}
    why = f"{outcome.status} (rule {outcome.rule})"
    return Score(value=VALUES[outcome.status], answer=letter, explanation=why, metadata=said)


def _chat(message: Message, sha: str | None) -> Any:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        ContentImage,
        ContentText,
    )

    kinds = {"user": ChatMessageUser, "assistant": ChatMessageAssistant, "system": ChatMessageSystem}
    if not message.image or sha is None:
        return kinds[message.role](content=message.text)
    picture = ContentImage(image=f"attachment://{sha}")
    return kinds[message.role](content=[picture, ContentText(text=message.text)])


def _log(run: RunData, arms: list[_Arm]) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    meta, key = run.meta, arms[-1].condition
    samples = [sample for epoch, arm in enumerate(arms, 1) for sample in arm.samples(epoch)]
    ids = list(dict.fromkeys(sample.id for sample in samples))
    created = str(meta.get("created") or "")
    digest = hashlib.sha256(f"{meta.get('weights_hash')} {meta.get('dataset_fingerprint')} {key}".encode()).hexdigest()
    return EvalLog(
        status="success",
        eval=EvalSpec(
            run_id=digest[:22],
            task_id=digest[22:44],
            created=created,
            task=f"medproof/{key}" if key == CLEAN else f"medproof/{CLEAN} | {key}",
            dataset=EvalDataset(name=str(meta.get("dataset")), samples=len(ids), sample_ids=ids, shuffled=False),
            model=str(meta["model"]),
            config=EvalConfig(epochs=len(arms)),
            packages={"medproof": str((meta.get("versions") or {}).get("medproof", ""))},
            metadata={
                "epochs": {str(epoch): arm.condition for epoch, arm in enumerate(arms, 1)},
                **{name: meta.get(name) for name in ("mode", "seed", "weights_hash", "dataset_fingerprint")},
            },
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=sum(sample.error is None for sample in samples),
            scores=[arm.result() for arm in arms],
        ),
        stats=EvalStats(started_at=created, completed_at=created),
        samples=samples,
    )


def _file_name(condition: str) -> str:
    """`pgd(linf,8/255,20)` as `pgd-linf-8-255-20`."""
    return "-".join("".join(c if c.isalnum() or c in "._=" else " " for c in condition).split())
