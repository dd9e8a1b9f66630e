import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, BertTokenizerFast

from ml.text_encoder import TextEncoder, TextEncoderError

WORDS = ["tremor", "of", "the", "hand", "fall", "##s", "gait", "slow"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return TextEncoder(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT like SapBERT, but tiny and with random weights, as transformers writes it."""
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast.from_pretrained(str(folder)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def copy_of(folder, to):
    to.mkdir()
    for each in folder.iterdir():
        (to / each.name).write_bytes(each.read_bytes())
    return to


def test_vectors_are_unit_and_the_same_from_the_cache(tmp_path):
    texts = ["Hypertension", "High blood pressure", "Car engine"]
    first = TextEncoder(cache=tmp_path)(texts)
    again = TextEncoder(cache=tmp_path)
    again._encode = None  # the second time must not compute
    torch.testing.assert_close(again(texts), first, atol=0, rtol=0)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    assert first[0] @ first[1] > first[0] @ first[2] + 0.3


def test_a_vector_does_not_depend_on_the_texts_beside_it():
    texts = ["Hypertension", "Tremor of the hand", "Gait disturbance", "A fall down the stairs"]
    together = TextEncoder()(texts * 20)[: len(texts)]
    alone = torch.cat([TextEncoder()([text]) for text in texts])
    assert torch.equal(together, alone)  # bit for bit, or the same seed gives other weights


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TextEncoderError, match=r"config\.json"):
        TextEncoder(tmp_path)(["Tremor"])


def test_a_bert_in_a_folder_is_read_and_pooled_as_asked(bert):
    texts = ["tremor of the hand", "slow gait"]
    tokenizer = BertTokenizerFast.from_pretrained(str(bert))
    model = BertModel.from_pretrained(str(bert)).eval()
    for pooling in ("mean", "cls"):
        vectors = TextEncoder(bert, pooling=pooling)(texts)
        assert vectors.shape == (2, 16)
        for text, vector in zip(texts, vectors, strict=True):
            with torch.no_grad():
                tokens = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            expected = tokens.mean(0) if pooling == "mean" else tokens[0]
            expected = expected / expected.norm()
            torch.testing.assert_close(vector, expected, atol=1e-5, rtol=0)


def test_vectors_are_kept_text_by_text(bert, tmp_path):
    cache = tmp_path / "cache"
    TextEncoder(bert, cache)(["tremor", "gait"])
    again = TextEncoder(bert, cache)
    asked = []
    compute = again._encode
    again._encode = lambda texts: asked.extend(texts) or compute(texts)
    mixed = again(["slow", "gait", "slow", "tremor"])
    assert asked == ["slow"]
    torch.testing.assert_close(mixed, compute(["slow", "gait", "slow", "tremor"]))


def test_other_weights_and_other_pooling_have_vectors_of_their_own(bert, tmp_path):
    cache = tmp_path / "cache"
    first = TextEncoder(bert, cache)(["tremor"])
    assert not torch.equal(TextEncoder(bert, cache, pooling="cls")(["tremor"]), first)
    other = copy_of(bert, tmp_path / "other")
    torch.manual_seed(1)
    BertModel(BertConfig.from_pretrained(str(other))).save_pretrained(other)
    assert not torch.equal(TextEncoder(other, cache)(["tremor"]), first)
    moved = copy_of(bert, tmp_path / "moved")
    assert torch.equal(TextEncoder(moved, cache)(["tremor"]), first)
    assert len(list(cache.iterdir())) == 3


def test_vectors_that_were_cut_off_are_named(bert, tmp_path):
    cache = tmp_path / "cache"
    TextEncoder(bert, cache)(["tremor"])
    [kept] = cache.iterdir()
    assert set(load_file(kept)) == {"keys", "vectors"}
    kept.write_bytes(kept.read_bytes()[:-3])
    with pytest.raises(TextEncoderError, match=r"text-.* Delete that file"):
        TextEncoder(bert, cache)(["tremor"])


def test_weights_that_could_run_code_are_not_read(bert, tmp_path):
    other = copy_of(bert, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    torch.save(weights, other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    with pytest.raises(TextEncoderError, match=r"model\.safetensors"):
        TextEncoder(other)(["tremor"])


def test_no_texts_give_no_vectors(bert, tmp_path):
    assert TextEncoder(bert)([]).shape == (0, 16)
    assert TextEncoder(bert, tmp_path / "cache")([]).shape == (0, 16)
