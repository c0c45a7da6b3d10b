"""The benchmark's arithmetic, its skip words, and one tiny run from the command line to the JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture(autouse=True)
def _tools_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


# ------------------------------------------------------------------------------------------ arithmetic


def test_a_ratio_is_taken_pair_by_pair() -> None:
    from bench import ratios

    ours, theirs = [1.0, 2.0, 4.0], [3.0, 8.0, 8.0]  # a machine that slows down: pairs are 3, 4, 2
    assert ratios.pairs(theirs, ours) == [3, 4, 2]
    entry = ratios.entry(theirs, ours)
    assert entry["ratio"] == 3
    assert (entry["best_us"], entry["median_us"]) == (3e6, 8e6)
    with pytest.raises(ValueError):
        ratios.pairs([1.0], ours)


def test_the_best_peer_is_sought_at_all_thread_counts_and_is_not_us() -> None:
    from bench import ratios

    rounds = {
        ("fastdl", 1): [1.0, 1.0],
        ("fastdl", 2): [0.5, 0.5],
        ("fastdl-v3", 1): [0.1, 0.1],
        ("runner", 1): [0.1, 0.1],
        ("torch", 1): [9.0, 9.0],
        ("torch", 2): [6.0, 4.0],
        ("torch-bf16", 1): [2.0, 2.0],
        ("fastdl-bf16", 1): [0.5, 0.25],
        ("jax-scan", 1): [6.0, 6.0],
    }
    assert ratios.best_peer(rounds, mixed=True) == ("torch-bf16", 1)
    assert ratios.to_best(rounds, ("fastdl-bf16", 1)) == 6
    assert ratios.best_peer(rounds) == ("torch", 2)
    line = ratios.compare(rounds, 1)
    assert set(line["entries"]) == {
        *("fastdl", "fastdl-v3", "runner", "torch", "jax-scan", "torch-bf16", "fastdl-bf16")
    }
    assert line["entries"]["torch"]["ratio"] == 9
    assert line["best_peer"] == {"peer": "torch", "threads": 2, "median_us": 5e6, "ratio": 5}
    assert ratios.compare(rounds, 2)["best_peer"]["ratio"] == 10


def test_the_wall_is_products_at_the_peak_and_traffic_at_the_bandwidth() -> None:
    from bench.workloads import Workload

    work = Workload("", (100, 50, 10), batch=32, rows=64)
    flops = 32 * 2 * (2 * 100 * 50 + 3 * 50 * 10)  # the first layer has no gradient of its inputs
    assert work.step_flops == flops
    assert work.state_bytes == 24 * (101 * 50 + 51 * 10)
    rows = 4 * 32 * 100
    assert work.wall_us(10.0, 5.0, cache=1 << 30) == pytest.approx(1e-3 * (flops / 10 + rows / 5))
    kept = work.state_bytes  # no cache holds it
    assert work.wall_us(10.0, 5.0, cache=0) == pytest.approx(1e-3 * (flops / 10 + (rows + kept) / 5))
    whole = Workload("", (100, 50, 10), batch=64, rows=64)  # its rows stay where they are
    assert whole.wall_us(10.0, 5.0, cache=1 << 30) == pytest.approx(1e-3 * whole.step_flops / 10)


def test_alone_there_is_no_best_peer_and_without_us_no_ratio() -> None:
    from bench import ratios

    assert ratios.compare({("fastdl", 1): [1.0]}, 1)["best_peer"] is None
    line = ratios.compare({("torch", 1): [1.0]}, 1)
    assert "ratio" not in line["entries"]["torch"]
    assert "ratio" not in line["best_peer"]


def test_flops_of_a_step() -> None:
    from bench.workloads import Workload

    work = Workload("", (20, 64, 64, 2), 32, 100)
    forward = 2 * (20 * 64 + 64 * 64 + 64 * 2)
    assert work.forward_flops == forward
    assert work.step_flops == 32 * (3 * forward - 2 * 20 * 64)  # the first layer has no dX
    assert (work.steps, work.full_batch) == (4, False)


def test_jumps_are_told_from_the_size_before() -> None:
    from bench.scaling import jumps

    assert jumps([1.0, 2.0, 1.0]) == [None, 2, 0.5]
    assert jumps([]) == [None]


# ------------------------------------------------------------------------------------------ skip words


def test_a_peer_that_is_not_installed_says_so() -> None:
    from bench.peers import PEERS, Peer

    assert Peer("with_nothing", ("sys", "no_such_package_1")).missing() == "no_such_package_1 not installed"
    assert PEERS["fastdl"].missing() is None


def test_skip_words_come_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import peers
    from bench.pool import Pool

    monkeypatch.setitem(peers.PEERS, "ghost", peers.Peer("with_nothing", ("no_such_package_1",)))
    with Pool(["ghost", "numpy"], [1]) as pool:
        assert pool.skipped == {"ghost": "no_such_package_1 not installed"}
        times, words = pool.interleave("train", {}, 1, 0.0, "")
        assert times == {}
        assert words == {("numpy", 1): "has no train"}
        case = {"a": [3, 4], "b": [4, 5], "transpose_a": True, "transpose_b": False}
        assert pool.interleave("matmul", case, 1, 0.0, "")[1][("numpy", 1)].startswith("ValueError")
        times, words = pool.interleave("matmul", {**case, "transpose_a": False}, 2, 1e-4, "")
        assert words == {}
        assert all(seconds > 0 for seconds in times["numpy", 1])
        assert len(times["numpy", 1]) == 2


def test_a_child_that_dies_is_skipped() -> None:
    from bench.pool import Pool

    with Pool(["numpy"], [1]) as pool:
        pool.children["numpy", 1]._process.kill()
        assert pool.interleave("matmul", {}, 1, 0.0, "")[1] == {("numpy", 1): "its process has ended"}


# ----------------------------------------------------------------------------------------- command line


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOOLS / "benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_train_from_command_line_to_json(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run("train", "--workload", "tiny", "--peers", "fastdl", "--rounds", "1", "--threads", "1", "--rows", "640",
               "--profile", "--seconds", "0.01", "--json", str(out))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tiny, 32" in done.stdout
    everything = json.loads(out.read_text())
    machine = everything["machine"]
    assert set(machine) >= {"cpu", "cores", "isa", "versions", "load", "others", "python", "system"}
    assert machine["versions"]["fastdl"]
    assert len(machine["load"]) == 2
    assert everything["limits"] or "not measured: " in done.stdout
    (line,) = everything["results"]
    assert (line["workload"], line["threads"], line["rows"], line["target"]) == ("tiny", 1, 640, 4)
    assert line["best_peer"] is None
    ours = line["entries"]["fastdl"]
    assert len(ours["rounds_us"]) == 1
    assert 0 < ours["best_us"] <= ours["median_us"]
    assert ours["ratio"] == 1
    assert line["gflops"] == pytest.approx(1e-3 * line["step_flops"] / ours["median_us"])


def results_of(out: Path, *arguments: str) -> list[dict[str, Any]]:
    done = run(*arguments, "--threads", "1", "--rounds", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(out.read_text())["results"]
    assert not any(line.get("skip") or line.get("skipped") for line in results)
    return results


def test_many_from_command_line_to_json(tmp_path: Path) -> None:
    peers = "--peers", "fastdl", "fastdl-each"
    sizes = "--models", "3", "--rows", "320", "--seconds", "0.01"
    (line,) = results_of(tmp_path / "out.json", "many", "--workload", "tiny", *peers, *sizes)
    assert (line["workload"], line["models"], line["threads"], line["target"]) == ("tiny", 3, 1, 5)
    assert line["entries"]["fastdl-each"]["ratio"] > 0
    assert line["steps_per_second"] == pytest.approx(1e6 / line["entries"]["fastdl"]["median_us"])
    assert line["of_single_cores"] == 1
    assert line["best_peer"] is None


def test_the_share_of_single_cores_is_taken_pair_by_pair() -> None:
    from bench.many import of_single_cores

    rounds = {("fastdl", 1): [4.0, 6.0, 8.0], ("fastdl", 2): [2.0, 4.0, 4.0]}  # pairs are 2, 1.5, 2
    assert of_single_cores(rounds, 2) == 1
    assert of_single_cores({("fastdl", 2): [2.0]}, 2) is None


def test_lookup_from_command_line_to_json(tmp_path: Path) -> None:
    options = "--values", "1000", "50", "--peers", "fastdl", "--seconds", "0.01"
    results = results_of(tmp_path / "out.json", "lookup", *options)
    assert [(line["rule"], line["values"]) for line in results] == [
        (rule, values) for rule in ("SparseAdam", "SGD", "Adam") for values in (1000, 50)
    ]
    assert [line["target"] for line in results[::2]] == [5, 5, None]
    for more, fewest in zip(results[::2], results[1::2], strict=True):
        times = [line["entries"]["fastdl"]["median_us"] for line in (more, fewest)]
        assert more["growth"] == pytest.approx(times[0] / times[1])
        assert fewest["growth"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fadvise and RLIMIT_DATA")
def test_disk_from_command_line_to_json(tmp_path: Path) -> None:
    results = results_of(tmp_path / "out.json", "disk", "--megabytes", "8", "--folder", str(tmp_path))
    lines = {line["peer"]: line for line in results}
    assert set(lines) >= {"fastdl-memory", "fastdl-mapped", "fastdl-mapped-in-order", "fastdl-batches"}
    assert lines["fastdl-memory"]["ratio"] is None
    mapped, memory = lines["fastdl-mapped"], lines["fastdl-memory"]
    assert mapped["ratio"] == pytest.approx(mapped["rounds_s"][0] / memory["rounds_s"][0])
    assert memory["rounds_bytes"] == [0]
    assert not list(tmp_path.glob("fastdl-bench-*"))  # the files are gone


def test_help_names_all_commands_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(TOOLS / "benchmark.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "time-to-accuracy" in done.stdout
    assert "benchmark.py tabular --help" in done.stdout


def test_too_many_threads_are_refused() -> None:
    done = run("train", "--threads", "100000")
    assert done.returncode == 2
    assert "--threads" in done.stderr


def test_fusion_from_command_line_to_json(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run("fusion", "--net", "tiny, BN as primitives", "--rounds", "1", "--threads", "1",
               "--seconds", "0.001", "--json", str(out))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Fewer operators than fastdl: nobody" in done.stdout
    results = json.loads(out.read_text())["results"]
    assert [line["batch"] for line in results] == [1, 1024]
    line = results[0]
    assert line["nodes"]["fastdl"] == line["nodes"]["ideal"] == 6 < line["nodes"]["onnxruntime"]
    assert line["executed"]["fastdl"] == line["executed"]["ideal"] < line["executed"]["onnxruntime"]
    assert not {"fastdl", "onnxruntime"} & set(line["wrong"])
    assert set(line["entries"]) >= {"fastdl", "onnxruntime", "ideal"}


def test_a_tool_that_is_missing_or_fails_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import fusion, nets
    from bench.workloads import Skip

    def missing(model: object) -> object:
        import no_such_package_1

        return no_such_package_1

    def failing(model: object) -> object:
        raise RuntimeError("first line\nsecond")

    plain = nets.ideal((2, 3, 2))
    monkeypatch.setitem(fusion.TOOLS, "missing", missing)
    monkeypatch.setitem(fusion.TOOLS, "failing", failing)
    with pytest.raises(Skip, match="no_such_package_1 not installed"):
        fusion._apply("missing", plain)
    with pytest.raises(Skip, match=r"RuntimeError: first line$"):
        fusion._apply("failing", plain)


def test_a_file_that_computes_something_else_is_called_wrong() -> None:
    from bench import fusion, nets

    plain = nets.chain((4, 5, 2), "batch_norm", "Relu")
    assert fusion._differs("tool", plain, fusion._apply("fastdl", plain)) == {}
    assert "off by" in fusion._differs("tool", plain, nets.chain((4, 5, 2), "Relu"))["tool"]
