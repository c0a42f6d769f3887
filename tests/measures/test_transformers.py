"""Measuring a Hugging Face model on batches that name its arguments."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import AGN, GN, GSNR, MeanLoss, SameSign, cross_entropy, measure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of what it imports
    transformers = pytest.importorskip("transformers")

MEASURES = [AGN(), GN(), GSNR(), MeanLoss("train")]


TOKENS = {"vocab_size": 30, "num_labels": 3}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}


def build(kind: str, sizes: dict[str, object]) -> nn.Module:
    """A small float64 classifier, randomly initialized."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**TOKENS, **sizes)
    return getattr(transformers, f"{kind}ForSequenceClassification")(config).double().eval()


@pytest.fixture(params=["eager", "sdpa"])
def bert(request) -> nn.Module:
    return build("Bert", SIZES | {"attn_implementation": request.param})


@pytest.fixture
def encoding() -> dict[str, Tensor]:
    """Seven texts of up to nine tokens, padded, with their classes."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 3, 5, 9, 1, 7, 4])
    mask = (torch.arange(9) < lengths[:, None]).long()
    tokens = torch.randint(1, 30, (7, 9), generator=generator) * mask
    labels = torch.randint(3, (7,), generator=generator)
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": mask * 0, "labels": labels}


def in_batches(encoding: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    return [
        {name: each[start : start + size] for name, each in encoding.items()}
        for start in range(0, len(encoding["labels"]), size)
    ]


def test_a_classifier_is_measured_as_any_other(bert, encoding, gradients_twin):
    # Key biases have gradients that are 0 but for rounding.
    for name, parameter in bert.named_parameters():
        parameter.requires_grad_(not name.endswith("key.bias"))
    inputs = {name: each for name, each in encoding.items() if name != "labels"}
    twin = gradients_twin(bert, inputs, encoding["labels"])
    row = measure(bert, in_batches(encoding, 3), MEASURES)
    squares = {name: each.square().sum().item() / 7 for name, each in twin.items()}
    assert row["gn"] == pytest.approx(sum(squares.values()), rel=1e-9, abs=0)
    agn = squares["classifier.weight"] + squares["classifier.bias"]
    assert row["agn"] == pytest.approx(agn, rel=1e-9, abs=0)
    flat = torch.cat([each.flatten(1) for each in twin.values()], dim=1)
    mean, variance = flat.mean(dim=0), flat.var(dim=0, correction=0)
    counts = variance > 1e-15 * flat.square().mean(dim=0)
    ratios = mean[counts].square() / variance[counts]
    assert row["gsnr"] == pytest.approx(ratios.mean().item(), rel=1e-9, abs=0)
    losses = cross_entropy(bert(**inputs).logits, encoding["labels"])
    assert row["train_loss"] == pytest.approx(losses.mean().item(), rel=1e-9, abs=0)


def test_only_the_head_may_be_trained(bert, encoding, gradients_twin):
    bert.bert.requires_grad_(False)
    row = measure(bert, in_batches(encoding, 3), [AGN(), GN(), SameSign()])
    assert row["gn"] == pytest.approx(row["agn"], rel=1e-9, abs=0)
    assert 0.5 <= row["same_sign"] <= 1


def test_a_subset_is_drawn_of_encodings(bert, encoding):
    expected = measure(bert, in_batches(encoding, 2), [GN()])
    assert measure(bert, in_batches(encoding, 2), [GN(7)])["gn"] == pytest.approx(expected["gn"], rel=1e-9)
    assert measure(bert, in_batches(encoding, 2), [GN(4)]) == pytest.approx(
        measure(bert, in_batches(encoding, 5), [GN(4)]), rel=1e-9
    )


OTHERS = {
    # Linear layers of a kind of their own, and causal attention.
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12, "pad_token_id": 0},
    # One layer that is run several times.
    "Albert": SIZES | {"embedding_size": 8, "num_hidden_layers": 3},
    # Relative positions, which all samples share.
    "DebertaV2": SIZES | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    # One embedding in encoder and decoder.
    "Bart": {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 12,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "decoder_start_token_id": 1,
    },
}


@pytest.mark.parametrize(("kind", "sizes"), OTHERS.items(), ids=OTHERS)
def test_other_architectures_are_measured(kind, sizes, encoding, gradients_twin):
    model = build(kind, sizes)
    inputs = {name: encoding[name].clone() for name in ("input_ids", "attention_mask")}
    tokens = inputs["input_ids"]
    tokens[tokens == 1] = 3
    tokens[:, -1], inputs["attention_mask"][:, -1] = 1, 1  # where BART looks for a text's end
    twin = gradients_twin(model, inputs, encoding["labels"])
    expected = sum(each.square().sum().item() for each in twin.values()) / 7
    row = measure(model, in_batches(inputs | {"labels": encoding["labels"]}, 3), [GN()])
    assert row["gn"] == pytest.approx(expected, rel=1e-9, abs=0)
