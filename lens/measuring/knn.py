"""The nearest-neighbour probe on stored features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lens.measuring.feature_store import chunks, is_stored

Array = np.ndarray[Any, Any]
NEIGHBOURS = 20


def probe(
    features: dict[str, Array], labels: dict[str, Array], device: torch.device | str = "cpu", split: str = "test"
) -> Array:
    """Majority of the 20 nearest training images by cosine similarity; which images of a split it gets right (n,).

    Features that lie in a file are compared a part at a time, on `device`.
    """
    if is_stored(features["train"]):
        return _streamed_knn(features, labels, device, split)
    from sklearn.neighbors import KNeighborsClassifier

    unit = {
        s: features[s] / np.maximum(np.linalg.norm(features[s], axis=1, keepdims=True), 1e-12) for s in ("train", split)
    }
    # On unit vectors the Euclidean order is the cosine order.
    model = KNeighborsClassifier(min(NEIGHBOURS, len(unit["train"])), algorithm="brute")
    model.fit(unit["train"], labels["train"])
    return np.asarray(model.predict(unit[split]) == labels[split])


def _streamed_knn(
    features: dict[str, Array], labels: dict[str, Array], device: torch.device | str, split: str
) -> Array:
    def unit(rows: Array) -> Tensor:
        return functional.normalize(torch.from_numpy(np.array(rows, np.float32)).to(device), eps=1e-12)

    test, train = features[split], features["train"]
    neighbours = min(NEIGHBOURS, len(train))
    correct = []
    for asked in chunks(len(test)):
        rows = unit(test[asked])
        nearest = torch.full((len(rows), neighbours), -2.0, device=device)
        answers = torch.zeros((len(rows), neighbours), dtype=torch.int64, device=device)
        for part in chunks(len(train)):
            similar = rows @ unit(train[part]).T
            theirs = torch.from_numpy(labels["train"][part]).to(device).expand(len(rows), -1)
            nearest, chosen = torch.cat([nearest, similar], dim=1).topk(neighbours, dim=1)
            answers = torch.cat([answers, theirs], dim=1).gather(1, chosen)
        votes = functional.one_hot(answers).sum(dim=1)  # of equal votes the first class, as scikit-learn has it
        correct.append(votes.argmax(dim=1).cpu().numpy() == labels[split][asked])
    return np.concatenate(correct)
