"""Exports: what other servers read as theirs, only of what is released, and with what it rests on."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from onnx import TensorProto, helper, numpy_helper
from ruamel.yaml import YAML

from pruneguard import canonical
from pruneguard.elsewhere import exporting, triton
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.state import Release, Status
from pruneguard.serving import chosen
from pruneguard.serving.chosen import Chosen
from tests.serving.scene import FEATURES, Scene

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path / "scene")
    made.release()
    return made


def picked(scene: Scene, number: int | None = None) -> Chosen:
    return chosen.released(scene.ledger, scene.artifacts, model="digits", number=number)


def parsed(text: str) -> Any:
    """A config.pbtxt as Triton's own description of it reads it; an unknown field or a wrong kind is an error."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString((ASSETS / "triton" / "model_config.binpb").read_bytes()))
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return text_format.Parse(text, kind())


def made(onnx_model: bytes, number: int = 3) -> Chosen:
    digest = canonical.digest(onnx_model)
    release = Release(number, "digits", digest, *[digest] * 3, "ada", frozenset(), Status.LIVE, "")
    return Chosen(release, onnx_model, "log.example/x", 17)


def linear(rows: list[Any], answer: list[Any]) -> bytes:
    """A model that sums each row up: [batch, ...] to [batch, 1] or [batch]."""
    axes = numpy_helper.from_array(np.arange(1, len(rows)), "axes")
    node = helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=0)
    if len(answer) == 2:
        node = helper.make_node("ReduceSum", ["x", "axes"], ["flat"], keepdims=0)
    nodes = [node]
    weights = [axes]
    if len(answer) == 2:
        weights.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", ["flat", "shape"], ["total"]))
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, answer)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def test_triton_reads_the_configuration_as_what_the_model_is(scene: Scene, tmp_path: Path) -> None:
    exporting.to_triton(scene.ledger, scene.artifacts, picked(scene), tmp_path / "out")
    models = tmp_path / "out" / "models"
    assert [path.name for path in models.iterdir()] == ["digits"], "Triton takes every folder here for a model"
    found = parsed((models / "digits" / "config.pbtxt").read_text())
    assert (found.name, found.platform, found.max_batch_size) == ("digits", "onnxruntime_onnx", 256)
    (source,), (answer,) = found.input, found.output
    graph = onnx.load(models / "digits" / "1" / "model.onnx").graph
    assert (source.name, list(source.dims)) == (graph.input[0].name, [FEATURES])
    assert (answer.name, list(answer.dims)) == (graph.output[0].name, [3])
    fp32 = found.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"].enum_type
    assert {source.data_type, answer.data_type} == {fp32.values_by_name["TYPE_FP32"].number}
    assert found.HasField("dynamic_batching")
    assert list(found.version_policy.specific.versions) == [1]
    digest = scene.ledger.state().models["digits"].releases[1].digest
    assert found.parameters["pruneguard.digest"].string_value == digest


@pytest.mark.parametrize(
    ("rows", "answer", "dims", "reshaped"),
    [
        (["batch", 3, 8, 8], ["batch", 1], [3, 8, 8], False),
        (["batch", "places"], ["batch"], [-1], True),
    ],
)
def test_open_sizes_and_bare_numbers_are_told_as_triton_tells_them(
    rows: list[Any], answer: list[Any], dims: list[int], reshaped: bool
) -> None:
    found = parsed(triton.config(made(linear(rows, answer))))
    assert (found.input[0].name, list(found.input[0].dims)) == ("x", dims)
    assert (found.output[0].name, list(found.output[0].dims)) == ("total", [1])
    assert found.output[0].HasField("reshape") is reshaped
    assert list(found.output[0].reshape.shape) == []


def test_an_export_says_what_it_rests_on_and_the_ledger_proves_it(scene: Scene, tmp_path: Path) -> None:
    digest = exporting.to_triton(scene.ledger, scene.artifacts, picked(scene), tmp_path / "out")
    about = (tmp_path / "out" / "release" / "release.json").read_bytes()
    assert canonical.digest(about) == digest
    told = json.loads(about)
    release = scene.ledger.state().models["digits"].releases[1]
    assert (told["number"], told["digest"], told["approved_by"]) == (1, release.digest, ["grace"])
    assert told["ledger"]["size"] == scene.ledger.size
    for name, expected in told["files"].items():
        assert canonical.digest((tmp_path / "out" / name).read_bytes()) == expected, name
    assert canonical.digest((tmp_path / "out" / "release" / "policy.json").read_bytes()) == release.policy
    assert release.index in told["ledger"]["decided_by"]
    for index in told["ledger"]["decided_by"]:
        proof = tiles.Proof.decode((tmp_path / "out" / "release" / f"{index}.tlog-proof").read_bytes())
        assert proof.index == index
        leaf = merkle.leaf_hash(scene.ledger.raw(index, index + 1)[0])
        checkpoint = notes.open_checkpoint(proof.checkpoint, scene.ledger.verifier)
        at = {"index": index, "size": checkpoint.size, "proof": proof.hashes, "root": checkpoint.root}
        assert merkle.verify_inclusion(leaf=leaf, **at)


def kserve(scene: Scene, output: Path, number: int | None = None, **told: Any) -> Any:
    where = {"storage": "s3://models/digits/models", **told}
    exporting.to_kserve(scene.ledger, scene.artifacts, picked(scene, number), output, **where)
    text = (output / "inferenceservice.yaml").read_text()
    return YAML(typ="safe").load(io.StringIO(text))


def schema() -> Any:
    return json.loads((ASSETS / "kserve" / "inferenceservice.v1beta1.json").read_text())


def test_kserve_takes_the_manifest_of_the_live_release(scene: Scene, tmp_path: Path) -> None:
    found = kserve(scene, tmp_path / "out")
    jsonschema.validate(found, schema())
    assert "canaryTrafficPercent" not in found["spec"]["predictor"]
    assert found["spec"]["predictor"]["model"]["storageUri"] == "s3://models/digits/models"
    assert found["metadata"]["name"] == "digits"
    assert (tmp_path / "out" / "models" / "digits" / "1" / "model.onnx").exists()


def test_a_canary_gets_the_share_that_the_ledger_gives_it(scene: Scene, tmp_path: Path) -> None:
    number = scene.release(share=0.1)
    found = kserve(scene, tmp_path / "out", number)
    jsonschema.validate(found, schema())
    assert found["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert (
        kserve(scene, tmp_path / "more", number, canary_percent=25)["spec"]["predictor"]["canaryTrafficPercent"] == 25
    )


def test_the_schema_that_the_manifest_is_held_against_refuses_what_kserve_does_not_know(
    scene: Scene, tmp_path: Path
) -> None:
    found = kserve(scene, tmp_path / "out")
    found["spec"]["predictor"]["canaryTrafficPercents"] = 10
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema())
    found = kserve(scene, tmp_path / "other", canary_percent=5)
    found["spec"]["predictor"]["canaryTrafficPercent"] = "5"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"name": "a.b"}, "no name for an InferenceService"),
        ({"name": "7up"}, "no name for an InferenceService"),
        ({"canary_percent": 101}, "expected 0 to 100"),
    ],
)
def test_what_kserve_would_refuse_is_refused_here(
    scene: Scene, tmp_path: Path, told: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        kserve(scene, tmp_path / "out", **told)
    assert not (tmp_path / "out").exists()


def test_a_share_that_is_no_whole_percent_is_asked_for(scene: Scene) -> None:
    from pruneguard.elsewhere.kserve import service

    canary = made(linear(["batch", 3], ["batch", 1]))
    canary.release.status, canary.release.share = Status.CANARY, 0.005
    with pytest.raises(InvalidInputError, match="takes whole ones"):
        service(canary, storage="s3://x")


def test_only_what_is_released_goes_out(scene: Scene, tmp_path: Path) -> None:
    scene.release()
    scene.roll_back()
    with pytest.raises(InvalidInputError, match="2 is rolled back"):
        picked(scene, 2)
    with pytest.raises(InvalidInputError, match="no release 9"):
        picked(scene, 9)
    assert picked(scene).release.number == 1


def test_a_folder_is_never_overwritten_and_a_failure_leaves_none(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInputError, match="never overwritten"):
        exporting.to_edge(scene.ledger, scene.artifacts, picked(scene), tmp_path / "out")
    assert list(tmp_path.glob(".out*")) == []
