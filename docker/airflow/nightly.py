"""The nightly job as an Airflow DAG: a new day in, a model released or refused.

Copy this file into the folder of DAGs, on workers that have ``steadyrank`` and the store.
Variables: ``steadyrank_config``, ``steadyrank_store``, ``steadyrank_data``.

Status 75, the day's files have not come or a fault that may pass, is tried again every half
hour, and so is a process that was killed; 1, 2 and 3 are the same at the next try, and fail
the task at once.  After ``--give-up-after`` the day is put on hold (1).  A task that is
cleared does nothing where the night is done, and goes on where it stopped.
"""

import datetime
import subprocess

from airflow.exceptions import AirflowException, AirflowFailException

try:
    from airflow.sdk import DAG, Variable, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models import DAG, Variable

SAME_AGAIN = {
    1: "held or refused: see the night's report",
    2: "bad config or input",
    3: "training diverged",
}


def night(day: str, config: str, store: str, data: str) -> None:
    """Do one night; raise as its exit status says.

    Args:
        day: The day to judge on.
        config: The run's YAML file.
        store: The folder of nights and releases.
        data: What the config's paths are relative to.
    """
    command = ["steadyrank", "nightly", "--log-format", "json", "--give-up-after", "12h"]
    command += ["--config", config, "--store", store, "--data", data, "--day", day]
    status = subprocess.run(command).returncode
    if status in SAME_AGAIN:
        raise AirflowFailException(f"status {status}: {SAME_AGAIN[status]}")
    if status:
        raise AirflowException(f"status {status}: tried again")


with DAG(
    dag_id="steadyrank_nightly",
    description="One more day: train on, release or refuse.",
    schedule="30 3 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,  # nights go from day to day
    tags=["steadyrank"],
) as dag:

    @task(retries=24, retry_delay=datetime.timedelta(minutes=30))
    def nightly(day: str) -> None:
        """The day that ended before the run."""
        names = ("config", "store", "data")
        night(day, *(Variable.get(f"steadyrank_{name}") for name in names))

    nightly("{{ macros.ds_add((data_interval_end or dag_run.run_after) | ds, -1) }}")
