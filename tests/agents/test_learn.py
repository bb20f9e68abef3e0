"""Learn: no baseline knows the future, skew is seen, models are promoted, updated, rolled back."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.effects import LocalEffects
from agents.holds import freeze
from agents.judge import Judge
from agents.learn import Learn
from agents.protocol import Restore, StoreModel, Train, Trained
from models.online.baselines import FrequencyBaseline, PersistenceBaseline
from models.probability import quantise
from stream.codecs.state import pack, unpack
from stream.config import NetworkConfig
from stream.container import RollingContainer
from stream.features import schema_of
from stream.records import (
    HIT,
    Binned,
    EndOfLog,
    Event,
    FeatureSample,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
)
from tests.agents.loops import (
    Loop,
    ScriptedEffects,
    learn_of,
    load_scripted,
    loop_of,
    scripted_loop,
    scripted_prior,
)
from tests.agents.worlds import (
    PERIOD_NS,
    config_of,
    drive,
    feed,
    interleave,
    joined,
    of_type,
    perceived,
    plain,
    stamp_of,
)

CONFIG = config_of("learn.gate_sweeps=3", "learn.guard_sweeps=4")
PRIMARY = CONFIG.task.primary_horizon_ns
WARMUP = CONFIG.task.warmup_sweeps
GOOD, BAD = 1.5, -1.0
RECORDS = joined(perceived(CONFIG, 16))
OUTCOMES = of_type(feed(Judge(CONFIG), RECORDS), Outcome)


def always_good(request: Train, number: int) -> float:
    return GOOD


def events(loop: Loop, kind: str) -> list[Event]:
    return [event for event in loop.learn.outputs(Event) if event.kind == kind]


# ---- baselines -----------------------------------------------------------------------------------------


def rebuilt(records: list[Any]) -> dict[str, Any]:
    """Features behind each prediction."""
    container, found = RollingContainer(CONFIG), {}
    last: Binned | None = None
    for record in records:
        if isinstance(record, Binned):
            container.fold(record)
            last = record
        else:
            assert last is not None
            found[record.prediction_id] = container.features(last)
    return found


def expected_shadows() -> dict[str, dict[str, Any]]:
    """Each baseline as it must be at every sweep: taught by all outcomes that earlier sweeps revealed."""
    features, found = rebuilt(RECORDS), {}
    names = schema_of(CONFIG).names
    hit_bins, observed_bins = names.index("hit_bins"), names.index("observed_bins")
    for made in of_type(RECORDS, Prediction):
        persistence, frequency = PersistenceBaseline(), FrequencyBaseline()
        for outcome in OUTCOMES:
            if outcome.horizon_ns == PRIMARY and outcome.observed_stamp_ns < made.stamp_ns:
                then = features[outcome.prediction_id]
                x = then.x[outcome.row].astype(np.int64)
                persistence.learn(then.before[outcome.row] == HIT, outcome.occupied)
                frequency.learn(x[:, hit_bins], x[:, observed_bins], outcome.occupied)
        now = features[made.prediction_id]
        x = now.x.astype(np.int64)
        answers = {
            "persistence": persistence.predict(now.before == HIT),
            "frequency": frequency.predict(x[:, hit_bins], x[:, observed_bins]),
        }
        found[made.prediction_id] = {name: p for name, p in answers.items() if p is not None}
    return found


def baselines(shadows: list[Shadow]) -> dict[str, Any]:
    return {
        shadow.prediction_id: {
            name: plain(p) for name, p in shadow.probability.items() if name in ("persistence", "frequency")
        }
        for shadow in shadows
    }


EXPECTED = {name: {key: plain(p) for key, p in found.items()} for name, found in expected_shadows().items()}


def test_shadows_know_the_outcomes_of_earlier_sweeps_only(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path).run(drive(16))
    assert baselines(loop.learn.outputs(Shadow)) == EXPECTED
    assert EXPECTED[RECORDS[-1].prediction_id]["persistence"]
    assert list(EXPECTED.values())[5] == {}  # the sweep that reveals the first outcome, 0.5 s on


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_outcomes_that_come_early_teach_no_baseline_the_future(seed: int) -> None:
    learn = learn_of(CONFIG)
    found = baselines(of_type(feed(learn, interleave(seed, RECORDS, OUTCOMES)), Shadow))
    for name, probability in found.items():
        assert set(probability) <= set(EXPECTED[name])
    first = learn_of(CONFIG)
    assert baselines(of_type(feed(first, [*OUTCOMES, *RECORDS]), Shadow))[RECORDS[1].prediction_id] == {}


def test_outcomes_already_there_when_a_sweep_is_predicted_teach_as_in_the_loop() -> None:
    """The revealing sweep's outcome overtakes its prediction, as it may between topics."""
    log: list[Any] = []
    for record in RECORDS:
        if isinstance(record, Prediction):
            log += [outcome for outcome in OUTCOMES if outcome.observed_stamp_ns == record.stamp_ns]
        log.append(record)
    assert baselines(of_type(feed(learn_of(CONFIG), log), Shadow)) == EXPECTED


@pytest.mark.parametrize("warmup", [0, 1, 4, 9])
def test_frozen_appears_right_after_the_warm_up(tmp_path: Path, warmup: int) -> None:
    config = config_of(f"task.warmup_sweeps={warmup}")
    loop = loop_of(config, tmp_path).run(drive(14))
    shadows, made = loop.learn.outputs(Shadow), loop.perceive.outputs(Prediction)
    assert ["frozen" in shadow.probability for shadow in shadows] == [place >= warmup for place in range(14)]
    primary = config.task.primary
    for shadow, prediction in list(zip(shadows, made, strict=True))[warmup:]:
        assert np.array_equal(shadow.probability["frozen"], prediction.probability[:, primary])


def test_frozen_is_the_model_that_served_the_last_sweep_of_the_warm_up(tmp_path: Path) -> None:
    config = config_of("learn.gate_sweeps=3", "task.warmup_sweeps=18")
    loop, effects = scripted_loop(config, tmp_path, lambda request, number: GOOD + number / 1000)
    loop.run(drive(24))
    made = loop.perceive.outputs(Prediction)
    frozen_id = made[17].model_id
    assert frozen_id != "frequency"
    assert made[-1].model_id != frozen_id
    model = load_scripted(config)(frozen_id, effects.stored[frozen_id].data)
    features = rebuilt([r for r in loop.learn.inputs if isinstance(r, Binned | Prediction)])
    for shadow in loop.learn.outputs(Shadow)[18:]:
        then = features[shadow.prediction_id]
        expected = model.predict(then.x, then.neighbor_index)[:, config.task.primary]
        assert np.array_equal(shadow.probability["frozen"], expected)


def test_frozen_is_made_as_the_first_stream_ends_its_warm_up(tmp_path: Path) -> None:
    """Neither earlier, by the sweeps of all, nor again as the others do."""
    config = config_of("task.warmup_sweeps=9")
    items = [*drive(14, robot_id="anna"), *drive(14, robot_id="bert")[30:]]
    loop, _ = scripted_loop(config, tmp_path, always_good, priors={"network": scripted_prior(config, GOOD)})
    loop.run(sorted(items, key=lambda item: getattr(item, "stamp_ns", 0)))
    made, shadows = loop.perceive.outputs(Prediction), loop.learn.outputs(Shadow)
    assert {prediction.robot_id for prediction in made[:9]} == {"anna", "bert"}
    ended = [prediction for prediction in made if prediction.robot_id == "anna"][8]
    place = [shadow.prediction_id for shadow in shadows].index(ended.prediction_id)
    found = ["frozen" in shadow.probability for shadow in shadows]
    assert found == [number > place for number in range(len(shadows))]
    assert loop.learn._baselines.frozen.model_id == ended.model_id


def test_a_model_held_through_the_warm_up_is_frozen_however_much_is_published(tmp_path: Path) -> None:
    config = config_of("task.warmup_sweeps=32")
    loop, _ = scripted_loop(config, tmp_path, always_good, priors={"network": scripted_prior(config, GOOD)})
    items = drive(36)
    held = items.index(next(item for item in items if getattr(item, "stamp_ns", 0) > stamp_of(10)))
    loop.runtime.run(items[:held])
    cut = len(loop.learn.inputs)
    loop.runtime.tell(freeze(stamp_of(10)))
    loop.run(items[held:])
    served = loop.perceive.outputs(Prediction)[-1].model_id
    published = [record.model_id for record in loop.learn.outputs(ModelPublished)]
    assert served not in published[-20:]
    assert {"frozen" in shadow.probability for shadow in loop.learn.outputs(Shadow)[32:]} == {True}
    assert loop.learn._baselines.frozen.model_id == served

    networks = {"network": NetworkConfig(width=4, layers=1)}
    priors = {"network": scripted_prior(config, GOOD)}
    whole, restored = (learn_of(config, networks, priors=priors) for _ in range(2))
    feed(whole, loop.learn.inputs[: 2 * cut])
    restored.restore(whole.snapshot())
    rest = loop.learn.inputs[2 * cut :]
    assert plain(feed(restored, rest)) == plain(feed(whole, rest))
    assert restored.snapshot() == whole.snapshot()


def test_without_learning_only_baselines_are_made(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path).run(drive(16))
    assert loop.learn.outputs(ModelPublished) == []
    assert {type(effect) for step in loop.learn.steps for effect in step.effects} == set()
    assert {name for shadow in loop.learn.outputs(Shadow) for name in shadow.probability} == {
        "persistence", "frequency", "frozen"
    }  # fmt: skip


# ---- skew ----------------------------------------------------------------------------------------------


def skewed_log(place: int) -> list[Any]:
    """The log with a wrong digest in one prediction."""
    made = of_type(RECORDS, Prediction)[place]
    return [dataclasses.replace(r, feature_digest="0" * 64) if r is made else r for r in RECORDS]


def test_a_digest_that_does_not_match_is_an_event_and_no_shadow() -> None:
    learn = learn_of(CONFIG, {"network": NetworkConfig()})
    log = skewed_log(3)
    outputs = feed(learn, log)
    name = of_type(log, Prediction)[3].prediction_id
    (event,) = (event for event in of_type(outputs, Event) if event.kind == "feature_skew")
    assert event.fields["prediction_id"] == name
    assert len(of_type(outputs, Shadow)) == 15
    assert name not in {shadow.prediction_id for shadow in of_type(outputs, Shadow)}
    assert learn.skewed == 1
    requests = [
        effect
        for outcome in OUTCOMES
        for effect in learn.handle(outcome).effects
        if isinstance(effect, Train)
    ]
    taught = {labels.prediction_id for request in requests for labels in request.labels}
    assert len(taught) > 8
    assert name not in taught


def test_a_lost_record_is_skew_until_it_has_left_the_window() -> None:
    records = joined(perceived(CONFIG, 30))
    lost = of_type(records, Binned)[5]
    learn = learn_of(CONFIG)
    outputs = feed(learn, [record for record in records if record is not lost])
    skewed = {event.stamp_ns for event in of_type(outputs, Event) if event.kind == "feature_skew"}
    assert skewed == {stamp_of(index) for index in range(5, 15)}
    assert len(of_type(outputs, Shadow)) == 20


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whichever_topic_runs_ahead_features_are_rebuilt(seed: int) -> None:
    binned, made = of_type(RECORDS, Binned), of_type(RECORDS, Prediction)
    learn = learn_of(CONFIG)
    outputs = feed(learn, [*interleave(seed, binned, made), EndOfLog()])
    assert [shadow.prediction_id for shadow in of_type(outputs, Shadow)] == [p.prediction_id for p in made]
    assert learn.skewed == 0


def test_a_prediction_whose_record_never_comes_is_skew_in_the_end() -> None:
    learn, made = learn_of(CONFIG), of_type(RECORDS, Prediction)[0]
    assert feed(learn, [made]) == []
    (event,) = feed(learn, [EndOfLog()])
    assert (event.kind, event.fields["prediction_id"]) == ("feature_skew", made.prediction_id)


def test_outcomes_that_come_too_late_are_said_to_be_forgotten() -> None:
    """Twice the longest horizon back is as far as features are kept; what is not learned is told."""
    learn, log = learn_of(CONFIG, {"network": NetworkConfig()}), joined(perceived(CONFIG, 24))
    outputs = feed(learn, log)
    forgotten = [event for event in of_type(outputs, Event) if event.kind == "forgotten"]
    made = of_type(log, Prediction)
    assert [event.fields["prediction_id"] for event in forgotten] == [p.prediction_id for p in made[:13]]
    assert {tuple(event.fields["horizons_ns"]) for event in forgotten} == {CONFIG.task.horizons_ns}
    late = of_type(feed(Judge(CONFIG), log), Outcome)
    effects = [effect for outcome in late for effect in learn.handle(outcome).effects]
    taught = {labels.prediction_id for effect in effects for labels in effect.labels}
    assert taught == {p.prediction_id for p in made[13:-2]}


@pytest.mark.parametrize("cut", [0.25, 0.5, 0.9])
def test_redelivery_changes_nothing(cut: float) -> None:
    log = interleave(1, RECORDS, OUTCOMES)
    once, twice = learn_of(CONFIG), learn_of(CONFIG)
    expected = feed(once, [*log, EndOfLog()])
    begin = round(cut * len(log))
    outputs = feed(twice, [*log[:begin], *log[begin // 2 :], EndOfLog()])
    assert plain(outputs) == plain(expected)
    assert twice.snapshot() == once.snapshot()
    late = learn_of(CONFIG)
    feed(late, joined(perceived(CONFIG, 40)))
    assert feed(late, RECORDS) == []  # older than its container reaches


# ---- serving what proves itself ------------------------------------------------------------------------


def test_a_challenger_that_wins_is_promoted_and_every_training_then_published(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(24))
    promoted = events(loop, "promoted")
    assert len(promoted) == 1
    published = loop.learn.outputs(ModelPublished)
    assert [record.kind for record in published] == ["promotion"] + ["update"] * (len(published) - 1)
    after = [model.model_id for model in effects.trained if model.model_id != published[0].model_id]
    trained = [event for event in events(loop, "trained") if event.stamp_ns >= published[0].stamp_ns]
    assert [record.model_id for record in published[1:]] == [e.fields["model_id"] for e in trained]
    assert set(after) >= {record.model_id for record in published[1:]}
    chain = ["frequency", *(record.model_id for record in published)]
    assert [record.parent_id for record in published] == chain[:-1]
    stored = [
        effect for step in loop.learn.steps for effect in step.effects if isinstance(effect, StoreModel)
    ]
    assert [effect.manifest.model_id for effect in stored] == [record.model_id for record in published]
    assert stored[-1].manifest.kind == "update"


def test_predictions_after_a_promotion_are_the_published_models(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(24))
    made, features = (
        loop.perceive.outputs(Prediction),
        rebuilt([r for r in loop.learn.inputs if isinstance(r, Binned | Prediction)]),
    )
    served = [prediction.model_id for prediction in made]
    change = served.index(next(name for name in served if name != "frequency"))
    assert change > WARMUP
    assert "frequency" not in served[change:]
    assert len(set(served[change:])) == len(served) - change  # a new one every sweep
    for prediction in made[change:]:
        model = load_scripted(CONFIG)(prediction.model_id, effects.stored[prediction.model_id].data)
        then = features[prediction.prediction_id]
        assert np.array_equal(model.predict(then.x, then.neighbor_index), prediction.probability)
    activated = {record.model_id: record.first_stamp_ns for record in loop.perceive.outputs(ModelActivated)}
    assert {p.model_id: p.stamp_ns for p in reversed(made)} == activated


def test_a_published_model_serves_only_later_sweeps(tmp_path: Path) -> None:
    loop, _ = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(24))
    stamps = {record.model_id: record.stamp_ns for record in loop.learn.outputs(ModelPublished)}
    for prediction in loop.perceive.outputs(Prediction):
        if prediction.model_id != "frequency":
            assert prediction.stamp_ns > stamps[prediction.model_id]


def test_a_prior_serves_from_the_second_sweep_on(tmp_path: Path) -> None:
    prior = scripted_prior(CONFIG, GOOD)
    loop, _ = scripted_loop(CONFIG, tmp_path, always_good, priors={"network": prior})
    loop.run(drive(24))
    published = loop.learn.outputs(ModelPublished)
    made = loop.perceive.outputs(Prediction)
    assert [record.kind for record in published] == ["prior"] + ["update"] * (len(published) - 1)
    assert (published[0].model_id, published[0].parent_id) == (prior.model.model_id, "frequency")
    assert published[0].stamp_ns == made[0].stamp_ns
    served = [prediction.model_id for prediction in made]
    trained = next(place for place, made_ in enumerate(made) if made_.stamp_ns > published[1].stamp_ns)
    assert served[:trained] == ["frequency"] + [prior.model.model_id] * (trained - 1)
    assert len(set(served[trained:])) == len(served) - trained
    assert events(loop, "promoted") == events(loop, "rolled_back") == []


def test_a_prior_that_fits_worse_than_the_built_in_model_gives_way_to_it(tmp_path: Path) -> None:
    """It begins with the prior, whose training is of no use either; then that learns, and is promoted."""
    prior, good = scripted_prior(CONFIG, BAD), 16
    loop, _ = scripted_loop(
        CONFIG,
        tmp_path,
        lambda request, number: GOOD if number >= good else BAD,
        priors={"network": prior},
    )
    loop.run(drive(40))
    (rolled,) = events(loop, "rolled_back")
    (promoted,) = events(loop, "promoted")
    assert rolled.fields["challenger_log_loss"] < rolled.fields["champion_log_loss"]
    published = loop.learn.outputs(ModelPublished)
    kinds = [record.kind for record in published]
    back, again = kinds.index("rollback"), kinds.index("promotion")
    assert kinds == ["prior"] + ["update"] * (back - 1) + ["rollback", "promotion"] + ["update"] * (
        len(kinds) - again - 1
    )
    assert (published[back].model_id, published[back].stamp_ns) == ("frequency", rolled.stamp_ns)
    assert published[back].parent_id == published[back - 1].model_id
    assert published[again].parent_id == "frequency"
    between = [
        prediction.model_id
        for prediction in loop.perceive.outputs(Prediction)
        if rolled.stamp_ns < prediction.stamp_ns <= promoted.stamp_ns
    ]
    assert len(between) > CONFIG.learn.gate_sweeps
    assert set(between) == {"frequency"}


@pytest.mark.parametrize(
    ("served", "falls"), [("the champion's", True), ("pinned", False), ("frequency", False)]
)
def test_what_another_model_served_says_nothing_of_the_champion(served: str, falls: bool) -> None:
    """As a pinned model, or the predecessor, whose forecasts wait for outcomes as the champion takes over."""
    prior = scripted_prior(CONFIG, GOOD)
    learn = learn_of(CONFIG, {"network": NetworkConfig(width=4, layers=1)}, priors={"network": prior})
    model_id = prior.manifest.model_id if falls else served
    outputs: list[Any] = []
    for record in RECORDS:
        if isinstance(record, Prediction):  # whoever makes it is mostly wrong
            worse = quantise(np.where(record.probability > 0.5, np.float32(0.01), np.float32(0.99)))
            record = dataclasses.replace(record, model_id=model_id, probability=worse)
        outputs += feed(learn, [record])
        if isinstance(record, Prediction):
            outputs += feed(learn, [o for o in OUTCOMES if o.observed_stamp_ns == record.stamp_ns])
    rolled = [event for event in of_type(outputs, Event) if event.kind == "rolled_back"]
    assert bool(rolled) is falls


def test_a_champion_that_turns_bad_with_its_anchor_gives_way_to_the_built_in_model(tmp_path: Path) -> None:
    """Each update is a little worse than the last, so little that the guard, which forgets, lets it pass."""
    skills = [GOOD - 0.2 * step for step in range(60)]
    config = config_of("learn.gate_sweeps=3", "learn.guard_sweeps=3", "learn.guard_margin=1")
    loop, _ = scripted_loop(
        config,
        tmp_path,
        lambda request, number: max(skills[number], BAD),
        priors={"network": scripted_prior(CONFIG, GOOD)},
    )
    loop.run(drive(40))
    served = [prediction.model_id for prediction in loop.perceive.outputs(Prediction)]
    assert events(loop, "rolled_back")
    assert served[-1] == "frequency"


@pytest.mark.fault(37)
def test_a_challenger_that_loses_is_rejected_and_never_serves(tmp_path: Path) -> None:
    config = config_of("learn.gate_sweeps=1")
    loop, _ = scripted_loop(config, tmp_path, lambda request, number: BAD)
    loop.run(drive(30))
    assert len(events(loop, "rejected")) == 2  # after every 8 sweeps; it trains on and is judged anew
    assert loop.learn.outputs(ModelPublished) == []
    assert {prediction.model_id for prediction in loop.perceive.outputs(Prediction)} == {"frequency"}


@pytest.mark.fault(37)
def test_updates_that_lose_are_rolled_back_to_the_anchor(tmp_path: Path) -> None:
    """The trainer is poisoned from its 16th training on: what it makes says the opposite of what is so."""
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: GOOD if number < 16 else BAD)
    loop.run(drive(40))
    rolled = events(loop, "rolled_back")
    assert rolled
    published = loop.learn.outputs(ModelPublished)
    back = [record for record in published if record.kind == "rollback"]
    good = {model.model_id for model in effects.trained[:15]}
    assert [record.stamp_ns for record in back] == [event.stamp_ns for event in rolled]
    (once,) = back
    assert once.model_id in good
    assert once is published[-1]  # whatever is trained from now on proves to be worse, and is held back
    held_back = events(loop, "held_back")
    assert len(held_back) >= 2
    assert [restore.weights["skill"].tolist() for restore in effects.restored] == [[GOOD]] * (
        len(rolled) + len(held_back)
    )
    served = {p.model_id for p in loop.perceive.outputs(Prediction) if p.stamp_ns > rolled[0].stamp_ns}
    assert served == {once.model_id}
    first = next(place for place, model in enumerate(effects.trained) if model.model_id not in good)
    poisoned = effects.requests[first].stamp_ns
    assert rolled[0].stamp_ns <= poisoned + 4 * 100_000_000


def test_after_a_rollback_the_anchor_serves_until_the_next_training(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: BAD if number == 16 else GOOD)
    loop.run(drive(40))
    assert events(loop, "rolled_back") == []  # one bad update is replaced by the next before it is proven
    loop, effects = scripted_loop(
        CONFIG, tmp_path / "b", lambda request, number: BAD if 16 <= number < 19 else GOOD
    )
    loop.run(drive(40))
    (rolled,) = events(loop, "rolled_back")
    (restore,) = effects.restored
    published = loop.learn.outputs(ModelPublished)
    kinds = [record.kind for record in published]
    assert kinds.count("rollback") == 1
    assert (restore.lineage, rolled.fields["lineage"]) == ("network", "network")
    back = kinds.index("rollback")
    assert "update" in kinds[back:]
    proven, *later = published[back + 1 :]  # good again, once it was compared with the anchor for long enough
    assert proven.stamp_ns == rolled.stamp_ns + CONFIG.learn.guard_sweeps * PERIOD_NS
    trained = [e.stamp_ns for e in events(loop, "trained") if e.stamp_ns >= proven.stamp_ns]
    assert [record.stamp_ns for record in later] == trained


def test_after_a_rollback_the_anchor_is_the_newest_state(tmp_path: Path) -> None:
    """Poisoned, rolled back, and then no training succeeds: what is restored is never the poison."""

    def script(request: Train, number: int) -> float | None:
        return None if effects.restored else GOOD if number < 16 else BAD

    loop, effects = scripted_loop(CONFIG, tmp_path, script)
    loop.run(drive(36))
    assert len(events(loop, "rolled_back")) == 1
    assert len(events(loop, "training_failed")) > 3
    assert [restore.weights["skill"].tolist() for restore in effects.restored] == [[GOOD]] * len(
        effects.restored
    )
    (rolled,) = events(loop, "rolled_back")
    served = {p.model_id for p in loop.perceive.outputs(Prediction) if p.stamp_ns > rolled.stamp_ns}
    (back,) = [record for record in loop.learn.outputs(ModelPublished) if record.kind == "rollback"]
    assert served == {back.model_id}


@pytest.mark.fault(35)
def test_training_that_diverges_goes_on_from_the_last_weights(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: None if number == 9 else GOOD)
    loop.run(drive(24))
    (event,) = events(loop, "training_failed")
    assert event.fields == {"lineage": "network", "reason": "loss is inf"}
    assert plain(effects.restored) == plain(
        [Restore(lineage="network", weights={"skill": np.float32([GOOD])})]
    )
    assert len(events(loop, "trained")) == len(effects.requests) - 1


@pytest.mark.fault(35)
def test_a_new_process_gives_its_trainers_the_newest_weights(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: 1 + number / 100)
    assert loop.learn.resume() == ()
    loop.run(drive(12))
    restored = learn_of(CONFIG, {"network": NetworkConfig(width=4, layers=1)})
    restored.restore(loop.learn.snapshot())
    (resumed,) = restored.resume()
    assert resumed.lineage == "network"
    assert resumed.weights["skill"] == np.float32(1 + len(effects.requests) / 100)


def test_a_better_challenger_takes_over(tmp_path: Path) -> None:
    def script(request: Train, number: int) -> float:
        return GOOD if request.lineage == "wide" else 0.2

    loop, _ = scripted_loop(CONFIG, tmp_path, script, lineages=("network", "wide"))
    loop.run(drive(24))
    (promoted,) = events(loop, "promoted")
    assert promoted.fields["lineage"] == "wide"
    lineages = {
        request.lineage for step in loop.learn.steps for request in step.effects if type(request) is Train
    }
    assert lineages == {"network", "wide"}  # both go on training


def test_an_older_snapshot_is_read(tmp_path: Path) -> None:
    """Of version 4, from before some fields were there."""
    loop, _ = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(24))
    state = loop.learn.agent.state()
    older = unpack(pack(state))
    del older["warm"], older["now_ns"], older["lineages"]["makers"]
    for _, robot in older["robots"]:
        robot["newest_prediction"] = [[name, stream["newest_ns"]] for name, stream in robot.pop("streams")]
    learn = learn_of(CONFIG, {"network": NetworkConfig(width=4, layers=1)})
    learn.restore(pack(older))
    again = learn.state()
    newest_ns = max(ns for _, robot in older["robots"] for _, ns in robot["newest_prediction"])
    assert (again["warm"], again["now_ns"]) == (True, newest_ns)
    assert plain(again["lineages"]["lineages"]) == plain(state["lineages"]["lineages"])


# ---- training requests ---------------------------------------------------------------------------------


def test_a_training_holds_each_label_once_and_its_features_with_the_first(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(20))
    outcomes = {
        (o.prediction_id, CONFIG.task.horizons_ns.index(o.horizon_ns)): o for o in loop.judge.outputs(Outcome)
    }
    given = [(labels.prediction_id, labels.horizon) for r in effects.requests for labels in r.labels]
    assert len(given) == len(set(given))
    assert set(given) <= set(outcomes)
    held: set[str] = set()
    for request in effects.requests:
        names = [example.prediction_id for example in request.examples]
        assert held.isdisjoint(names)
        held |= set(names)
        for labels in request.labels:
            assert labels.prediction_id in held
            outcome = outcomes[labels.prediction_id, labels.horizon]
            assert np.array_equal(labels.row, outcome.row)
            assert np.array_equal(labels.occupied, outcome.occupied)
    examples = [example for request in effects.requests for example in request.examples]
    features = rebuilt([r for r in loop.learn.inputs if isinstance(r, Binned | Prediction)])
    for example in examples:
        then = features[example.prediction_id]
        assert np.array_equal(example.x, then.x)
        assert np.array_equal(example.neighbor_index, then.neighbor_index)
        assert np.abs(example.azimuth).max() <= np.float32(math.pi)


def test_every_input_is_released_when_it_is_folded() -> None:
    learn = learn_of(CONFIG)
    keys = [key for record in [*RECORDS, *OUTCOMES] for key in learn.handle(record).released]
    assert len(keys) == len(set(keys)) == len(RECORDS) + len(OUTCOMES)


# ---- bounds and samples --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["no outcomes", "no primary outcomes", "skewed", "whole"])
def test_what_learn_holds_is_bounded(which: str) -> None:
    sizes = []
    records = joined(perceived(CONFIG, 90))
    outcomes = of_type(feed(Judge(CONFIG), records), Outcome)
    if which == "no primary outcomes":  # as of a sensor that has no sweep near enough to it
        outcomes = [outcome for outcome in outcomes if outcome.horizon_ns != PRIMARY]
    for sweeps in (30, 90):
        learn = learn_of(CONFIG, {"network": NetworkConfig()})
        for record in records:
            if record.stamp_ns > stamp_of(sweeps - 1):
                break
            skew = which == "skewed" and isinstance(record, Prediction)
            learn.handle(dataclasses.replace(record, feature_digest="bad") if skew else record)
            if which != "no outcomes" and isinstance(record, Prediction):
                feed(learn, [o for o in outcomes if o.observed_stamp_ns == record.stamp_ns])
        sizes.append(len(learn.snapshot()))
    assert sizes[1] < 1.3 * sizes[0]


def test_feature_samples_follow_the_same_cells() -> None:
    config = config_of("log_features=0.25")
    outputs = feed(learn_of(config), RECORDS)
    samples, features = of_type(outputs, FeatureSample), rebuilt(RECORDS)
    assert len(samples) == 16
    share = sum(len(s.cell_id) for s in samples) / sum(len(f.cell_id) for f in features.values())
    assert 0.15 < share < 0.35
    chosen = set(np.concatenate([sample.cell_id for sample in samples]).tolist())
    for sample in samples:
        then = features[sample.prediction_id]
        assert set(sample.cell_id.tolist()) == chosen & set(then.cell_id.tolist())
        assert np.array_equal(sample.x, then.x[np.isin(then.cell_id, sample.cell_id)])
    assert of_type(feed(learn_of(CONFIG), RECORDS), FeatureSample) == []


@pytest.mark.parametrize(("lineages", "share"), [(("network",), 60.0), (("network", "other"), 30.0)])
def test_the_budget_of_a_sweep_is_shared_by_all_lineages(
    tmp_path: Path, lineages: tuple[str, ...], share: float
) -> None:
    paced = config_of("learn.gate_sweeps=3", "learn.guard_sweeps=4", "learn.budget_ms=60")
    for config, budget_ms in ((paced, share), (CONFIG, None)):
        loop, effects = scripted_loop(config, tmp_path, always_good, lineages)
        loop.run(drive(10))
        assert {request.budget_ms for request in effects.requests} == {budget_ms}
        assert {request.steps for request in effects.requests} == {config.learn.steps_per_sweep}


# ---- a real network ------------------------------------------------------------------------------------

NETWORK = {"network": NetworkConfig(width=8, layers=1)}
REAL = config_of(
    "learn.gate_sweeps=2", "learn.guard_sweeps=4", "learn.steps_per_sweep=8", "learn.learning_rate=0.02",
    "learn.averaging=0.8", "learn.warmup_steps=4", "network.width=8", "network.layers=1",
)  # fmt: skip


class PoisonedEffects(LocalEffects):
    """A trainer that is told the opposite of what happened, from a stamp on."""

    after_ns = stamp_of(32)

    def perform(self, effect: Any) -> Any:
        """As usual, with labels turned round."""
        if isinstance(effect, Train) and effect.stamp_ns > self.after_ns:
            labels = tuple(dataclasses.replace(part, occupied=~part.occupied) for part in effect.labels)
            effect = dataclasses.replace(effect, labels=labels)
        return super().perform(effect)


def real_loop(path: Path, effects: type[LocalEffects] = LocalEffects) -> Loop:
    from agents.replay import load_version
    from tests.agents.worlds import builtin_of

    builtin = builtin_of(REAL)
    learn = Learn(
        REAL, schema_of(REAL), builtin, networks=NETWORK, priors={}, linear=None, load=load_version(builtin)
    )
    return loop_of(REAL, path, networks=NETWORK, learn=learn, effects=effects)


@pytest.mark.learn
def test_a_network_learns_serves_and_repeats_to_the_bit(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first = real_loop(tmp_path / "a").run(drive(32))
    assert events(first, "promoted")
    served = {prediction.model_id for prediction in first.perceive.outputs(Prediction)}
    assert len(served) > 5
    assert {path.name for path in first.folder.models.iterdir() if path.is_dir()} >= served - {"frequency"}
    second = real_loop(tmp_path / "b").run(drive(32))
    assert plain(second.perceive.outputs(Prediction)) == plain(first.perceive.outputs(Prediction))
    assert plain(second.learn.outputs(Event)) == plain(first.learn.outputs(Event))


@pytest.mark.fault(37)
@pytest.mark.learn
def test_poisoned_labels_are_rolled_back_and_the_trainer_with_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    loop = real_loop(tmp_path, PoisonedEffects).run(drive(60))
    rolled = events(loop, "rolled_back")
    assert rolled
    assert rolled[0].stamp_ns > PoisonedEffects.after_ns
    back = next(record for record in loop.learn.outputs(ModelPublished) if record.kind == "rollback")
    restore = next(e for step in loop.learn.steps for e in step.effects if isinstance(e, Restore))
    source = next(
        t for t in loop.learn.inputs if isinstance(t, Trained) and t.model.model_id == back.model_id
    )
    assert plain(restore.weights) == plain(source.weights)
    assert source.stamp_ns < rolled[0].stamp_ns


def test_scripted_effects_store_what_they_publish(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, always_good)
    loop.run(drive(16))
    assert isinstance(effects, ScriptedEffects)
    assert set(effects.stored) == {record.model_id for record in loop.learn.outputs(ModelPublished)}
