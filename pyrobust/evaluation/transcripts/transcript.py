"""The file of a transcript (docs/formats.md): one safetensors file without pickles."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.config import parse_epsilon, parse_settings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.transcripts.evidence import BROKEN, MISCLASSIFIED, STANDING
from pyrobust.tensors import read_tensors, write_tensors

FORMAT = {"format": "pyrobust-transcript", "version": 1}
# Images whose points are compressed together: few enough to verify in little memory.
BLOCK = 64
SUFFIX = ".safetensors"
_DIGEST = "content_sha256"
_MENDED_BY = "expected a file of 'pyrobust evaluate --transcript'"
_COLUMNS = ("ids", "digests", "fate", "clean_margin", "margin")
_POINTS = "points."


class TranscriptError(UserError):
    """A file that is not a transcript, or has changed since it was written."""


@dataclass(frozen=True)
class Transcript:
    """N images, of which B were broken.

    Attributes:
        facts: JSON values: `images`, `model`, `threat`, `attack`, `judge`, `claim`, `versions`.
        ids: (N,) int64, rows of the data set, ascending.
        digests: (N, 16) uint8, of image and label.
        fate: (N,) uint8: STANDING, MISCLASSIFIED without an attack, or BROKEN.
        clean_margin: (N,) float32, of the images.
        margin: (B,) float32, of the points, in the order of their images.
        blocks: encoded points of 64 images each.
    """

    facts: Mapping[str, Any]
    ids: NDArray[np.int64]
    digests: NDArray[np.uint8]
    fate: NDArray[np.uint8]
    clean_margin: NDArray[np.float32]
    margin: NDArray[np.float32]
    blocks: tuple[bytes, ...]

    @property
    def threat(self) -> ThreatSettings:
        """The perturbation set."""
        return parse_settings(ThreatSettings, self.facts["threat"])

    @property
    def epsilon(self) -> float:
        """Its radius."""
        return parse_epsilon(self.threat.epsilon)

    def broken_blocks(self) -> Iterator[tuple[NDArray[np.int64], bytes]]:
        """Yield (places of the broken images of a block, their points)."""
        broken = np.flatnonzero(self.fate == BROKEN)
        for number, block in enumerate(self.blocks):
            yield broken[number * BLOCK : (number + 1) * BLOCK], block

    def write(self, path: Path) -> None:
        """Write the file atomically; equal transcripts give equal bytes."""
        tensors = self._tensors()
        facts = {**FORMAT, **self.facts}
        write_tensors(path, tensors, {**facts, _DIGEST: _content_sha256(facts, tensors)})

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {name: torch.from_numpy(np.array(getattr(self, name))) for name in _COLUMNS}
        for number, block in enumerate(self.blocks):
            held = np.frombuffer(block, np.uint8).copy()
            tensors[f"{_POINTS}{number:06d}"] = torch.from_numpy(held)
        return tensors

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            TranscriptError: another kind of file, or one that has changed since it was written.
        """
        if not path.is_file():
            raise UserError(f"{path} is missing; {_MENDED_BY}")
        try:
            tensors, facts = read_tensors(path, _MENDED_BY)
        except UserError as error:
            raise TranscriptError(str(error)) from error
        found = {key: facts.get(key) for key in FORMAT}
        if found != FORMAT:
            raise TranscriptError(f"{path} contains {found}, expected {FORMAT}; {_MENDED_BY}")
        as_written = _is_as_written(path, facts)
        stated = facts.pop(_DIGEST, None)
        try:
            digest = _content_sha256(facts, tensors)
        except (TypeError, ValueError, RecursionError) as error:  # a type that numpy lacks
            raise TranscriptError(f"{path} cannot be read ({error}); {_MENDED_BY}") from error
        if stated != digest or not as_written:
            raise TranscriptError(
                f"{path} has changed since it was written: the SHA-256 of its content is not the "
                "one that it states; get the file again from its author"
            )
        names = sorted(name for name in tensors if name.startswith(_POINTS))
        blocks = tuple(tensors.pop(name).numpy().tobytes() for name in names)
        try:
            if tensors.keys() != set(_COLUMNS):
                ours, theirs = (", ".join(sorted(some)) for some in (_COLUMNS, tensors))
                raise ValueError(f"its tensors are {theirs}, expected {ours}")
            columns = {name: tensor.numpy() for name, tensor in tensors.items()}
            transcript = cls(facts, blocks=blocks, **columns)
            transcript._check()
        except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
            raise TranscriptError(f"{path} contradicts itself ({error}); {_MENDED_BY}") from error
        return transcript

    def _check(self) -> None:
        """Compare the columns with each other and with the claim."""
        count, broken = self.ids.size, int((self.fate == BROKEN).sum())
        expected = {
            "ids": ((count,), np.int64),
            "digests": ((count, 16), np.uint8),
            "fate": ((count,), np.uint8),
            "clean_margin": ((count,), np.float32),
            "margin": ((broken,), np.float32),
        }
        for name, (shape, kind) in expected.items():
            column = getattr(self, name)
            if column.shape != shape or column.dtype != kind:
                wanted = f"{kind.__name__} {shape}"
                raise ValueError(f"{name} is {column.dtype} {column.shape}, expected {wanted}")
        if not count:
            raise ValueError("it is about no image")
        if self.ids[0] < 0 or (np.diff(self.ids) <= 0).any():
            raise ValueError("ids do not ascend from 0 or more")
        if self.fate.max() > BROKEN:
            raise ValueError(f"fate is {self.fate.max()}, expected at most {BROKEN}")
        if len(self.blocks) != -(-broken // BLOCK):
            raise ValueError(f"{len(self.blocks)} blocks of points for {broken} broken images")
        self._check_facts()
        counts = claim_of(self.fate)
        if self.facts["claim"] != counts:
            raise ValueError(f"the claim is {self.facts['claim']}, but its images say {counts}")
        parse_epsilon(self.threat.epsilon)

    def _check_facts(self) -> None:
        """Check the type of every fact that verifying reads."""
        texts = {"images": ("sha256", "name", "split"), "model": ("weights_sha256",),
                 "attack": ("name",), "judge": ("device",)}  # fmt: skip
        for group, keys in texts.items():
            for key in keys:
                text = self.facts[group][key]
                _expect(f"{group}.{key}", text, isinstance(text, str))
        shape, pass_size = self.facts["images"]["shape"], self.facts["judge"]["pass_size"]
        three = isinstance(shape, list) and len(shape) == 3 and all(map(_is_count, shape))
        _expect("images.shape", shape, three)
        _expect("judge.pass_size", pass_size, _is_count(pass_size) and pass_size <= 1 << 16)
        settings = self.facts["attack"]["settings"]
        seed, num_images = settings["seed"], settings.get("num_images")
        _expect("attack.settings.seed", seed, _is_count(seed, least=0))
        _expect(
            "attack.settings.num_images", num_images, num_images is None or _is_count(num_images)
        )


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _expect(name: str, value: Any, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name} is {value!r}")


def check_transcript_name(path: Path | None) -> None:
    """Refuse names that `pyrobust verify` would read as another kind of file, and other files.

    Raises:
        UserError: the name does not end in .safetensors, or is that of a folder or of another kind
            of file, such as a model, which the transcript would replace.
    """
    if path is not None and path.is_dir():
        raise UserError(f"the transcript {path} is a folder; name a file in it")
    if path is not None and path.suffix != SUFFIX:
        raise UserError(f"the transcript is {path}; use a name that ends in {SUFFIX}")
    if path is not None and path.is_file() and not _is_transcript(path):
        raise UserError(
            f"the transcript {path} would replace another kind of file; remove it or use another "
            "name"
        )


def _is_transcript(path: Path) -> bool:
    try:
        _, facts = read_tensors(path, _MENDED_BY)
    except UserError:
        return False
    return facts.get("format") == FORMAT["format"]


def claim_of(fate: NDArray[np.uint8]) -> dict[str, int]:
    """Return the numbers that a transcript claims."""
    return {
        "num_images": len(fate),
        "num_clean_correct": int((fate != MISCLASSIFIED).sum()),
        "num_standing": int((fate == STANDING).sum()),
    }


def _content_sha256(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of everything that a transcript states."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        held = tensors[name].contiguous().numpy()
        digest.update(f"{name} {held.dtype} {held.shape}\n".encode() + held.tobytes())
    return digest.hexdigest()


def _is_as_written(path: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the header is spelled as `write` does, so that no change of a byte is without effect.

    JSON has several spellings of a value: white space, 1e-06 and 1E-06, escapes in either case.
    """
    with path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    spelled = json.dumps(json.dumps(facts, sort_keys=True), ensure_ascii=False).encode()
    return spelled in header and not set(header) & set(b"\t\n\r")
