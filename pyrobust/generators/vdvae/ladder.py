"""The blocks of a very deep VAE, as the paper's shorthand names them."""

from dataclasses import dataclass

from pyrobust.errors import UserError


@dataclass(frozen=True)
class Stage:
    """One block of the ladder.

    Attributes:
        resolution: height and width that it works at.
        factor: by what an encoder block shrinks its output, or None.
        source: the resolution that a decoder block's input is enlarged from, or None.
    """

    resolution: int
    factor: int | None = None
    source: int | None = None


def parse_stages(text: str) -> list[Stage]:
    """Return the blocks that the paper's shorthand means.

    "32x11" is eleven blocks at 32×32, "32d2" one that halves its output, "4m1" one at 4×4 whose
    input is the 1×1 state enlarged.

    Raises:
        UserError: a word is none of these.
    """
    stages: list[Stage] = []
    for word in text.split(","):
        kind = next((letter for letter in "xdm" if letter in word), None)
        numbers = word.strip().split(kind) if kind else []
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(
                f"'{word}' is no block of a VDVAE, expected words as in 32x11, 32d2 or 32m16"
            )
        resolution, number = map(int, numbers)
        if kind == "x":
            stages += [Stage(resolution)] * number
        elif kind == "d":
            stages.append(Stage(resolution, factor=number))
        else:
            stages.append(Stage(resolution, source=number))
    return stages


def check_ladder(side: int, encoder: list[Stage], decoder: list[Stage]) -> None:
    """Refuse ladders that do not fit the images or each other.

    Raises:
        UserError: names the resolution that is wrong.
    """
    reached = side
    available = {side}
    for stage in encoder:
        if stage.resolution != reached:
            raise UserError(
                f"an encoder block works at {stage.resolution}×{stage.resolution} where "
                f"{reached}×{reached} comes in, expected blocks from the {side}×{side} images down"
            )
        reached //= stage.factor or 1
        available.add(reached)
    for stage in decoder:
        if stage.resolution not in available:
            raise UserError(
                f"a decoder block works at {stage.resolution}×{stage.resolution}, expected one "
                f"of the encoder's resolutions, {sorted(available)}"
            )
    if decoder[-1].resolution != side:
        raise UserError(
            f"the last decoder block works at {decoder[-1].resolution}×{decoder[-1].resolution}, "
            f"expected {side}×{side} as the images are"
        )
