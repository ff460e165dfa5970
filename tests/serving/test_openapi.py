"""The protocol's own OpenAPI document decides about our answers: each schema, and what schemathesis makes of it."""

import copy
from pathlib import Path

import jsonschema
import pytest
import schemathesis
import yaml
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pruneguard.serving.server import Server
from tests.serving.scene import JSON_ROW, Scene, call, gateway, infer

DOCUMENT = Path(__file__).parents[1] / "assets" / "open-inference-protocol" / "open_inference_rest.yaml"
SPECIFICATION = yaml.safe_load(DOCUMENT.read_text())


def amended():
    """The document, with what it forgets: that its `${...}` are parameters, and that every path may fail in its form.

    It requires `data` of every tensor, which the binary extension and ours leave out of binary answers only.
    """
    document = copy.deepcopy(SPECIFICATION)
    names = {"${MODEL_NAME}": "{MODEL_NAME}", "${MODEL_VERSION}": "{MODEL_VERSION}"}
    paths = {}
    for path, item in document["paths"].items():
        for old, new in names.items():
            path = path.replace(old, new)
        for parameter in item.get("parameters", []):
            known = ["digits", "letters"] if parameter["name"] == "MODEL_NAME" else ["1", "2", "9", "x"]
            parameter["schema"]["enum"] = known
        for operation in item.values():
            if isinstance(operation, dict):
                error = {"$ref": "#/components/schemas/inference_error_response"}
                told = {"description": "an error", "content": {"application/json": {"schema": error}}}
                operation["responses"] |= {str(status): told for status in (400, 404, 405, 413, 415, 503)}
        paths[path] = item
    return document | {"paths": paths}


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("standing"))
    scene.release()
    scene.release(share=0.1)
    return gateway(scene)


def valid(name, document):
    schema = {"$ref": f"#/components/schemas/{name}", "components": SPECIFICATION["components"]}
    jsonschema.validate(document, schema)


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_what_the_server_says_of_itself_has_the_documents_schema(standing, path):
    valid("metadata_server_response", call(standing, "GET", path).json())


@pytest.mark.parametrize("path", ["/v2/models/digits", "/v2/models/digits/versions/2"])
def test_what_a_model_says_of_itself_has_the_documents_schema(standing, path):
    valid("metadata_model_response", call(standing, "GET", path).json())


@pytest.mark.parametrize("version", [None, 1, 2])
def test_an_answer_has_the_documents_schema(standing, version):
    valid("inference_request", JSON_ROW)
    valid("inference_response", infer(standing, JSON_ROW | {"id": "42"}, version=version).json())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/models/digits/infer"),
        ("POST", "/v2/models/letters/infer"),
        ("GET", "/v2/models/digits/infer"),
        ("GET", "/v2/models/letters"),
        ("GET", "/v2/models/digits/versions/9/ready"),
        ("GET", "/v2/nothing"),
        ("DELETE", "/v2"),
    ],
)
def test_every_error_has_the_documents_schema(standing, method, path):
    response = call(standing, method, path)
    assert response.status_code in (400, 404, 405)
    assert set(response.json()) == {"error"}
    valid("inference_error_response", response.json())


@pytest.fixture(scope="module")
def url(standing):
    with Server(standing.app, host="127.0.0.1", port=0) as server:
        yield server.url


schema = schemathesis.openapi.from_dict(amended())
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]


@schema.parametrize()
@settings(max_examples=25, deadline=None)
def test_whatever_the_document_allows_or_forbids_gets_an_answer_in_its_form(case, url):
    case.call_and_validate(base_url=url, checks=CHECKS)
