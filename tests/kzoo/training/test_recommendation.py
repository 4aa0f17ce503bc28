"""Recommenders: interactions as data, the sampled softmax, ranking figures, and a run from training to file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.cli import cli
from kzoo.data import History, InputSpec, InteractionFrontEnd, guess_medium, open_dataset
from kzoo.evaluation.ranking import HeldOut, measure_ranking, ranking_figures
from kzoo.models import two_tower
from kzoo.ranker import keras_scores, ranker
from kzoo.run import Run
from kzoo.training.objectives import accuracy_of, with_objective
from kzoo.training.sampled_softmax import has_taken, reciprocal_ranks, sampled_softmax

USERS, ITEMS, GROUPS = 240, 120, 6
SETTINGS = {"callbacks.tensorboard": False, "optimizer.learning_rate": 0.01}


def likes(seed: int = 0) -> list[tuple[str, str]]:
    """Users of groups that mostly take the items of their group, the popular ones more often."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, ITEMS + 1) ** 0.7
    groups = rng.integers(0, GROUPS, ITEMS)
    rows = []
    for user in range(USERS):
        weights = popularity * np.where(groups == user % GROUPS, 25.0, 1.0)
        for item in rng.choice(ITEMS, 14, replace=False, p=weights / weights.sum()):
            rows.append((f"user {user}", f"item {item}"))
    return rows


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    rows = "".join(f"{user},{item},4\n" for user, item in likes())
    return write(tmp_path_factory.mktemp("shop") / "likes.csv", "user,item,rating\n" + rows)


@pytest.fixture(scope="module")
def run(table) -> Run:
    return kzoo.train("two_tower", table, epochs=12, settings=SETTINGS, out=table.parent / "run")


@pytest.fixture(scope="module")
def interactions() -> dict[str, list[Any]]:
    """User 1 took 1, 2 and 4, user 2 took 2, user 3 took 3 and 4; item 4 is the most popular beside 2."""
    return {"user": [*"aaa", "b", *"cc"], "item": [*"wxz", "x", *"yz"]}


def test_the_loss_is_a_softmax_over_the_batch_less_what_chance_brings_there():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(5, 5)).astype("float32")
    shares = np.array([0.4, 0.05, 0.3, 0.05, 0.2], "float32")
    left_out = np.zeros((5, 5), bool)
    left_out[0, 2] = left_out[2, 0] = left_out[3, 1] = True
    expected = []
    for row in range(5):
        others = [column for column in range(5) if not left_out[row, column]]
        corrected = {column: scores[row, column] - np.log(shares[column]) for column in others}
        expected.append(-np.log(np.exp(corrected[row]) / sum(np.exp(value) for value in corrected.values())))
    found = keras.ops.convert_to_numpy(sampled_softmax(scores, np.log(shares), left_out))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # As many of the rest are as high or higher, and one more for the item itself.
    better = [sum(scores[row, c] >= scores[row, row] for c in range(5) if not left_out[row, c]) for row in range(5)]
    np.testing.assert_allclose(reciprocal_ranks(scores, left_out), 1 / np.array(better), rtol=1e-6)
    np.testing.assert_allclose(reciprocal_ranks(np.zeros((4, 4)), np.zeros((4, 4), bool)), 0.25)


def test_a_training_step_knows_frequencies_and_accidental_hits():
    front_end = InteractionFrontEnd(("a", "b", "c"), ("x", "z", "w", "y"))
    pairs = np.array([[1, 3], [1, 1], [1, 2], [2, 1], [3, 4], [3, 2]], "int32")

    class Pairs:
        labels = np.zeros(6, np.int64)

        def __len__(self):
            return 6

        def load(self, indices):
            return pairs[indices]

    history = History.of(Pairs(), front_end)
    keras.utils.set_random_seed(0)
    model = two_tower(users=4, items=5, embedding=3, units=(4,))
    trained = with_objective(model, history=history)
    assert [weight.path for weight in trained.weights] == [weight.path for weight in model.weights]
    trained.compile(loss="categorical_crossentropy", metrics=[accuracy_of(trained)])
    # The last is of a user and an item that nobody knows.
    batch = np.array([[2, 1], [1, 3], [3, 2], [2, 1], [0, 0]], "int32")
    loss, accuracy = trained.evaluate(batch, np.ones((5, 1)), batch_size=5, verbose=0)
    every = [np.repeat(batch[:, :1], 5, axis=0), np.tile(batch[:, 1:], (5, 1))]
    scores = model.predict_on_batch(every).reshape(5, 5)
    shares = np.array([2, 1, 2, 2, 1]) / 6
    had = {1: {1, 2, 3}, 2: {1}, 3: {2, 4}, 0: set()}
    losses, ranks = [], []
    for row, (user, item) in enumerate(batch):
        kept = [c for c in range(5) if c == row or not (batch[c, 1] == item or batch[c, 1] in had[user])]
        corrected = scores[row, kept] - np.log(shares[kept])
        losses.append(np.log(np.exp(corrected).sum()) - corrected[kept.index(row)])
        ranks.append(1 / (scores[row, kept] >= scores[row, row]).sum())
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(ranks), rel=1e-5)


def test_what_a_user_took_is_found_by_bisection():
    rng = np.random.default_rng(1)
    taken = rng.random((9, 40)) < rng.random((9, 1))
    taken[0] = taken[4] = False
    taken[:, 0] = False
    users, items = np.nonzero(taken)
    starts = np.searchsorted(users, np.arange(10)).astype("int32")
    history = History(starts, items.astype("int32"), taken.sum(axis=0))
    found = has_taken(history, np.arange(9, dtype="int32"), np.arange(40, dtype="int32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), taken)
    assert history.items_of(4).size == 0 and history.items_of(3).tolist() == items[users == 3].tolist()


def test_figures_are_those_of_a_reckoning_by_hand():
    # Ten places: the first and the third of two; none of one; one of twelve, the best of which could be ten.
    ranks = [np.array([0.0, 2.0]), np.array([10.0]), np.array([1.0, *range(20, 31)])]
    figures = ranking_figures(ranks)
    assert figures.recall == pytest.approx((1 + 0 + 1 / 10) / 3)
    gains = 1 / np.log2(np.arange(2, 12))
    ndcg = ((gains[0] + gains[2]) / gains[:2].sum() + 0 + gains[1] / gains.sum()) / 3
    assert figures.ndcg == pytest.approx(ndcg)
    assert figures.mrr == pytest.approx((1 + 1 / 11 + 1 / 2) / 3)


def test_items_that_were_had_are_left_out_and_unknown_ones_are_missed():
    held = HeldOut(np.array([1]), ("x",), (np.array([4, 0]),), (np.array([1, 2]),))
    # Ids 1 and 2 would be first; of 3 and 4, which are alike, the more popular comes first.
    ranks = held.ranks(np.array([[9.0, 8.0, 1.0, 1.0, 0.5]]))
    np.testing.assert_array_equal(ranks[0], [1, np.inf])


def test_the_ranker_scores_as_the_model_of_pairs():
    keras.utils.set_random_seed(2)
    model = two_tower(users=5, items=7, embedding=4, units=(6,), temperature=0.3)
    made = ranker(model)
    assert [tensor.name for tensor in made.inputs] == ["user"] and made.output_shape == (None, 6)
    users = np.array([0, 3, 4], "int32")
    pairs = [[float(model([np.array([[u]]), np.array([[i]])])[0, 0]) for i in range(1, 7)] for u in users]
    np.testing.assert_allclose(keras_scores(model)(users), pairs, atol=1e-5)


def test_the_tower_of_users_can_be_taken_out_of_a_run(run):
    tower = kzoo.load(run.path, include_top=False)
    users = np.array([[1], [7]], "int32")
    whole = keras.Model(run.model.inputs[0], run.model.get_layer("user_vector").output)
    np.testing.assert_array_equal(tower.predict_on_batch(users), whole.predict_on_batch(users))


def test_a_run_beats_what_everybody_likes(run):
    info, metrics = run.info, run.metrics
    known = info.input.interactions
    assert (info.arguments["users"], info.arguments["items"]) == (USERS + 1, len(known.items) + 1)
    assert len(run.history()) <= 12 and (info.data.val, info.data.test) == (2 * USERS, 2 * USERS)
    assert metrics.samples == USERS and metrics.interactions == 2 * USERS
    assert metrics.model.recall > 1.4 * metrics.popular.recall > 0.1
    assert metrics.model.ndcg > 1.4 * metrics.popular.ndcg and metrics.model.mrr > 1.3 * metrics.popular.mrr
    assert info.metrics["test"]["accuracy"] == metrics.accuracy == metrics.model.recall
    assert info.metrics["test"]["popular"] == metrics.popular.recall
    assert kzoo.evaluate(run.path) == metrics
    assert (run.path / "labels.txt").read_text().splitlines() == list(known.items)
    assert (run.path / "users.txt").read_text().splitlines() == list(known.users)
    page = (run.path / "report.html").read_text()
    assert f"{metrics.popular.ndcg:.4f}" in page and f"{metrics.model.mrr:.4f}" in page
    for side in ("user", "item"):
        assert (run.model.get_layer(f"{side}_embedding").get_weights()[0][0] == 0).all()


def test_the_popular_figures_are_those_of_counting(run):
    dataset = open_dataset(run.info.data.source)
    names = [(row[0], row[1]) for row in likes()]
    train, test = (
        {names[int(split.name(place).split("[")[1][:-1])] for place in range(len(split))}
        for split in (dataset.train, dataset.test)
    )
    counts = {item: sum(each == item for _, each in train) for item in {item for _, item in train}}
    order = list(run.info.input.interactions.items)
    assert [counts[item] for item in order] == sorted(counts.values(), reverse=True)
    recalls = []
    for user in {user for user, _ in test}:
        best = [item for item in order if (user, item) not in train][:10]
        recalls.append(np.mean([item in best for owner, item in test if owner == user]))
    assert run.metrics.popular.recall == pytest.approx(np.mean(recalls))


def test_the_file_recommends_what_the_model_recommends(run):
    result = kzoo.export_model(run.path, quantize="int8", max_drop=0.05)
    assert result.figure == "recall@10" and result.accuracy_keras > 0.3
    assert [tensor.dtype for tensor in (*result.inputs, *result.outputs)] == ["int32", "int8"]
    assert result.float_operators == () and list(result.classes) == list(run.info.input.interactions.items)
    assert abs(kzoo.evaluate(result.path).model.recall - run.metrics.model.recall) < 0.05
    users = ["user 3", "user 100"]
    for ours, theirs in zip(kzoo.recommend(run.path, users), kzoo.recommend(result.path, users), strict=True):
        assert ours.known and theirs.known and len(set(ours.items) & set(theirs.items)) >= 7
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=0.25)


def test_the_float_file_is_the_model(run, tmp_path):
    result = kzoo.export_model(run.path, tmp_path / "m.tflite")
    assert result.parity.max_difference < 1e-5 and result.drop == 0
    assert {each.name for each in result.operators} == {"GATHER", "FULLY_CONNECTED"}
    assert kzoo.evaluate(result.path).model == run.metrics.model


def test_recommendations_leave_out_what_a_user_had(run):
    had = {item for user, item in likes() if user == "user 5"}
    dataset = open_dataset(run.info.data.source)
    history = History.of(dataset.train, dataset.input.interactions)
    known = dataset.input.interactions
    trained = {known.items[item - 1] for item in history.items_of(known.user_ids["user 5"])}
    assert trained < had
    (new,) = kzoo.recommend(run.path, "user 5", top=200)
    assert set(new.items) == set(known.items) - trained
    assert list(new.scores) == sorted(new.scores, reverse=True)
    (everything,) = kzoo.recommend(run.path, "user 5", top=200, seen=True)
    assert set(everything.items) == set(known.items) and set(everything.items[:5]) & trained
    # Whom nobody knows gets what everybody likes.
    (stranger,) = kzoo.recommend(run.path, ["nobody"], top=3)
    assert (stranger.known, stranger.items, set(stranger.scores)) == (False, known.items[:3], {0.0})
    with pytest.raises(kzoo.UsageError, match="at least one item"):
        kzoo.recommend(run.path, "user 5", top=0)
    with pytest.raises(kzoo.UsageError, match=r"which recommends\. Ask it with kzoo\.recommend"):
        kzoo.predict(run.path, ["user 5"])


def test_the_command_line_names_items(run):
    done = CliRunner().invoke(cli, ["predict", str(run.path), "user 5", "nobody", "--top", "2"])
    assert done.exit_code == 0, done.output
    (best,) = kzoo.recommend(run.path, "user 5", top=2)
    first, second = done.stdout.splitlines()
    assert first == "user 5: " + ", ".join(f"{i} {s:.2f}" for i, s in zip(best.items, best.scores, strict=True))
    assert second.startswith("nobody (not in the training data; what was taken most often): item ")
    done = CliRunner().invoke(cli, ["predict", str(run.path), "user 5", "--json"])
    assert json.loads(done.stdout)[0]["items"][:2] == list(best.items)
    done = CliRunner().invoke(cli, ["evaluate", str(run.path)])
    assert "Recall@10" in done.stdout and "of the most popular items" in done.stdout
    done = CliRunner().invoke(cli, ["data", "info", run.info.data.source])
    assert f"{USERS}" in done.stdout and "interaction" in done.stdout


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(table, tmp_path, monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    settings = {**SETTINGS, "model.arguments.units": [8], "model.arguments.temperature": 0.2}
    whole = kzoo.train("two_tower", table, epochs=3, settings=settings, out=tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("kzoo.training.fit.Progress", lambda *given: Stop())
        kzoo.train("two_tower", table, epochs=3, settings=settings, out=tmp_path / "run")
    resumed = kzoo.train("two_tower", resume=True, out=tmp_path / "run")
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        ours, theirs = ([row[name] for row in each.history()] for each in (resumed, whole))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert resumed.metrics == whole.metrics


def test_the_latest_of_each_user_are_held_out_where_times_are_known(tmp_path):
    rows = [(user, f"{user}{number}", f"2024-03-{20 - number:02}T10:00:00") for user in "ab" for number in range(10)]
    rows += [("c", "a0", "2030-01-01"), ("a", "a9", "2031-01-01")]  # few, and once more
    write(tmp_path / "t.csv", "Item,user,timestamp\n" + "".join(f"{item},{user},{time}\n" for user, item, time in rows))
    dataset = open_dataset(tmp_path / "t.csv")
    names = dataset.input.interactions

    def items(split: Any) -> set[str]:
        return {names.items[item - 1] if item else "?" for item in split.load(np.arange(len(split)))[:, 1]}

    # Numbers count backwards in time.
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [13, 4, 4]
    assert items(dataset.train) == {f"{user}{number}" for user in "ab" for number in range(4, 10)} | {"a0"}
    assert {rows[int(dataset.test.name(place)[6:-1])][1] for place in range(4)} == {"a0", "a1", "b0", "b1"}
    assert {rows[int(dataset.val.name(place)[6:-1])][1] for place in range(4)} == {"a2", "a3", "b2", "b3"}


def test_without_times_the_seed_decides_and_every_user_keeps_some(table):
    one, again, other = (open_dataset(table, seed=seed) for seed in (0, 0, 1))
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.split(split).whole(), again.split(split).whole())
    assert one.fingerprint == other.fingerprint
    assert [one.test.name(place) for place in range(9)] != [other.test.name(place) for place in range(9)]
    assert np.bincount(one.train.whole()[:, 0])[1:].tolist() == [10] * USERS
    assert set(one.train.labels) == {0} and one.classes == ("interaction",)


def test_splits_that_are_given_are_taken_and_know_no_new_names(tmp_path):
    write(tmp_path / "train.csv", "user,item\n" + "".join(f"a,{item}\nb,{item}\n" for item in "xyz") + "b,w\n")
    write(tmp_path / "val.csv", "user,item\na,w\n")
    write(tmp_path / "test.csv", "user,item\na,x\na,w\nc,x\na,new\n")
    dataset = open_dataset(tmp_path, kind="interaction")
    assert dataset.input.interactions == InteractionFrontEnd(("a", "b"), ("x", "y", "z", "w"))
    np.testing.assert_array_equal(dataset.test.whole(), [[1, 1], [1, 4], [0, 1], [1, 0]])
    assert guess_medium(tmp_path) == ""
    known = dataset.input.interactions
    spec = InputSpec("interaction", (2,), interactions=known)
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    history = History.of(dataset.train, known)
    metrics = measure_ranking(lambda users: np.ones((len(users), 4)), dataset.test, history, known, "test")
    # What a had is not held out, what is new cannot be found, and c is somebody.
    assert (metrics.samples, metrics.interactions) == (2, 3)
    assert (metrics.unknown_users, metrics.unknown_items) == (1, 1)
    assert metrics.model.recall == pytest.approx((1 / 2 + 1) / 2)


def test_arrays_and_numbers_are_names_too(interactions):
    many = {"user": np.repeat(np.arange(10), 10), "item": np.tile(np.arange(10), 10) * 2}
    dataset = open_dataset({**many, "timestamp": np.tile(np.arange(10), 10)})
    assert dataset.input.interactions.users == tuple(map(str, range(10)))
    # The last two times are those of the items 16 and 18.
    assert not {"16", "18"} & set(dataset.input.interactions.items) and len(dataset.test) == 20
    with pytest.raises(kzoo.DataError, match="in which no user has 4"):
        open_dataset(interactions)


TABLES = {
    "no item": ("user,thing\na,x\n", r"column label.*columns user and item.*'thing'"),
    "no rows": ("user,item\n", "rows below the header"),
    "an empty user": ("user,item\na,x\n ,y\n", "a user in every row.*line 3"),
    "an empty item": ("user,item\na,x\na, \n", "an item in every row.*line 3"),
    "a cell too few": ("user,item\na\n", "2 cells in every row.*line 2"),
    "one item": ("user,item\n" + "".join(f"u{n % 2},x\n" for n in range(9)), "no user has 4"),
    "no time": ("user,item,timestamp\na,x,yesterday\n", "ISO 8601.*line 2, 'yesterday'"),
}


@pytest.mark.parametrize(("content", "message"), TABLES.values(), ids=TABLES)
def test_a_bad_table_is_told_in_one_line(tmp_path, content, message):
    with pytest.raises(kzoo.DataError, match=message) as refused:
        open_dataset(write(tmp_path / "t.csv", content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"user": ["a"]}, "arrays user and item.*Received: user"),
        ({"user": ["a"], "item": ["x"], "time": [3]}, "Unknown array 'time'.*timestamp"),
        ({"user": ["a", "b"], "item": ["x"]}, "of one shape"),
        ({"user": [0.5], "item": ["x"]}, "whole numbers or strings as user"),
        ({"user": ["a"], "item": ["x"], "timestamp": [np.nan]}, "finite numbers as timestamp"),
    ],
)
def test_bad_arrays_are_told_in_one_line(arrays, message):
    with pytest.raises(kzoo.DataError, match=message):
        open_dataset(arrays)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("lstm", {}, "Expected sequences or texts.*which holds interactions.*--task recommendation"),
        ("two_tower", {"class_weights": "balanced"}, "class_weights: two_tower learns from who took what"),
        ("two_tower", {"similarity.margin": 0.5}, "similarity is for a model of that task"),
        ("two_tower", {"model.arguments.users": 3}, "users is not for a recipe: it follows from the data"),
        ("two_tower", {"model.arguments.temperature": 0}, "`temperature` must be None or a positive number"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(table, tmp_path, model, settings, message):
    with pytest.raises(kzoo.KzooError, match=message):
        kzoo.train(model, table, settings=settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_data_than_interactions_is_refused(run, tmp_path):
    with pytest.raises(kzoo.DataError, match=r"Expected interactions\. Received: digits"):
        kzoo.train("two_tower", "digits", out=tmp_path / "run")
    with pytest.raises(kzoo.UsageError, match="received one of interactions: no kit"):
        kzoo.export_model(run.path, tmp_path / "m.tflite", target="android")
