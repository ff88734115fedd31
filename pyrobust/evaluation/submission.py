"""The folder of a submission to RobustBench: entry, weights, transcript, a test, and the issue."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyrobust.config import parse_epsilon
from pyrobust.errors import UserError
from pyrobust.evaluation.describe import read_result
from pyrobust.evaluation.leaderboard import Publication, entry_of
from pyrobust.evaluation.model_sources import ModelSource, open_model
from pyrobust.evaluation.transcripts.evidence import weights_sha256
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.files import atomic_path, write_text
from pyrobust.models.checkpoints import write_checkpoint
from pyrobust.models.convert import Statements, load_classifier
from pyrobust.models.spec import ModelSpec

TRANSCRIPT, LOADER_TEST, ISSUE = "transcript.safetensors", "test_loading.py", "ISSUE.md"
_NORMS = {"linf": "Linf", "l2": "L2"}
_NAME = r"[A-Z][A-Za-z-]*[12][0-9]{3}[A-Z]\w*"
# Images that the loader test classifies, and how their pixels follow from their place.
_NUM_IMAGES, _STRIDE = 4, 37

_TEST = '''"""Load the weights with RobustBench's own classes, and compare logits with the author's.

    pip install torch; pip install --no-deps robustbench; python test_loading.py
"""

import importlib.util
from pathlib import Path

import torch
from torch import nn

WEIGHTS = Path(__file__).parent / "{weights}"
LOGITS = {logits}


def robustbench_classes():
    # Only this file of RobustBench. The package itself imports pkg_resources and autoattack, which
    # current versions of its dependencies (setuptools, pyautoattack) no longer contain.
    folder = Path(importlib.util.find_spec("robustbench").submodule_search_locations[0])
    path = folder / "model_zoo/architectures/dm_wide_resnet.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DMPreActResNet, module.DMWideResNet, module.Swish


def test_the_weights_load_and_give_the_logits_of_the_author():
    DMPreActResNet, DMWideResNet, Swish = robustbench_classes()
    model = {constructor}
    state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=True)
    places = torch.arange({count} * 3 * 32 * 32).reshape({count}, 3, 32, 32)
    with torch.no_grad():
        logits = model.eval()((places * {stride} % 256).float() / 255)
    torch.testing.assert_close(logits, torch.tensor(LOGITS), rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    test_the_weights_load_and_give_the_logits_of_the_author()
    print("the weights load, and the logits agree")
'''

_ISSUE_TEXT = """[New Model] {name}

# Paper Information

- **Paper Title**: {entry[name]}
- **Paper URL**: {entry[link]}
- **Paper authors**: {entry[authors]}

# Leaderboard Claim(s)

## Model 1

- **Architecture**: {entry[architecture]}
- **Dataset**: {entry[dataset]}
- **Threat Model**: {norm}
- **eps**: {entry[eps]}
- **Clean accuracy**: {entry[clean_acc]}
- **Robust accuracy**: {robust}
- **Additional data**: {additional}
- **Evaluation method**: {method}
- **Checkpoint and code**: (address of `{weights}`)

`{transcript}` contains every adversarial example. `pyrobust verify` verifies it by one forward pass
per image and point. `{test}` loads the weights by RobustBench's code. The entry of the model zoo:

```python
("{name}", {{"model": lambda: {constructor}, "gdrive_id": ...}})
```
{footnote}
# Model Zoo:

- [ ] I want to add my models to the Model Zoo (check if true)
- [ ] I use an architecture that is **not** included among those of RobustBench (check if true).
- [ ] I agree to release my model(s) under MIT license (check if true) **OR**
- [ ] I want my models to be released under a custom license, located here: (URL)
"""


@dataclass(frozen=True)
class Submission:
    """What goes into the folder.

    Args:
        name: as RobustBench names models, <Name><Year><FirstWordOfTheTitle>.
        evaluation: folder of `pyrobust evaluate --autoattack`.
        transcript: that the same command wrote.
        model: the classifier that was evaluated, .safetensors or .pt.
    """

    name: str
    publication: Publication
    evaluation: Path
    transcript: Path
    model: Path


def write_submission(submission: Submission, output: Path) -> bool:
    """Write the folder; return whether RobustBench, where it is installed, loads the weights.

    Raises:
        UserError: the evaluation is less than RobustBench asks for, the three files do not belong
            together, RobustBench has no class for the model, or fails to load it.
    """
    name = submission.name
    if not re.fullmatch(_NAME, name):
        raise UserError(
            f"name is '{name}', expected <Name><Year><FirstWordOfTheTitle> such as "
            "Gowal2021Improving"
        )
    evaluation = read_result(submission.evaluation)
    entry = entry_of(evaluation, submission.publication)
    network, spec = load_classifier(submission.model, Statements(), evaluation["dataset"])
    constructor = _constructor(spec)
    logits = _check_transcript(submission, evaluation)
    norm = _NORMS[evaluation["norm"]]
    place = f"{evaluation['dataset']}/{norm}/{name}"
    weights = f"models/{place}.pt"
    write_checkpoint(output / weights, network, spec)
    text = json.dumps(entry, indent=2, ensure_ascii=False) + "\n"
    write_text(output / f"model_info/{place}.json", text)
    with atomic_path(output / TRANSCRIPT) as temporary:
        shutil.copyfile(submission.transcript, temporary)
    test = _TEST.format(
        weights=weights, logits=logits, constructor=constructor, count=_NUM_IMAGES, stride=_STRIDE
    )
    write_text(output / LOADER_TEST, test)
    write_text(output / ISSUE, _issue(submission, entry, norm, weights, constructor))
    return _loads(output)


def _check_transcript(submission: Submission, evaluation: dict[str, Any]) -> list[list[float]]:
    """Return logits of the model, after comparing it and the evaluation with the transcript."""
    transcript = Transcript.read(submission.transcript)
    claim = transcript.facts["claim"]
    count = claim["num_images"]
    stated = {"num_images": count, "clean_accuracy": claim["num_clean_correct"] / count,
              "worst": claim["num_standing"] / count}  # fmt: skip
    for name, value in stated.items():
        if evaluation[name] != value:
            raise UserError(
                f"{name} is {value:g} by {submission.transcript}, but {evaluation[name]:g} in "
                f"{submission.evaluation}; use the transcript of this evaluation"
            )
    _check_same_evaluation(transcript, submission, evaluation)
    image = torch.full((1, 3, 32, 32), 0.5)
    model = open_model(ModelSource(str(submission.model)), image, None, evaluation["dataset"])
    evaluated = transcript.facts["model"]["weights_sha256"]
    if weights_sha256(model) != evaluated:
        raise UserError(
            f"{submission.model} has other weights (SHA-256 {weights_sha256(model)}) than the "
            f"transcript ({evaluated}); use the model that was evaluated"
        )
    places = torch.arange(_NUM_IMAGES * 3 * 32 * 32).reshape(_NUM_IMAGES, 3, 32, 32)
    with torch.no_grad():
        logits = model((places * _STRIDE % 256).float() / 255)
    return [[round(value, 6) for value in row] for row in logits.tolist()]


def _check_same_evaluation(
    transcript: Transcript, submission: Submission, evaluation: dict[str, Any]
) -> None:
    """Refuse a transcript of other images, another model or another perturbation set."""
    subject, threat = evaluation["subject"], transcript.threat
    model = {key: transcript.facts["model"].get(key) for key in subject["network"]}
    both = {
        "norm": (threat.norm, evaluation["norm"]),
        "epsilon": (transcript.epsilon, parse_epsilon(evaluation["epsilon"])),
        "images": (transcript.facts["images"]["sha256"], subject["images"]),
        "model": (model, subject["network"]),
    }
    for name, (theirs, ours) in both.items():
        if theirs != ours:
            raise UserError(
                f"{name} is {theirs} in {submission.transcript}, but {ours} in "
                f"{submission.evaluation}; use the transcript of this evaluation"
            )


def _constructor(spec: ModelSpec) -> str:
    """Return the Python that builds the network by RobustBench's classes.

    Raises:
        UserError: they have no such network.
    """
    if spec.imported or spec.image_shape != (32, 32, 3):
        raise UserError(
            f"{spec.architecture} for images of shape {spec.image_shape} is not a network of "
            "RobustBench's dm_wide_resnet module; submit its code by a pull request instead"
        )
    kind, depth, *width = spec.architecture.split("-")
    name = "DMWideResNet" if kind == "wrn" else "DMPreActResNet"
    activation = "Swish" if spec.activation == "silu" else "nn.ReLU"
    return (
        f"{name}(num_classes={spec.num_classes}, depth={depth}, "
        f"width={width[0] if width else 0}, activation_fn={activation}, "
        f"mean={tuple(spec.mean)}, std={tuple(spec.std)})"
    )


def _issue(
    submission: Submission, entry: dict[str, Any], norm: str, weights: str, constructor: str
) -> str:
    external = entry.get("external")
    both = f"AutoAttack ({entry['autoattack_acc']}) and AA+MT"
    return _ISSUE_TEXT.format(
        name=submission.name,
        entry=entry,
        norm=norm,
        robust=external or entry["autoattack_acc"],
        additional=str(entry["additional_data"]).lower(),
        method="AutoAttack" if external is None else both,
        weights=weights,
        transcript=TRANSCRIPT,
        test=LOADER_TEST,
        constructor=constructor,
        footnote=f"\n{entry['footnote']}\n" if entry["footnote"] else "",
    )


def _loads(output: Path) -> bool:
    """Run the loader test if RobustBench is installed; return whether it is."""
    if importlib.util.find_spec("robustbench") is None:
        return False
    command = [sys.executable, LOADER_TEST]
    done = subprocess.run(command, cwd=output, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"RobustBench does not load {output} ({last}); run {LOADER_TEST} there")
    return True
