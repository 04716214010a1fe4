"""A server on this machine that speaks the few calls of MLflow's REST API that we use.

It keeps what it was told, and knows nothing of our code; ``python -m mlflow server`` would
do, with a hundred packages.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

API = "/api/2.0/mlflow/"


class MlflowServer:
    """What a server was told.

    Attributes:
        uri: Where it listens.
        calls: Each request: its path below the API, and its arguments.
        experiments: Name -> id.
        runs: Id -> its experiment, name, status, tags, params, metrics and stage.
        broken: While it is set, every request is answered with status 500.
    """

    def __init__(self):
        self.calls, self.experiments, self.runs = [], {}, {}
        self.broken, self.uri = False, ""
        self._lock = threading.Lock()

    def answer(self, call: str, asked: dict) -> tuple[int, dict]:
        """Status and document for a request."""
        with self._lock:
            self.calls.append((call, asked))
            if self.broken:
                return 500, {"error_code": "INTERNAL_ERROR", "message": "broken"}
            method = getattr(self, "_" + call.replace("/", "_").replace("-", "_"), None)
            if method is None:
                return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": call}
            return method(asked)

    def _experiments_get_by_name(self, asked):
        name = asked["experiment_name"]
        if name not in self.experiments:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": name}
        found = {"experiment_id": self.experiments[name], "name": name}
        return 200, {"experiment": {**found, "lifecycle_stage": "active"}}

    def _experiments_create(self, asked):
        self.experiments[asked["name"]] = number = str(len(self.experiments) + 1)
        return 200, {"experiment_id": number}

    def _runs_create(self, asked):
        number = f"{len(self.runs):032x}"
        self.runs[number] = {
            "experiment": asked["experiment_id"],
            "name": asked.get("run_name"),
            "status": "RUNNING",
            "tags": {tag["key"]: tag["value"] for tag in asked.get("tags", ())},
            "params": {},
            "metrics": {},
            "stage": "active",
        }
        return self._runs_get({"run_id": number})

    def _runs_get(self, asked):
        run = self.runs.get(asked["run_id"])
        if run is None:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}
        info = {
            "run_id": asked["run_id"],
            "run_uuid": asked["run_id"],
            "experiment_id": run["experiment"],
            "status": run["status"],
            "lifecycle_stage": run["stage"],
        }
        return 200, {"run": {"info": info, "data": {}}}

    def _runs_update(self, asked):
        self.runs[asked["run_id"]]["status"] = asked["status"]
        return self._runs_get(asked)

    def _runs_log_batch(self, asked):
        run, number = self.runs[asked["run_id"]], sum(map(len, asked.values()))
        metrics, params = asked.get("metrics", []), asked.get("params", [])
        if number - len(asked["run_id"]) > 1000 or len(params) > 100:
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "too many"}
        for metric in metrics:
            point = int(metric.get("step", 0)), metric["value"]
            run["metrics"].setdefault(metric["key"], []).append(point)
        for param in params:
            if run["params"].setdefault(param["key"], param["value"]) != param["value"]:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "changed"}
        run["tags"] |= {tag["key"]: tag["value"] for tag in asked.get("tags", ())}
        return 200, {}


@contextlib.contextmanager
def served() -> Iterator[MlflowServer]:
    """A server that listens."""
    server = MlflowServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._reply(dict(parse_qsl(urlsplit(self.path).query)))

        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(json.loads(text))

        def _reply(self, asked):
            call = urlsplit(self.path).path.removeprefix(API)
            status, document = server.answer(call, asked)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.uri = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
