"""Configuration: defaults, file, environment; and every mistake is told with its place."""

from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.config import DEFAULTS, Config, load_config
from pytest_guardrails.reliability.breakers.config_cache import cache_of
from pytest_guardrails.reliability.breakers.keys import KEYS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "guardrails.yaml"


def load(file: Path, text: str = "", **variables: str) -> Config:
    file.write_text(text)
    return load_config(str(file), variables)


def test_every_key_has_a_default() -> None:
    assert tuple(DEFAULTS) == KEYS


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, {})
    assert {key: setting.value for key, setting in config.settings.items()} == DEFAULTS
    assert config.state_file == str(tmp_path / ".claude/hook_state.json")
    assert (config.breaker().failure_threshold, config.breaker().cooldown_s, config.breaker().success_threshold) == (
        3,
        300,
        2,
    )


def test_the_file_stands_above_the_defaults_and_the_environment_above_the_file(file: Path) -> None:
    text = "circuit_breaker:\n  failure_threshold: 5\n  cooldown_seconds: 7.5\nstate_backend: json\n"
    config = load(file, text, GUARDRAILS_CIRCUIT_BREAKER_FAILURE_THRESHOLD="9", GUARDRAILS_LOGGING_LEVEL="ERROR")
    found = {key: setting for key, setting in config.settings.items() if setting.source != "default"}
    assert found == {
        "circuit_breaker.failure_threshold": (9, "$GUARDRAILS_CIRCUIT_BREAKER_FAILURE_THRESHOLD"),
        "circuit_breaker.cooldown_seconds": (7.5, f"{file}:3"),
        "state_backend": ("json", f"{file}:4"),
        "logging.level": ("ERROR", "$GUARDRAILS_LOGGING_LEVEL"),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "circuit_breaker:\n  failure_threshold: 0",
            r"yaml:2: circuit_breaker.failure_threshold must be .* 1 to 100, not 0",
        ),
        ("circuit_breaker:\n  failure_threshold: 2.5", "not 2.5"),
        ("circuit_breaker:\n  failure_threshold: true", "not True"),
        ("circuit_breaker:\n\n  cooldown_seconds: .nan", "yaml:3: circuit_breaker.cooldown_seconds must be a number"),
        ("circuit_breaker:\n  cooldown_seconds: 86401", "0 to 86400"),
        ("circuit_breaker:\n  enabled: maybe", "must be true or false, not 'maybe'"),
        ("circuit_breaker:\n  exclude: [1]", "must be a list of texts"),
        ("circuit_breaker:\n  treshold: 3", "yaml:2: circuit_breaker.treshold is no setting"),
        ("circuit_breaker:\n  failure_treshold: 3", "did you mean circuit_breaker.failure_threshold"),
        ("circuit_breaker: 3", "yaml:1: circuit_breaker must be a mapping"),
        ("- a", "yaml:1: the file must be a mapping"),
        ("state_backend: redis", "one of sqlite, json"),
        ("state_file: 3", "must be a text"),
        ('state_file: "a\\0b"', "yaml:1: state_file must be a text that can name a file"),
        ('logging:\n  file: "\\ud800"', "yaml:2: logging.file must be a text that can name a file"),
        ("state_file: a\nstate_file: b", "yaml:2: state_file was set before, in line 1"),
        ("a: [", "not YAML"),
        ("a: \t- b\n  c: d: e", "not YAML"),
        ("logging:\n  level: LOUD", "one of DEBUG, INFO"),
        ("logging:\n  format: '%(wrong)s'", "yaml:2: logging.format may use"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_file_line_and_key(file: Path, text: str, complaint: str) -> None:
    for _ in range(2):  # the second time the file's kept result is read
        with pytest.raises(ConfigurationError, match=complaint):
            load(file, text)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("GUARDRAILS_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "nan"),
        ("GUARDRAILS_CIRCUIT_BREAKER_FAILURE_THRESHOLD", ""),
        ("GUARDRAILS_CIRCUIT_BREAKER_COOLDOWN_SECONDS", "inf"),
        ("GUARDRAILS_CIRCUIT_BREAKER_ENABLED", "perhaps"),
        ("GUARDRAILS_CIRCUIT_BREAKER_EXCLUDE", '["a"'),
        ("GUARDRAILS_STATE_FILE", ""),
    ],
)
def test_a_mistake_in_the_environment_is_told_with_the_variable(file: Path, variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^\${variable} must be"):
        load(file, "", **{variable: text})


def test_switches_and_lists_in_the_environment(file: Path) -> None:
    config = load(file, GUARDRAILS_CIRCUIT_BREAKER_ENABLED="off", GUARDRAILS_CIRCUIT_BREAKER_EXCLUDE='["a, b", "c"]')
    assert config.value("circuit_breaker.enabled") is False
    assert config.value("circuit_breaker.exclude") == ["a, b", "c"]
    assert load(file, GUARDRAILS_CIRCUIT_BREAKER_EXCLUDE="a b, c").value("circuit_breaker.exclude") == ["a b", "c"]


def test_excluded_commands_are_not_watched_by_name_or_pattern(file: Path) -> None:
    config = load(file, "circuit_breaker:\n  exclude: ['ls [a]', 'echo *']")
    assert [config.guards(name) for name in ("ls [a]", "echo 1", "echo", "ls a", "cat")] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_named_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_config(str(tmp_path / "none.yaml"), {})
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_config(None, {"GUARDRAILS_CONFIG": str(tmp_path / "none.yaml")})


def test_the_kept_result_is_used_only_for_the_very_file_it_was_read_from(file: Path) -> None:
    text = "circuit_breaker:\n  failure_threshold: {}\n"
    assert load(file, text.format(5)).breaker().failure_threshold == 5
    assert Path(cache_of(str(file))).exists()
    assert load_config(str(file), {}).breaker().failure_threshold == 5
    assert load(file, text.format(6)).breaker().failure_threshold == 6


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "guardrails-config-cache 1"}'])
def test_a_damaged_kept_result_is_ignored(file: Path, content: str) -> None:
    load(file, "state_backend: json")
    Path(cache_of(str(file))).write_text(content)
    assert load_config(str(file), {}).state_backend == "json"


def test_sections_may_be_empty(file: Path) -> None:
    assert load(file, "circuit_breaker:\nlogging:\n").breaker().failure_threshold == 3
