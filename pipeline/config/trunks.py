"""The ``model`` section: one class for each trunk, told apart by ``trunk``."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from steadyrank.pipeline.config.section import Section, renamed

Size = Annotated[int, Field(ge=1)]
Units = Annotated[list[Size], Field(min_length=1)]


class History(Section):
    """How the events of a ``sequence`` feature become one vector."""

    encoder: Literal["attention", "mean", "nextitnet", "sasrec"] = "attention"
    blocks: Size | None = None  # of nextitnet and sasrec; null: 2

    @model_validator(mode="after")
    def _blocks(self):
        if self.blocks is not None and self.encoder in ("attention", "mean"):
            raise ValueError(f"encoder {self.encoder!r} has no blocks; remove it")
        return self


class Model(Section):
    """What all of them have."""

    embedding_dim: Size = 16
    history: History = History()
    # between the features' vectors and the trunk: nothing, DCN-v2, or dot products
    front: Literal["concatenation", "cross", "dot"] = "concatenation"
    front_layers: Size | None = None  # of the cross; null: 1
    tower_units: list[Size] = [32]

    @model_validator(mode="after")
    def _front(self):
        if self.front_layers is not None and self.front != "cross":
            raise ValueError(f"front {self.front!r} has no front_layers; remove it")
        return self


class SharedBottom(Model):
    """One network for all tasks, and a tower each."""

    trunk: Literal["shared_bottom"]
    layer_norm: bool = False  # of what the bottom reads
    bottom_units: Units = [128, 64]

    @model_validator(mode="before")
    @classmethod
    def _front_crosses(cls, value):
        return renamed(value, "cross_layers", "front: cross and front_layers")


class SingleTask(Model):
    """A network for each task; they share nothing but the embedding tables."""

    trunk: Literal["single_task"]
    bottom_units: Units = [128, 64]


class Asymmetric(Model):
    """A network for each task; some towers read other tasks' networks, too."""

    trunk: Literal["asymmetric"]
    bottom_units: Units = [128, 64]
    reads: dict[str, list[str]]  # task: the others that its tower reads

    @model_validator(mode="after")
    def _reads(self):
        if not any(self.reads.values()):
            raise ValueError("reads must say which task reads which: {is_like: [is_click]}")
        for task, others in self.reads.items():
            if task in others or len(set(others)) < len(others):
                raise ValueError(
                    f"reads.{task} must name other tasks, each once. Received: {others}"
                )
        return self


class Customized(Model):
    """A network for each task and a shared one; every tower reads both."""

    trunk: Literal["customized"]
    bottom_units: Units = [128, 64]


class CrossStitch(Model):
    """A network for each task, mixed with the others' after every layer."""

    trunk: Literal["cross_stitch"]
    bottom_units: Units = [128, 64]


class Sluice(Model):
    """Cross-stitch by subspaces; towers read all layers."""

    trunk: Literal["sluice"]
    bottom_units: Units = [128, 64]
    subspaces: Annotated[int, Field(ge=2)] = 2
    penalty: Annotated[float, Field(ge=0)] = 1e-4  # that keeps the subspaces apart

    @model_validator(mode="after")
    def _divides(self):
        if any(units % self.subspaces for units in self.bottom_units):
            raise ValueError(
                f"bottom_units must be multiples of subspaces={self.subspaces}. "
                f"Received: {self.bottom_units}"
            )
        return self


class Omoe(Model):
    """Experts that all tasks share, and one gate for all."""

    trunk: Literal["omoe"]
    experts: Size = 8
    expert_units: Units = [64]


class Mmoe(Model):
    """Experts that all tasks share, and a gate for each."""

    trunk: Literal["mmoe"]
    experts: Size = 8
    expert_units: Units = [64]


class MlMmoe(Model):
    """MMoE in levels; higher experts read mixtures of the lower ones."""

    trunk: Literal["ml_mmoe"]
    levels: Annotated[int, Field(ge=2)] = 2
    experts: Size = 8
    expert_units: Units = [64]


class Cgc(Model):
    """One level of PLE."""

    trunk: Literal["cgc"]
    shared_experts: Size = 2
    task_experts: Size = 1
    expert_units: Units = [64]


class Ple(Model):
    """Progressive layered extraction: shared and task-specific experts with gates."""

    trunk: Literal["ple"]
    levels: Size = 2
    shared_experts: Size = 2
    task_experts: Size = 1
    expert_units: Units = [64]


class LogisticRegression(Section):
    """A weight for every value of every feature; nothing is embedded."""

    trunk: Literal["lr"]

    @property
    def embedding_dim(self) -> int:
        """Of features that name none: a table that is not built."""
        return 1


class FactorizationMachine(Section):
    """Linear, and the products of all pairs of embedded features."""

    trunk: Literal["fm"]
    embedding_dim: Size = 10
    history: History = History()


class WideDeep(Model):
    """Linear, and an MLP."""

    trunk: Literal["wide_deep"]
    embedding_dim: Size = 10
    deep_units: Units = [400, 400, 400]  # CowClip's published runs
    tower_units: list[Size] = []


class DeepFM(WideDeep):
    """Linear, FM's products, and an MLP."""

    trunk: Literal["deepfm"]


class Dcn(WideDeep):
    """Linear, and crosses with vectors beside an MLP."""

    trunk: Literal["dcn"]
    cross_layers: Size = 3


class DcnV2(Dcn):
    """The same with matrices."""

    trunk: Literal["dcn_v2"]
    rank: Size | None = None  # of the matrices; null: full


AnyTrunk = (
    LogisticRegression
    | FactorizationMachine
    | WideDeep
    | DeepFM
    | Dcn
    | DcnV2
    | SharedBottom
    | SingleTask
    | Asymmetric
    | Customized
    | CrossStitch
    | Sluice
    | Omoe
    | Mmoe
    | MlMmoe
    | Cgc
    | Ple
)
TRUNKS: tuple[type[Section], ...] = get_args(AnyTrunk)
