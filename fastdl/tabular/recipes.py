"""How nets for tables are made and trained: every number of a recipe, with the paper that it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from fastdl.base.naming import no_attribute, unknown

CLASSES, NUMBERS = "classes", "numbers"  # what a target holds


@dataclass(frozen=True)
class Recipe:
    """A net for tables and its training. The defaults are RealMLP-TD's for classes (Holzmüller et al. 2024, table A.1).

    numeric_encoding: "pbld" or None. one_hot_up_to: a category of more values is embedded, in embedding_size numbers.
    parametric: activations mixed with the identity, in shares that are trained, of a net of one member. members: nets
    that share their dense layers (TabM-mini, Gorishniy et al. 2024). zero_last: the last layer begins with zeros.
    scaling: a trained scale a feature before the first layer. schedule: of the learning rate, "log_cosine" or
    "constant".
    """

    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    activation: str = "selu"
    parametric: bool = True
    scaling: bool = True
    numeric_encoding: str | None = "pbld"
    frequencies: int = 16
    frequency_scale: float = 0.1
    encoding_size: int = 4
    one_hot_up_to: int = 8
    embedding_size: int = 8
    members: int = 1
    learning_rate: float = 0.04
    schedule: str = "log_cosine"
    weight_decay: float = 0.02
    dropout: float = 0.15
    label_smoothing: float = 0.1
    beta_2: float = 0.95
    data_driven: bool = True
    zero_last: bool = False
    epochs: int = 256
    batch_size: int = 256

    def changed(self, **changes: Any) -> Recipe:
        """The same but for these. TypeError for what no recipe has."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(no_attribute("a recipe has no entry", name, known))
        if "hidden_layer_sizes" in changes:
            changes["hidden_layer_sizes"] = tuple(int(size) for size in changes["hidden_layer_sizes"])
        return replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "hidden_layer_sizes": list(self.hidden_layer_sizes)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Recipe:
        return cls().changed(**config)


REALMLP = Recipe()
SLIM = REALMLP.changed(hidden_layer_sizes=(96, 96, 96))  # five of them take little more time than one of the paper's
SLIM_STEPS = 4096  # of a training, as near as its least and most epochs let it come
FEWEST_EPOCHS, MOST_EPOCHS = 64, 256
REALMLP_SMALL = Recipe(  # RealMLP-TD-S: what is simple in it
    parametric=False,
    numeric_encoding=None,
    one_hot_up_to=100,
    weight_decay=0.0,
    dropout=0.0,
    data_driven=False,
    zero_last=True,
)
TABM = Recipe(hidden_layer_sizes=(128, 128), activation="relu", parametric=False, members=16, learning_rate=0.02)
OF_NUMBERS: dict[str, dict[str, Any]] = {  # what is other where the target is a number
    "slim": {"activation": "mish", "learning_rate": 0.2},
    "realmlp": {"activation": "mish", "learning_rate": 0.2},
    "realmlp-small": {"activation": "mish", "learning_rate": 0.07},
    "tabm": {"learning_rate": 0.05},
}
NETS = {"slim": SLIM, "realmlp": REALMLP, "realmlp-small": REALMLP_SMALL, "tabm": TABM}


def recipe_of(net: str | Recipe, task: str, rows: int = 0) -> Recipe:
    """The recipe of that name for a task, CLASSES or NUMBERS, and so many rows; one's own as it is. ValueError."""
    if isinstance(net, Recipe):
        return net
    if net not in NETS:
        raise ValueError(unknown("net", net, NETS))
    recipe = NETS[net].changed(**OF_NUMBERS[net]) if task == NUMBERS else NETS[net]
    if net == "slim" and rows:
        epochs = SLIM_STEPS * recipe.batch_size // rows
        recipe = recipe.changed(epochs=min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS))
    return recipe
