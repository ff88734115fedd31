"""The blocks of a VDVAE's encoder and decoder, in the paper's shorthand (Child 2021)."""

from dataclasses import dataclass

from pyrobust.errors import UserError


@dataclass(frozen=True)
class Stage:
    """One block of the encoder or decoder.

    Attributes:
        resolution: height and width of its input.
        factor: downsampling factor of an encoder block, or None.
        source: resolution from which a decoder block upsamples its input, or None.
    """

    resolution: int
    factor: int | None = None
    source: int | None = None


def parse_stages(text: str) -> list[Stage]:
    """Return the blocks of the paper's shorthand.

    "32x11" is eleven blocks at 32×32, "32d2" one that downsamples by 2, "4m1" one at 4×4 whose
    input is the upsampled 1×1 state.

    Raises:
        UserError: a block is spelled differently.
    """
    stages: list[Stage] = []
    for word in text.split(","):
        kind = next((letter for letter in "xdm" if letter in word), None)
        numbers = word.strip().split(kind) if kind else []
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(
                f"invalid VDVAE block '{word}'; expected blocks such as 32x11, 32d2 or 32m16"
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
    """Require resolutions that fit the images and each other.

    Raises:
        UserError: names the resolution that does not fit.
    """
    reached = side
    available = {side}
    for stage in encoder:
        if stage.resolution != reached:
            raise UserError(
                f"an encoder block has resolution {stage.resolution}×{stage.resolution}, but "
                f"its input is {reached}×{reached}; list blocks from the {side}×{side} images "
                "down"
            )
        reached //= stage.factor or 1
        available.add(reached)
    for stage in decoder:
        if stage.resolution not in available:
            raise UserError(
                f"a decoder block has resolution {stage.resolution}×{stage.resolution}; choose "
                f"one of the encoder's resolutions, {sorted(available)}"
            )
    if decoder[-1].resolution != side:
        raise UserError(
            "the last decoder block has resolution "
            f"{decoder[-1].resolution}×{decoder[-1].resolution}, but images are {side}×{side}"
        )
