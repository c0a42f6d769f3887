import pytest
import torch

from hpo_gn.measures.gradients.outer import Outer, Product

SUMS = ["squared_norms", "moments", "sign_sums", "nonzeros"]


@pytest.mark.parametrize("what", SUMS)
def test_nothing_of_samples_times_parameters_is_formed(what, place, largest):
    deltas, inputs = torch.randn(50, 30).double(), torch.randn(50, 40).double()
    gradient = Outer(place(50, 30, 40), deltas, inputs)
    with largest:
        getattr(gradient, what)()
    assert 0 < largest.numbers <= 50 * 40


@pytest.mark.parametrize(
    ("positions", "forms_gradients"), [(4, False), (5, True)], ids=["few positions", "many positions"]
)
def test_over_few_positions_norms_come_from_inner_products(positions, forms_gradients, place, largest):
    deltas, inputs = torch.randn(6, positions, 9).double(), torch.randn(6, positions, 9).double()
    gradient = Product(place(6, 9, 9), deltas, inputs)
    with largest:
        norms = gradient.squared_norms()
    assert (largest.numbers >= 6 * 9 * 9) is forms_gradients
    expected = torch.einsum("itk,itd->ikd", deltas, inputs).square().sum((1, 2))
    assert norms.tolist() == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_float32_or_float64(dtype, place):
    deltas, inputs = torch.randn(5, 3).to(dtype), torch.randn(5, 4).to(dtype)
    where = place(5, 3, 4)
    where.parameter.data = where.parameter.data.to(dtype)
    gradient = Outer(where, deltas, inputs)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    for what in SUMS:
        result = getattr(gradient, what)()
        for tensor in result if isinstance(result, tuple) else (result,):
            assert tensor.dtype == expected
