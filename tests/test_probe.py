"""Linear probes against scikit-learn and slow references, on stored features, of any layer, of two runs together."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import timm
import torch
from clusters import make
from pictures import write_imagenet, write_places205
from tiny import LAYERED, TINY, fit

from lens import compare, probe, prove, train
from lens.base.draws import generator
from lens.base.errors import BadInput
from lens.figures import summary_table
from lens.images.training_set import training_images
from lens.measuring import feature_store, fusion, inner_features, knn, linear, logistic, sgd, training_rows
from lens.measuring.downstream import merge_downstream
from lens.measuring.probes import Probe
from lens.players import finished, stems
from lens.players.fabric import make_fabric
from lens.results.downstream import Downstream
from lens.results.figure import Estimate
from lens.results.fusion import Fusion


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

    monkeypatch.setattr(
        training_rows, "chunks", lambda count: feature_store.chunks(count, 64)
    )  # the last part is short
    features, labels = problem(classes)
    train = training_rows.Rows.of(features["train"], labels["train"], "cpu")
    x = (features["train"] - features["train"].mean(0, np.float64)) / features["train"].std(0, dtype=np.float64)
    for c in (0.01, 1.0, 100.0):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=1000).fit(x, labels["train"])
        weights, converged = logistic.minimise(train, c, np.zeros((classes, 4)), tolerance=1e-6)
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
    correct, fit = logistic.logistic(features, labels, 0)
    streamed, other = logistic.streamed_logistic(features, labels, "cpu")
    assert (correct == streamed).mean() > 0.99
    assert other.penalty == pytest.approx(fit.penalty)
    assert other.validation == pytest.approx(fit.validation, abs=0.011)
    assert other.converged


def test_16_bits_in_a_file_do_not_change_the_accuracy(tmp_path, monkeypatch):
    features, labels = problem()
    stored = on_disk(features, tmp_path, monkeypatch)
    for method in ("logistic", "sgd"):
        recipe = linear.ProbeRecipe(method, epochs=20)
        (correct, _), (again, _) = (linear.fit(x, labels, 0, recipe)[method] for x in (features, stored))
        assert abs(correct.mean() - again.mean()) <= 0.01, method
        assert correct.mean() > 0.7
    assert abs(knn.probe(features, labels).mean() - knn.probe(stored, labels).mean()) <= 0.01


def test_a_test_label_that_training_lacks_is_never_right():
    features, labels = problem()
    labels = labels | {"test": np.full(200, 7)}
    assert not logistic.streamed_logistic(features, labels, device="cpu")[0].any()
    assert not sgd.sgd(features, labels, seed=0)[0].any()


def test_fitting_leaves_the_features_as_they_are():
    features, labels = problem()
    before = {split: x.copy() for split, x in features.items()}
    logistic.streamed_logistic(features, labels, "cpu")
    sgd.sgd(features, labels, 0, epochs=1)
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
    monkeypatch.setattr(sgd, "BATCH", 64)
    features, labels = problem()
    seen = []
    real = training_rows.Rows.right
    monkeypatch.setattr(training_rows.Rows, "right", lambda self, w, *rest: (seen.append(w), real(self, w, *rest))[1])
    correct, fit = sgd.sgd(features, labels, 3, epochs=7)
    expected = slow_sgd(features["train"].astype(float), labels["train"], 3, 3, 7, 64)
    assert np.abs(seen[-1] - expected).max() < 1e-4
    assert np.abs(expected).max() > 0.3
    assert correct.mean() > 0.7
    assert fit.epochs == 7
    again, _ = sgd.sgd(features, labels, 3, epochs=7)
    assert (correct == again).all()


def test_the_rate_falls_at_30_and_50_of_70_epochs():
    rates = [sgd.sgd_rate(epoch, 70, 512) for epoch in range(70)]
    assert rates[0] == rates[29] == pytest.approx(0.2)
    assert rates[30] == rates[49] == pytest.approx(0.02)
    assert rates[50] == rates[69] == pytest.approx(0.002)
    assert [sgd.sgd_rate(e, 7, 256) for e in (2, 3, 5)] == pytest.approx([0.1, 0.01, 0.001])


def test_nothing_is_chosen_on_test_labels():
    features, labels = problem()
    other = labels | {"test": (labels["test"] + 1) % 3}
    assert sgd.sgd(features, labels, 0, 5)[1] == sgd.sgd(features, other, 0, 5)[1]
    a, b = (logistic.streamed_logistic(features, y, "cpu")[1] for y in (labels, other))
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
        feature_store.allocate(10**13, 2048, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot keep 4\.10 GB in"):
        feature_store.allocate(10**6, 2048, tmp_path / "file")


def test_features_beyond_16_bits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "IN_MEMORY", 0)
    rows = feature_store.allocate(4, 2, tmp_path)
    feature_store.write(rows, 0, np.full((2, 2), 65504.0))
    with pytest.raises(BadInput, match="features reach 7e\\+04 and 16 bits hold 65,504"):
        feature_store.write(rows, 2, np.full((2, 2), 7e4))


def test_the_benchmark_runs(tmp_path, capsys):
    from benchmarks import probe as benchmark

    small = ["--rows", "3000", "--width", "16", "--classes", "5", "--held_out", "200", "--folder", str(tmp_path)]
    assert benchmark.main([*small, "--out", str(tmp_path / "p.md")]) == 0
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["phases"]["L-BFGS"]["sums"] == 2
    assert result["phases"]["SGD"]["steps"] == 5
    assert "RssAnon" in (tmp_path / "p.md").read_text()
    capsys.readouterr()


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory, photos):
    """A lens run, and two runs without a lens that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    arms = {"lens": [], "plain": ["--lens", "none"], "control": ["--lens", "none", "--seed", "1"]}
    for name, more in arms.items():
        argv = fit(
            [*LAYERED, "--steps", "1", "--test_images", "4", "--data", f"{photos}", "--out", f"{folder / name}", *more]
        )
        assert train.main(argv) == 0
    return folder


def test_a_fusion_leaves_what_was_measured_on_other_numbers_of_images():
    before = Downstream(source="photos", linear=Estimate(0.5), n_train=9, n_test=4, chance=0.5)
    part = Fusion(control_run="control", features={}, n_train=5, n_test=2, fused=Estimate(0.7))
    fused = Downstream(source="photos", n_train=5, n_test=2, chance=0.6, fusion={"other": part})
    merged = merge_downstream({"photos": before}, {"photos": fused})
    assert merged["photos"] == dataclasses.replace(before, fusion={"other": part})


def downstream_of(run):
    return json.loads((run / "summary.json").read_text())["downstream"]


def refused(argv, capsys):
    """The one line that a command is refused with."""
    capsys.readouterr()
    assert probe.main([str(word) for word in argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_sgd_and_layers_stand_beside_what_was_measured_before(runs, capsys):
    before = downstream_of(runs / "lens")["photos"]
    assert probe.main([f"{runs / 'lens'}", "--method", "both", "--probe_epochs", "7", "--layer", "all"]) == 0
    capsys.readouterr()
    part = downstream_of(runs / "lens")["photos"]
    assert {key: part[key] for key in before} == before
    assert part["fit_sgd"]["epochs"] == 7
    assert list(part["layers"]) == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert [layer["features"] for layer in part["layers"].values()] == [32, 32, 48, 192, 96]
    for found in (part, *part["layers"].values()):
        for key in ("linear", "linear_sgd", "untrained", "untrained_sgd"):
            low, high = found[f"{key}_ci"]
            assert low <= found[key] <= high
        assert (found["n_train"], found["n_test"]) == (before["n_train"], before["n_test"])
    assert probe.main([f"{runs / 'lens'}", "--layer", "layer2", "--method", "sgd", "--probe_epochs", "7"]) == 0
    again = downstream_of(runs / "lens")["photos"]
    assert again == part  # the same figures; the other layers and the other method are kept
    names = [row[0] for row in summary_table.table(finished.Run.open(runs / "lens").summary())]
    assert len(names) == len(set(names))
    assert {"photos: linear, SGD", "photos: linear, SGD, layer3", "photos: linear, layer3, untrained"} <= set(names)
    whole = Downstream.of_json(part)
    fewer = dataclasses.replace(whole, layers={}, n_train=20)
    assert not merge_downstream({"photos": whole}, {"photos": fewer})[
        "photos"
    ].layers  # those were fitted on other images


def test_figures_on_other_numbers_of_images_are_kept_beside_those_that_replace_them(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "plain", tmp_path / "run")
    before, count = (run / "summary.json").read_bytes(), downstream_of(run)["photos"]["n_train"]
    assert probe.main([f"{run}", "--probe_images", f"{count - 2}"]) == 0
    assert (
        "figures of photos on other numbers of images stood in summary.json: it is kept as summary_1.json"
        in capsys.readouterr().err
    )
    assert (run / "summary_1.json").read_bytes() == before
    assert downstream_of(run)["photos"]["n_train"] == count - 2
    assert probe.main([f"{run}", "--probe_images", f"{count - 2}"]) == 0  # of the same images: nothing is lost
    assert not (run / "summary_2.json").exists()


@pytest.mark.parametrize("verb", ["train", "probe", "prove"])
def test_so_few_images_that_they_are_of_one_class_are_refused_before_anything_is_done(
    runs, photos, tmp_path, capsys, verb
):
    few = ["--probe_images", "1"]
    call = {
        "train": (train.main, [*fit([*LAYERED, "--data", str(photos), "--out", str(tmp_path / "new")]), "--probe", str(photos), *few]),
        "probe": (probe.main, [str(runs / "lens"), *few, "--probe", str(photos)]),
        "prove": (prove.main, [str(runs / "lens"), *few, "--probe", str(photos)]),
    }  # fmt: skip
    main, argv = call[verb]
    before = (runs / "lens" / "summary.json").read_bytes()
    capsys.readouterr()
    assert main(argv) == 2
    assert "a probe needs two classes, and what --probe_images 1 takes of" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert (runs / "lens" / "summary.json").read_bytes() == before


def test_features_in_files_give_a_run_the_same_figures(runs, monkeypatch, photos):
    argv = [f"{runs / 'control'}", "--method", "both", "--probe_epochs", "7", "--layer", "layer4"]
    assert probe.main(argv) == 0
    memory = downstream_of(runs / "control")["photos"]
    monkeypatch.setattr(feature_store, "IN_MEMORY", 0)
    assert probe.main(argv) == 0
    stored = downstream_of(runs / "control")["photos"]
    test = memory["n_test"]
    for one, other in ((memory, stored), (memory["layers"]["layer4"], stored["layers"]["layer4"])):
        for key in ("linear", "linear_sgd", "untrained", "untrained_sgd"):
            assert abs(one[key] - other[key]) <= 2 / test, key


def test_a_layer_is_what_a_hook_sees_of_it(runs):
    backbone = timm.create_model("test_resnet", num_classes=0).eval()
    seen = {}
    for name in ("layer1", "layer3"):
        backbone.get_submodule(name).register_forward_hook(lambda m, i, out, name=name: seen.update({name: out}))
    read = inner_features.Reader(backbone, inner_features.choose(backbone, ["layer3", "layer1"], "test_resnet"))
    with torch.no_grad():
        together = read(torch.randn(2, 3, 32, 32))
    for name, columns in read.columns.items():
        assert torch.allclose(together[:, columns], seen[name].mean(dim=(2, 3)), atol=1e-6)
    assert together.shape == (2, 32 + 192)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_layers_of_other_kinds_of_models(name):
    backbone = timm.create_model(name, num_classes=0).eval()
    read = inner_features.Reader(backbone, inner_features.choose(backbone, ["all"], name))
    side = backbone.default_cfg["input_size"][-1]
    with torch.no_grad():
        assert read(torch.randn(2, 3, side, side)).shape == (2, max(c.stop for c in read.columns.values()))


def test_a_layer_that_the_small_stem_takes_away_is_not_offered():
    backbone = timm.create_model("resnetv2_18d", num_classes=0).eval()
    assert inner_features.known(backbone)[0] == "stem.conv3"
    stems.small_stem(backbone, "resnetv2_18d")
    assert inner_features.known(backbone)[0] == "stages.0"
    read = inner_features.Reader(backbone, inner_features.choose(backbone, ["all"], "resnetv2_18d"))
    with torch.no_grad():
        read(torch.randn(1, 3, 32, 32))
    assert read.columns["stages.0"] == slice(0, 64)


def test_an_unknown_layer_gets_one_line(runs, capsys):
    line = refused([runs / "plain", "--layer", "layr3"], capsys)
    assert "--layer 'layr3' is no layer of test_resnet: give all, or did you mean 'layer3'?" in line
    assert "act1, layer1, layer2, layer3, layer4" in line
    with pytest.raises(BadInput, match="gives no inner layers of that model"):
        inner_features.choose(torch.nn.Linear(1, 1), ["all"], "that model")


def test_mistakes_about_methods_get_one_line(runs, capsys):
    assert "--method" in refused([runs / "plain", "--method", "sdg"], capsys)
    assert "--probe_epochs is 0" in refused([runs / "plain", "--probe_epochs", "0"], capsys)


def test_several_sets_at_once_in_their_own_layouts(runs, tmp_path, monkeypatch):
    write_imagenet(tmp_path)
    write_places205(tmp_path / "places205", 30)
    monkeypatch.setenv("LENS_DATA", str(tmp_path))
    argv = [f"{runs / 'plain'}", "--method", "sgd", "--probe_epochs", "7", "--probe", "imagenet"]
    assert probe.main([*argv, "--probe", f"{tmp_path}/places205/", "--probe", f"{tmp_path}/imagenet/"]) == 0
    found = downstream_of(runs / "plain")
    # The folder's name clashes with neither the built-in name's source nor the places: all three are there.
    assert {part["source"] for part in found.values()} >= {
        "imagenet",
        f"{tmp_path}/places205/",
        f"{tmp_path}/imagenet/",
    }
    for part in found.values():
        if part["source"] == "imagenet" or part["source"].endswith(("imagenet/", "places205/")):
            assert part["n_test"] == (60 if "places" in part["source"] else 6)
            assert "linear_sgd" in part
            assert "linear" not in part


# --- fusion ----------------------------------------------------------------------------------------------------------


def test_fusion_stands_beside_its_control(runs):
    argv = [f"{runs / 'lens'}", "--fuse", f"{runs / 'plain'}", "--fuse_control", f"{runs / 'control'}"]
    before = downstream_of(runs / "lens")["photos"]
    assert probe.main([*argv, "--method", "both", "--probe_epochs", "7"]) == 0
    after = downstream_of(runs / "lens")["photos"]
    assert {key: after[key] for key in before if key != "fusion"} == before
    part = after["fusion"][f"{runs / 'plain'}"]
    assert part["features"] == {"run": 96, "other": 96, "fused": 192}
    for suffix in ("", "_sgd"):
        for key in ("fused", "control", "run", "other", "gain"):
            low, high = part[f"{key}{suffix}_ci"]
            assert low <= part[key + suffix] <= high
        assert part[f"gain{suffix}"] == pytest.approx(part[f"fused{suffix}"] - part[f"control{suffix}"])
        for key in ("fused", "control", "run", "other"):
            assert part[f"val_{key}{suffix}"] == part[f"{key}_fit{suffix}"]["validation"]
        gain = part[f"val_fused{suffix}"] - part[f"val_control{suffix}"]
        assert part[f"val_gain{suffix}"] == pytest.approx(gain)
    assert part["other"] == downstream_of(runs / "plain")["photos"]["linear"]
    rows = {row[0]: row for row in summary_table.table(finished.Run.open(runs / "lens").summary())}
    assert rows["photos: linear, control"][3] == "plain with control, 192 features"
    assert {"photos: linear, with plain", "photos: gain over the control, SGD", "photos: linear, plain alone"} <= set(
        rows
    )


def test_a_fusion_of_a_run_with_what_its_control_is_gains_nothing(runs):
    """The control in the run's own place: the same features, a gain of exactly zero."""
    opened = [finished.FinishedRun.of(finished.Run.open(runs / name), [], {}) for name in ("control", "plain")]
    settings = opened[0].parsed.settings
    fabric = make_fabric(settings.machine)
    images = training_images(settings)
    control, plain = (one.players(images, fabric) for one in opened)
    part = fusion.measured(
        fusion.Trio(control, plain, control), Probe("photos", images, 0), linear.ProbeRecipe(), "plain", "control"
    ).fusion["plain"]
    assert part.gain == Estimate(0, [0, 0], 0)
    assert part.fused == part.control


def test_the_validation_gain_of_a_fusion_is_that_over_its_control(runs, monkeypatch):
    opened = [finished.FinishedRun.of(finished.Run.open(runs / name), [], {}) for name in ("control", "plain")]
    settings = opened[0].parsed.settings
    images = training_images(settings)
    control, plain = (one.players(images, make_fabric(settings.machine)) for one in opened)
    seen, real = iter((0.1, 0.2, 0.7, 0.4)), fusion.linear.fit

    def fit(*given):
        ((method, (right, went)),) = real(*given).items()
        return {method: (right, dataclasses.replace(went, validation=next(seen)))}

    monkeypatch.setattr(fusion.linear, "fit", fit)
    part = fusion.measured(
        fusion.Trio(control, plain, control), Probe("photos", images, 0), linear.ProbeRecipe(), "plain", "control"
    ).fusion["plain"]
    assert (part.fused.validation, part.control.validation) == (0.7, 0.4)
    assert part.gain.validation == pytest.approx(0.3)


def test_a_run_is_not_measured_on_other_images_than_it_was_trained_on(photos, tmp_path, capsys):
    """Sorted into folders since, the images fall into other splits: the test images may be what it has learnt from."""
    folder, run = shutil.copytree(photos, tmp_path / "photos"), tmp_path / "run"
    assert train.main([*TINY, "--data", str(folder), "--out", str(run)]) == 0
    shutil.rmtree(run / "figures")
    before = {file: file.read_bytes() for file in run.rglob("*.*") if file.is_file()}
    files = sorted(folder.rglob("*.png"))
    for number, file in enumerate(files):
        place = folder / ("test" if number % 3 else "train") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.name)
    message = "was trained on other images than its sources hold now, or they were divided otherwise"
    again = str(shutil.copytree(run, tmp_path / "again"))
    for verb, words in ((probe, []), (prove, []), (compare, [again, "--out", str(tmp_path / "maps")])):
        assert verb.main([str(run), *words]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert {file: file.read_bytes() for file in run.rglob("*.*") if file.is_file()} == before


def test_a_fusion_without_a_fair_control_is_refused(runs, capsys, tmp_path):
    run, plain, control = runs / "lens", runs / "plain", runs / "control"
    assert "twice the features, and that alone can raise" in refused([run, "--fuse", plain], capsys)
    assert "no meaning without --fuse" in refused([run, "--fuse_control", plain], capsys)
    assert "must be three runs" in refused([run, "--fuse", plain, "--fuse_control", plain], capsys)
    assert "must be three runs" in refused([run, "--fuse", run, "--fuse_control", plain], capsys)
    line = refused([plain, "--fuse", control, "--fuse_control", run], capsys)
    assert "has lens 'full_res'" in line
    assert "leave --layer" in refused([run, "--fuse", plain, "--fuse_control", control, "--layer", "all"], capsys)
    assert "is no run directory" in refused([run, "--fuse", tmp_path, "--fuse_control", control], capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.01}, "has lr 0.01 and .* 0.001: a control differs in its seed alone"),
        ({"image_size": 16}, "has image_size 16 and"),
        ({"data": "./elsewhere/"}, "of the same images at the same size"),
        ({"seed": 0}, "has the seed of"),
        ({"steps": 9}, "a control differs in its seed alone"),
    ],
)
def test_a_control_of_other_images_or_the_same_seed_is_refused(runs, change, message):
    run, other, control = (
        finished.FinishedRun.of(finished.Run.open(runs / x), [], {}) for x in ("lens", "plain", "control")
    )
    fusion.check(run, other, control)
    # What neither the features nor the images depend on may differ, and how the same number of steps was given.
    free = {"prove": True, "max_bad_fraction": 0.5, "lens_lr": 0.5, "lens_noise": 0.1, "epochs": 2.0, "val_images": 3}
    alike = dataclasses.replace(control.parsed, plain=control.parsed.plain | free)
    fusion.check(run, other, finished.FinishedRun(control.run, control.summary, alike))
    trained = dataclasses.replace(control.summary.trained, steps=change.get("steps", control.summary.trained.steps))
    summary = dataclasses.replace(control.summary, trained=trained)
    parsed = finished.Parsed(control.parsed.settings, control.parsed.plugins, control.parsed.plain | change)
    with pytest.raises(BadInput, match=message):
        fusion.check(run, other, finished.FinishedRun(control.run, summary, parsed))
