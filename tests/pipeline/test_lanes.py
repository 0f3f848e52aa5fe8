"""What the lanes of speech and of recordings promise, on made tables of clips."""

import numpy as np
import pandas as pd
import pytest

from manifests.chance import mix
from pipeline.lanes import EDITED, ROUNDS
from pipeline.lanes.recordings import LEAK_DB, Recordings, Remixes
from pipeline.lanes.utterances import Conversations, Utterances
from pipeline.split import keys
from stages.scenes.conversation import ORDINALS

SECONDS = 10.0  # of a scene
SPEECH = ("speech_delete", "speech_insert", "speech_substitute")


def table(rows: list[dict], first: int = 0) -> pd.DataFrame:
    blank = {"role": "utterance", "label": "", "speaker": "", "piece": "", "part": "", "editable": 0, "leak_db": None,
             "clap_label": None, "duration": 40.0, "file": ""}
    found = pd.DataFrame([{**blank, **row} for row in rows])
    found["clip_id"] = [f"{value:016x}" for value in mix(41, np.arange(first, first + len(found)))]
    return found.assign(uri=found["file"].where(found["file"] != "", found["clip_id"]))


def coded(clips: pd.DataFrame) -> pd.DataFrame:
    """As the plan hands clips to the lanes: in order of their ids, with keys and codes."""
    clips = clips.sort_values("clip_id").reset_index(drop=True)
    return clips.assign(key=keys(clips["clip_id"]), code=np.where(clips["label"] == "", -1, pd.factorize(clips["label"])[0]),
                        file=pd.factorize(clips["uri"])[0])


def speech(count: int, voices: int, first: int = 0, editable: int | None = None) -> pd.DataFrame:
    return table([{"speaker": f"voice {n % voices}", "editable": 1 + n % 7 if editable is None else editable} for n in range(count)], first)


def songs(count: int, first: int = 0) -> pd.DataFrame:
    rows = []
    for n in range(count):
        stems = [("drums", -30.0), ("voice", -10.0 - 3 * (n % 8)), ("bass", -19.9 if n % 2 else -20.0)][: 2 + n % 2]
        rows += [{"role": "stem", "label": label, "leak_db": leak, "piece": f"song {first + n}", "file": f"song {first + n}"} for label, leak in stems]
        rows.append({"role": "stem", "piece": f"song {first + n}", "file": f"song {first + n}", "part": "rest"})
    return table(rows, 10 * first)


def remixable(count: int, grounds: int) -> pd.DataFrame:
    rows = table([{"role": "background", "label": f"ground {n % 4}" if n % 3 else "drums", "file": f"song {n}" if n % 2 else f"ground {n}"}
                  for n in range(grounds)], 5_000)
    return pd.concat([songs(count), rows], ignore_index=True)


def read(maker, lane: int, count: int, edit: str) -> pd.DataFrame:
    """An edit's pairs, with the rows of the clips that they are of."""
    made = maker.lane(lane, count)
    scene, subject, other = (column[:count] for column in maker.pairs(made, edit))
    return pd.DataFrame({"scene": made.scenes[scene], "clips": [list(row[row >= 0]) for row in made.clips[scene]], "subject": subject, "other": other})


def named(pairs: pd.DataFrame, clips: pd.DataFrame) -> set[tuple]:
    """Pairs by the ids of their clips."""
    ids = clips["clip_id"].to_numpy()
    return {(scene, tuple(ids[row]), subject, ids[other] if other >= 0 else "")
            for scene, row, subject, other in zip(pairs["scene"], pairs["clips"], pairs["subject"], pairs["other"])}


@pytest.mark.parametrize("edit", SPEECH)
def test_no_utterance_is_edited_twice_before_each_was_once(edit):
    clips = coded(speech(40, 8, editable=5))
    for count in (10, 40, 41, 100):
        pairs = read(Utterances(clips, 1), 2, count, edit)
        uses = pairs["clips"].map(tuple).value_counts()
        assert len(pairs) == count and uses.max() == -(-count // 40) and (count < 40 or len(uses) == 40)
        assert not pairs.assign(clips=pairs["clips"].map(tuple)).duplicated(["clips", "subject"]).any()


@pytest.mark.parametrize("edit", SPEECH)
def test_an_utterance_is_edited_as_often_as_it_has_other_words_to_edit(edit):
    clips = coded(pd.concat([speech(30, 5), speech(2, 1, 900, editable=0), speech(1, 1, 950, editable=500)], ignore_index=True))
    maker = Utterances(clips, 1)
    able = int(np.minimum(clips["editable"], ROUNDS).sum())
    assert maker.most(edit) == able
    pairs = read(maker, 2, 10_000, edit)
    assert len(pairs) == able
    uses = pairs["clips"].map(lambda row: row[0]).value_counts()
    assert uses.to_dict() == {row: min(n, ROUNDS) for row, n in clips["editable"].items() if n}
    rounds = pairs.groupby(pairs["clips"].map(lambda row: row[0]))["subject"].agg(list)
    assert all(sorted(found) == list(range(len(found))) for found in rounds)


def test_edits_of_an_utterance_are_siblings():
    maker = Utterances(coded(speech(20, 4)), 1)
    assert len({frozenset(read(maker, 2, 30, edit)["scene"]) for edit in SPEECH}) == 1


@pytest.mark.parametrize("voices", [1, 3, 9])
def test_words_come_from_another_recording_of_the_same_voice(voices):
    clips = coded(speech(27, voices))
    pairs = read(Utterances(clips, 1), 2, 60, "speech_substitute")
    assert len(pairs) == 60
    for (own,), other in zip(pairs["clips"], pairs["other"]):
        assert other >= 0 and other != own and clips["speaker"][other] == clips["speaker"][own]
    assert (read(Utterances(clips, 1), 2, 60, "speech_insert")["other"] == -1).all()


def test_where_no_speaker_is_named_a_recording_is_one_voice():
    clips = coded(table([{"editable": 3, "file": f"talk {n // 2}"} for n in range(20)] + [{"editable": 3, "file": "alone"}], 3))
    maker = Utterances(clips, 1)
    pairs = read(maker, 2, 100, "speech_substitute")
    assert maker.most("speech_substitute") == len(pairs) == 60 and maker.most("speech_delete") == 63
    for (own,), other in zip(pairs["clips"], pairs["other"]):
        assert other != own and clips["uri"][other] == clips["uri"][own] != "alone"


@pytest.mark.parametrize("edit", SPEECH)
def test_an_utterance_more_changes_few_pairs(edit):
    clips = speech(1000, 100, editable=3)
    fewer, more = (coded(found) for found in (clips, pd.concat([clips, speech(1, 1, 9_999, editable=3)], ignore_index=True)))
    before, after = (named(read(Utterances(found, 1), 2, 1500, edit), found) for found in (fewer, more))
    assert len(before & after) >= 0.98 * len(before)


def subjects(pairs: pd.DataFrame) -> list[int]:
    return [row[at] for row, at in zip(pairs["clips"], pairs["subject"])]


@pytest.mark.parametrize("edit", ["add", "extract"])
def test_no_stem_is_edited_twice_before_each_was_once(edit):
    clips = coded(songs(24))
    able = clips.index[(clips["label"] != "") & ((edit == "add") | (clips["leak_db"] <= LEAK_DB))]
    maker = Recordings(clips, 1, SECONDS, None)
    assert maker.most(edit) == ROUNDS * len(able)
    for count in (5, len(able), len(able) + 7, 2 * len(able)):
        pairs = read(maker, 1, 10 * count, edit)[:count]
        uses = pd.Series(subjects(pairs)).value_counts().reindex(able, fill_value=0)
        assert uses.sum() == len(pairs) == count and uses.max() - uses.min() <= 1, count


def test_a_scene_is_all_stems_of_one_recording_and_few_pairs_of_an_edit():
    clips = coded(songs(24))
    for edit in ("add", "extract"):
        pairs = read(Recordings(clips, 1, SECONDS, None), 1, 80, edit)
        assert pairs.groupby("scene").size().max() <= EDITED
        for row in pairs["clips"]:
            pieces = set(clips["piece"][row])
            assert len(pieces) == 1 and len(row) == (clips["piece"] == pieces.pop()).sum()
        assert (clips["label"][subjects(pairs)] != "").all()


def test_only_clean_stems_are_extracted():
    clips = coded(songs(24))
    found = subjects(read(Recordings(clips, 1, SECONDS, None), 0, 500, "extract"))
    assert len(found) == 500 and (clips["leak_db"][found] <= -20).all()
    assert (clips["leak_db"][subjects(read(Recordings(clips, 1, SECONDS, None), 0, 200, "add"))] > -20).any()
    assert Recordings(coded(songs(24).assign(leak_db=-19.9)), 1, SECONDS, None).most("extract") == 0


def test_a_stem_without_a_measured_leak_is_not_extracted():
    assert Recordings(coded(songs(6).assign(leak_db=np.nan)), 1, SECONDS, None).most("extract") == 0


def test_a_recording_more_changes_few_pairs():
    clips = songs(200)
    fewer, more = (coded(found) for found in (clips, pd.concat([clips, songs(1, 900)], ignore_index=True)))
    for edit in ("add", "extract"):
        before, after = (named(read(Recordings(found, 1, SECONDS, None), 1, 150, edit), found) for found in (fewer, more))
        assert len(before & after) >= 0.95 * len(before), edit


def test_a_stem_is_never_set_over_its_own_recording_or_its_own_label():
    clips = coded(remixable(30, 40))
    pairs = read(Remixes(clips, 1, None), 0, 300, "remove")
    assert len(pairs) > 250
    for ground, stem in pairs["clips"]:
        assert clips["role"][ground] == "background" and clips["role"][stem] == "stem" and clips["label"][stem] != ""
        assert clips["uri"][ground] != clips["uri"][stem] and clips["label"][ground] != clips["label"][stem]
    assert (pairs["subject"] == 1).all() and pairs["scene"].is_unique and (pairs["other"] == -1).all()


def test_no_stem_is_remixed_twice_before_each_was_once():
    clips = coded(remixable(30, 40))
    stems = int(((clips["role"] == "stem") & (clips["label"] != "")).sum())
    maker = Remixes(clips, 1, None)
    assert maker.most("remove") == ROUNDS * stems
    for count in (10, stems, 2 * stems):
        uses = pd.Series(subjects(read(maker, 0, count, "remove"))).value_counts()
        assert uses.max() <= -(-count // stems)


def test_where_no_background_fits_there_is_no_remix():
    grounds = table([{"role": "background", "label": "drums", "file": "song 0"}], 5_000)
    only = coded(pd.concat([songs(1), grounds], ignore_index=True))
    assert len(read(Remixes(only, 1, None), 0, 20, "remove")) == 0
    assert Remixes(coded(songs(3)), 1, None).most("remove") == 0


def test_a_background_more_changes_few_remixes():
    clips = remixable(120, 60)
    one = table([{"role": "background", "label": "sea", "file": "sea"}], 9_000)
    fewer, more = (coded(found) for found in (clips, pd.concat([clips, one], ignore_index=True)))
    before, after = (named(read(Remixes(found, 1, None), 0, 250, "remove"), found) for found in (fewer, more))
    assert len(before & after) >= 0.9 * len(before)


def test_another_seed_is_another_order():
    clips = coded(speech(40, 8))
    one, other = (named(read(Utterances(clips, seed), 2, 20, "speech_delete"), clips) for seed in (1, 2))
    assert len({row for _, row, *_ in one} & {row for _, row, *_ in other}) < 20 and not {scene for scene, *_ in one} & {scene for scene, *_ in other}


def test_a_stretch_as_long_as_a_scene_gives_one_scene():
    """Cut out again, it would be the same pair."""
    exact = Recordings(coded(songs(4).assign(duration=SECONDS)), 1, SECONDS, None)
    assert exact.most("add") == sum(2 + n % 2 for n in range(4))
    pairs = read(exact, 1, 100, "add")
    assert len(pairs) == exact.most("add") and not pairs[["subject"]].assign(clips=pairs["clips"].map(tuple)).duplicated().any()


def test_a_split_without_utterances_can_have_no_speech_edits():
    maker = Utterances(coded(songs(2)), 1)
    assert [maker.most(edit) for edit in SPEECH] == [0, 0, 0] and maker.holds()


@pytest.mark.parametrize(("least", "able"), [(None, 24 * 5 // 2), (0.0, 24 * 5 // 2), (0.3, 24 * 5 // 2 - 12)])
def test_a_stem_that_does_not_sound_like_its_label_sounds_but_is_not_edited(least, able):
    """One that was not scored is taken to be what it is called."""
    clips = songs(24)
    basses = clips.index[clips["label"] == "bass"]
    clips = coded(clips.assign(clap_label=pd.Series(0.4, clips.index).where(clips["label"] != "drums").mask(clips.index.isin(basses), 0.1)))
    maker = Recordings(clips, 1, SECONDS, least)
    assert maker.most("add") == ROUNDS * able
    pairs = read(maker, 1, ROUNDS * able, "add")
    edited = clips.loc[subjects(pairs)]
    assert set(edited["label"]) == {"drums", "voice"} | ({"bass"} if least != 0.3 else set())
    assert any((clips["label"][row] == "bass").any() for row in pairs["clips"])
    assert Remixes(clips, 1, least).stems["label"].value_counts().get("bass", 0) == (0 if least == 0.3 else len(basses))


# -- conversations


def talks(speakers: list[int], first: int = 0) -> pd.DataFrame:
    return table([{"role": "conversation", "editable": count} for count in speakers], first)


SPEAKERS = ("extract_speaker", "remove_speaker")
COUNTS = [2, 3, 2, 5, 2, 11, 4]


def test_each_speaker_of_each_conversation_is_edited_once_and_no_more_than_can_be_named():
    clips = coded(pd.concat([talks(COUNTS), speech(9, 3, 900), songs(2, 90)], ignore_index=True))
    maker = Conversations(clips, 1)
    able = {row: min(n, len(ORDINALS)) for row, n in clips["editable"][clips["role"] == "conversation"].items()}
    assert maker.most("extract_speaker") == sum(able.values()) == 26 and "7 conversations with 26 speakers" in maker.holds()
    pairs = read(maker, 3, 1_000, "extract_speaker")
    found = pairs.groupby(pairs["clips"].map(lambda row: row[0]))["subject"].agg(sorted)
    assert found.to_dict() == {row: list(range(n)) for row, n in able.items()} and (pairs["other"] == -1).all()


@pytest.mark.parametrize("count", [1, 7, 8, 14, 15, 26])
def test_no_conversation_is_edited_twice_before_each_was_once(count):
    uses = read(Conversations(coded(talks(COUNTS)), 1), 3, count, "remove_speaker")["clips"].map(tuple).value_counts()
    assert uses.sum() == count and len(uses) == min(count, 7) and (count > 14 or uses.max() == -(-count // 7))  # but three have two speakers only


def test_edits_of_a_speaker_are_siblings_and_a_conversation_is_one_scene():
    clips = coded(talks(COUNTS))
    extract, remove = (read(Conversations(clips, 1), 3, 20, edit) for edit in SPEAKERS)
    pd.testing.assert_frame_equal(extract, remove)
    assert extract["scene"].nunique() == extract["clips"].map(tuple).nunique() == 7


def test_it_is_not_always_the_first_who_speaks_that_is_edited_first():
    pairs = read(Conversations(coded(talks([3] * 90)), 1), 3, 90, "extract_speaker")
    assert pairs["subject"].value_counts().reindex(range(3), fill_value=0).min() > 15


def test_a_conversation_more_changes_few_pairs():
    clips = talks([2 + n % 3 for n in range(300)])
    fewer, more = (coded(found) for found in (clips, pd.concat([clips, talks([3], 9_999)], ignore_index=True)))
    before, after = (named(read(Conversations(found, 1), 3, 450, "extract_speaker"), found) for found in (fewer, more))
    assert len(before & after) >= 0.98 * len(before)


def test_a_split_without_conversations_has_no_edits_of_speakers():
    maker = Conversations(coded(songs(2)), 1)
    assert [maker.most(edit) for edit in SPEAKERS] == [0, 0] and maker.holds()
