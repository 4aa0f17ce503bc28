"""An LSTM layer that trains faster on TensorFlow's CPU kernels, with the numbers of Keras's own.

Only for the clone of a model that a training step runs on: nothing of it is ever saved. Three things make it faster
than the loop of Keras: the steps are laid out one after another instead of in a `tf.while_loop`; its gradient is
written by hand, so that of the weights is one product over all steps and not a sum over them; and the batch goes
through in two halves that do not wait for each other, one for each thread.

LSTM: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# The graph grows with the steps, and with it the time to the first training step: two layers of 64 units over 128 steps
# take 12 s more to it, for steps in 0.85 of the time.
MAX_STEPS = 32


# Registered because Bidirectional makes its two layers from the serialised one.
@keras.saving.register_keras_serializable(package="kzoo")
class FastLSTM(keras.layers.LSTM):
    """A `keras.layers.LSTM` for training: same arguments, configuration, variables and numbers.

    What it does not cover is computed by Keras's own layer: masks, dropout in training, other activations, no bias,
    float16, an unknown number of steps or more than `MAX_STEPS`, and a GPU, which has a kernel for all steps. In
    bfloat16 the products take and give bfloat16, while gates and cell state are float32: more exact than Keras's own.

    Example:
        >>> import keras
        >>> from kzoo.training.recurrent import FastLSTM
        >>> fast = FastLSTM.from_config(keras.layers.LSTM(4).get_config())
        >>> fast(keras.ops.ones((2, 3, 5))).shape
        TensorShape([2, 4])
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Run all steps; Keras's `RNN.call` cares for the states before and after.

        Args:
            sequences: `(batch, steps, features)`.
            initial_state: Hidden and cell state, each `(batch, units)`.
            mask: None, or steps to leave out `(batch, steps)`.
            training: Whether dropout applies.

        Returns:
            The last output `(batch, units)`, all outputs `(batch, steps, units)` or only the last as `(batch, 1,
            units)`, and the list of the two last states.
        """
        if not self._is_covered(sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training=training)
        if self.go_backwards:
            sequences = tf.reverse(sequences, [1])
        cell = self.cell
        variables = cell.kernel, cell.recurrent_kernel, cell.bias
        weights = [tf.cast(tf.convert_to_tensor(variable.value), self.compute_dtype) for variable in variables]
        batch = tf.shape(sequences)[0]
        sizes = [batch // 2, batch - batch // 2]
        halves = zip(*(tf.split(tensor, sizes) for tensor in (sequences, *initial_state)), strict=True)
        results = [_run(self.return_sequences, *half, *weights) for half in halves]
        outputs, carry = (tf.concat(parts, 0) for parts in zip(*results, strict=True))
        last = outputs[:, -1]
        return last, outputs, [last, carry]

    def _is_covered(self, sequences: Any, mask: Any, training: bool) -> bool:
        cell = self.cell
        steps = sequences.shape[1]
        return (
            mask is None
            and steps is not None
            and steps <= MAX_STEPS
            and cell.activation is keras.activations.tanh
            and cell.recurrent_activation is keras.activations.sigmoid
            and cell.use_bias
            and not (training and (cell.dropout or cell.recurrent_dropout))
            and self.compute_dtype in ("float32", "bfloat16")
            and not tf.config.list_logical_devices("GPU")
        )


@dataclasses.dataclass(frozen=True)
class _Step:
    """What the gradient of one step needs; each `(batch, units)`, but `joined`."""

    # Features, a one for the bias, hidden state: (batch, features + 1 + units).
    joined: Any
    carry: Any
    input_gate: Any
    candidate: Any
    forget_gate: Any
    output_gate: Any
    # tanh of the new carry.
    squashed: Any


def _run(return_sequences: bool, *tensors: Any) -> tuple[Any, Any]:
    """All outputs, or the last as `(batch, 1, units)`, and the last carry, with the gradient written by hand."""

    # A flag among its arguments would become a tensor.
    def forward(*tensors: Any) -> tuple[tuple[Any, Any], Callable[[Any, Any], tuple[Any, ...]]]:
        return _forward(return_sequences, *tensors)

    outputs, carry = tf.custom_gradient(forward)(*tensors)
    return outputs, carry


def _forward(
    return_sequences: bool, sequences: Any, hidden: Any, carry: Any, kernel: Any, recurrent: Any, bias: Any
) -> tuple[tuple[Any, Any], Callable[[Any, Any], tuple[Any, ...]]]:
    dtype = sequences.dtype
    features = sequences.shape[2]
    weight = _swap_gates(tf.concat([kernel, bias[tf.newaxis], recurrent], 0))
    with_one = tf.concat([sequences, tf.ones_like(sequences[:, :, :1])], 2)
    carry = tf.cast(carry, tf.float32)
    steps: list[_Step] = []
    outputs = []
    for values in tf.unstack(with_one, axis=1):
        joined = tf.concat([values, hidden], 1)
        gates = tf.split(tf.cast(tf.matmul(joined, weight), tf.float32), 4, 1)
        input_gate, forget_gate, output_gate = (tf.sigmoid(gates[index]) for index in (0, 2, 3))
        candidate = tf.tanh(gates[1])
        new_carry = forget_gate * carry + input_gate * candidate
        squashed = tf.tanh(new_carry)
        hidden = tf.cast(output_gate * squashed, dtype)
        steps.append(_Step(joined, carry, input_gate, candidate, forget_gate, output_gate, squashed))
        outputs.append(hidden)
        carry = new_carry

    def gradient(d_outputs: Any, d_carry: Any) -> tuple[Any, ...]:
        d_each = tf.unstack(tf.cast(d_outputs, tf.float32), num=len(outputs) if return_sequences else 1, axis=1)
        recurrent_rows = weight[features + 1 :]
        d_hidden, d_carry = tf.zeros_like(d_each[-1]), tf.cast(d_carry, tf.float32)
        d_gates: list[Any] = []
        for number in reversed(range(len(steps))):
            if return_sequences or number == len(steps) - 1:
                d_hidden += d_each[number if return_sequences else 0]
            d_carry, d_gate = _step_gradient(steps[number], d_hidden, d_carry)
            d_gate = tf.cast(d_gate, dtype)
            d_hidden = tf.cast(tf.matmul(d_gate, recurrent_rows, transpose_b=True), tf.float32)
            d_gates.insert(0, d_gate)
        all_gates = tf.concat(d_gates, 0)
        d_weight = tf.matmul(tf.concat([step.joined for step in steps], 0), all_gates, transpose_a=True)
        d_kernel, d_bias, d_recurrent = tf.split(_swap_gates(d_weight), [features, 1, -1], num=3)
        d_rows = tf.matmul(all_gates, weight[:features], transpose_b=True)
        by_step = tf.reshape(d_rows, (len(steps), -1, features))
        d_sequences = tf.transpose(by_step, (1, 0, 2))
        d_states = tf.cast(d_hidden, dtype), tf.cast(d_carry, dtype)
        return d_sequences, *d_states, d_kernel, d_recurrent, d_bias[0]

    stacked = tf.stack(outputs if return_sequences else outputs[-1:], 1)
    return (stacked, tf.cast(carry, dtype)), gradient


def _step_gradient(step: _Step, d_hidden: Any, d_carry: Any) -> tuple[Any, Any]:
    """Gradients of the carry before the step and of the four gates before their activations."""
    units = step.carry.shape[1]
    peephole = tf.zeros((units,))
    # Of the first eight the kernel reads the old carry alone; of the others, their shapes.
    gradients = tf.raw_ops.LSTMBlockCellGrad(
        x=step.carry,
        cs_prev=step.carry,
        h_prev=step.carry,
        w=tf.zeros((2 * units, 4 * units)),
        wci=peephole,
        wcf=peephole,
        wco=peephole,
        b=tf.zeros((4 * units,)),
        i=step.input_gate,
        cs=step.carry,
        f=step.forget_gate,
        o=step.output_gate,
        ci=step.candidate,
        co=step.squashed,
        cs_grad=d_carry,
        h_grad=d_hidden,
        use_peephole=False,
    )
    return gradients[0], gradients[1]


def _swap_gates(weight: Any) -> Any:
    """Keras has the gates as input, forget, candidate, output; TensorFlow's kernel the middle two swapped."""
    first, second, third, fourth = tf.split(weight, 4, -1)
    return tf.concat([first, third, second, fourth], -1)
