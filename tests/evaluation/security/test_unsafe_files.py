import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.security.unsafe_files import Threat, measure, threats, threats_below
from tests.evaluation.small import linear, linear_onnx, with_outside_weights


def found(content, name):
    return [threat.what for threat in threats(content, name)]


def saved(value, **how) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def zipped(**members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


class Evil:
    """Whoever unpickles it runs a command."""

    def __reduce__(self):
        return os.system, ("touch /tmp/pruneguard-was-here",)


# -- pickles ------------------------------------------------------------------------------------------------------

MODEL = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LSTM(3, 2))


@pytest.mark.parametrize("zipfiles", [True, False])
def test_stored_weights_are_no_threat(zipfiles):
    for weights in (
        MODEL.state_dict(),
        {"model": MODEL.state_dict(), "optimizer": torch.optim.Adam(MODEL.parameters()).state_dict(), "epoch": 3},
        OrderedDict(bf=torch.ones(2, dtype=torch.bfloat16), whole=torch.arange(3), yes=torch.tensor([True])),
        nn.Parameter(torch.ones(2)),
    ):
        assert found(saved(weights, _use_new_zipfile_serialization=zipfiles), "model.pt") == []


@pytest.mark.parametrize("zipfiles", [True, False])
def test_a_whole_network_is_a_threat_since_loading_it_runs_its_classes(zipfiles):
    whats = found(saved(nn.Linear(2, 2), _use_new_zipfile_serialization=zipfiles), "model.pth")
    assert "imports torch.nn.modules.linear.Linear" in whats


@pytest.mark.parametrize("protocol", range(6))
def test_a_command_is_named_in_every_protocol(protocol):
    content = pickle.dumps({"weights": [1.0, 2.0], "hook": Evil()}, protocol=protocol)
    assert found(content, "model.pkl") == ["imports posix.system"]
    assert found(content, "model.bin") == ["imports posix.system"]
    if protocol >= 2:  # it says itself that it is one
        assert found(content, "model.anything") == ["imports posix.system"]


def test_where_it_lies_is_said():
    content = zipped(archive__data_dot_pkl=pickle.dumps(Evil(), protocol=2), archive__data__0=b"\x80\x02junk")
    assert threats(content, "model.pt") == (Threat("model.pt/archive/data.pkl", "imports posix.system"),)


def test_nothing_is_unpickled(tmp_path):
    trace = tmp_path / "ran"

    class Ran:
        def __reduce__(self):
            return trace.touch, ()

    assert found(pickle.dumps(Ran()), "model.pkl")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("said", "program"),
    [
        ("imports os.system", b"cos\nsystem\n(S'true'\ntR."),
        ("imports os.system", b"(S'true'\nios\nsystem\n."),
        ("imports os.system", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x94."),
        # The texts on top of the stack are others than those that were pushed last.
        ("a name that is made", b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93."),
        ("a name that is made", b"\x80\x04(\x8c\x02os\x8c\x06systeml\x8c\x0bcollections2\x93."),
        ("imports extension 7", b"\x80\x02\x82\x07."),
        ("imports builtins.eval", pickle.dumps(eval, protocol=4)),
        ("imports torch.storage._load_from_bytes", b"\x80\x02ctorch.storage\n_load_from_bytes\n."),
        ("imports collections.OrderedDict.fromkeys", b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93."),
    ],
)
def test_a_name_cannot_be_hidden(said, program):
    assert any(said in what for what in found(program, "model.pkl"))


def test_a_pickle_that_breaks_off_is_a_threat_and_so_is_what_stands_before():
    content = pickle.dumps(Evil(), protocol=4)[:-3] + b"\xff"
    whats = found(content, "model.pt")
    assert whats[0].startswith("breaks off as a pickle after byte 0")
    assert whats[1] == "imports posix.system"
    assert found(b"", "model.pkl")[0].startswith("breaks off")


def test_a_second_pickle_behind_a_clean_one_is_read_too():
    assert found(pickle.dumps([1.0]) + pickle.dumps(Evil()), "model.pkl") == ["imports posix.system"]


def test_bare_numbers_called_bin_are_no_threat():
    assert found(np.linspace(1, 2, 100, dtype="f4").tobytes(), "weights.bin") == []
    assert found(np.linspace(1, 2, 100, dtype="f4").tobytes(), "weights.pt") != []


@given(st.binary(max_size=60), st.sampled_from([".pkl", ".bin", ".onnx", ".safetensors", ".npy", ".zip"]))
def test_no_bytes_make_the_scan_fail(content, suffix):
    for start in (b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY", struct.pack("<Q", len(content))):
        threats(start + content, f"model{suffix}")


# -- archives -----------------------------------------------------------------------------------------------------


def test_an_archive_with_code_a_way_out_or_a_double_is_a_threat():
    assert found(zipped(net__code__model_dot_py=b"x = 1"), "model.pt") == ["is code that runs"]
    for path in ("../evil.txt", "/evil.txt", "a\\..\\..\\evil.txt", "C:evil.txt"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(path, b"")
        assert found(buffer.getvalue(), "model.zip") == ["would be unpacked outside its folder"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Evil()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("data.pkl", pickle.dumps([]))
    assert "lies there 2 times; loaders differ in which they take" in found(buffer.getvalue(), "model.pt")


def test_an_archive_that_does_not_unpack_is_a_threat():
    content = zipped(data_dot_pkl=pickle.dumps([1.0] * 50))
    broken = content.replace(b"G?\xf0", b"G?\xf1", 1)  # the checksum no longer fits
    assert any("does not unpack: Bad CRC-32" in what for what in found(broken, "model.pt"))
    assert any("does not unpack" in what for what in found(content[:-30], "model.pt"))
    assert any("breaks off" in what for what in found(b"7z\xbc\xaf\x27\x1c" + bytes(30), "model.pt"))


def test_a_pickle_in_front_of_an_archive_is_read_as_well():
    whats = found(pickle.dumps(Evil()) + zipped(data_dot_pkl=pickle.dumps([])), "model.pt")
    assert "imports posix.system" in whats
    assert any("an archive and something before it" in what for what in whats)


def test_archives_in_archives_are_followed_and_not_for_ever():
    content = zipped(data_dot_pkl=pickle.dumps(Evil()))
    assert threats(zipped(inner_dot_zip=content), "a.zip")[0].where == "a.zip/inner.zip/data.pkl"
    for _ in range(4):
        content = zipped(inner_dot_zip=content)
    assert found(content, "a.zip") == ["lies 3 archives deep; nothing below was looked at"]


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("pruneguard.evaluation.security.unsafe_files.files._UNPACKED_MAX", 1000)
    assert found(zipped(data_dot_pkl=bytes(1001)), "a.pt") == ["unpacks to 1001 bytes; nothing in it was looked at"]


def test_arrays_of_objects_are_pickles_in_disguise():
    plain, objects = io.BytesIO(), io.BytesIO()
    np.save(plain, np.ones(3))
    np.save(objects, np.array([{}]), allow_pickle=True)
    assert found(plain.getvalue(), "x.npy") == []
    assert found(objects.getvalue(), "x.npy") == ["holds Python objects, which are unpickled when they are loaded"]
    assert found(zipped(x_dot_npy=objects.getvalue()), "x.npz") != []


# -- safetensors --------------------------------------------------------------------------------------------------


def tensors(header, data=b"", text=None) -> bytes:
    head = (text or json.dumps(header)).encode()
    return struct.pack("<Q", len(head)) + head + data


def piece(start, stop, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_a_real_safetensors_file_is_no_threat():
    from safetensors.numpy import save

    content = save({"a": np.ones((2, 3), "f4"), "b": np.zeros((0, 2), "i8"), "c": np.ones((), "f2")}, {"made": "here"})
    assert found(content, "model.safetensors") == []


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ("has a header of 0 bytes", b""),
        ("has a header of 9", struct.pack("<Q", 9) + b"{}"),
        ("is not read", tensors(None, text="{")),
        ("a name stands there twice", tensors(None, text='{"a": 1, "a": 2}')),
        ("is not read", tensors(None, text="[" * 100_000)),
        ("no table of tensors", tensors([])),
        ("metadata that are not texts", tensors({"__metadata__": {"a": 1}})),
        ("do not agree", tensors({"a": piece(0, 8)}, bytes(8))),
        ("do not agree", tensors({"a": piece(0, 4, dtype="OBJECT")}, bytes(4))),
        ("do not agree", tensors({"a": piece(0, 4, shape=(-1, -1))}, bytes(4))),
        ("do not agree", tensors({"a": []})),
        ("a hole", tensors({"a": piece(4, 8)}, bytes(8))),
        ("on top of each other", tensors({"a": piece(0, 4), "b": piece(0, 4)}, bytes(4))),
        ("8 bytes of data of which tensors take 4", tensors({"a": piece(0, 4)}, bytes(8))),
        ("0 bytes of data of which tensors take 4", tensors({"a": piece(0, 4)})),
    ],
)
def test_a_header_that_lies_is_a_threat(said, content):
    (what,) = found(content, "model.safetensors")
    assert said in what


# -- ONNX ---------------------------------------------------------------------------------------------------------


def graph(*nodes, functions=(), **kwargs):
    body = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])], [], **kwargs
    )
    domains = [helper.make_opsetid(domain, 1) for domain in ("com.microsoft", "mine", "ai.onnx.contrib")]
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20), *domains], functions=functions)
    return model.SerializeToString()


def test_an_exported_network_is_no_threat(candidate):
    assert found(candidate.onnx, "model.onnx") == []
    assert measure(candidate)["artifact.threats"].value == 0
    assert found(with_outside_weights(candidate.onnx, "weights.bin"), "model.onnx") == []


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "..\\secret", "C:\\secret", "c:secret"])
def test_weights_outside_the_folder_are_a_threat(location):
    (what,) = found(with_outside_weights(linear_onnx([[1.0]]), location), "model.onnx")
    assert "outside its folder" in what


def test_weights_outside_the_folder_are_found_wherever_they_hide():
    outside = onnx.load_from_string(with_outside_weights(linear_onnx([[1.0]]), "../secret")).graph.initializer[0]
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    branch = helper.make_graph([constant], "branch", [], [])
    inside = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    function = helper.make_function("mine", "F", ["a"], ["c"], [constant], [helper.make_opsetid("", 20)])
    for content in (graph(constant), graph(inside), graph(functions=[function])):
        (what,) = found(content, "model.onnx")
        assert "'../secret'" in what


def test_operators_of_others_are_a_threat_and_those_the_model_defines_are_not():
    own = helper.make_node("F", ["x"], ["y"], domain="mine")
    function = helper.make_function(
        "mine", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    assert found(graph(own), "m.onnx") == ["has the operator mine:F, which takes somebody's library"]
    assert found(graph(own, functions=[function]), "m.onnx") == []
    python = helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")
    assert found(graph(python), "m.onnx") == ["has the operator ai.onnx.contrib:PyOp, which runs Python"]
    blob = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")
    assert found(graph(blob), "m.onnx") == ["has the operator com.microsoft:EPContext, which runs a compiled program"]
    assert found(graph(helper.make_node("DynamicQuantizeLSTM", ["x"], ["y"], domain="com.microsoft")), "m.onnx") == []


def test_what_is_not_onnx_is_a_threat():
    assert "is not read as ONNX" in found(b"junk", "model.onnx")[0]
    assert found(b"", "model.onnx") == ["is not read as ONNX: it has no graph"]


# -- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_is_walked_and_only_model_files_are_read(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "MODEL.PKL").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "clean.onnx").write_bytes(linear([[1.0]]).onnx)
    (tmp_path / "notes.txt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "link.pt").symlink_to(tmp_path / "clean.onnx")
    assert threats_below(tmp_path) == (
        Threat("deep/MODEL.PKL", "imports posix.system"),
        Threat("link.pt", "is a link; what it leads to was not looked at"),
    )


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="is no folder"):
        threats_below(tmp_path / "absent")
