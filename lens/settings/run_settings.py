"""The settings of a training run: typed groups, frozen, checked; the resolved values are written into the run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from lens.base.errors import BadInput, check_number
from lens.settings.field import as_list, default_of, fields_of, group, groups_of, in_groups
from lens.settings.groups.data import DataSettings
from lens.settings.groups.game import GameSettings
from lens.settings.groups.machine import MachineSettings
from lens.settings.groups.measuring import MeasuringSettings
from lens.settings.groups.optimisation import OptimisationSettings
from lens.settings.groups.players import PlayerSettings
from lens.settings.groups.proof import ProofSettings
from lens.settings.groups.question import QuestionSettings
from lens.settings.groups.record import RecordSettings
from lens.settings.groups.views import ViewSettings


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run, in groups; every one is a flag and a key of the YAML file, by its own name.

    A function takes the group that it reads. What a group cannot know alone is checked here.
    """

    question: QuestionSettings = group(QuestionSettings)
    data: DataSettings = group(DataSettings)
    views: ViewSettings = group(ViewSettings)
    players: PlayerSettings = group(PlayerSettings)
    game: GameSettings = group(GameSettings)
    optimisation: OptimisationSettings = group(OptimisationSettings)
    measuring: MeasuringSettings = group(MeasuringSettings)
    proof: ProofSettings = group(ProofSettings)
    machine: MachineSettings = group(MachineSettings)
    record: RecordSettings = group(RecordSettings)

    @classmethod
    def of(cls, flat: Mapping[str, Any]) -> Settings:
        """Settings by their own names, the defaults where nothing is said. Raises BadInput for a value outside its range."""
        return cls(**in_groups(cls, flat))

    def replaced(self, **flat: Any) -> Settings:
        """The same settings with others for some of them."""
        return Settings.of({name: flat.get(name, value) for name, value in self.flat().items()})

    def flat(self) -> dict[str, Any]:
        """Every setting by its own name."""
        return {name: value for inner in groups_of(Settings) for name, value in vars(getattr(self, inner)).items() if name in FIELDS}  # fmt: skip

    def __post_init__(self) -> None:
        """Raise BadInput, with the flags, where settings of several groups do not go together."""
        players, game, data = self.players, self.game, self.data
        check_number("blur", self.views.blur, low=0, high=data.image_size / 3)
        adds_noise = players.lens_class.learns and not players.lens_class.replaces
        if players.lens_noise and game.steered_psnr is not None and adds_noise:
            alone = -20 * math.log10(players.lens_noise)
            if game.steered_psnr >= alone:
                raise BadInput(
                    f"--lens_noise {players.lens_noise:g} alone leaves {alone:.1f} dB and --target_psnr is "
                    f"{game.steered_psnr:g}: give less noise (0 turns it off) or a target below {alone:.1f}"
                )
        if game.match_mse is not None and not players.has_rival:
            raise BadInput(f"--match_mse has no meaning with --lens {players.lens}: it is for fgsm and random")
        if players.has_rival and game.recon_weight is not None:
            raise BadInput(f"--recon_weight has no meaning with --lens {players.lens}: give --match_mse")
        if self.question.shuffle_labels:
            check_number("batch_size", self.optimisation.batch_size, low=2)
        if self.question.shortcut_key == "source" and data.source_count < 2:
            raise BadInput(
                "--shortcut_key source needs two or more --data, or --pseudo_sources: the first gets no cue, each other its own"
            )

    @property
    def judge_architectures(self) -> list[str]:
        """The architectures of the fresh classifiers; the first one also judges what the lens costs the class labels."""
        name, arguments = self.players.extractor, self.players.extractor_args
        own = f"{name}:{json.dumps(arguments)}" if arguments else name
        return as_list(self.proof.judges) or [own, "all_conv" if name != "all_conv" else "resnet18"]

    @property
    def seeds_of_judges(self) -> list[int]:
        """The seeds of the fresh classifiers of one architecture; runs of a grid, of other seeds, have none in common."""
        seed, count = self.optimisation.seed, self.proof.judge_seeds
        return list(range(seed * count, (seed + 1) * count))


FIELDS = fields_of(Settings)
"""Every setting by its name."""
PLUGINS = {kind: str(default_of(FIELDS[kind])) for kind in ("task", "shortcut", "lens")}
"""The settings that name a plug-in, with their defaults; those of the plug-in itself begin with its kind: `task.permutations`."""
