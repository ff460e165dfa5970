"""A model that comes as a folder: one ONNX file, and whatever else somebody may load from there."""

from pathlib import Path

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.security.unsafe_files import threats_below

_SHOWN = 10


def model_in(folder: Path) -> Path:
    """The one ONNX file in a folder.

    Raises InvalidInputError where there is none, or several, and where any model file below the folder would run
    something or reach out when it is loaded: what is beside the judged file is part of no verdict.
    """
    if threats := threats_below(folder):
        told = "".join(f"\n  {threat.where}: {threat.what}" for threat in threats[:_SHOWN])
        more = f"\n  and {len(threats) - _SHOWN} more" if len(threats) > _SHOWN else ""
        raise InvalidInputError(
            f"{folder}: {len(threats)} {'threat' if len(threats) == 1 else 'threats'} to whoever loads what is there; "
            f"take the files away, or name the ONNX file itself{told}{more}"
        )
    match sorted(folder.rglob("*.onnx")):
        case [model]:
            return model
        case []:
            raise InvalidInputError(f"{folder}: no ONNX file is in it; name the folder that the model lies in")
        case several:
            names = ", ".join(path.relative_to(folder).as_posix() for path in several[:_SHOWN])
            raise InvalidInputError(f"{folder}: {len(several)} ONNX files are in it; name one: {names}")
