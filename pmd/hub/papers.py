"""The papers that a model stands on, as BibTeX entries for its card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Paper(NamedTuple):
    """One paper; `venue` is where it appeared, `arxiv` its number there."""

    authors: str
    title: str
    venue: str
    year: int
    arxiv: str | None = None


PAPERS = {
    "pmd": Paper(
        "Fan, Cunhang and Chen, Yujie and Xue, Jun and Kong, Yonghui and Tao, Jianhua and Lv, Zhao",
        "Progressive Distillation Based on Masked Generation Feature Method for Knowledge Graph Completion",
        "Proceedings of the AAAI Conference on Artificial Intelligence",
        2024,
        "2401.12997",
    ),
    "simkgc": Paper(
        "Wang, Liang and Zhao, Wei and Wei, Zhuoyu and Liu, Jingming",
        "SimKGC: Simple Contrastive Knowledge Graph Completion with Pre-trained Language Models",
        "Annual Meeting of the Association for Computational Linguistics (ACL)",
        2022,
    ),
    "med": Paper(
        "Zhu, Yushan and Zhang, Wen and Liu, Zhiqiang and Chen, Mingyang and Liang, Lei and Chen, Huajun",
        "Croppable Knowledge Graph Embedding",
        "Annual Meeting of the Association for Computational Linguistics (ACL)",
        2025,
        "2407.02779",
    ),
    "dualde": Paper(
        "Zhu, Yushan and Zhang, Wen and Chen, Mingyang and Chen, Hui and Cheng, Xu and Zhang, Wei and Chen, Huajun",
        "DualDE: Dually Distilling Knowledge Graph Embedding for Faster and Cheaper Reasoning",
        "ACM International Conference on Web Search and Data Mining (WSDM)",
        2022,
        "2009.05912",
    ),
    "transe": Paper(
        "Bordes, Antoine and Usunier, Nicolas and Garcia-Duran, Alberto and Weston, Jason and Yakhnenko, Oksana",
        "Translating Embeddings for Modeling Multi-relational Data",
        "Advances in Neural Information Processing Systems (NIPS)",
        2013,
    ),
    "transh": Paper(
        "Wang, Zhen and Zhang, Jianwen and Feng, Jianlin and Chen, Zheng",
        "Knowledge Graph Embedding by Translating on Hyperplanes",
        "Proceedings of the AAAI Conference on Artificial Intelligence",
        2014,
    ),
    "complex": Paper(
        "Trouillon, Théo and Welbl, Johannes and Riedel, Sebastian and Gaussier, Éric and Bouchard, Guillaume",
        "Complex Embeddings for Simple Link Prediction",
        "International Conference on Machine Learning (ICML)",
        2016,
    ),
    "rotate": Paper(
        "Sun, Zhiqing and Deng, Zhi-Hong and Nie, Jian-Yun and Tang, Jian",
        "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space",
        "International Conference on Learning Representations (ICLR)",
        2019,
    ),
    "simple": Paper(
        "Kazemi, Seyed Mehran and Poole, David",
        "SimplE Embedding for Link Prediction in Knowledge Graphs",
        "Advances in Neural Information Processing Systems (NeurIPS)",
        2018,
    ),
    "pairre": Paper(
        "Chao, Linlin and He, Jianshan and Wang, Taifeng and Chu, Wei",
        "PairRE: Knowledge Graph Embeddings via Paired Relation Vectors",
        "Annual Meeting of the Association for Computational Linguistics (ACL)",
        2021,
    ),
    "bert": Paper(
        "Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina",
        "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
        "Annual Conference of the North American Chapter of the Association for Computational Linguistics (NAACL)",
        2019,
    ),
    "glue": Paper(
        "Wang, Alex and Singh, Amanpreet and Michael, Julian and Hill, Felix and Levy, Omer and Bowman, Samuel R.",
        "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding",
        "International Conference on Learning Representations (ICLR)",
        2019,
    ),
    "hinton": Paper(
        "Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff",
        "Distilling the Knowledge in a Neural Network",
        "arXiv",
        2015,
        "1503.02531",
    ),
    "pkd": Paper(
        "Sun, Siqi and Cheng, Yu and Gan, Zhe and Liu, Jingjing",
        "Patient Knowledge Distillation for BERT Model Compression",
        "Conference on Empirical Methods in Natural Language Processing (EMNLP)",
        2019,
    ),
    "minilm": Paper(
        "Wang, Wenhui and Wei, Furu and Dong, Li and Bao, Hangbo and Yang, Nan and Zhou, Ming",
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
        "Advances in Neural Information Processing Systems (NeurIPS)",
        2020,
    ),
    "rkd": Paper(
        "Park, Wonpyo and Kim, Dongju and Lu, Yan and Cho, Minsu",
        "Relational Knowledge Distillation",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        2019,
    ),
    "hat": Paper(
        "Wang, Hanrui and Wu, Zhanghao and Liu, Zhijian and Cai, Han and Zhu, Ligeng and Gan, Chuang and Han, Song",
        "HAT: Hardware-Aware Transformers for Efficient Natural Language Processing",
        "Annual Meeting of the Association for Computational Linguistics (ACL)",
        2020,
    ),
}

METHODS = {
    "pmd": ("pmd",),
    "pmd_no_mgfd": ("pmd",),
    "lkd": ("hinton",),
    "pkd": ("pkd",),
    "med": ("med",),
    "hat": ("hat",),
    "bkd": ("hinton",),
    "minilm": ("minilm",),
    "rkd": ("rkd",),
}
"""The papers of a stage's method."""


def bibtex(keys: Iterable[str]) -> str:
    """The entries of papers by their keys, each once."""
    entries = []
    for key in dict.fromkeys(keys):
        paper = PAPERS[key]
        fields = {"author": paper.authors, "title": f"{{{paper.title}}}"}
        fields |= {"booktitle": paper.venue, "year": str(paper.year)}
        if paper.arxiv:
            fields |= {"eprint": paper.arxiv, "archivePrefix": "arXiv"}
        kind = "inproceedings"
        if paper.venue == "arXiv":
            kind = "misc"
            del fields["booktitle"]
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
        entries.append(f"@{kind}{{{key}{paper.year},\n" + ",\n".join(lines) + "\n}")
    return "\n\n".join(entries)
