"""The faster LSTM has the numbers of Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.training.recurrent import MAX_STEPS, FastLSTM

STEPS, FEATURES, UNITS = 7, 5, 6


def pair(**options):
    """Keras's layer and the fast one, with the same weights, none of them zero."""
    plain = keras.layers.LSTM(UNITS, **options)
    fast = FastLSTM.from_config(plain.get_config())
    for layer in (plain, fast):
        layer.build((4 if layer.stateful else None, STEPS, FEATURES))
    generator = np.random.default_rng(0)
    weights = [generator.normal(scale=0.4, size=weight.shape) for weight in plain.get_weights()]
    plain.set_weights(weights)
    fast.set_weights(weights)
    return plain, fast


def answers(layer, x, **call):
    """Outputs, and gradients of the input and the variables, of a loss that weighs every output differently."""

    @tf.function
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.nest.flatten(layer(x, **call))
            weigh = [tf.reshape(tf.cos(tf.range(tf.size(y), dtype=tf.float32)), tf.shape(y)) for y in outputs]
            loss = tf.add_n([tf.reduce_sum(tf.cast(y, tf.float32) * w) for y, w in zip(outputs, weigh, strict=True)])
        variables = [variable.value for variable in layer.trainable_variables]
        return outputs, tape.gradient(loss, [x, *variables])

    return [tensor.numpy().astype("float32") for tensor in tf.nest.flatten(both(x))]


def sequences(batch=4, steps=STEPS):
    return tf.constant(np.random.default_rng(1).normal(size=(batch, steps, FEATURES)), tf.float32)


def check_same(plain, fast, x, **call):
    for expected, received in zip(answers(plain, x, **call), answers(fast, x, **call), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.fixture
def unable_to_fall_back(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("Keras's own loop was called")

    monkeypatch.setattr(keras.layers.LSTM, "inner_loop", refuse)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True},
        {"return_state": True},
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        {"go_backwards": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_outputs_and_gradients(options, batch):
    plain, fast = pair(**options)
    assert fast.get_config() == plain.get_config()
    check_same(plain, fast, sequences(batch))


def test_the_fast_way_is_taken(unable_to_fall_back):
    _, fast = pair()
    fast(sequences())
    with pytest.raises(AssertionError, match="own loop"):
        fast(sequences(steps=MAX_STEPS + 1))


def test_initial_state():
    plain, fast = pair(return_state=True)
    state = [tf.constant(np.random.default_rng(2).normal(size=(4, UNITS)), tf.float32) for _ in range(2)]
    check_same(plain, fast, sequences(), initial_state=state)


def test_stateful_layers_go_on_where_they_stopped():
    plain, fast = pair(stateful=True)
    for _ in range(2):
        np.testing.assert_allclose(fast(sequences()), plain(sequences()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}, {"use_bias": False}],
    ids=str,
)
def test_other_layers_are_left_to_keras(options):
    check_same(*pair(**options), sequences())


def test_a_mask_is_left_to_keras():
    mask = tf.sequence_mask([7, 3, 5, 1], STEPS)
    check_same(*pair(return_sequences=True), sequences(), mask=mask)


def test_dropout_is_applied_in_training_only():
    plain, fast = pair(dropout=0.5)
    np.testing.assert_allclose(fast(sequences()), plain(sequences()), rtol=1e-5, atol=1e-6)
    assert not np.allclose(fast(sequences(), training=True), plain(sequences()), atol=1e-3)


def test_bfloat16_is_as_near_to_float32_as_keras_is():
    exact = answers(pair(return_sequences=True)[0], sequences())
    plain, fast = (answers(layer, sequences()) for layer in pair(return_sequences=True, dtype="mixed_bfloat16"))

    def error(received):
        return max(np.abs(r - e).max() / np.abs(e).max() for r, e in zip(received, exact, strict=True))

    assert error(fast) < 0.03
    assert error(fast) < 1.5 * error(plain)


def test_losses_of_several_training_steps_in_a_bidirectional_and_stacked_model():
    def losses(layer_class):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((STEPS, FEATURES)),
                keras.layers.Bidirectional(layer_class(UNITS, return_sequences=True)),
                layer_class(UNITS),
                keras.layers.Dense(3),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[]
        )
        x = sequences(batch=22).numpy()
        # The last batch of each epoch is smaller.
        history = model.fit(x, np.arange(22) % 3, batch_size=8, epochs=4, shuffle=False, verbose=0)
        return history.history["loss"]

    np.testing.assert_allclose(losses(FastLSTM), losses(keras.layers.LSTM), rtol=1e-5)
