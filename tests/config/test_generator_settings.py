"""Settings of generators: presets fill in what a type has, and nothing else is taken."""

import pytest

from pyrobust.config import parse_settings
from pyrobust.config.generator_presets import PRESETS
from pyrobust.config.generators import GeneratorSettings, optional_settings
from pyrobust.errors import UserError


def test_a_preset_fills_in_what_is_not_given() -> None:
    assert parse_settings(GeneratorSettings, {}).jitter == 1e-6
    assert parse_settings(GeneratorSettings, {"jitter": 1e-3}).jitter == 1e-3
    assert parse_settings(GeneratorSettings, {"jitter": None}).jitter == 1e-6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"training_steps": 5}, "gaussian has no setting 'training_steps'; choose one of: jitter"),
        ({"preset": "tiny"}, "type gaussian has no preset 'tiny'; use paper"),
        ({"path": "here"}, "type gaussian with path 'here'"),
        (
            {"type": "imported", "path": "here", "jitter": 1},
            "imported has no setting 'jitter'; remove it",
        ),
    ],
)
def test_a_setting_of_another_type_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_settings(GeneratorSettings, values)


@pytest.mark.parametrize(
    ("kind", "preset"), [(kind, preset) for kind in PRESETS for preset in PRESETS[kind]]
)
def test_settings_that_were_written_read_back_equal(kind: str, preset: str) -> None:
    path = {"path": "here"} if kind == "imported" else {}
    settings = parse_settings(GeneratorSettings, {"type": kind, "preset": preset, **path})
    written = settings.model_dump(mode="json")
    assert None not in written.values()
    assert parse_settings(GeneratorSettings, written) == settings
    assert set(PRESETS[kind][preset]) <= set(PRESETS[kind]["paper"]) <= set(written)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"type": "biggan", "keep_best": "fid"}, "keep_best is fid, which needs fid_features"),
        ({"type": "biggan", "fid_samples": 100}, "fid_samples has no effect without keep_best"),
        ({"keep_best": "fid", "fid_features": "x"}, "gaussian has no setting 'keep_best'"),
        ({"type": "ddpm", "augment_probability": 0.1}, "ddpm has no setting 'augment_probability'"),
    ],
)
def test_settings_that_need_others_say_so(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_settings(GeneratorSettings, values)


@pytest.mark.parametrize("kind", sorted(set(PRESETS) - {"gaussian", "imported"}))
def test_what_no_preset_turns_on_is_absent_and_can_be_given(kind: str) -> None:
    written = parse_settings(GeneratorSettings, {"type": kind}).model_dump(mode="json")
    assert not set(optional_settings(kind)) & set(written)
    given = {"type": kind, "keep_best": "fid", "fid_features": "labeller.json"}
    settings = parse_settings(GeneratorSettings, given)
    assert (settings.fid_measures, settings.fid_samples) == (25, 10_000)
    assert settings.fitting() == {**settings.fitting(), **given, "fid_measures": 25}
