"""A convolution's weight."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpo_gn.measures.gradients.gradient import Gradient, Place, has_finite_sum, working

Convolution = nn.Conv1d | nn.Conv2d

_LANES = 8
"""Channels that the CPU's convolutions work on at once; they are slow where channels do not fill them."""
_GROUPED = 64
"""Samples in one grouped convolution."""
_WIDE = 14
"""Pixels of a row from which on they are fast."""
_UNFOLDED = 32
"""Samples unfolded at once: what is unfolded stays in the cache."""
_GATHERED = 16
"""Likewise with channels last."""
_GRAM = 16
"""Samples at once whose positions' inner products are formed."""


class Convolved(Gradient):
    """g_i = Σ_t δ_it u_itᵀ over the output's positions t, with u_t the patch that position t saw.

    Single gradients come from one convolution with a group a sample, or where patches are small from a
    product with the unfolded input; norms on small maps from the inner products of positions.

    Args:
        place: whose they are.
        layer: the convolution.
        deltas: δ, [n, C_out, *sides].
        inputs: [n, C_in, *sides].
    """

    def __init__(self, place: Place, layer: Convolution, deltas: Tensor, inputs: Tensor) -> None:
        super().__init__(place)
        inputs, padding = _padded(layer, working(inputs))
        deltas, sides = working(deltas), [*layer.kernel_size]
        stride, dilation = [*layer.stride], [*layer.dilation]
        self._is_flat = isinstance(layer, nn.Conv1d)
        if self._is_flat:  # a map of height 1
            deltas, inputs, sides = deltas.unsqueeze(2), inputs.unsqueeze(2), [1, *sides]
            padding, stride, dilation = [0, *padding], [1, *stride], [1, *dilation]
        self._deltas, self._inputs, self._sides = deltas, inputs, sides
        self._padding, self._stride, self._dilation = padding, stride, dilation
        self._groups = layer.groups

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, C_out, C_in / groups, *k]."""
        channels, width = self._inputs.shape[1], self._deltas.shape[3]
        fast = self._inputs.device.type == "cpu" and channels % _LANES == 0 and width >= _WIDE
        if self._groups > 1 or fast:
            return self._in_blocks(index, _GROUPED, self._grouped)
        # What is copied as one piece: a row of the map, or a row of the patch with all channels.
        if width >= self._sides[1] * channels:
            return self._in_blocks(index, _UNFOLDED, self._unfolded)
        return self._in_blocks(index, _GATHERED, self._gathered)

    def is_finite(self) -> bool:
        """Whether the deltas are."""
        return has_finite_sum(self._deltas)

    def squared_norms(self) -> Tensor:
        """‖g_i‖², [n]."""
        if not self._has_few_positions():
            return super().squared_norms()
        blocks = zip(torch.split(self._deltas, _GRAM), torch.split(self._inputs, _GRAM), strict=True)
        return torch.cat([self._by_positions(*block) for block in blocks])

    def _has_few_positions(self) -> bool:
        """Whether inner products of positions take less than half the multiplications of the gradients
        themselves.

        Half, since they are also added up k times, and read and written in between.
        """
        if self._groups > 1 or self._dilation != [1, 1]:
            return False
        inputs, outputs = self._inputs.shape[1], self._deltas.shape[1]
        height, width = (
            side + 2 * pad for side, pad in zip(self._inputs.shape[2:], self._padding, strict=True)
        )
        positions = self._deltas.shape[2:].numel()
        products = (height * width) ** 2 * inputs + positions**2 * outputs
        return 2 * products < positions * inputs * outputs * self._sides[0] * self._sides[1]

    def _by_positions(self, deltas: Tensor, inputs: Tensor) -> Tensor:
        """Σ_tu (δ_t·δ_u)(u_t·u_u), [n].

        The inner products of patches are those of single pixels, summed over a k × k window that moves over
        both positions together: first over its rows, then over its columns.
        """
        inputs = _surrounded(inputs, self._padding)
        samples, _, high, wide = inputs.shape
        _, _, height, width = deltas.shape
        pixels = inputs.flatten(2)
        products = torch.bmm(pixels.mT, pixels).view(samples, high, wide, high, wide)
        (down, right), (rows, columns) = self._stride, self._sides
        slices = [slice(row, row + down * (height - 1) + 1, down) for row in range(rows)]
        products = _sum([products[:, window, :, window] for window in slices])
        slices = [slice(column, column + right * (width - 1) + 1, right) for column in range(columns)]
        products = _sum([products[:, :, window, :, window] for window in slices])
        flat = deltas.flatten(2)
        norms: Tensor = torch.linalg.vecdot(
            products.reshape(samples, -1), torch.bmm(flat.mT, flat).view(samples, -1)
        )
        return norms

    def _in_blocks(self, index: slice, size: int, kernel: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        deltas, inputs = self._deltas[index], self._inputs[index]
        blocks = [
            kernel(*block) for block in zip(torch.split(deltas, size), torch.split(inputs, size), strict=True)
        ]
        gradients = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return gradients.squeeze(3) if self._is_flat else gradients

    def _grouped(self, deltas: Tensor, inputs: Tensor) -> Tensor:
        """One convolution's backward pass, the samples its groups."""
        samples, outputs = deltas.shape[:2]
        shape = (samples * outputs, inputs.shape[1] // self._groups, *self._sides)
        gradients: Tensor = torch.ops.aten.convolution_backward(
            deltas.reshape(1, samples * outputs, *deltas.shape[2:]),
            inputs.reshape(1, samples * inputs.shape[1], *inputs.shape[2:]),
            deltas.new_empty(1).expand(shape),  # only its shape is read
            None,
            self._stride,
            self._padding,
            self._dilation,
            False,
            [0, 0],
            samples * self._groups,
            [False, True, False],
        )[1]
        return gradients.view(samples, outputs, *shape[1:])

    def _unfolded(self, deltas: Tensor, inputs: Tensor) -> Tensor:
        """δ times the transposed matrix of patches, [C_in k² × T]."""
        inputs = _surrounded(inputs, self._padding)
        step, channel, down, right = inputs.stride()
        samples, _, height, width = deltas.shape
        patches = inputs.as_strided(
            (samples, inputs.shape[1], *self._sides, height, width),
            (step, channel, *self._strides(down, right)),
            inputs.storage_offset(),
        )
        rows = patches.reshape(samples, -1, height * width)
        gradients = torch.bmm(deltas.reshape(samples, -1, height * width), rows.mT)
        return gradients.view(samples, -1, inputs.shape[1], *self._sides)

    def _gathered(self, deltas: Tensor, inputs: Tensor) -> Tensor:
        """δ times the matrix of patches with channels last, [T × k² C_in]."""
        (top, left), (samples, channels, high, wide) = self._padding, inputs.shape
        pixels = inputs.new_zeros(samples, high + 2 * top, wide + 2 * left, channels)
        pixels[:, top : top + high, left : left + wide] = inputs.permute(0, 2, 3, 1)
        step, down, right, _ = pixels.stride()
        rows, columns, lower, further = self._strides(down, right)
        height, width = deltas.shape[2:]
        patches = pixels.as_strided(
            (samples, height, width, *self._sides, channels), (step, lower, further, rows, columns, 1)
        )
        matrix = patches.reshape(samples, height * width, -1)
        gradients = torch.bmm(deltas.reshape(samples, -1, height * width), matrix)
        return gradients.view(samples, -1, *self._sides, channels).permute(0, 1, 4, 2, 3)

    def _strides(self, down: int, right: int) -> tuple[int, int, int, int]:
        """Of a view of all patches: along a patch's rows and columns, and along the map's."""
        return (
            down * self._dilation[0],
            right * self._dilation[1],
            down * self._stride[0],
            right * self._stride[1],
        )


def _surrounded(inputs: Tensor, padding: list[int]) -> Tensor:
    """With zeros around each map."""
    top, left = padding
    return functional.pad(inputs, (left, left, top, top)) if top or left else inputs


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total


def _padded(layer: Convolution, inputs: Tensor) -> tuple[Tensor, list[int]]:
    """The input and the zeros around it that a convolution still has to add, [side] each."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        return functional.pad(inputs, layer._reversed_padding_repeated_twice, mode), [0] * len(
            layer.kernel_size
        )
    return inputs, [*layer.padding]
