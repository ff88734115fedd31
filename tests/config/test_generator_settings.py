"""Settings of generators: presets fill in what a type has, and nothing else is taken."""

import pytest

from pyrobust.config import parse_settings
from pyrobust.config.generator_types import TYPES
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
        ({"path": "here"}, "path is 'here', but type gaussian takes none; remove it"),
        ({"type": "imported"}, "type imported requires path"),
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
    ("kind", "preset"), [(name, preset) for name, kind in TYPES.items() for preset in kind.presets]
)
def test_settings_that_were_written_read_back_equal(kind: str, preset: str) -> None:
    path = {"path": "here"} if kind == "imported" else {}
    settings = parse_settings(GeneratorSettings, {"type": kind, "preset": preset, **path})
    written = settings.model_dump(mode="json")
    assert None not in written.values()
    assert parse_settings(GeneratorSettings, written) == settings
    presets = TYPES[kind].presets
    assert set(presets[preset]) <= set(presets["paper"]) <= set(written)


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


@pytest.mark.parametrize("kind", [name for name, kind in TYPES.items() if kind.is_trained])
def test_what_no_preset_turns_on_is_absent_and_can_be_given(kind: str) -> None:
    written = parse_settings(GeneratorSettings, {"type": kind}).model_dump(mode="json")
    assert not set(optional_settings(kind)) & set(written)
    given = {"type": kind, "keep_best": "fid", "fid_features": "labeller.json"}
    settings = parse_settings(GeneratorSettings, given)
    assert (settings.fid_measures, settings.fid_samples) == (25, 10_000)
    assert settings.fitting() == {**settings.fitting(), **given, "fid_measures": 25}
