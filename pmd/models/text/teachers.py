"""Teachers of another kind than their students: any encoder or decoder that transformers or sentence-transformers loads.

A folder of sentence-transformers says how its vectors are pooled and what prompts it was trained with. Its layers after the
pooling (`Dense`) are left out: they would be trained anew anyway.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import cached_file

from pmd.core.errors import PmdError, first_line, warn
from pmd.core.packages import model_source
from pmd.data.texts.frames import framing_of
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig, auto_class
from pmd.models.text.encoders import check_reading, longest_text
from pmd.models.text.folder import TextModel
from pmd.models.text.start import load_tokenizer
from pmd.settings.checks import first_set
from pmd.settings.text import Pooling, ProgressiveConfig, TeacherConfig

POOLING: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
}
"""What sentence-transformers calls the ways to pool."""


@dataclass(frozen=True)
class Source:
    """Where a teacher comes from: a folder or Hub id, the place of the transformer in it, its pooling and its prompts, None
    where sentence-transformers is not told. `dense`: it has layers after the pooling."""

    name: str
    subfolder: str = ""
    dense: bool = False
    pooling: str | None = None
    prompts: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, teacher: TeacherConfig) -> Source:
        """PmdError for a pooling that a bi-encoder does not have, unless the settings say another."""
        name = model_source(teacher.model, "teacher.model")
        modules = _read(name, "modules.json") or []
        paths = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
        stored = _read(name, f"{paths['Pooling']}/config.json") if "Pooling" in paths else {}
        chosen = [mode for mode, value in stored.items() if mode.startswith("pooling_mode_") and value is True]
        chosen = [POOLING.get(mode, mode) for mode in chosen] or [stored.get("pooling_mode")]
        named = {"cls": "first", "lasttoken": "last"}.get(chosen[0], chosen[0])
        if teacher.pooling is None and (len(chosen) > 1 or named not in (None, *POOLING.values())):
            raise PmdError(
                f"teacher.pooling: '{teacher.model}' pools by {' and '.join(map(str, chosen))}; choose mean, first or last"
            )
        prompts = (_read(name, "config_sentence_transformers.json") or {}).get("prompts") or {}
        own_prompts = prompts.get("query", ""), prompts.get("document", "")
        return cls(name, paths.get("Transformer", ""), "Dense" in paths, named, own_prompts)


def _read(source: str, file: str) -> Any:
    """A JSON file of a folder or Hub id; None if there is none."""
    path = cached_file(
        source,
        file,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


def config_of_teacher(teacher: TeacherConfig) -> tuple[PreTrainedConfig, Source]:
    """The configuration of the teacher's encoder, and where it comes from. PmdError if there is none."""
    try:
        source = Source.of(teacher)
        config = AutoConfig.from_pretrained(source.name, subfolder=source.subfolder)
    except PmdError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(teacher, error) from None
    if not hasattr(config, "num_hidden_layers") or not hasattr(config, "hidden_size"):
        raise PmdError(
            f"teacher.model: '{teacher.model}' is a '{config.model_type}' model, not one that reads text alone; choose "
            "an encoder or decoder of texts"
        )
    config.dtype = torch.float32  # whatever the checkpoint was saved in
    config.use_cache = False
    return config, source


def teacher_depth(teacher: TeacherConfig | None) -> int | None:
    """The layers of `teacher.model`, read from its config alone; None without one."""
    return None if teacher is None else config_of_teacher(teacher)[0].num_hidden_layers


def described_teacher(settings: ProgressiveConfig) -> TextModel:
    """A run's teacher and its tokenizer, without weights: its sizes, and how it reads.

    Raises:
        PmdError: if the model cannot be found.
    """
    teacher, encoder = settings.teacher, settings.encoder
    config, source = config_of_teacher(teacher)
    if source.dense:
        warn(f"teacher.model: the layers of '{teacher.model}' after its pooling (Dense) are left out")
    prompts = zip((teacher.query_prompt, teacher.entity_prompt), source.prompts)
    bi_encoder = BiEncoderConfig(
        encoder=config,
        tied=teacher.tied,
        init_temperature=encoder.temperature,
        max_tokens=first_set(teacher.max_length, encoder.max_length),
        neighbours_below=encoder.neighbours_below,
        max_neighbours=encoder.max_neighbours,
        pooling=teacher.pooling or source.pooling or usual_pooling(config),
        prompts=[first_set(given, stored) for given, stored in prompts],
        half=teacher.precision == "bf16",
    )
    try:
        tokenizer = load_tokenizer(source.name, config, source.subfolder, added=False)
        with torch.device("meta"):
            return TextModel(BiEncoder(bi_encoder), tokenizer)
    except (OSError, ValueError) as error:
        raise _cannot_load(teacher, error) from None


def usual_pooling(config: PreTrainedConfig) -> Pooling:
    """`last` for a decoder, whose last token alone has read the whole text; otherwise `mean`."""
    decoder = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    return "last" if decoder and not getattr(config, "use_bidirectional_attention", False) else "mean"


def load_teacher(teacher: TeacherConfig, described: TextModel, seed: int) -> BiEncoder:
    """The teacher with the weights of its checkpoint, in fp32 or bf16, as `described`.

    Raises:
        PmdError: if they cannot be loaded, or do not read texts as long as the run's.
    """
    settings, source = described.model.config, Source.of(teacher)
    try:
        plain, loading = auto_class(settings.encoder).from_pretrained(
            source.name, subfolder=source.subfolder, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise _cannot_load(teacher, error) from None
    weights = plain.state_dict()
    torch.manual_seed(seed)
    model = BiEncoder(settings)
    for encoder in filter(None, (model.query_encoder, model.entity_encoder)):
        needed = encoder.state_dict()
        missing = sorted((needed.keys() - weights.keys()) | (needed.keys() & loading["missing_keys"]))
        if missing:
            raise PmdError(f"teacher.model: '{teacher.model}' has no weights for {missing[0]}; choose another")
        encoder.load_state_dict({name: weights[name] for name in needed})
    _check_texts(model, described, teacher)
    return model.halve()


def _check_texts(model: BiEncoder, described: TextModel, teacher: TeacherConfig) -> None:
    length, longest = described.reading.max_length, longest_text(model.query_encoder)
    prompt = framing_of(described.tokenizer, described.reading.prompts).prompt
    if longest is not None and length + prompt > longest:
        raise PmdError(
            f"teacher.max_length: {length} and a prompt of {prompt} are more than the {longest} that '{teacher.model}' can read"
        )
    check_reading(model.query_encoder, described.tokenizer, length + prompt, "teacher.model")


def reads_alike(teacher: TextModel, student: TextModel) -> str | None:
    """Why a teacher and a student do not read the same tokens of each text; None if they do."""
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        return "teacher.model has another vocabulary than encoder.name"
    if any(teacher.model.config.prompts or ()):
        return "teacher.model reads prompts"
    if teacher.model.config.max_tokens != student.model.config.max_tokens:
        return "teacher.max_length is not encoder.max_length"
    return None


def check_vocabulary(folder: Path, teacher: TextModel, reader: TextModel) -> None:
    """PmdError if a stage was trained with another vocabulary than that of the encoder that the run reads with now."""
    if teacher.tokenizer.get_vocab() != reader.tokenizer.get_vocab():
        raise PmdError(
            f"'{folder}' has another vocabulary than the encoder that the run began with has now; restore that, or start"
            " a new run"
        )


def _cannot_load(teacher: TeacherConfig, error: Exception) -> PmdError:
    return PmdError(
        f"teacher.model: cannot load '{teacher.model}' ({first_line(error)}); give a Hub id, a folder, or "
        "package:NAME/FOLDER"
    )
