"""A pair that breaks a rule is left out, with the rule as its reason; a score that was not computed breaks none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.pair import SCORES, Pair
from stages.filter import Rule, judge

bound = st.none() | st.integers(-40, 40).map(float)


def pair_of(domain: str = "sound", **scores) -> Pair:
    return Pair("key", "scene", "add", "synthetic", "demo", domain, "en", "train", 0, **scores)


def judged(pair: Pair, *rules: Rule) -> str | None:
    judge(pair, list(rules))
    assert pair.kept == (pair.reason is None)
    return pair.reason


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SCORES), bound, bound, st.none() | st.floats(-50, 50), st.sampled_from([None, "sound", "music"]))
def test_a_pair_is_kept_exactly_if_it_keeps_to_the_bounds(score, low, high, value, domain):
    if low is None and high is None:
        low = 0.0
    reason = judged(pair_of(**{score: value}), Rule(score=score, min=low, max=high, domain=domain))
    under = value is not None and low is not None and value < low
    over = value is not None and high is not None and value > high
    if domain == "music" or not (under or over):
        assert reason is None
    else:
        assert reason == (f"{score} < {low:g}" if under else f"{score} > {high:g}")


def test_a_bound_itself_is_kept_to():
    assert judged(pair_of(snr_db=3.0), Rule(score="snr_db", min=3.0, max=3.0)) is None


def test_the_first_rule_broken_is_the_reason():
    rules = Rule(score="leak_db", max=-20), Rule(score="snr_db", min=0.5), Rule(score="target_peak_dbfs", max=0)
    assert judged(pair_of(snr_db=-3.0, target_peak_dbfs=1.0), *rules) == "snr_db < 0.5"


def test_a_reason_that_stands_is_kept():
    pair = pair_of(snr_db=-3.0)
    pair.reason = "it is silent"
    assert judged(pair, Rule(score="snr_db", min=0)) == "it is silent"
    assert judged(pair) == "it is silent"


def test_no_rules_keep_all():
    assert judged(pair_of(snr_db=-100.0)) is None


def test_a_rule_is_for_its_domain_only():
    rule = Rule(score="local_snr_db", min=-5, domain="sound")
    assert judged(pair_of("music", local_snr_db=-20.0), rule) is None
    assert judged(pair_of("sound", local_snr_db=-20.0), rule) == "local_snr_db < -5"


@pytest.mark.parametrize("name", ["kept", "seconds_render", "reason", "loudness", "transcribed_by"])
def test_what_is_no_score_has_no_rule(name):
    with pytest.raises(ValueError, match=f"unknown score '{name}'"):
        Rule(score=name, min=0)


def test_a_rule_needs_a_bound():
    with pytest.raises(ValueError, match="neither min, max nor equals"):
        Rule(score="snr_db")


@pytest.mark.parametrize("wanted", ["source", "target", "neither"])
@pytest.mark.parametrize("heard", ["source", "target", "neither", None])
def test_a_choice_is_kept_if_it_is_the_one_wanted_or_none_was_made(wanted, heard):
    rule = Rule(score="asr_choice", equals=wanted)
    assert judged(pair_of("speech", asr_choice=heard), rule) == (None if heard in (wanted, None) else f"asr_choice is {heard}, not {wanted}")


def test_a_choice_is_judged_in_its_domain_only():
    rule = Rule(score="asr_choice", equals="target", domain="speech")
    assert judged(pair_of("sound", asr_choice="source"), rule) is None
    assert judged(pair_of("speech", asr_choice="source"), rule) == "asr_choice is source, not target"


@pytest.mark.parametrize("wrong", [
    {"score": "asr_choice"}, {"score": "asr_choice", "min": 0.0}, {"score": "asr_choice", "equals": "target", "max": 1.0},
    {"score": "asr_choice", "equals": "both"}, {"score": "wer_source", "equals": "target"}, {"score": "wer_source", "equals": "target", "max": 0.0},
])
def test_what_a_choice_cannot_be_is_no_rule(wrong):
    with pytest.raises(ValueError, match="asr_choice"):
        Rule(**wrong)
