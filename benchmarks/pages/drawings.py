"""The drawings of ``docs/measured/``, each from one file of results."""

from collections.abc import Callable

from benchmarks import multitask_drawing, stability_drawing, stacking_drawing, sweep_drawing


def stability(result: dict) -> str:
    """AUC against learning rate."""
    lines = {
        row["method"]: {
            "areas": {float(rate): area for rate, area in row["areas"].items()},
            "lost": row["lost"],
        }
        for row in result["models"]["large_dcn"]["methods"]
    }
    title = "KuaiRand, Large+DCN: mean AUC of four tasks on the day after"
    note = "Learning rate of the dense weights. Crosses: training diverged with some seed."
    return stability_drawing.draw(title, lines, note)


def seesaw(result: dict) -> str:
    """One task's AUC against another's."""
    return multitask_drawing.draw(result["runs"])


DRAWINGS: dict[str, tuple[str, Callable[[dict], str]]] = {
    "stability": ("stability_quick", stability),
    "seesaw": ("multitask_seesaw_quick", seesaw),
    "stacking": ("stacking_cl_quick", stacking_drawing.draw),
    "sweep": ("sweep_kuairand", sweep_drawing.draw),
}
