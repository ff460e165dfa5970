"""The locked versions import together and do their first piece of work: `pip check` is no evidence of that."""

import importlib.metadata
import io
import re
from pathlib import Path

import numpy as np
import pytest

LOCK = Path(__file__).parent.parent / "requirements.lock"


def test_what_is_installed_is_what_the_lock_says() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", LOCK.read_text(), re.MULTILINE))  # lines with a marker left out
    installed = {name: importlib.metadata.version(name).partition("+")[0] for name in pins}
    assert installed == pins, "run `make venv`"


def test_the_lock_is_exact_and_names_no_build_that_one_index_alone_carries() -> None:
    for line in LOCK.read_text().splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line), line


@pytest.mark.slow
def test_prefect_runs_a_flow_in_its_embedded_server() -> None:
    from prefect import flow, task
    from prefect.testing.utilities import prefect_test_harness

    @task
    def double(number: int) -> int:
        return 2 * number

    @flow
    def doubled() -> int:
        return double(21)

    with prefect_test_harness(server_startup_timeout=60):
        assert doubled() == 42


def test_evidently_reports_drift_as_html() -> None:
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"x": rng.normal(size=200)})
    current = pd.DataFrame({"x": rng.normal(loc=3, size=200)})
    snapshot = Report([DataDriftPreset()]).run(current, reference)
    assert snapshot.dict()["metrics"]
    assert "<html" in snapshot.get_html_str(as_iframe=False)


def test_great_expectations_runs_a_checkpoint() -> None:
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(gx.ExpectationSuite("s", [gx.expectations.ExpectColumnValuesToNotBeNull(column="x")]))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="v", data=batch, suite=suite))
    checkpoint = context.checkpoints.add(gx.Checkpoint(name="c", validation_definitions=[validation]))
    good, bad = pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0, None]})
    assert checkpoint.run(batch_parameters={"dataframe": good}).describe_dict()["success"]
    assert not checkpoint.run(batch_parameters={"dataframe": bad}).describe_dict()["success"]


def test_streamlit_runs_a_page() -> None:
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st

        st.metric("live", st.number_input("version", value=3))

    app = AppTest.from_function(page).run(timeout=30)
    assert not app.exception
    app.number_input[0].set_value(4).run(timeout=30)
    assert app.metric[0].value == "4"


def test_a_torch_network_exported_to_onnx_answers_in_onnxruntime_as_it_did_in_torch() -> None:
    import onnxruntime
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    )
    x = torch.rand(2, 1, 8, 8)
    content = io.BytesIO()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(network.eval(), (x,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    program.save(content)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(logits, network(x).detach().numpy(), atol=1e-5)


def test_torch_pruning_removes_channels() -> None:
    import torch
    import torch_pruning as tp

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3))
    graph = tp.DependencyGraph().build_dependency(network, example_inputs=torch.rand(1, 1, 8, 8))
    graph.get_pruning_group(network[0], tp.prune_conv_out_channels, idxs=[0, 1]).prune()
    assert network[2].in_channels == 6
    assert network(torch.rand(1, 1, 8, 8)).shape == (1, 2, 4, 4)
