"""TFLite networks of builtin operators, run by LiteRT, which is loaded with the first of them."""

import importlib
import importlib.util
import threading
from typing import Any, Final

import numpy as np

from tinymodels.detect.contract import ModelRefusedError
from tinymodels.detect.minutes import Floats

MOST_BYTES: Final = 262_144  # of a network; ours have 5 to 40 kB
RUNTIMES: Final = ("ai_edge_litert", "tflite_runtime")  # the latter on 32-bit ARM
MAGIC: Final = b"TFL3"  # the flatbuffer's file identifier, at byte 4
DELEGATED: Final = frozenset({"DELEGATE", "TfLiteXNNPackDelegate"})
BUILTIN: Final = frozenset(
    {"FULLY_CONNECTED", "QUANTIZE", "DEQUANTIZE", "RESHAPE", "CONCATENATION", "SUB", "MUL", "ADD",
     "TANH", "LOGISTIC", "SLICE", "SPLIT", "STRIDED_SLICE", "PACK", "UNPACK", "TRANSPOSE"}
)  # fmt: skip


class Network:
    """One input of (1, n) and one output of (1, m), float32 or int8.

    Making the first loads LiteRT (10 ms on a PC, 12 MB) and checks the network: do that in a
    thread, not on the event loop; `run` takes microseconds. Calls from several threads take
    turns.
    """

    def __init__(self, content: bytes) -> None:
        """Raise ModelRefusedError for what cannot be run here, and say why."""
        if not 0 < len(content) <= MOST_BYTES or content[4:8] != MAGIC:
            msg = f"no TFLite network of at most {MOST_BYTES} bytes ({len(content)} bytes)"
            raise ModelRefusedError(msg)
        self._lock = threading.Lock()
        try:
            self._interpreter = _interpreter(content)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            msg = f"LiteRT refuses the network: {str(error)[:300]}"
            raise ModelRefusedError(msg) from error
        self._input, self._output = self._ends()
        self.operators = _operators(self._interpreter)
        foreign = sorted(set(self.operators) - BUILTIN)
        if foreign:
            msg = f"the network needs {', '.join(foreign)}, which is no operator of ours"
            raise ModelRefusedError(msg)

    def _ends(self) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        if len(inputs) != 1 or len(outputs) != 1:
            msg = f"a network of {len(inputs)} inputs and {len(outputs)} outputs, not one each"
            raise ModelRefusedError(msg)
        for end in (inputs[0], outputs[0]):
            shape, kind = tuple(int(n) for n in end["shape"]), np.dtype(end["dtype"]).name
            if len(shape) != 2 or shape[0] != 1 or kind not in ("int8", "float32"):  # noqa: PLR2004
                msg = f"a network's end of shape {shape} and type {kind}"
                raise ModelRefusedError(msg)
        return inputs[0], outputs[0]

    @property
    def inputs(self) -> int:
        """How many numbers it takes."""
        return int(self._input["shape"][1])

    @property
    def outputs(self) -> int:
        """How many numbers it gives."""
        return int(self._output["shape"][1])

    def run(self, rows: Floats) -> Floats:
        """Return the outputs of rows, shape (rows, outputs); what overflows int8 is clipped."""
        found = np.empty((len(rows), self.outputs))
        packed = _quantised(rows, self._input)
        interpreter, into, out_of = self._interpreter, self._input["index"], self._output["index"]
        with self._lock:
            for number in range(len(packed)):
                interpreter.set_tensor(into, packed[number : number + 1])
                interpreter.invoke()
                found[number] = interpreter.get_tensor(out_of)[0]
        if np.dtype(self._output["dtype"]) == np.int8:
            scale, zero = self._output["quantization"]
            found = (found - zero) * scale
        return found


def _quantised(rows: Floats, end: dict[str, Any]) -> Any:  # noqa: ANN401 - int8 or float32
    if np.dtype(end["dtype"]) == np.float32:
        return rows.astype(np.float32)
    scale, zero = end["quantization"]
    return np.clip(np.round(rows / scale + zero), -128, 127).astype(np.int8)


def _interpreter(content: bytes) -> Any:  # noqa: ANN401 - published without types
    for name in RUNTIMES:
        if importlib.util.find_spec(name) is not None:
            module = importlib.import_module(f"{name}.interpreter")
            return module.Interpreter(model_content=content, num_threads=1)
    msg = "needs LiteRT, which is not installed here: pip install ai-edge-litert"
    raise ModelRefusedError(msg)


def _operators(interpreter: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the operators in the order they run, without what LiteRT itself puts in."""
    details = interpreter._get_ops_details()  # noqa: SLF001 - LiteRT has no public way
    names = [str(detail["op_name"]) for detail in details]
    return tuple(name for name in names if name not in DELEGATED)
