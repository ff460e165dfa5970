"""What in a model's file would run, or reach out of its folder, if somebody loaded it. Nothing is loaded to find out.

files     `threats` of bytes and `threats_below` a folder; archives are looked into
pickles   read opcode by opcode, never unpickled
tensors   what a safetensors header may say
graphs    what an ONNX graph may name

A file that cannot be read as what it claims to be is a threat too: broken files have carried what scanners did not see
and loaders ran.
"""

from pruneguard.evaluation.security.unsafe_files.files import Threat, measure, threats, threats_below

__all__ = ["Threat", "measure", "threats", "threats_below"]
