"""A chief and its workers share the trials, whoever dies."""

import os
import threading
import time

import pytest

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.studies.sweep import chief, sweep
from steadyrank.pipeline.studies.sweep.oracles import make_oracle
from steadyrank.pipeline.studies.sweep.tuner import SweepTuner
from tests.helpers.sweeps import Fake, make_space


def with_workers(space, output, runs, monkeypatch, lease=1.0, died=None):
    """A chief here, and a worker in a thread for each of the functions."""
    monkeypatch.setattr(chief, "LEAVE_SECONDS", 3.0)
    monkeypatch.setenv(chief.ADDRESS, "127.0.0.1")
    monkeypatch.setenv(chief.PORT, str(chief.free_port()))
    monkeypatch.setenv(chief.TUNER_ID, "worker")
    first = space.encode(space.own())
    oracle = make_oracle(space.sweep, space.hyperparameters(), first)
    oracle._set_project_dir(str(output), "trials")

    def work(number, run):
        tuner = SweepTuner(
            make_oracle(space.sweep, space.hyperparameters(), first), space, run, output
        )
        tuner.tuner_id = f"worker-{number}"
        try:
            tuner.search()
        except SystemExit:
            died.append(tuner.tuner_id)

    threads = [
        threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(runs)
    ]
    for thread in threads:
        thread.start()

    until = time.monotonic() + 60

    def look():
        assert time.monotonic() < until, "the workers are dead"

    chief.serve(oracle, output, look=look, lease=lease)
    for thread in threads:
        thread.join(5)
    return oracle


def slow(fake):
    def run(*arguments, beat):
        time.sleep(0.05)
        return fake(*arguments, beat)

    return run


def test_a_chief_and_two_workers_share_the_trials(tmp_path, monkeypatch):
    fakes = [Fake(), Fake(trial_3="diverged")]
    oracle = with_workers(make_space(), tmp_path, [slow(f) for f in fakes], monkeypatch)
    names = sorted(name for fake in fakes for name, *_ in fake.calls)
    assert names == list("012345")
    assert all(fake.calls for fake in fakes)
    assert len(oracle.trials) == len(oracle.end_order) == 6
    assert not oracle.ongoing_trials


def test_the_trial_of_a_dead_worker_is_run_by_another(tmp_path, monkeypatch):
    died, fake = [], Fake()

    def dies(folder, values, epochs, source, beat):
        died.append(folder.name[-1])
        raise SystemExit(9)

    oracle = with_workers(
        make_space(), tmp_path, [dies, slow(fake)], monkeypatch, 0.6, died
    )
    lost, _ = died
    assert lost in [name for name, *_ in fake.calls]
    assert sorted(name for name, *_ in fake.calls) == list("012345")
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}


def test_a_trial_that_kills_every_worker_fails_in_the_end(tmp_path):
    space = make_space()
    oracle = make_oracle(space.sweep, space.hyperparameters(), None)
    oracle._set_project_dir(str(tmp_path), "trials")
    for _ in range(2):
        assert oracle.create_trial("a").trial_id == "0"
        assert oracle.give_up("a") == "0"
    assert oracle.create_trial("a").trial_id == "1"
    assert oracle.trials["0"].status == "FAILED"
    assert oracle.give_up("b") is None  # it had none
    late = oracle.trials["0"]
    late.status = "COMPLETED"
    oracle.end_trial(late)  # a late report of a worker that was given up
    assert oracle.end_order.count("0") == 1


def test_a_dead_process_is_replaced_and_leaves_no_training_behind(tmp_path):
    script = "sleep 60 & echo $! > child; exit 9"
    worker = chief.Worker(
        "w", ["sh", "-c", f"cd {tmp_path}; {script}"], {}, tmp_path / "log"
    )

    class Oracle:
        gone = []

        def give_up(self, name):
            self.gone.append(name)

    worker.process.wait(10)
    child = int((tmp_path / "child").read_text())
    chief._revive(worker, Oracle())
    assert Oracle.gone == ["w"] and worker.starts == 2
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or zombie(child):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the child of the dead worker lives")
    for _ in range(chief.RESTARTS):
        worker.process.wait(10)
        chief._revive(worker, Oracle())
    worker.process.wait(10)
    with pytest.raises(InputError, match="all workers died"):
        chief._stop_if_all_died([worker])
    worker.end()


def zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_the_message_of_a_fatal_trial_reaches_the_chief(tmp_path, monkeypatch):
    fake = Fake(trial_0=InputError("train.epochs: no"), trial_1=InputError("again"))
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with pytest.raises(InputError, match="train.epochs: no|again"):
        with_workers(make_space(), tmp_path, [fake], monkeypatch)


def test_half_of_the_variables_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(chief.ADDRESS, "127.0.0.1")
    with pytest.raises(InputError, match="KERASTUNER_ORACLE_PORT and KERASTUNER_TUNER_ID"):
        sweep(make_space(), None, tmp_path, run=Fake())
