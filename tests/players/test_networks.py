"""The players: identity at the start, any size, two sets of statistics, files that timm reads."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny import made_lens
from torch import nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.base.errors import BadInput
from lens.base.files import write_tensors
from lens.players.building import build_extractor
from lens.players.extractor import Extractor, reestimate_statistics
from lens.players.weights import load_weights
from lens.protocols.lookup import find

ROTATION = find("task", "rotation")()
ENCODER = "tu-tf_mobilenetv3_small_minimal_100"


def extractor(name="test_resnet", side=32, stem="default", separate=True, **arguments):
    torch.manual_seed(0)
    return build_extractor(ROTATION, name, side, stem, arguments, False, separate)


@pytest.mark.parametrize(
    ("encoder", "depth"), [(ENCODER, 5), (ENCODER, 3), ("resnet18", 4), ("timm-mobilenetv3_small_minimal_100", 4)]
)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_lens_starts_as_exactly_the_identity(encoder, depth, mode):
    lens = getattr(made_lens("unet", encoder=encoder, depth=depth), mode)()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(lens(images), images)


@pytest.mark.parametrize("size", [8, 30, 45, 96])
def test_the_lens_takes_sizes_that_do_not_halve_evenly(size):
    lens = made_lens("unet", encoder=ENCODER, depth=5)
    nn.init.normal_(lens.unet.segmentation_head[0].weight)
    images = torch.rand(2, 3, size, size)
    assert lens(images).shape == images.shape
    assert not torch.equal(lens(images), images)


def test_the_lens_can_brighten_and_darken():
    lens = made_lens("unet", encoder=ENCODER, depth=3)
    images = torch.full((2, 3, 32, 32), 0.5)
    for sign in (1.0, -1.0):
        nn.init.constant_(lens.unet.segmentation_head[0].bias, sign * 0.1)
        assert ((lens(images) - images) * sign).min() > 0.05


def test_an_unknown_encoder_is_refused_with_the_nearest_name():
    with pytest.raises(BadInput, match="did you mean 'resnet18'"):
        made_lens("unet", encoder="resnet81", depth=4)


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 16), ("resnetv2_50", 16), ("resnet10t", 16)])
def test_the_small_stem_keeps_the_full_resolution(name, size):
    small = extractor(name, stem="small").backbone
    first = small.forward_intermediates(torch.rand(1, 3, size, size), indices=[0], intermediates_only=True)[0]
    assert first.shape[-1] == size
    convolutions = [m for m in small.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[0].kernel_size == (3, 3)
    assert convolutions[0].stride == (1, 1)


def test_other_families_refuse_the_small_stem():
    with pytest.raises(BadInput, match="is for ResNets"):
        extractor("test_vit", stem="small")


def test_a_vit_takes_the_image_size():
    assert extractor("test_vit", side=64)(torch.rand(2, 3, 64, 64)).shape == (2, 4)


def test_models_whose_output_is_not_num_features_get_a_head_that_fits():
    net = extractor("mobilenetv3_small_050")
    assert net.backbone.num_features != net.head.in_features
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_a_model_of_one_size_refuses_another():
    with pytest.raises(BadInput, match="does not take images of 32 px"):
        extractor("mixer_s32_224")


def test_unknown_extractors_and_arguments_are_refused():
    with pytest.raises(BadInput, match="did you mean 'resnet18'"):
        extractor("resnet_18")
    with pytest.raises(BadInput, match="extractor_args"):
        extractor("resnet10t", bogus=1)


def test_the_extractors_file_loads_with_timm(tmp_path):
    ours = extractor("test_resnet").eval()
    save_file(ours.backbone.state_dict(), tmp_path / "extractor.safetensors")
    theirs = timm.create_model(
        "test_resnet", num_classes=0, checkpoint_path=str(tmp_path / "extractor.safetensors")
    ).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(ours.features(images), theirs(images))


def test_weight_files_are_loaded_strictly(tmp_path):
    source, target = extractor(), extractor()
    nn.init.constant_(source.backbone.conv1[0].weight, 0.5)
    save_file(source.backbone.state_dict(), tmp_path / "good.safetensors")
    load_weights(target.backbone, tmp_path / "good.safetensors", "--extractor_weights")
    assert torch.equal(target.backbone.conv1[0].weight, source.backbone.conv1[0].weight)
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors here")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, message in (("none", "no such file"), ("bad", "no safetensors"), ("other", "does not fit")):
        with pytest.raises(BadInput, match=f"{message}.*[;:] give another file, or leave --extractor_weights out"):
            load_weights(target.backbone, tmp_path / f"{name}.safetensors", "--extractor_weights")


def test_the_lensed_set_is_read_and_written_only_when_asked():
    net = extractor().train()
    raw = net.backbone.bn1.running_mean.clone()
    net(torch.rand(4, 3, 32, 32), lensed=True)
    assert torch.equal(net.backbone.bn1.running_mean, raw)
    assert not torch.equal(net.lensed_statistics[0].running_mean, raw)
    net.eval()
    images = torch.rand(4, 3, 32, 32)
    assert not torch.allclose(net(images), net(images, lensed=True))


def test_an_error_inside_the_lensed_forward_puts_the_raw_set_back():
    net = extractor()
    raw = net.backbone.bn1.running_mean
    with pytest.raises(RuntimeError):
        net(torch.rand(4, 7, 32, 32), lensed=True)
    assert net.backbone.bn1.running_mean is raw


def test_a_task_that_reads_the_map_has_its_mean_as_features():
    """Behind the map this model has a layer that such a task never trains."""
    task = find("task", "inpainting")()
    torch.manual_seed(0)
    net = build_extractor(task, "test_efficientnet", 32, "default", {}, False, False).eval()
    inputs = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        maps = net.backbone.forward_intermediates(inputs, indices=1, norm=True, intermediates_only=True)[-1]
        found = net.features(inputs)
        assert torch.allclose(found, maps.mean(dim=(2, 3)))
        assert net.backbone(inputs).shape != found.shape or not torch.allclose(net.backbone(inputs), found)


@pytest.mark.parametrize("name", ["resnetv2_50", "resnet18"])
def test_a_root_of_stride_1_keeps_every_pixel(name):
    from lens.players.stems import unstrided_root

    sides = []
    for unstrided in (False, True):
        model = timm.create_model(name, num_classes=0).eval()
        if unstrided:
            unstrided_root(model, name)
        with torch.no_grad():
            sides.append(model.forward_features(torch.rand(1, 3, 64, 64)).shape[-1])
    assert sides == [2, 4]


class OneNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x).mean(dim=(2, 3))


def test_reestimated_statistics_are_the_plain_average_over_batches():
    net = Extractor(OneNorm(), nn.Linear(3, 4), False, True)
    batches = [torch.rand(8, 3, 4, 4) + i for i in range(3)]
    reestimate_statistics(net, ((x, {}) for x in batches))
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    assert torch.allclose(net.backbone.norm.running_mean, means, atol=1e-6)
    assert net.backbone.norm.momentum == 0.1
    assert torch.equal(net.lensed_statistics[0].running_mean, torch.zeros(3))


@pytest.mark.parametrize("name", ["full_res", "unet"])
def test_a_lens_of_another_size_edits_at_its_own(name):
    """What it adds is its edit of the shrunken image, enlarged: the image itself stays as sharp as it was."""
    torch.manual_seed(0)
    lens = made_lens(name, depth=3).eval()
    last = lens.unet.last if name == "full_res" else lens.unet.segmentation_head[0]
    torch.nn.init.normal_(last.weight, std=0.05)
    images = torch.rand(2, 3, 64, 64)
    lens.side = 32
    small = functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    lens_at_home = lens(small) - small  # at 32 px it is at home
    expected = functional.interpolate(lens_at_home, (64, 64), mode="bilinear", align_corners=False)
    assert torch.allclose(lens(images), images + expected, atol=1e-5)
    lens.side = None
    assert not torch.allclose(lens(images), images + expected, atol=1e-3)


def test_a_lens_with_noise_covers_every_image_with_its_own_and_always_the_same():
    torch.manual_seed(0)
    images = torch.full((6, 3, 40, 40), 0.5)
    lens, plain = made_lens("full_res", depth=3, noise=0.04).eval(), made_lens("full_res", depth=3)
    rows = torch.arange(6)
    draws = Draws(3, -1, rows, torch.zeros_like(rows))
    with torch.no_grad():
        covered = lens(images, lens.noise_for(images, draws))
        assert (covered - images).std().item() == pytest.approx(0.04, rel=0.02)
        assert (covered - images).mean().item() == pytest.approx(0, abs=0.001)
        two = images[2:4]
        again = lens(two, lens.noise_for(two, Draws(3, -1, rows[2:4], torch.zeros(2, dtype=torch.int64))))
        assert torch.allclose(again, covered[2:4])  # whatever batch it stands in
        assert (covered[0] - covered[1]).abs().max() > 0.05
        assert plain.noise_for(images, draws) is None
        assert torch.equal(lens(images), images)


@pytest.mark.parametrize("name", ["unet", "full_res", "smooth", "colour"])
def test_every_lens_can_be_written_and_read_again(tmp_path, name):
    first, second = made_lens(name), made_lens(name)
    write_tensors(tmp_path, {"lens": first.state_dict()})
    load_weights(second, str(tmp_path / "lens.safetensors"), "--lens_weights")
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
