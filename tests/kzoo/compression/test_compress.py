"""From a run to a smaller run: what was promised is counted in the weights, and in the int8 file."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.compression import Budget, search
from kzoo.export import count_file_kernels
from kzoo.export.compression import remove_filters
from kzoo.export.compression.kernels import count_kernels
from kzoo.export.compression.settings import PruneSettings

POINT = 0.01


def lost(before, after):
    """Accuracy that is gone, on the 538 samples of validation and test: of 269, one point is less than three."""

    def accuracy(source):
        return sum(kzoo.evaluate(source, split=split).accuracy for split in ("val", "test")) / 2

    return accuracy(before) - accuracy(after)


@pytest.mark.slow(60)
def test_zeros_shared_values_and_learned_ranges_are_in_the_int8_file(trained_run, tmp_path):
    everything = {"prune": 0.5, "cluster": 16, "qat": True, "distill": [trained_run.path]}
    run = kzoo.compress(trained_run, **everything, epochs=6, batch_size=16, out=tmp_path / "smaller")
    facts = run.info.compression
    assert facts.methods == ("prune", "cluster", "qat")
    assert facts.sparsity == pytest.approx(0.5, abs=0.01) and 2 < facts.unique <= 16
    counts = count_kernels(keras.saving.load_model(run.path / "model.keras"), facts.pruned)
    assert all(count.sparsity == pytest.approx(0.5, abs=0.01) and count.unique <= 16 for count in counts)
    assert lost(trained_run, run) <= POINT
    page = (run.path / "report.html").read_text()
    assert f"{trained_run.path}: prune → cluster → qat" in page
    for count in counts:
        row = page.split(f'<th scope="row">{count.layer}</th>')[1].split("</tr>")[0]
        assert "pruned, clustered" in row and f">{count.size:,}<" in row and f">{count.unique}<" in row

    result = kzoo.export_model(run, tmp_path / "m.tflite", quantize="int8")
    kernels = count_file_kernels(result.path)
    assert len(kernels) == len(facts.clustered) and all(kernel.unique <= 16 for kernel in kernels)
    assert sum(kernel.zeros / kernel.size >= 0.49 for kernel in kernels) == len(facts.pruned) > 2
    plain = kzoo.export_model(trained_run, tmp_path / "plain.tflite", quantize="int8")
    assert plain.gzip_size > 1.3 * result.gzip_size
    assert all(kernel.unique > 16 for kernel in count_file_kernels(plain.path) if kernel.size > 200)
    assert lost(trained_run, result.path) <= POINT

    assert len(facts.ranges) > 2 and all(lowest <= 0 < highest for lowest, highest in facts.ranges.values())
    steps = [tensor.scale for tensor in kzoo.export.read_tflite(result.path).tensors if tensor.scale]
    for lowest, highest in facts.ranges.values():
        assert any(step == pytest.approx((highest - lowest) / 255, rel=0.01) for step in steps)

    with pytest.raises(kzoo.UsageError, match="Expected a run without cluster and qat"):
        kzoo.compress(run, prune=0.6, out=tmp_path / "nothing")


@pytest.mark.slow(15)
@pytest.mark.parametrize("all_layers", [False, True])
def test_a_run_of_six_steps_reaches_its_sparsity(trained_run, tmp_path, all_layers):
    out = tmp_path / "short"
    run = kzoo.compress(trained_run, prune=0.8, all_layers=all_layers, epochs=2, batch_size=512, out=out)
    assert len(run.history()) == 2
    for count in count_kernels(run.model, run.info.compression.pruned):
        assert count.sparsity == pytest.approx(0.8, abs=0.01)
    # The first and the last layer are left alone unless asked for.
    everything = [count.layer for count in count_kernels(run.model)]
    assert set(run.info.compression.pruned) == set(everything if all_layers else everything[1:-1])


@pytest.mark.slow(15)
def test_of_every_four_weights_two_are_zero(trained_run, tmp_path):
    run = kzoo.compress(trained_run, prune=PruneSettings(0.5, pattern="2:4"), epochs=1, out=tmp_path / "pattern")
    for name in run.info.compression.pruned:
        kernel = run.model.get_layer(name).get_weights()[0]
        # TF-MOT counts along the input channels.
        groups = np.moveaxis(kernel, -2, -1).reshape(-1, 4)
        assert (np.count_nonzero(groups, axis=1) <= 2).all()


@pytest.mark.slow(25)
def test_a_network_that_gradient_descent_trained_is_not_thrown_away_once_it_is_folded(tmp_path):
    sgd = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.1, "optimizer.ema": None}
    run = kzoo.train("resnet8", epochs=4, settings=sgd, out=tmp_path / "run")
    smaller = kzoo.compress(run, cluster=16, qat=True, epochs=1, out=tmp_path / "smaller")
    assert lost(run, smaller) <= 2 * POINT
    assert smaller.recipe.optimizer.name == "sgd"


@pytest.mark.slow(15)
def test_a_float_file_has_the_shared_values_too(trained_run, tmp_path):
    run = kzoo.compress(trained_run, cluster=16, epochs=6, out=tmp_path / "clustered")
    assert lost(trained_run, run) <= POINT
    clustered, plain = (kzoo.export_model(each, tmp_path / f"{each.path.name}.tflite") for each in (run, trained_run))
    # The converter folds the batch normalisations into the kernels.
    assert max(kernel.unique for kernel in count_file_kernels(clustered.path)) <= 16
    assert plain.gzip_size > 3 * clustered.gzip_size


@pytest.mark.slow(40)
def test_depthwise_kernels_share_their_values_too(tmp_path):
    parent = kzoo.train("ds_cnn", epochs=20, settings={"model.arguments.dropout": 0.0}, out=tmp_path / "ds_cnn")
    run = kzoo.compress(parent, cluster=16, epochs=6, out=tmp_path / "clustered")
    file = kzoo.export_model(run, tmp_path / "clustered.tflite")
    assert max(kernel.unique for kernel in count_file_kernels(file.path)) <= 16
    assert lost(parent, file.path) <= POINT


@pytest.mark.slow(10)
def test_tf_mot_clusters_no_depthwise_layer_by_itself():
    """https://github.com/tensorflow/model-optimization/issues/1132: what `Clusterer` works around."""
    code = (
        "import tf_keras, tensorflow_model_optimization as tfmot;"
        "layer = tf_keras.layers.DepthwiseConv2D(3); layer.build((None, 8, 8, 4));"
        "wrapper = tfmot.clustering.keras.cluster_weights("
        "layer, 4, tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS);"
        "print(wrapper.layer.get_clusterable_weights())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.slow(20)
def test_a_clustered_lstm_loads_where_kzoo_is_not_imported_and_leaves_this_process_as_it_was(
    trained_sequence_run, tmp_path
):
    before = dict(os.environ)
    run = kzoo.compress(trained_sequence_run, cluster=16, epochs=4, out=tmp_path / "clustered")
    assert dict(os.environ) == before
    assert "tensorflow_model_optimization" not in sys.modules and keras.__version__.startswith("3.")
    assert lost(trained_sequence_run, run) <= POINT
    code = (
        "import sys, keras, numpy as np; model = keras.saving.load_model(sys.argv[1]);"
        "assert 'kzoo' not in sys.modules;"
        "print([np.unique(w).size for w in model.get_weights() if w.ndim == 2])"
    )
    done = subprocess.run([sys.executable, "-c", code, run.path / "model.keras"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sizes = eval(done.stdout.splitlines()[-1], {})  # a list of numbers that this test printed
    assert len(sizes) >= 3 and max(sizes) <= 16
    # Not even the scales of its features, which would be folded into the first kernel.
    file = kzoo.export_model(run, tmp_path / "clustered.tflite")
    assert max(kernel.unique for kernel in count_file_kernels(file.path)) <= 16


@pytest.mark.slow(35)
def test_filters_are_gone_before_the_rest_is_pruned_and_a_teacher_helps(trained_run, tmp_path):
    out = tmp_path / "narrow"
    teacher = trained_run.path
    run = kzoo.compress(trained_run, filters=0.3, prune=0.5, distill=[teacher], epochs=12, batch_size=16, out=out)
    assert run.info.macs <= 0.7 * trained_run.info.macs == 0.7 * run.info.compression.parent_macs
    assert run.info.parameters < trained_run.info.parameters
    assert run.info.compression.sparsity == pytest.approx(0.5, abs=0.01)
    assert run.recipe.distillation.teachers == (str(teacher),) and run.info.teachers == (str(teacher),)
    assert [row["epoch"] for row in run.history()] == list(range(1, 25))
    assert lost(trained_run, run) <= POINT
    assert kzoo.load(run).count_params() == run.info.parameters
    with pytest.raises(kzoo.UsageError, match="which has other layers since kzoo compress"):
        kzoo.load(run, classes=5)
    with pytest.raises(kzoo.UsageError, match="Expected a run of kzoo train"):
        run.update(status="interrupted")
        kzoo.train("cnn", resume=True, out=out)


@pytest.mark.slow(10)
def test_filters_go_by_what_is_asked_and_the_rest_trains_in_the_precision_that_is_asked(trained_run, tmp_path):
    settings = {"precision": "mixed_bfloat16"}
    asked = {"filters": 0.3, "filters_by": "l1", "epochs": 1, "settings": settings}
    run = kzoo.compress(trained_run, **asked, out=tmp_path / "narrow")
    assert run.recipe.precision == "mixed_bfloat16"
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    by_l1, by_scale = (
        [weight.shape for weight in remove_filters(trained_run.model, macs=0.3, criterion=criterion)[0].weights]
        for criterion in ("l1", "batch_norm")
    )
    assert [weight.shape for weight in run.model.weights] == by_l1 != by_scale


@pytest.mark.slow(15)
@pytest.mark.parametrize("thin", [{"low_rank": 0.85}, {"rank": 0.7}])
def test_factorised_kernels_have_fewer_parameters(trained_run, tmp_path, thin):
    run = kzoo.compress(trained_run, **thin, epochs=8, out=tmp_path / "factors")
    assert run.info.parameters < trained_run.info.parameters and run.info.compression.methods == ("lowrank",)
    assert any(layer.name.endswith("_expand") for layer in run.model.layers)
    assert lost(trained_run, run) <= POINT


@pytest.mark.slow(40)
def test_a_search_ends_at_the_first_version_that_fits(trained_run, tmp_path):
    lines = []

    class Lines:
        def line(self, text):
            lines.append(text)

        def status(self, text):
            """Nothing."""

        def wants_status(self):
            return False

    plain = kzoo.export_model(trained_run, tmp_path / "plain.tflite", quantize="int8")
    budget = Budget(size=int(0.9 * plain.gzip_size), drop=0.1)
    methods = ["int8", "prune50-qat", "prune75-qat"]
    out = tmp_path / "search"
    found = search(trained_run, budget, methods=methods, epochs=2, out=out, reporter=Lines())
    assert [each.name for each in found.versions] == ["int8", "prune50-qat"]
    assert found.chosen.gzip_size <= budget.size and found.chosen.sparsity > 0.3
    assert any("too much" in line and "bytes" in line for line in lines)
    page = (out / "report.html").read_text()
    assert "prune50-qat" in page and (out / "plots" / "size.png").stat().st_size > 5000
    # What was trained is only measured again.
    changed = (out / "prune50-qat" / "model.keras").stat().st_mtime_ns
    with pytest.raises(kzoo.RunError, match=r"prune50-qat came nearest: .* of 100 bytes"):
        search(trained_run, Budget(size=100), methods=methods[:2], out=out)
    assert (out / "prune50-qat" / "model.keras").stat().st_mtime_ns == changed


@pytest.mark.slow(15)
def test_arrays_are_compressed_on_arrays(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    y = np.arange(60) % 3
    run = kzoo.train("cnn", data=(x, y), epochs=1, out=tmp_path / "run")
    smaller = kzoo.compress(run, prune=0.5, data=(x, y), epochs=1, out=tmp_path / "smaller")
    assert smaller.info.compression.sparsity == pytest.approx(0.5, abs=0.01)
    found = search(run, methods=["int8", "prune50"], data=(x, y), epochs=1, out=tmp_path / "search")
    assert [version.samples for version in found.versions] == [len(y) - 9 - 42] * 2
    with pytest.raises(kzoo.DataError, match="Expected the arrays of this run"):
        kzoo.compress(run, prune=0.5, epochs=1, out=tmp_path / "nothing")
    with pytest.raises(kzoo.RunError, match=r"Expected the data that .* was trained on"):
        kzoo.compress(run, prune=0.5, data=(x[::-1], y), epochs=1, out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "Expected a method, received none. Choose --filters"),
        ({"filters": 1.0}, "Expected filters to be a share between 0 and 1"),
        ({"filters": 0.5, "filters_by": "l3"}, "Expected filters_by to be one of batch_norm, l1, received 'l3'"),
        ({"prune": 0.5, "filters_by": "l1"}, "Expected --filters-by l1 with --filters"),
        ({"rank": 1.5}, "Expected rank to be a share between 0 and 1"),
        ({"rank": 0.5, "low_rank": 0.9}, "Expected one of --low-rank and --rank"),
        ({"prune": 0.5, "distill": ["no/run"]}, "no/run"),
        ({"prune": 1.5}, "Expected a sparsity between 0 and 1"),
        ({"prune": 0.0}, "Expected a sparsity between 0 and 1"),
        ({"cluster": 1}, "Expected at least 2 clusters"),
        ({"cluster": 2, "prune": 0.5}, "Expected at least 3 clusters after pruning"),
        ({"prune": 0.5, "per_tensor": "all"}, "Expected --per-tensor all with --qat"),
        ({"prune": 0.5, "settings": {"seed": 7}}, "Expected the run's own seed and data"),
        ({"prune": 0.5, "settings": {"data.fractions": [0.6, 0.2, 0.2]}}, "Expected the run's own seed and data"),
        ({"prune": 0.5, "settings": {"optimizer.ema": 0.9}}, "Expected no optimizer.ema"),
        ({"prune": 0.5, "settings": {"optimizer.rate": 0.9}}, "unknown key .optimizer.rate."),
        ({"prune": 0.5, "settings": {"precision": "auto"}}, "Expected precision float32 without --filters"),
        ({"filters": 0.3, "rank": 0.5, "settings": {"precision": "auto"}}, "Expected precision float32 without"),
    ],
)
def test_what_cannot_be_asked_costs_nothing(trained_run, tmp_path, asked, message):
    with pytest.raises(kzoo.KzooError, match=message):
        kzoo.compress(trained_run, **asked, out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.slow(40)
def test_the_layers_that_xnnpack_computes_sparsely_are_pruned_and_no_others(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (48, 72, 72, 3), dtype=np.uint8)
    y = np.arange(48) % 3
    settings = {"model.arguments.alpha": 0.25, "model.arguments.sparse_inference": True}
    run = kzoo.train("mobilenet_v1", data=(x, y), epochs=1, settings=settings, out=tmp_path / "run")
    pattern = PruneSettings(0.6, pattern="xnnpack")
    smaller = kzoo.compress(run, prune=pattern, data=(x, y), epochs=1, out=tmp_path / "sparse")
    assert smaller.info.compression.pruned == tuple(f"block{number}_pointwise_conv" for number in range(1, 14))
    assert smaller.info.compression.sparsity == pytest.approx(0.6, abs=0.001)


@pytest.mark.slow(10)
def test_a_pattern_that_fits_no_layer_is_one_line(trained_run, tmp_path):
    with pytest.raises(kzoo.ExportError, match="XNNPACK"):
        kzoo.compress(trained_run, prune=PruneSettings(0.5, pattern="xnnpack"), epochs=1, out=tmp_path / "sparse")
    assert kzoo.Run(tmp_path / "sparse").info.status == "failed"
