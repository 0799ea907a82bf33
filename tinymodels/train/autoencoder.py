"""The autoencoder's network: trained in TensorFlow, converted to int8, compared with itself."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.domain.errors import BadInputError, ConfigError
from tinymodels.detect.autoencoder import (
    LEAST_RESIDUAL,
    MOST_FED,
    AutoencoderFitter,
    AutoencoderModel,
    laid_out,
)
from tinymodels.detect.bank import CHARTS
from tinymodels.detect.charts import FITTER as CHARTS_FITTER
from tinymodels.detect.contract import Options
from tinymodels.detect.litert import Network
from tinymodels.detect.minutes import Floats, Minutes
from tinymodels.detect.sweep import featurise

LEAST_CORRELATION: Final = 0.999
HELD_OUT: Final = 10  # every tenth stretch is for comparing, not for training
STRETCH: Final = 288  # blocks, a day: neighbours are too much alike to tell anything apart
# Rows that tell the converter how far numbers go. All there are, as a rule: what they leave out is
# cut off in int8 (500 of one home's 7,200 rows: a correlation of .9979 instead of .9993).
CALIBRATED_ON: Final = 20_000
COMPARED_ON: Final = 2000
Told = Callable[[int, int], None]  # epochs done, of how many


class ConversionError(BadInputError):
    """The small network does not say what the trained one says: it must not be published."""


class Recipe(NamedTuple):
    """How a network is made: layers inputs → hidden → code → hidden → inputs."""

    hidden: int = 24
    code: int = 10
    epochs: int = 30
    batch: int = 256
    rate: float = 2e-3
    seed: int = 1


class Trained(NamedTuple):
    """A network of int8, and how it compares with the one of floats it was made from.

    `rows` are inputs that training has not seen, `whole` what the floats make of them.
    """

    network: bytes
    operators: tuple[str, ...]
    correlation: float
    loss: float
    rows: Floats
    whole: Floats

    def card(self) -> dict[str, Any]:
        """Return what a model card says of it."""
        return {
            "network_bytes": len(self.network),
            "operators": list(self.operators),
            "tflite_against_float": round(self.correlation, 6),
            "loss": round(self.loss, 6),
        }


def tensorflow() -> Any:  # noqa: ANN401 - published without usable types
    """Return TensorFlow, or raise ConfigError: install the extra `train`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        import tensorflow as tf
    except ImportError as error:
        msg = (
            "autoencoders need TensorFlow: pip install 'wattwarden[train]',"
            " or train without them: --kinds charts,gaussian,device"
        )
        raise ConfigError(msg) from error
    return tf


def inputs_of(minutes: Minutes, options: Options) -> Floats:
    """Return what a network sees of a channel: its averages in their own spreads.

    By charts that have not seen the same weeks. FitRefusedError with too little history.
    """
    charts, after = CHARTS_FITTER.fit_held_out(*featurise(minutes), options)
    x = laid_out(after, charts.charts, tuple(CHARTS))
    scaled: Floats = x / np.maximum(x.std(axis=0), LEAST_RESIDUAL)
    return scaled.clip(-MOST_FED, MOST_FED)


def train_network(x: Floats, recipe: Recipe, told: Told | None = None) -> Trained:
    """Train on rows of inputs and convert; the same rows and recipe give the same bytes.

    Raise ConversionError where int8 says something else than the floats it came from.
    """
    tf = tensorflow()
    tf.keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    kept = np.arange(len(x)) // STRETCH % HELD_OUT > 0
    seen, unseen = (rows.astype(np.float32) for rows in (x[kept], x[~kept]))
    model = _built(tf, x.shape[1], recipe)
    loss = math.nan
    for epoch in range(recipe.epochs):
        history = model.fit(seen, seen, batch_size=recipe.batch, epochs=1, verbose=0)
        loss = float(history.history["loss"][-1])
        if told is not None:
            told(epoch + 1, recipe.epochs)
    if not math.isfinite(loss):
        msg = "training gave no finite loss: look at the archive, or try another --seed"
        raise ConversionError(msg)
    network = _converted(tf, model, seen)
    return _compared(network, model, unseen if len(unseen) else seen, loss)


def _built(tf: Any, count: int, recipe: Recipe) -> Any:  # noqa: ANN401
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((count,)),
            layers.Dense(recipe.hidden, activation="relu"),
            layers.Dense(recipe.code),
            layers.Dense(recipe.hidden, activation="relu"),
            layers.Dense(count),
        ]
    )
    model.compile(tf.keras.optimizers.Adam(recipe.rate), "mse")
    return model


def _converted(tf: Any, model: Any, seen: "np.ndarray[Any, Any]") -> bytes:  # noqa: ANN401
    """Return the network in int8, ends and all, one row at a time, builtin operators only."""
    # The weights as constants: Keras' variables do not survive the converter's calibration.
    parts = [tuple(tf.constant(array) for array in layer.get_weights()) for layer in model.layers]
    bent = [layer.activation is tf.keras.activations.relu for layer in model.layers]

    def forward(row: Any) -> Any:  # noqa: ANN401
        for (kernel, bias), relu in zip(parts, bent, strict=True):
            row = tf.matmul(row, kernel) + bias
            row = tf.nn.relu(row) if relu else row
        return row

    shape = tf.TensorSpec((1, seen.shape[1]), tf.float32)
    function = tf.function(forward, input_signature=[shape]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    step = max(1, len(seen) // CALIBRATED_ON)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in seen[::step])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _compared(
    content: bytes,
    model: Any,  # noqa: ANN401
    rows: "np.ndarray[Any, Any]",
    loss: float,
) -> Trained:
    rows = rows[:: max(1, len(rows) // COMPARED_ON)]
    network = Network(content)
    wide = rows.astype(np.float64)
    small = network.run(wide)
    whole = np.asarray(model.predict(rows, batch_size=1024, verbose=0), dtype=np.float64)
    correlation = float(np.corrcoef(small.ravel(), whole.ravel())[0, 1])
    if not correlation >= LEAST_CORRELATION:
        msg = (
            f"int8 and float agree to {correlation:.5f}, at least {LEAST_CORRELATION} is asked"
            " for: train on more varied data, or with another --seed"
        )
        raise ConversionError(msg)
    return Trained(content, network.operators, correlation, loss, wide, whole)


def pool(parts: Sequence[Floats]) -> Floats:
    """Return the inputs of several channels as one training set, each weighing the same.

    All are cut to the length of the shortest that has at least half of the longest's.
    """
    longest = max(len(part) for part in parts)
    length = min(len(part) for part in parts if 2 * len(part) >= longest)
    return np.concatenate([part[-length:] for part in parts])


class AutoencoderTrainer:
    """Fits a whole autoencoder on one channel, TensorFlow and all: a `Fitter`."""

    def __init__(self, recipe: Recipe | None = None) -> None:
        self._recipe = recipe or Recipe()

    def fit(self, minutes: Minutes, options: Options) -> AutoencoderModel:
        """Train a network on the channel and fit the rest; FitRefusedError as for charts."""
        recipe = self._recipe._replace(seed=options.seed)
        trained = train_network(inputs_of(minutes, options), recipe)
        return AutoencoderFitter(trained.network).fit(minutes, options)
