import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from sign_models.errors import DataError, ParamsError
from sign_models.evaluation.metrics import groundedness, right, score
from sign_models.evaluation.presets import PRESETS, find_preset, resolve_preset
from sign_models.evaluation.reliability import diagram, measure
from sign_models.evaluation.significance import compare
from sign_models.evaluation.text import words

# Sentences made up for these tests: they differ in case, punctuation, repeated words, full stops and length.
ENGLISH = (
    [
        "Now I'm going to show you how to hold the racket.",
        "It's a very good idea, isn't it? Yes.",
        "the the cat sat on the mat today . ok",
        "We want to do U.S. style dips (3 of them).",
        "hello",
    ],
    [
        "I'm going to show you how to hold a racket.",
        "It is a good idea, isn't it? Yes, it is.",
        "The cat sat on the mat.",
        "We want to do three U.S.-style dips.",
        "Hello there, my friends.",
    ],
)
GERMAN = (
    [
        "und nun die wettervorhersage für morgen mittwoch den siebten april .",
        "am tag scheint häufig die sonne im süden .",
        "im westen schauer und gewitter",
        "dort dort regnet es kräftig .",
    ],
    [
        "und nun die wettervorhersage für morgen donnerstag den achten april .",
        "am tag scheint verbreitet die sonne im süden gibt es schauer .",
        "im westen zum teil kräftige schauer und gewitter .",
        "dort regnet es teilweise kräftig .",
    ],
)
CHINESE = (
    ["你今天几点去学校？", "我们明天一起去,好吗?", "他 喜欢吃苹果。", "这是2019年的iPhone 11手机。"],
    ["你明天几点去学校上课？", "我们明天一起去，好吗？", "他很喜欢吃红苹果。", "这是2020年的iPhone 12 手机。"],
)

# BLEU-1..4 and ROUGE-L as printed by the peers' own scripts on these sentences (docs/scoring.md names the files);
# GloFE's script has no ROUGE-L.
PEERS = [
    ("unisign", ENGLISH, [70.0000, 61.1010, 54.7262, 48.9871, 57.9914]),
    ("unisign", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841, 79.8740]),
    ("unisign_csl", CHINESE, [81.7074, 75.5438, 70.0804, 63.9300, 88.6174]),
    ("geosign", ENGLISH, [70.0000, 61.1010, 54.7262, 48.9871, 57.9914]),
    ("geosign", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841, 79.8740]),
    ("geosign_csl", CHINESE, [81.7074, 75.5438, 70.0804, 63.9300, 88.6174]),
    ("mska", ENGLISH, [55.0000, 50.1427, 45.9986, 41.2088, 45.7352]),
    ("mska", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841, 75.1181]),
    ("mska_csl", CHINESE, [79.7145, 71.0331, 63.4645, 55.7339, 79.8812]),
    ("slrt", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841, 75.1181]),
    ("slrt_csl", CHINESE, [79.7145, 71.0331, 63.4645, 55.7339, 79.8812]),
    ("slrt_csl", ENGLISH, [79.2593, 75.3000, 71.3274, 68.3094, 64.5871]),
    ("slt", ENGLISH, [55.0000, 50.1427, 45.9986, 41.2088, 48.3774]),
    ("slt", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841, 76.8393]),
    ("glofe", ENGLISH, [61.5385, 53.8138, 48.7472, 43.4501]),
    ("glofe", GERMAN, [69.4921, 59.0850, 47.7677, 36.7841]),
    ("glofe", CHINESE, [0.0, 0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("preset", "texts", "published"), PEERS)
def test_a_peers_preset_gives_the_numbers_of_its_own_script(preset, texts, published):
    scores = score(*texts, preset)
    ours = [scores.bleu1, scores.bleu2, scores.bleu3, scores.bleu4, scores.rouge_l]
    assert ours[: len(published)] == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(("texts", "bleu4"), [(ENGLISH, 48.9871), (GERMAN, 36.7841), (CHINESE, 0.0)])
def test_gfslt_gives_the_bleu_of_its_script(texts, bleu4):
    assert score(*texts, "gfslt").bleu4 == pytest.approx(bleu4, abs=1e-4)


def test_slt_chrf_is_its_own_script_s():
    assert score(*ENGLISH, "slt").chrf == pytest.approx(64.2806, abs=1e-4)
    assert score(*GERMAN, "slt").chrf == pytest.approx(60.4164, abs=1e-4)


@pytest.mark.parametrize(
    ("preset", "bleu"),
    [
        ("cased", BLEU()),
        ("lowercased", BLEU(lowercase=True)),
        ("chinese", BLEU(tokenize="zh")),
        ("characters", BLEU(tokenize="char")),
    ],
)
@pytest.mark.parametrize("texts", [ENGLISH, GERMAN, CHINESE])
def test_plain_presets_are_sacrebleu_with_its_signature(preset, bleu, texts):
    hypotheses, references = texts
    scores = score(hypotheses, references, preset)
    assert scores.bleu4 == pytest.approx(bleu.corpus_score(hypotheses, [references]).score)
    assert scores.signatures["bleu"] == str(bleu.get_signature())
    chrf = CHRF(lowercase=bleu.lowercase)
    assert scores.chrf == pytest.approx(chrf.corpus_score(hypotheses, [references]).score)
    assert scores.signatures["chrf"] == str(chrf.get_signature())


def test_lower_orders_are_sacrebleu_of_that_order():
    hypotheses, references = ENGLISH
    scores = score(hypotheses, references)
    for order in (1, 2, 3, 4):
        expected = BLEU(max_ngram_order=order).corpus_score(hypotheses, [references]).score
        assert getattr(scores, f"bleu{order}") == pytest.approx(expected)


def test_split_is_lower_case_with_punctuation_apart():
    hypotheses, references = ["I'd like tea, please!"], ["i ' d like tea , please !"]
    assert score(hypotheses, references, "split").bleu4 == pytest.approx(100)
    assert score(hypotheses, references, "cased").bleu4 < 100


def test_phoenix14t_forgives_case_and_a_missing_or_glued_full_stop_but_not_an_empty_output():
    references = ["morgen regnet es im norden ."]
    for hypothesis in ("Morgen regnet es im Norden", "morgen regnet es im norden.", "morgen regnet es im norden ."):
        scores = score([hypothesis], references, "phoenix14t")
        assert (scores.bleu4, scores.rouge_l) == (pytest.approx(100), pytest.approx(100)), hypothesis
    assert score([""], references, "phoenix14t").metrics()["bleu1"] == 0


def test_rouge_l_reads_letters_of_every_script():
    assert score(["我爱北京"], ["我爱上海"]).rouge_l == pytest.approx(50)
    assert score(["schöne grüße"], ["schöne straße"]).rouge_l == pytest.approx(50)
    assert score(["नमस्ते दुनिया"], ["नमस्ते भारत"]).rouge_l == pytest.approx(50)
    assert score(["the cat sat"], ["the cat was here sat"]).rouge_l == pytest.approx(100 * 2 * 3 / (3 + 5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop, now.", ["don", "t", "stop", "now"]),
        ("我爱iPhone 11。", ["我", "爱", "iPhone", "11"]),
        ("e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}", ["e\u0301te\u0301"]),
        ("ที่นี่ 5", ["ที่", "นี่", "5"]),
        ("?!", ["?!"]),
        ("  ", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("references", "preset"),
    [
        (["the cat sat"], "cased"),
        (["Grüße aus Köln", "你好"], "cased"),
        (["नमस्ते दुनिया"], "cased"),
        (["他喜欢苹果。", "OK"], "chinese"),
        (["他 喜欢 苹果"], "chinese"),
        (["コーヒーをください"], "characters"),
        (["กินข้าวแล้วหรือยัง"], "characters"),
    ],
)
def test_auto_takes_the_preset_that_suits_the_script(references, preset):
    assert resolve_preset("auto", references) == preset
    assert score(references, references, preset).preset == preset
    assert resolve_preset("slt", references) == "slt"


def test_words_and_characters_by_hand():
    scores = score(["the dog sat on mat", "yes"], ["the cat sat on the mat", "yes"])
    assert scores.exact_match == 50
    assert scores.words_exact == pytest.approx(100 * 5 / 7)  # the, sat, on, mat, yes of seven words
    assert scores.word_error_rate == pytest.approx(100 * 2 / 7)  # cat -> dog, one "the" missing
    assert scores.character_error_rate == pytest.approx(100 * 7 / 25)  # three of "cat", four of "the "


def test_a_spurious_word_costs_an_error_but_no_exact_word():
    scores = score(["cat dog"], ["cat"])
    assert (scores.words_exact, scores.word_error_rate, scores.exact_match) == (100, 100, 0)


def test_white_space_counts_nothing_in_chinese():
    scores = score(["他 喜欢 苹果"], ["他喜欢苹果"], "chinese")
    assert (scores.exact_match, scores.character_error_rate, scores.words_exact) == (100, 0, 100)
    assert score(["他 喜欢 苹果"], ["他喜欢苹果"]).exact_match == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_empty_outputs_are_all_wrong(preset):
    metrics = score(["", ""], ["我爱北京。", "Where?"], preset).metrics()
    assert metrics.pop("character_error_rate") == metrics.pop("word_error_rate") == 100
    assert set(metrics.values()) == {0.0}


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab cÄ我.?", min_size=1).filter(str.strip), min_size=1, max_size=4),
    preset=st.sampled_from(list(PRESETS)),
)
def test_a_perfect_system_has_no_errors_and_scores_stay_in_range(texts, preset):
    perfect = score(texts, texts, preset)
    assert (perfect.exact_match, perfect.words_exact) == (100, 100)
    assert (perfect.word_error_rate, perfect.character_error_rate) == (0, 0)
    for name, value in score(texts[::-1], texts, preset).metrics().items():
        assert value >= 0 and (name.endswith("error_rate") or value <= 100 + 1e-9), name


def test_refusals():
    with pytest.raises(DataError, match="no references"):
        score([], [])
    with pytest.raises(DataError, match="1 hypotheses for 2 references"):
        score(["a"], ["a", "b"])
    with pytest.raises(DataError, match="reference 2: empty"):
        score(["a", "b"], ["a", "  "])
    with pytest.raises(ParamsError, match="did you mean 'glofe'"):
        find_preset("GloFE")
    with pytest.raises(DataError, match="no systems"):
        compare({}, ["a"])
    with pytest.raises(DataError, match="'short'.*1 hypotheses for 2"):
        compare({"full": ["a", "b"], "short": ["a"]}, ["a", "b"])


def test_comparison_tells_a_better_system_and_is_repeatable():
    references = [
        f"the {animal} sat on the {place} today"
        for animal in ("cat", "dog", "bird", "cow", "fox")
        for place in ("mat", "roof", "grass", "wall")
    ]
    worse = [text.replace("sat", "stood") if i % 2 else text for i, text in enumerate(references)]
    other = [text.replace("sat", "stood") if i % 2 == 0 else text for i, text in enumerate(references)]
    systems = {"worse": worse, "the same": worse, "as bad": other, "perfect": references}
    found = compare(systems, references, samples=200)
    assert found == compare(systems, references, samples=200)
    bleu = {row.system: row for row in found if row.metric == "BLEU"}
    assert bleu["worse"].p_value is None and bleu["the same"].p_value == 1.0
    assert bleu["perfect"].score == pytest.approx(100) and bleu["perfect"].p_value < 0.01
    assert bleu["as bad"].p_value > 0.2
    assert bleu["worse"].score == pytest.approx(score(worse, references).bleu4)
    assert abs(bleu["worse"].mean - bleu["worse"].score) < 2 and "bs:200" in bleu["worse"].signature


# A text that is right, and texts that say something of their clips -----------------------------------------------------


@pytest.mark.parametrize(
    ("hypothesis", "reference", "preset", "is_right"),
    [
        ("good morning", "Good morning!", "cased", False),
        ("good  morning", "Good morning!", "lowercased", True),
        ("Good, morning", "Good morning.", "cased", True),
        ("good morning all", "good morning", "cased", False),
        ("", "good morning", "cased", False),
        ("请给我茶", "请给我茶。", "chinese", True),
        ("请给我水", "请给我茶", "chinese", False),
        ("?!", "?!", "cased", True),
    ],
)
def test_a_text_is_right_if_all_of_its_words_are(hypothesis: str, reference: str, preset: str, is_right: bool) -> None:
    assert right([hypothesis], [reference], preset) == [is_right]


@given(st.permutations(range(6)))
def test_groundedness_is_what_the_clips_contribute_in_any_order(order: list[int]) -> None:
    references = ["tea please", "a large coffee", "hello there", "tea please", "no milk today", "good night"]
    mine = [references[i] for i in order]
    assert groundedness(mine, mine) > 70  # of 100: the texts have little in common
    assert groundedness(["tea please"] * 6, mine) == pytest.approx(0)  # the same of all clips
    assert groundedness([""] * 6, mine) == 0
    assert groundedness(["tea please"] * 6, ["tea please"] * 6) == 0  # nothing to tell apart


def test_reliability_of_texts_is_made_of_its_parts() -> None:
    references, texts = ["tea", "milk", "water", "coffee"], ["tea", "milk", "tea", ""]
    negatives = {"still": [0.9, 0.1], "noise": [0.0, 0.0], "none": []}
    found = measure(texts, references, [0.9, 0.4, 0.6, 0.0], "cased", 0.5, negatives)
    assert (found.coverage, found.precision_accepted) == (0.5, 0.5)
    assert found.by_kind == {"still": 0.5, "noise": 0.0} and found.false_accepts == 0.25
    assert found.correct.tolist() == [True, True, False, False]
    never = measure(texts, references, [0.9, 0.4, 0.6, 0.0], "cased", 0.0)
    assert (never.coverage, never.precision_accepted, never.false_accepts) == (0.75, 2 / 3, None)
    assert never.metrics().keys() == {"coverage", "precision_accepted", "aurc", "ece", "groundedness"}
    assert len(diagram({"one": found, "other": never}).axes) == 2
