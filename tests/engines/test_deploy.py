"""`fastdl deploy`: each folder is read by its system's own parser, or served by it and asked over HTTP.

Questions hold strings, numbers and what is missing; the answers are those of one Runner.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl.deployment import deploy
from fastdl.deployment.yaml import yaml

from . import guide
from .servers import free_port, started

pytestmark = pytest.mark.engine
Array = np.ndarray[Any, Any]
DAY = 86400.0
TABLE = {
    "since": [18_993 * DAY, 19_400 * DAY, None, 19_500 * DAY, 0.0],  # seconds since 1970, as the file takes dates
    "plan": ["gold", "", "silver", "nobody has this", "free"],  # "": missing
    "visits": [3.0, None, 7.0, 0.5, None],
    "spent": [12.5, 99.0, None, None, 0.0],
}
ROWS = [dict(zip(TABLE, cells, strict=True)) for cells in zip(*TABLE.values(), strict=True)]


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Array]:
    """A Runner's answers for the table."""
    answers: dict[str, Array] = fastdl.Runner(folder / "churn/model.onnx").predict(TABLE)
    assert list(answers) == ["label", "probabilities"]
    assert len({*answers["probabilities"][:, 1].tolist()}) == 5
    return answers


@pytest.fixture(scope="module")
def deployed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder for a system, of the table's file or of digits."""

    def make(to: str, file: str = "churn/model.onnx", **options: Any) -> Path:
        made = tmp_path_factory.mktemp("deployed") / to
        deploy(folder / file, to, made, **options)
        return made

    return make


def check(answers: dict[str, Any], expected: dict[str, Array]) -> None:
    assert answers["label"] == expected["label"].tolist()
    got = np.asarray(answers["probabilities"], np.float32)
    np.testing.assert_allclose(got, expected["probabilities"], rtol=1e-6)


def tool(name: str) -> str:
    """A command that stands beside this Python."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


# -- Triton, KServe: read by their own parsers ----------------------------------------------------------


def triton_model(config: Path) -> Any:
    """config.pbtxt as Triton reads it."""
    pytest.importorskip("tritonclient.grpc")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(config.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def as_triton_would(config: Any, file: Path, request: dict[str, Array]) -> dict[str, Array]:
    """The answers to a request, shapes and types checked and changed as config.pbtxt says, by onnxruntime."""
    import onnxruntime
    from tritonclient.utils import triton_to_np_dtype

    feed = {}
    assert sorted(request) == sorted(port.name for port in config.input)
    for port in config.input:
        array, batch = request[port.name], [-1] if config.max_batch_size else []
        kind = type(port).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[port.data_type].name
        dtype = triton_to_np_dtype(kind.removeprefix("TYPE_").replace("STRING", "BYTES"))
        assert array.dtype == dtype
        shape = [*batch, *port.dims]
        assert [-1 if want == -1 else size for want, size in zip(shape, array.shape, strict=True)] == shape
        inner = [*batch, *port.reshape.shape] if port.HasField("reshape") else list(array.shape)
        feed[port.name] = array.reshape(inner)
    session = onnxruntime.InferenceSession(file)
    names = [port.name for port in config.output]
    answers = dict(zip(names, session.run(names, feed), strict=True))
    for port in config.output:
        if port.HasField("reshape"):
            answers[port.name] = answers[port.name].reshape([-1, *port.dims])
        assert list(answers[port.name].shape[1:]) == list(port.dims)
    return answers


@pytest.mark.parametrize("to", ["triton", "kserve"])
def test_triton_reads_the_repository(to: str, deployed: Any, expected: dict[str, Array]) -> None:
    repository = deployed(to) / ("models" if to == "kserve" else "")
    (name,) = os.listdir(repository)
    config = triton_model(repository / name / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 1024)
    assert [group.kind for group in config.instance_group] == [config.instance_group[0].KIND_CPU]
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    request = {
        "since": np.array(TABLE["since"], np.float64)[:, None],
        "plan": np.array(TABLE["plan"], object)[:, None],
        "visits": np.array(TABLE["visits"], np.float32)[:, None],
        "spent": np.array(TABLE["spent"], np.float32)[:, None],
    }
    answers = as_triton_would(config, repository / name / "1" / config.default_model_filename, request)
    check({"label": answers["label"][:, 0].tolist(), "probabilities": answers["probabilities"]}, expected)


def test_triton_reads_a_model_of_pictures(deployed: Any, digits: Any, folder: Path) -> None:
    repository = deployed("triton", "m.onnx", name="digits")
    config = triton_model(repository / "digits/config.pbtxt")
    (name,) = [port.name for port in config.input]
    (answer,) = as_triton_would(config, repository / "digits/1/model.onnx", {name: digits[0][:7]}).values()
    np.testing.assert_allclose(answer, fastdl.Runner(folder / "m.onnx").predict(digits[0][:7]), rtol=1e-6)


KSERVE = """
import json, sys, kserve

def read(data, kind):
    model = getattr(kserve, kind, None)
    if model is None or not isinstance(data, dict):
        return data
    names = {there: here for here, there in model.attribute_map.items()}
    return model(**{names[key]: read(value, model.openapi_types[names[key]]) for key, value in data.items()})

service = read(json.load(sys.stdin), "V1beta1InferenceService")
model = service.spec.predictor.model
print(json.dumps([service.api_version, service.metadata["name"], model.model_format.name, model.protocol_version,
                  model.runtime, model.storage_uri]))
"""


def test_kserve_reads_its_service(deployed: Any) -> None:
    """By the classes of its SDK, in a process of its own: its protobuf and Triton's declare the same names."""
    read = pytest.importorskip("yaml").safe_load((deployed("kserve") / "inferenceservice.yaml").read_text())
    assert read["kind"] == "InferenceService"
    if subprocess.run([sys.executable, "-c", "import kserve"], capture_output=True, check=False).returncode:
        pytest.skip("kserve is not installed here")
    done = subprocess.run(
        [sys.executable, "-c", KSERVE], input=json.dumps(read), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = ["serving.kserve.io/v1beta1", "churn", "onnx", "v2", "kserve-tritonserver", "pvc://models/churn"]
    assert json.loads(done.stdout) == told


def test_yaml_is_read_as_it_was_meant() -> None:
    reader = pytest.importorskip("yaml")
    value = {
        "text": ["plain", "3.11", "yes", "NULL", "a: b", 'q"\n\\', "ö", "", "pvc://models/x", "- x", "# y", "1e3"],
        "numbers": [1, -2.5, True, None],
        "nested": {"list": [{"a": 1, "b": {"c": [2]}}, ["x", ["y"]], {}], "empty": [], "none": {}},
    }
    assert reader.safe_load(yaml(value)) == value


# -- asked over HTTP ------------------------------------------------------------------------------------


@contextmanager
def served(command: list[str], health: str, folder: Path, **environment: str) -> Iterator[Any]:
    """A client of the server that the command starts in the folder; PORT stands for its port."""
    httpx = pytest.importorskip("httpx")
    port = str(free_port())
    more = {name: value.replace("PORT", port) for name, value in environment.items()}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"}
    paths = {
        "PYTHONPATH": str(Path(fastdl.__file__).parents[1]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    address = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        words = [word.replace("PORT", port) for word in command]
        stack.enter_context(started(words, f"{address}{health}", folder, **quiet, **paths, **more))
        yield stack.enter_context(httpx.Client(base_url=address, timeout=60))


def test_plain_http(deployed: Any, expected: dict[str, Array], digits: Any, folder: Path) -> None:
    pytest.importorskip("fastapi")
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "PORT"]
    with served(command, "/health", deployed("http")) as client:
        check(client.post("/predict", json=ROWS).json(), expected)
        check(client.post("/predict", json=TABLE).json(), expected)
        wrong = client.post("/predict", json=[{"plan": "gold"}])
        assert wrong.status_code == 422
        assert "it is given no 'since'" in wrong.text
    with served(command, "/health", deployed("http", "m.onnx")) as client:
        (answer,) = client.post("/predict", json=digits[0][:3].tolist()).json().values()
        np.testing.assert_allclose(answer, fastdl.Runner(folder / "m.onnx").predict(digits[0][:3]), rtol=1e-6)


def test_bentoml(deployed: Any, expected: dict[str, Array], tmp_path: Path) -> None:
    command = [tool("bentoml"), "serve", "--port", "PORT"]
    with served(command, "/readyz", deployed("bentoml"), BENTOML_HOME=str(tmp_path)) as client:
        check(client.post("/predict", json={"inputs": ROWS}).json(), expected)
        wrong = client.post("/predict", json={"inputs": [{"plan": "gold"}]})
        assert wrong.status_code == 400
        assert "it is given no 'since'" in wrong.text


def test_mlflow(deployed: Any, expected: dict[str, Array], digits: Any, folder: Path) -> None:
    """A frame and tensors by name in this process; records and tensors over HTTP."""
    mlflow = pytest.importorskip("mlflow.pyfunc")
    pd = pytest.importorskip("pandas")
    made = deployed("mlflow")
    answers = mlflow.load_model(str(made)).predict(pd.DataFrame(TABLE))
    check({"label": answers["label"].tolist(), "probabilities": answers["probabilities"]}, expected)
    pictures = mlflow.load_model(str(deployed("mlflow", "m.onnx"))).predict(digits[0][:3])
    (answer,) = pictures.values()
    np.testing.assert_allclose(answer, fastdl.Runner(folder / "m.onnx").predict(digits[0][:3]), rtol=1e-6)
    command = [
        tool("mlflow"),
        "models",
        "serve",
        "--model-uri",
        str(made),
        "--env-manager",
        "local",
        "-p",
        "PORT",
        "-w",
        "1",
    ]
    with served(command, "/ping", made) as client:
        check(client.post("/invocations", json={"dataframe_records": ROWS}).json()["predictions"], expected)
        tensors = {name: [[cell] for cell in cells] for name, cells in TABLE.items()}
        check(client.post("/invocations", json={"inputs": tensors}).json()["predictions"], expected)


def test_mlserver(deployed: Any, expected: dict[str, Array]) -> None:
    """MLflow's folder, by the V2 protocol."""
    ports = {f"MLSERVER_{what}_PORT": str(free_port()) for what in ("GRPC", "METRICS")}
    command = [tool("mlserver"), "start", "."]
    kinds = {"since": "FP64", "plan": "BYTES", "visits": "FP32", "spent": "FP32"}
    inputs = [
        {"name": name, "shape": [len(cells), 1], "datatype": kinds[name], "data": cells}
        for name, cells in TABLE.items()
    ]
    health = "/v2/models/churn/ready"
    with served(command, health, deployed("mlflow"), MLSERVER_HTTP_PORT="PORT", **ports) as client:
        answer = client.post("/v2/models/churn/infer", json={"inputs": inputs}).json()
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    check({"label": outputs["label"], "probabilities": np.reshape(outputs["probabilities"], (-1, 2))}, expected)


def test_ray_serve(ray: Any, expected: dict[str, Array], folder: Path) -> None:
    """The page's deployment, in the folder that Ray was started in."""
    httpx = pytest.importorskip("httpx")
    serve = pytest.importorskip("ray.serve")
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        guide.run("ray serve", __name__="churn")
        check(httpx.post(f"http://127.0.0.1:{port}/churn", json=ROWS, timeout=60).json(), expected)
    finally:
        serve.shutdown()
