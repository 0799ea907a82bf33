"""Which kinds of detector there are, each loaded only when one of it is met."""

from importlib import import_module
from typing import Final, cast

from tinymodels.detect.contract import Fitter, Model, ModelRefusedError
from tinymodels.detect.package import Package

# kind -> module and the class of its models, and the module whose FITTER makes them.
KINDS: Final = {
    "gaussian": ("tinymodels.detect.gaussian", "GaussianModel", "tinymodels.detect.gaussian"),
    "charts": ("tinymodels.detect.charts", "ChartsModel", "tinymodels.detect.charts"),
    "autoencoder": (
        "tinymodels.detect.autoencoder", "AutoencoderModel", "tinymodels.detect.autoencoder",
    ),
    "combined": (
        "tinymodels.detect.combined", "CombinedModel", "tinymodels.detect.combined_fit",
    ),
}  # fmt: skip


def model_class(kind: str) -> type[Model]:
    """Return the class of a kind's models, or raise ModelRefusedError."""
    if kind not in KINDS:
        msg = f"{kind!r} is no kind of model this version runs ({', '.join(KINDS)})"
        raise ModelRefusedError(msg)
    module, name, _ = KINDS[kind]
    return cast("type[Model]", getattr(import_module(module), name))


def load(kind: str, body: bytes) -> Model:
    """Return a model from its bytes, or raise ModelRefusedError."""
    return model_class(kind).from_bytes(body)


def open_package(package: Package) -> Model:
    """Return the model of a package, or raise ModelRefusedError."""
    return load(package.kind, package.payload)


def fitter(kind: str) -> Fitter:
    """Return what fits models of a kind; ModelRefusedError for one nobody knows."""
    model_class(kind)
    return cast("Fitter", import_module(KINDS[kind][2]).FITTER)
