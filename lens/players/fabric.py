"""The device, or the processes, that a run is computed on: Lightning Fabric from its settings."""

from __future__ import annotations

import inspect
import os
from typing import Any

import lightning_fabric
import torch

from lens.base.errors import BadInput
from lens.base.ranks import launched
from lens.base.terminal import say
from lens.base.threads import set_threads
from lens.settings.groups.machine import MachineSettings
from lens.settings.groups.optimisation import OptimisationSettings


def make_fabric(machine: MachineSettings) -> lightning_fabric.Fabric:
    """Lightning Fabric on one device, or on one a process under torchrun. Raises BadInput for a device that is not there."""
    device, processes = machine.device, launched()
    mine = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes > 1 else 1
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        if processes > 1 and ":" in device:
            raise BadInput(f"--device {device}: under torchrun each process takes its own; give --device cuda")
        if max(number, mine - 1) >= torch.cuda.device_count():
            raise BadInput(
                f"--device {device}: torch sees {torch.cuda.device_count()} CUDA devices, {max(number + 1, mine)} are "
                "asked for; try --device auto, or a lower --nproc-per-node"
            )
        accelerator, devices = "cuda", [number] if processes == 1 else mine
        # The same bits again on the same card: atomic additions in a backward pass would not give them.
        torch.backends.cudnn.deterministic = True
    else:
        accelerator, devices = "cpu", mine
    set_threads(machine.threads, mine)
    if accelerator == "cpu" and machine.precision == "bf16" and not has_bf16_instructions():
        say(
            "--precision bf16: this processor has no instructions for it and computes each number in several steps; "
            "--precision 32 is likely to be several times as fast"
        )
    precision: Any = {32: "32-true", 64: "64-true", "bf16": "bf16-mixed"}[machine.precision]
    if processes == 1:
        return lightning_fabric.Fabric(accelerator=accelerator, devices=devices, precision=precision)
    from lightning_fabric.strategies.ddp import DDPStrategy

    # The statistics are shared by the norms, or kept each rank's own, and the two sets take turns: nothing to broadcast.
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    unsynced: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    strategy = DDPStrategy(**unsynced)
    fabric = lightning_fabric.Fabric(
        accelerator=accelerator, devices=devices, num_nodes=processes // mine, precision=precision, strategy=strategy
    )
    fabric.launch()
    return fabric


def has_bf16_instructions() -> bool:
    """Whether oneDNN, which does torch's convolutions on a CPU, says that this one computes in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def refuse_unequal_parts(settings: OptimisationSettings) -> None:
    """Raise BadInput for a batch that the processes under torchrun could not share equally."""
    processes = launched()
    if settings.batch_size % (processes * settings.grad_accum_steps):
        raise BadInput(
            f"--batch_size {settings.batch_size} does not divide into {processes} processes of --grad_accum_steps "
            f"{settings.grad_accum_steps} equal parts"
        )
