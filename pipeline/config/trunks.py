"""The ``model`` section: one class for each trunk, told apart by ``trunk``."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from steadyrank.pipeline.config.section import Section, renamed

Size = Annotated[int, Field(ge=1)]
Units = Annotated[list[Size], Field(min_length=1)]


class History(Section):
    """How the events of a ``sequence`` feature become one vector."""

    encoder: Literal["attention", "mean", "nextitnet", "sasrec"] = "attention"
    """How the events of a sequence feature become one vector."""
    blocks: Size | None = None
    """Of nextitnet and sasrec; null: 2."""

    @model_validator(mode="after")
    def _blocks(self):
        if self.blocks is not None and self.encoder in ("attention", "mean"):
            raise ValueError(f"encoder {self.encoder!r} has no blocks; remove it")
        return self


class Model(Section):
    """What all of them have."""

    embedding_dim: Size = 16
    """Width of embeddings that name none."""
    history: History = History()
    """How sequence features are encoded."""
    front: Literal["concatenation", "cross", "dot"] = "concatenation"
    """Between the features' vectors and the trunk: nothing, DCN-v2, or dot products of all
    pairs."""
    front_layers: Size | None = None
    """Of the cross; null: 1."""
    tower_units: list[Size] = [32]
    """Widths of each task's tower."""

    @model_validator(mode="after")
    def _front(self):
        if self.front_layers is not None and self.front != "cross":
            raise ValueError(f"front {self.front!r} has no front_layers; remove it")
        return self


class SharedBottom(Model):
    """One network for all tasks, and a tower each."""

    trunk: Literal["shared_bottom"]
    layer_norm: bool = False
    """Whether what the bottom reads is normalised."""
    bottom_units: Units = [128, 64]
    """Widths of each network's layers."""

    @model_validator(mode="before")
    @classmethod
    def _front_crosses(cls, value):
        return renamed(value, "cross_layers", "front: cross and front_layers")


class SingleTask(Model):
    """A network for each task; they share nothing but the embedding tables."""

    trunk: Literal["single_task"]
    bottom_units: Units = [128, 64]
    """Widths of each network's layers."""


class Asymmetric(Model):
    """A network for each task; some towers read other tasks' networks, too."""

    trunk: Literal["asymmetric"]
    bottom_units: Units = [128, 64]
    """Widths of each network's layers."""
    reads: dict[str, list[str]]
    """Task -> the others whose networks its tower reads: `{is_like: [is_click]}`."""

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
    """Widths of each network's layers."""


class CrossStitch(Model):
    """A network for each task, mixed with the others' after every layer."""

    trunk: Literal["cross_stitch"]
    bottom_units: Units = [128, 64]
    """Widths of each network's layers."""


class Sluice(Model):
    """Cross-stitch by subspaces; towers read all layers."""

    trunk: Literal["sluice"]
    bottom_units: Units = [128, 64]
    """Widths of each network's layers."""
    subspaces: Annotated[int, Field(ge=2)] = 2
    """Parts of each layer, which divide its width."""
    penalty: Annotated[float, Field(ge=0)] = 1e-4
    """Weight of what keeps the subspaces apart."""

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
    """How many there are."""
    expert_units: Units = [64]
    """Widths of an expert's layers."""


class Mmoe(Model):
    """Experts that all tasks share, and a gate for each."""

    trunk: Literal["mmoe"]
    experts: Size = 8
    """How many there are."""
    expert_units: Units = [64]
    """Widths of an expert's layers."""


class MlMmoe(Model):
    """MMoE in levels; higher experts read mixtures of the lower ones."""

    trunk: Literal["ml_mmoe"]
    levels: Annotated[int, Field(ge=2)] = 2
    """Layers of experts."""
    experts: Size = 8
    """How many there are."""
    expert_units: Units = [64]
    """Widths of an expert's layers."""


class Cgc(Model):
    """One level of PLE."""

    trunk: Literal["cgc"]
    shared_experts: Size = 2
    """Experts that all tasks read, in each level."""
    task_experts: Size = 1
    """Experts of each task, in each level."""
    expert_units: Units = [64]
    """Widths of an expert's layers."""


class Ple(Model):
    """Progressive layered extraction: shared and task-specific experts with gates."""

    trunk: Literal["ple"]
    levels: Size = 2
    """Layers of experts."""
    shared_experts: Size = 2
    """Experts that all tasks read, in each level."""
    task_experts: Size = 1
    """Experts of each task, in each level."""
    expert_units: Units = [64]
    """Widths of an expert's layers."""


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
    """Width of all embeddings."""
    history: History = History()
    """How sequence features are encoded."""


class WideDeep(Model):
    """Linear, and an MLP."""

    trunk: Literal["wide_deep"]
    embedding_dim: Size = 10
    """Width of embeddings that name none."""
    deep_units: Units = [400, 400, 400]
    """Widths of the MLP's layers; CowClip's published runs."""
    tower_units: list[Size] = []
    """Widths of each task's tower."""


class DeepFM(WideDeep):
    """Linear, FM's products, and an MLP."""

    trunk: Literal["deepfm"]


class Dcn(WideDeep):
    """Linear, and crosses with vectors beside an MLP."""

    trunk: Literal["dcn"]
    cross_layers: Size = 3
    """Crosses, one after the other."""


class DcnV2(Dcn):
    """The same with matrices."""

    trunk: Literal["dcn_v2"]
    rank: Size | None = None
    """Of the crosses' matrices; null: full."""


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
