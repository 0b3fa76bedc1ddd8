"""Linear probes against scikit-learn and slow references, on stored features, of any layer, of two runs together."""

import json

import numpy as np
import pytest
import torch
from test_measure import make

from lens import feature_store, linear, measure
from lens.draws import generator
from lens.protocols import BadInput


def problem(classes=3):
    """Overlapping clusters in 3 dimensions, of different scales and places."""
    features, labels = make(np.random.default_rng(0), 1.0)
    labels = {split: y % classes for split, y in labels.items()}
    return {s: (x * [1.0, 30.0, 0.2] + [5.0, -2.0, 0.0]).astype(np.float32) for s, x in features.items()}, labels


def on_disk(features, folder, monkeypatch):
    """The same features at 16 bits in a file."""
    monkeypatch.setattr(feature_store, "IN_MEMORY", 0)
    stored = {split: feature_store.gathered(np.array_split(x, 3), len(x), folder) for split, x in features.items()}
    assert all(feature_store.is_stored(x) and x.dtype == np.float16 for x in stored.values())
    return stored


# --- logistic regression in parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_the_streamed_regression_is_scikit_learns(classes, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(linear, "chunks", lambda count: feature_store.chunks(count, 64))  # the last part is short
    features, labels = problem(classes)
    train = linear.Rows.of(features["train"], labels["train"], "cpu")
    x = (features["train"] - features["train"].mean(0, np.float64)) / features["train"].std(0, dtype=np.float64)
    for c in (0.01, 1.0, 100.0):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=1000).fit(x, labels["train"])
        weights, converged = linear.minimise(train, c, np.zeros((classes, 4)), tolerance=1e-6)
        assert converged
        if classes == 2:
            weights = weights[1:] - weights[:1]
        else:  # a constant added to all intercepts changes nothing
            weights[:, -1] -= weights[:, -1].mean()
        assert np.abs(weights[:, :-1] - model.coef_).max() < 2e-3, c
        expected = model.intercept_ - (model.intercept_.mean() if classes > 2 else 0)
        assert np.abs(weights[:, -1] - expected).max() < 2e-3, c


def test_in_parts_the_same_penalty_and_the_same_answers_are_found():
    features, labels = problem()
    correct, fit = linear.logistic(features, labels, 0)
    streamed, other = linear.streamed_logistic(features, labels, "cpu")
    assert (correct == streamed).mean() > 0.99
    assert other["penalty"] == pytest.approx(fit["penalty"])
    assert other["validation"] == pytest.approx(fit["validation"], abs=0.011)
    assert other["converged"]


def test_16_bits_in_a_file_do_not_change_the_accuracy(tmp_path, monkeypatch):
    features, labels = problem()
    stored = on_disk(features, tmp_path, monkeypatch)
    for method in ("logistic", "sgd"):
        how = linear.How(method, epochs=20)
        (correct, _), (again, _) = (linear.fit(x, labels, 0, how)[method] for x in (features, stored))
        assert abs(correct.mean() - again.mean()) <= 0.01, method
        assert correct.mean() > 0.7
    assert abs(measure.knn_probe(features, labels).mean() - measure.knn_probe(stored, labels).mean()) <= 0.01


def test_a_test_label_that_training_lacks_is_never_right():
    features, labels = problem()
    labels = labels | {"test": np.full(200, 7)}
    for method in ("streamed_logistic", "sgd"):
        assert not getattr(linear, method)(features, labels, **({"seed": 0} if method == "sgd" else {"device": "cpu"}))[0].any()  # fmt: skip


def test_fitting_leaves_the_features_as_they_are():
    features, labels = problem()
    before = {split: x.copy() for split, x in features.items()}
    linear.streamed_logistic(features, labels, "cpu")
    linear.sgd(features, labels, 0, epochs=1)
    assert all((features[split] == before[split]).all() for split in before)


# --- SGD -------------------------------------------------------------------------------------------------------------


def slow_sgd(x, y, classes, seed, epochs, batch):
    """Softmax regression by momentum SGD, one example and one class at a time."""
    x = np.hstack([(x - x.mean(0)) / x.std(0), np.ones((len(x), 1))])
    w, v = np.zeros((classes, x.shape[1])), np.zeros((classes, x.shape[1]))
    for epoch in range(epochs):
        rate = 0.1 * batch / 256
        rate *= 0.1 if epoch >= 30 * epochs / 70 else 1
        rate *= 0.1 if epoch >= 50 * epochs / 70 else 1
        order = torch.randperm(len(x), generator=generator(seed, epoch, "linear probe")).numpy()
        for number in range(len(x) // batch):
            gradient = np.zeros_like(w)
            for i in order[number * batch : (number + 1) * batch]:
                p = np.exp(w @ x[i]) / np.exp(w @ x[i]).sum()
                for k in range(classes):
                    gradient[k] += (p[k] - (y[i] == k)) * x[i] / batch
            v = 0.9 * v + gradient
            w = w - rate * v
    return w


def test_sgd_is_the_slow_loop_written_from_the_protocol(monkeypatch):
    monkeypatch.setattr(linear, "BATCH", 64)
    features, labels = problem()
    seen = []
    real = linear.Rows.right
    monkeypatch.setattr(linear.Rows, "right", lambda self, w, *rest: (seen.append(w), real(self, w, *rest))[1])
    correct, fit = linear.sgd(features, labels, 3, epochs=7)
    expected = slow_sgd(features["train"].astype(float), labels["train"], 3, 3, 7, 64)
    assert np.abs(seen[-1] - expected).max() < 1e-4
    assert np.abs(expected).max() > 0.3
    assert correct.mean() > 0.7
    assert fit["epochs"] == 7
    again, _ = linear.sgd(features, labels, 3, epochs=7)
    assert (correct == again).all()


def test_the_rate_falls_at_30_and_50_of_70_epochs():
    rates = [linear.sgd_rate(epoch, 70, 512) for epoch in range(70)]
    assert rates[0] == rates[29] == pytest.approx(0.2)
    assert rates[30] == rates[49] == pytest.approx(0.02)
    assert rates[50] == rates[69] == pytest.approx(0.002)
    assert [linear.sgd_rate(e, 7, 256) for e in (2, 3, 5)] == pytest.approx([0.1, 0.01, 0.001])


def test_nothing_is_chosen_on_test_labels():
    features, labels = problem()
    other = labels | {"test": (labels["test"] + 1) % 3}
    assert linear.sgd(features, labels, 0, 5)[1] == linear.sgd(features, other, 0, 5)[1]
    a, b = (linear.streamed_logistic(features, y, "cpu")[1] for y in (labels, other))
    assert a == b


# --- the store -------------------------------------------------------------------------------------------------------


def test_a_store_leaves_no_file_and_joins_columns(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    monkeypatch.setattr(feature_store, "IN_MEMORY", 0)
    together = feature_store.joined(left, right, tmp_path)
    assert feature_store.is_stored(together)
    assert np.allclose(together, np.hstack([left, right]), atol=2e-3)
    assert not list(tmp_path.iterdir())  # not even while it is read


def test_a_disk_that_is_too_small_gets_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"need 40960000\.00 GB on disk and .* free: free some space"):
        feature_store.room(10**13, 2048, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot keep 4\.10 GB of features"):
        feature_store.room(10**6, 2048, tmp_path / "file")


def test_features_beyond_16_bits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "IN_MEMORY", 0)
    rows = feature_store.room(4, 2, tmp_path)
    feature_store.put(rows, 0, np.full((2, 2), 65504.0))
    with pytest.raises(BadInput, match="features reach 7e\\+04 and 16 bits hold 65,504"):
        feature_store.put(rows, 2, np.full((2, 2), 7e4))


def test_the_benchmark_runs(tmp_path, capsys):
    from benchmarks import probe

    small = ["--rows", "3000", "--width", "16", "--classes", "5", "--held_out", "200", "--folder", str(tmp_path)]
    assert probe.main([*small, "--out", str(tmp_path / "p.md")]) == 0
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["phases"]["L-BFGS"]["sums"] == 2
    assert result["phases"]["SGD"]["steps"] == 5
    assert "RssAnon" in (tmp_path / "p.md").read_text()
    capsys.readouterr()
