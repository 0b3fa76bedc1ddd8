"""What the lens wants the task's answer to be (Minderer et al. 2020, section 3.2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lens.protocols.task import Question, Task


def adversarial_loss(objective: str, task: Task, outputs: Tensor, question: Question) -> Tensor:
    """l_adv per example (E,), from the head's outputs on lensed images.

    full: −l(F(L(x)), y). least_likely: the cross-entropy to y_LL = argmin_k p(k | F(L(x))), the current lensed
    prediction's least likely class. uniform: the cross-entropy to 1/K, for tasks where the least likely class is the
    other class and a lens could simply swap the two.
    """
    if objective == "full":
        return -task.loss(outputs, question)
    logits_EK = task.logits(outputs)
    if objective == "least_likely":
        return functional.cross_entropy(logits_EK, logits_EK.detach().argmin(dim=1), reduction="none")
    assert objective == "uniform", objective
    return -functional.log_softmax(logits_EK, dim=1).mean(dim=1)
