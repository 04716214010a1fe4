"""The search space: checked against the config, told to KerasTuner, put into configs.

KerasTuner's choices are of one plain type.  Ours may be lists, too, and mixed; so a choice
goes by its JSON text.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence

import keras_tuner as kt

from steadyrank.models.score import parse_score, score_names
from steadyrank.pipeline.config import Config, parse_any_config, set_key
from steadyrank.pipeline.config.sweep import Parameter, Sweep
from steadyrank.pipeline.examples.compatibility import (
    READ_LATER,
    made_otherwise,
    read_by_preprocessing,
)
from steadyrank.pipeline.files.errors import InputError

DIGITS = ".4g"  # of a number drawn from a range: more would only look exact
Values = Mapping[str, object]  # key -> what the config gets; keys that are not active lack


class Space:
    """A sweep's parameters beside the config that they change.

    Args:
        document: The config as a dictionary, not changed here.
        sweep: Its sweep, checked by itself.

    Raises:
        InputError: A key does not exist, or a value does not fit it; all are listed.
    """

    def __init__(self, document: dict, sweep: Sweep):
        self.sweep = sweep
        self.parameters = {parameter.key: parameter for parameter in sweep.space}
        self.document = {k: v for k, v in document.items() if k != "sweep"}
        self.config = parse_any_config(self.document, "of the sweep")
        problems = list(self._problems())
        if problems:
            raise InputError("sweep.space:\n  " + "\n  ".join(dict.fromkeys(problems)))

    def apply(self, values: Values) -> dict:
        """The config's document with a trial's values in it.

        Raises:
            InputError: A path leads through what is no section.
        """
        document = copy.deepcopy(self.document)
        if self.sweep.score:
            document["score"] = self.formula(values)
            return document
        for key, value in values.items():
            set_key(document, key, value, "sweep.space")
        return document

    def formula(self, values: Values) -> str:
        """The score's formula with numbers for its names."""
        try:
            return self.sweep.score.format(**values)
        except (KeyError, IndexError, ValueError) as error:
            raise InputError(
                f"sweep.score: its names in braces must be the keys of sweep.space "
                f"{sorted(self.parameters)}. Received: {self.sweep.score!r} ({error})"
            ) from None

    def checked(self, values: Values) -> Config:
        """The config with a trial's values, checked whole."""
        return parse_any_config(self.apply(values), "with the sweep's values")

    def own(self) -> Values | None:
        """The config's own values, where the space holds them all; else None."""
        if self.sweep.score:
            return None
        settings, found = self.config.model_dump(mode="json"), {}
        for parameter in self.parameters.values():
            if not is_active(parameter, found):
                continue
            held = self._held(parameter, _at(settings, parameter.key))
            if not held:
                return None
            found[parameter.key] = held[0]
        return found

    def _held(self, parameter: Parameter, value: object) -> list:
        """The value, if a range holds it; the choices that a config takes for it."""
        if parameter.values is None:
            number = isinstance(value, int | float)
            return [value] if number and parameter.low <= value <= parameter.high else []

        def taken(choice):  # "1e-3" is a text in YAML, and a number in a config
            config = self.checked(self._first_values({parameter.key: choice}))
            return _at(config.model_dump(mode="json"), parameter.key)

        return [choice for choice in parameter.values if taken(choice) == value]

    def hyperparameters(self) -> kt.HyperParameters:
        """The space in KerasTuner's terms."""
        found = kt.HyperParameters()
        for parameter in self.parameters.values():
            self._register(found, parameter, list(self._ancestors(parameter)))
        return found

    def _register(self, found, parameter: Parameter, conditions: list) -> None:
        if conditions:
            key, values = conditions[0]
            choices = [c for c in self.parameters[key].values if c in values]
            with found.conditional_scope(key, [json.dumps(c) for c in choices]):
                self._register(found, parameter, conditions[1:])
        elif parameter.values is not None:
            found.Choice(parameter.key, [json.dumps(value) for value in parameter.values])
        else:
            kind = found.Int if parameter.whole else found.Float
            ends, step = (parameter.low, parameter.high), parameter.step
            if parameter.whole:
                step = step or (None if parameter.scale == "log" else 1)
            kind(parameter.key, *ends, step=step, sampling=parameter.scale)

    def _ancestors(self, parameter: Parameter) -> Iterator[tuple[str, list]]:
        if parameter.when:
            yield from self._ancestors(self.parameters[parameter.when.key])
            yield parameter.when.key, parameter.when.values

    def decode(self, drawn: Mapping) -> Values:
        """A trial's values, as the config takes them, from KerasTuner's."""
        values = {}
        for parameter in self.parameters.values():
            if parameter.key in drawn and is_active(parameter, values):
                value = drawn[parameter.key]
                if parameter.values is not None:
                    value = json.loads(value)
                elif not parameter.whole:
                    value = float(format(value, DIGITS))
                values[parameter.key] = value
        return values

    def encode(self, values: Values) -> dict:
        """What KerasTuner calls a trial's values."""
        chosen = {k for k in values if self.parameters[k].values is not None}
        return {k: json.dumps(v) if k in chosen else v for k, v in values.items()}

    def _problems(self) -> Iterator[str]:
        """What is wrong with each value of each parameter, the others at their first."""
        made_with = read_by_preprocessing(self.config)
        for parameter in self.parameters.values():
            for value in candidates(parameter):
                try:
                    config = self.checked(self._first_values({parameter.key: value}))
                    for name, *_ in made_otherwise(config, made_with, READ_LATER):
                        yield (
                            f"{name}: preprocessing alone reads it, and all trials share "
                            "its examples. Preprocess the log for each value."
                        )
                except InputError as error:
                    what = str(error).partition("\n")[2].strip() or str(error)
                    yield f"{parameter.key} = {json.dumps(value)}: {what}"
        if self.sweep.score:
            yield from self._problems_of_score()

    def _problems_of_score(self) -> Iterator[str]:
        names = score_names(self.config.tasks, self.config.features)
        try:
            parse_score(self.formula(self._first_values({})), names)
        except ValueError as error:
            yield str(error)

    def _first_values(self, wanted: Values) -> Values:
        """Values of all active parameters, such that the wanted one is active."""
        fixed = dict(wanted)
        for key in wanted:
            conditions = self._ancestors(self.parameters[key])
            fixed |= {parent: values[0] for parent, values in conditions}
        found: dict = {}
        for parameter in self.parameters.values():
            if is_active(parameter, found):
                first = candidates(parameter)[0]
                found[parameter.key] = fixed.get(parameter.key, first)
        return found


def is_active(parameter: Parameter, values: Values) -> bool:
    """Whether a parameter's condition holds; its parent must stand among the values."""
    when = parameter.when
    return when is None or (when.key in values and values[when.key] in when.values)


def candidates(parameter: Parameter) -> Sequence:
    """All choices, or the two ends of a range."""
    if parameter.values is not None:
        return parameter.values
    return [parameter.low, parameter.high]


def _at(node: object, path: str) -> object:
    """What stands at a key's path; None where nothing does."""
    for part in path.split("."):
        if isinstance(node, list):
            named = {str(item.get("name")): item for item in node if isinstance(item, dict)}
            numbered = {str(number): item for number, item in enumerate(node)}
            node = {**numbered, **named}
        node = node.get(part) if isinstance(node, dict) else None
    return node
