from hpo_gn.measures.initialization import ParameterCount


def test_it_equals_a_count_one_by_one(network, score):
    model, inputs, targets = network
    expected = sum(1 for parameter in model.parameters() for _ in parameter.flatten().tolist())
    assert score(ParameterCount(), model, inputs, targets) == expected


def test_biases_normalization_and_embeddings_count(transformer, score):
    embedding, attention, feed_forward = 20 * 8, 4 * 8 * (8 + 1), 16 * (8 + 1) + 8 * (16 + 1)
    norms, head = 2 * 2 * 8, 10 * (8 + 1)
    expected = embedding + 2 * (attention + feed_forward + norms) + head
    assert score(ParameterCount(), *transformer) == expected


def test_what_requires_no_gradients_does_not_count(transformer, score):
    model, *samples = transformer
    everything = score(ParameterCount(), model, *samples)
    model.embedding.requires_grad_(False)
    assert score(ParameterCount(), model, *samples) == everything - 160
    model.requires_grad_(False)
    assert score(ParameterCount(), model, *samples) == 0
