"""A picture of every plantable shortcut at its default strength.

    python -m benchmarks.shortcuts --data ./photos/ --out results/shortcuts.png

Rows: shortcuts, found by their files. Columns: θ, the parameter that the key sets; the first column is the clean image.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Plant each shortcut in a few images and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="chest_xray", help="a source, as for lens.train")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--images", type=int, nargs=2, default=[0, 1], help="numbers of two test images")
    parser.add_argument("--out", type=Path, default=Path("results/shortcuts.png"))
    asked = parser.parse_args()

    import matplotlib
    import torch

    from lens.base.draws import EVALUATION
    from lens.images import batching
    from lens.images.augment import centre
    from lens.images.training_set import training_images
    from lens.protocols.lookup import find, names
    from lens.settings.run_settings import Settings

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    settings = Settings.of({"data": asked.data, "image_size": asked.image_size, "cache_image_size": asked.image_size})
    images = training_images(settings)
    thetas = (0.0, 0.25, 0.5, 0.75)
    shortcuts = [name for name in names("shortcut") if name != "none"]
    columns = len(asked.images) * (1 + len(thetas))
    figure, axes = plt.subplots(len(shortcuts), columns, figsize=(1.05 * columns + 1, 1.1 * len(shortcuts) + 0.3))
    for row, name in zip(axes, shortcuts, strict=True):
        shortcut = find("shortcut", name)()
        for number, image in enumerate(asked.images):
            batch = batching.gather(images, images.indices("test")[[image] * len(thetas)], EVALUATION)
            clean = centre(batch.images, asked.image_size)
            planted = shortcut.plant(clean, torch.tensor(thetas), batch.draws(0))
            first = number * (1 + len(thetas))
            for axis, picture, title in zip(
                row[first:], [clean[0], *planted], ["clean", *(f"θ = {theta:g}" for theta in thetas)], strict=False
            ):
                axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                if name == shortcuts[0]:
                    axis.set_title(title, fontsize=8)
        row[0].set_ylabel(name, fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(asked.out, dpi=110)
    print(f"written to {asked.out}")


if __name__ == "__main__":
    main()
