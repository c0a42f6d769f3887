import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures.gradients.convolution import Convolved

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch's

Conv1d, Conv2d = nn.Conv1d, nn.Conv2d

SAME = {"padding": "same"}
CIRCULAR = {"padding": 1, "padding_mode": "circular"}

# What forms single gradients: (layer, one input's shape).
KERNELS = {
    "_grouped": {
        "many channels, wide": lambda: (Conv2d(8, 3, 3, padding=1), (8, 4, 14)),
        "no bias": lambda: (Conv2d(8, 3, 3, padding=1, bias=False), (8, 4, 14)),
        "not square": lambda: (Conv2d(8, 3, (1, 3), padding=(0, 1)), (8, 3, 14)),
        "stride": lambda: (Conv2d(8, 3, 3, stride=(3, 1), padding=1), (8, 5, 14)),
        "a stride that leaves some out": lambda: (Conv2d(8, 3, 2, stride=2), (8, 5, 29)),
        "dilation": lambda: (Conv2d(8, 3, 3, dilation=2, padding=2), (8, 4, 14)),
        "same": lambda: (Conv2d(8, 3, (2, 4), **SAME), (8, 3, 14)),
        "circular": lambda: (Conv2d(8, 3, 3, **CIRCULAR), (8, 3, 14)),
        "groups": lambda: (Conv2d(4, 6, 3, groups=2), (4, 5, 6)),
        "depthwise": lambda: (Conv2d(4, 8, 3, groups=4, padding=1, stride=2), (4, 5, 6)),
        "sequence": lambda: (Conv1d(8, 3, 3, padding=1), (8, 14)),
        "groups of a sequence": lambda: (Conv1d(4, 6, 3, groups=2, dilation=2, bias=False), (4, 9)),
    },
    "_unfolded": {
        "few channels": lambda: (Conv2d(2, 3, 3, padding=1), (2, 4, 7)),
        "no bias": lambda: (Conv2d(2, 3, 3, bias=False), (2, 4, 9)),
        "not square": lambda: (Conv2d(2, 3, (3, 1), padding=(2, 0)), (2, 4, 3)),
        "stride": lambda: (Conv2d(1, 3, 3, stride=(1, 2), padding=1), (1, 4, 8)),
        "a stride that leaves some out": lambda: (Conv2d(1, 3, 2, stride=3), (1, 7, 8)),
        "dilation": lambda: (Conv2d(2, 3, 2, dilation=(2, 3)), (2, 4, 8)),
        "same": lambda: (Conv2d(1, 3, (2, 4), **SAME), (1, 4, 8)),
        "reflect": lambda: (Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), (2, 4, 8)),
        "one pixel": lambda: (Conv2d(2, 3, 1), (2, 3, 4)),
        "sequence": lambda: (Conv1d(2, 3, 3, padding=2, stride=2), (2, 9)),
        "circular sequence": lambda: (Conv1d(2, 3, 3, **CIRCULAR), (2, 9)),
    },
    "_gathered": {
        "narrow": lambda: (Conv2d(4, 3, 3, padding=1), (4, 5, 5)),
        "no bias": lambda: (Conv2d(4, 3, 3, bias=False), (4, 5, 5)),
        "not square": lambda: (Conv2d(4, 3, (2, 3), padding=(1, 0)), (4, 5, 6)),
        "stride": lambda: (Conv2d(4, 3, 3, stride=(2, 1), padding=1), (4, 5, 5)),
        "a stride that leaves some out": lambda: (Conv2d(4, 3, 2, stride=3), (4, 7, 8)),
        "dilation": lambda: (Conv2d(4, 3, 3, dilation=(1, 2), padding=(0, 2)), (4, 5, 5)),
        "same": lambda: (Conv2d(4, 3, (2, 4), **SAME), (4, 5, 5)),
        "replicate": lambda: (Conv2d(4, 3, 3, padding=2, padding_mode="replicate"), (4, 3, 4)),
        "sequence": lambda: (Conv1d(4, 3, 3, padding=1), (4, 5)),
        "same sequence": lambda: (Conv1d(4, 3, 4, dilation=2, **SAME), (4, 5)),
    },
}
# What forms norms from inner products of positions.
POSITIONS = {
    "small maps of many channels": lambda: (Conv2d(20, 20, 3, padding=1), (20, 2, 2)),
    "stride": lambda: (Conv2d(24, 24, 3, stride=(2, 1), padding=1), (24, 3, 2)),
    "a stride that leaves some out": lambda: (Conv2d(60, 60, 2, stride=2), (60, 3, 3)),
    "not square": lambda: (Conv2d(40, 40, (3, 2), padding=(1, 0)), (40, 2, 3)),
    "same": lambda: (Conv2d(30, 30, (2, 4), **SAME), (30, 2, 2)),
    "circular": lambda: (Conv2d(60, 60, 3, bias=False, **CIRCULAR), (60, 2, 3)),
    "sequence": lambda: (Conv1d(30, 30, 3, padding=1), (30, 4)),
}
REACHED = [(kernel, make) for kernel, makes in KERNELS.items() for make in makes.values()]
NAMES = [f"{kernel}: {name}" for kernel, makes in KERNELS.items() for name in makes]
# More than one block of each kernel, and a last block that is not full.
SAMPLES = 67


@pytest.fixture
def used(monkeypatch) -> set[str]:
    """Which of a convolution's kernels ran."""
    ran: set[str] = set()

    def spy(name: str) -> None:
        original = getattr(Convolved, name)

        def run(*args: object) -> Tensor:
            ran.add(name)
            result: Tensor = original(*args)
            return result

        monkeypatch.setattr(Convolved, name, run)

    for name in (*KERNELS, "_by_positions"):
        spy(name)
    return ran


@pytest.mark.parametrize(("kernel", "make"), REACHED, ids=NAMES)
def test_each_kernel_equals_autograd_sample_by_sample(
    kernel, make, used, classifier, read, agrees, gradients_twin
):
    layer, shape = make()
    model, *samples = classifier(layer, shape, samples=SAMPLES)
    agrees(read(model, *samples), gradients_twin(model, *samples))
    assert used == {kernel}


@pytest.mark.parametrize("make", POSITIONS.values(), ids=POSITIONS)
def test_norms_of_small_maps_equal_autograd_sample_by_sample(
    make, used, classifier, read, agrees, gradients_twin
):
    layer, shape = make()
    model, *samples = classifier(layer, shape, samples=19)
    agrees(read(model, *samples), gradients_twin(model, *samples))
    assert "_by_positions" in used


@pytest.mark.parametrize("channels", [1, 8], ids=["unfolded", "grouped"])
def test_maps_may_lie_in_memory_with_channels_last(channels, read, agrees, gradients_twin):
    torch.manual_seed(0)
    model = nn.Sequential(Conv2d(channels, 8, 3), nn.Tanh(), Conv2d(8, 2, 3), nn.Flatten(), nn.Linear(64, 3))
    model = model.double().to(memory_format=torch.channels_last)
    inputs = torch.randn(5, channels, 6, 20).double().to(memory_format=torch.channels_last)
    samples = inputs, torch.randint(3, (5,))
    agrees(read(model, *samples), gradients_twin(model, *samples))


def test_single_gradients_do_not_lie_over_one_another(classifier, read):
    """Whoever asks for them may write over them."""
    for make in (makes["no bias"] for makes in KERNELS.values()):
        layer, shape = make()
        model, *samples = classifier(layer, shape)
        told = read(model, *samples)["2.weight"].per_sample
        expected = told + 1
        assert torch.equal(told.add_(1), expected)
