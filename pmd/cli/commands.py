"""The table of all commands: those of `pmd`, which the scripts call too."""

from __future__ import annotations

from pmd.cli.command import Command, Group
from pmd.cli.errors import FLAGS
from pmd.cli.launch import LaunchCommand
from pmd.cli.stages import StagesCommand
from pmd.cli.tuning import TuneCommand
from pmd.settings.stages.glue import check_glue
from pmd.settings.stages.kge import check_kge_run
from pmd.settings.stages.text import check_progressive


class FitCommand(Command):
    """`pmd fit`, whose parts are runs of their own commands."""

    stopped = "pmd progressive (of text) or pmd train (of an embedding) finishes that model with --resume {run}; the same command begins anew"


COMMANDS = Group(
    text="knowledge graph completion with language models and embeddings",
    flags={**FLAGS, "--version": "print the version"},
    commands={
        "fit": FitCommand(
            text="from any file of triples to models that answer, in the time you have",
            config="pmd.api.fitting.fit:FitConfig",
            function="pmd.api.fitting.fit:fit_command",
            examples=("pmd fit edges.tsv --minutes 10", "pmd fit newer --from runs/my_graph-…"),
            positional=("data.path",),
            short={"--from": "--from_run"},
        ),
        "progressive": StagesCommand(
            text="distil a text model, grade by grade; by default with the config pmd/world",
            config="pmd.settings.text:ProgressiveConfig",
            function="pmd.recipes.text:progressive",
            examples=(
                "pmd progressive --data.path my_graph --train.lr 3e-5",
                "pmd progressive --resume runs/my_graph-…",
            ),
            key="encoder",
            default="pmd/world",
            check=check_progressive,
        ),
        "train": StagesCommand(
            text="train embedding models: one, a croppable one, or a teacher and its students",
            config="pmd.settings.kge:KgeConfig",
            function="pmd.recipes.kge:train_kge",
            examples=(
                "pmd train --data.path my_graph --model.interaction rotate --model.dim 64",
                "pmd train --data.path my_graph --dual.students '[32,16,8]'",
            ),
            key="loss",
            check=check_kge_run,
        ),
        "glue": StagesCommand(
            text="fine-tune a BERT and its sub-models on a GLUE task; by default with the config glue/bert_base",
            config="pmd.settings.glue:GlueConfig",
            function="pmd.recipes.glue:train_glue",
            examples=("pmd glue --task rte", "pmd glue --config glue/minilm --task stsb --data.path DIR/glue"),
            key="task",
            default="glue/bert_base",
            check=check_glue,
        ),
        "launch": LaunchCommand(
            text="run progressive, train or glue in several processes on this machine",
            config="pmd.cli.launch:LaunchConfig",
            function="pmd.cli.launch:launch",
            examples=("pmd launch 2 progressive", "pmd launch --max_restarts 3 2 train"),
            positional=("processes", "command"),
            measures_load=False,
            started=("progressive", "train", "glue"),
        ),
        "tune": TuneCommand(
            text="try settings of embedding or text models, and keep the best by validation",
            config="pmd.settings.kge:KgeConfig",
            function="pmd.api.tuning.tune:tune_command",
            examples=(
                "pmd tune --data.path my_graph --trials 20 --minutes 120",
                "pmd tune --config med/wn18rr_rotate --space tune/med --trials 40",
            ),
        ),
        "fuse": Command(
            text="put a text model and an embedding model of one graph side by side in one index",
            config="pmd.settings.fuse:FuseConfig",
            function="pmd.recipes.fuse:fuse",
            examples=(
                "pmd fuse runs/world-… runs/world-complex-… --out both",
                "pmd fuse RUN RUN --text_stage grade2 --weights common --out both",
            ),
            positional=("text", "structure"),
        ),
        "shrink": Command(
            text="find the smallest model of a run that keeps enough of its teacher, and write it",
            config="pmd.settings.shrink:ShrinkConfig",
            function="pmd.reports.shrink:shrink",
            examples=(
                "pmd shrink runs/world-… --out small",
                "pmd shrink runs/world-… --max_mb 2 --out small",
            ),
            positional=("run",),
        ),
        "update": Command(
            text="bring a trained model to a newer state of its graph, and see how it ranks the new facts",
            config="pmd.recipes.update.command:UpdateConfig",
            function="pmd.recipes.update.command:update",
            examples=(
                "pmd update runs/my_graph-… --data.path newer --out updated",
                "pmd update runs/my_graph-… --data.path newer --dry-run",
            ),
            positional=("model",),
        ),
        "evaluate": Command(
            text="rank a split with trained text and embedding models, predict relations, judge triples",
            config="pmd.settings.shared:EvaluateConfig",
            function="pmd.recipes.evaluate:evaluate",
            examples=(
                "pmd evaluate runs/world-…/grade1",
                "pmd evaluate RUN/grade1 RUN/rotate --tasks relations,triples",
            ),
            positional=("model",),
            repeated=True,
        ),
        "answer": Command(
            text="ask a trained model to complete a triple",
            config="pmd.recipes.answer:AnswerConfig",
            function="pmd.recipes.answer:answer",
            examples=(
                "pmd answer runs/world-… --head Austria --relation 'official language' -k 3",
                "pmd answer user/world-grade3 --tail German --relation 'official language' --new --json",
            ),
            positional=("model",),
            short={"-k": "--top_k"},
            # NumPy reads it when it is imported. Its threads spin while they wait for each other: for products as small
            # as those of one question that gains little on idle cores, and on busy ones costs many times the product.
            environment={"OPENBLAS_NUM_THREADS": "1"},
            measures_load=False,
        ),
        "classify": Command(
            text="judge a file of triples: does each hold?",
            config="pmd.recipes.triples.classify:ClassifyConfig",
            function="pmd.recipes.triples.classify:classify",
            examples=(
                "pmd classify runs/world-… triples.tsv",
                "pmd classify runs/world-… triples.tsv --format tsv --skip-bad",
            ),
            positional=("model", "file"),
            environment={"OPENBLAS_NUM_THREADS": "1"},  # as for `answer`
            measures_load=False,
        ),
        "suggest": Command(
            text="find the most plausible facts that a graph lacks",
            config="pmd.recipes.triples.suggest:SuggestConfig",
            function="pmd.recipes.triples.suggest:suggest",
            examples=(
                "pmd suggest runs/world-… --top 1000 --out new.tsv",
                "pmd suggest runs/world-… --about Austria --why",
            ),
            positional=("model",),
            environment={"OPENBLAS_NUM_THREADS": "1"},  # as for `answer`
            measures_load=False,
        ),
        "serve": Command(
            text="answer over HTTP, or as tools of an agent: a trained model for others to ask",
            config="pmd.serve.command:ServeConfig",
            function="pmd.serve.command:serve",
            examples=("pmd serve runs/world-… --port 8080 --workers 2", "pmd serve runs/world-… --mcp"),
            positional=("model",),
            environment={"OPENBLAS_NUM_THREADS": "1"},  # as for `answer`
            measures_load=False,
        ),
        "crop": Command(
            text="cut a trained model down to its leading dimensions, without training",
            config="pmd.recipes.crop:CropConfig",
            function="pmd.recipes.crop:crop",
            examples=(
                "pmd crop runs/world-rotate-… --width 16 --out small",
                "pmd crop runs/glue-stsb-… --stage med --width 256 --out small",
            ),
            positional=("model",),
        ),
        "export": Command(
            text="convert a trained model for other programs: ONNX, sentence-transformers, Parquet, or plain tables",
            config="pmd.recipes.exporting.export:ExportConfig",
            function="pmd.recipes.exporting.export:export",
            examples=(
                "pmd export runs/world-… --to onnx",
                "pmd export runs/world-rotate-… --to embeddings --out tables",
            ),
            positional=("model",),
        ),
        "push": Command(
            text="publish a trained model on the Hugging Face Hub",
            config="pmd.recipes.push:PushConfig",
            function="pmd.recipes.push:publish",
            examples=(
                "pmd push runs/world-… user/world-grade3 --grade 3 --license apache-2.0",
                "pmd push runs/world-… user/world --dry-run --out FOLDER",
            ),
            positional=("model", "repo"),
        ),
        "report": Command(
            text="write a web page about one run or several: tables, curves, examples",
            config="pmd.reports.write:ReportConfig",
            function="pmd.reports.write:report",
            examples=("pmd report runs/world-…", "pmd report RUN RUN --out both.html"),
            positional=("run",),
            repeated=True,
        ),
        "data": Group(
            text="describe a graph, split it, or convert it to another layout",
            commands={
                "info": Command(
                    text="describe a graph: sizes, relations, and what makes its test split too easy",
                    config="pmd.recipes.data:InfoConfig",
                    function="pmd.recipes.data:info",
                    examples=("pmd data info my_graph", "pmd data info world --json"),
                    positional=("data.path",),
                    measures_load=False,
                ),
                "split": Command(
                    text="split one list of triples into train, valid and test",
                    config="pmd.recipes.data:SplitConfig",
                    function="pmd.recipes.data:split_graph",
                    examples=(
                        "pmd data split edges.tsv --out split",
                        "pmd data split facts.csv --out two --inductive 0.3",
                    ),
                    positional=("data.path",),
                    measures_load=False,
                ),
                "convert": Command(
                    text="convert a graph to another layout",
                    config="pmd.recipes.data:ConvertConfig",
                    function="pmd.recipes.data:convert_graph",
                    examples=("pmd data convert my_graph --to kg-bert --out new",),
                    positional=("data.path",),
                    measures_load=False,
                ),
            },
        ),
        "figure": Command(
            text="draw a figure of a run of embedding models",
            config="pmd.papers.figures:FigureConfig",
            function="pmd.papers.figures:draw",
            examples=("pmd figure runs/world-rotate-… --what widths",),
            positional=("run",),
        ),
        "table": Group(
            text="make a table of a paper: methods, sizes and seeds side by side",
            commands={
                "compare": Command(
                    text="distillation methods by grades",
                    config="pmd.papers.compare:CompareConfig",
                    function="pmd.papers.compare:compare",
                    examples=("pmd table compare --base pmd/world --seeds '[0,1,2]'",),
                ),
                "dualde": Command(
                    text="embedding models with and without a teacher (DualDE)",
                    config="pmd.papers.dualde:DualdeConfig",
                    function="pmd.papers.dualde:dualde",
                    examples=("pmd table dualde --configs '[dualde/umls_rotate]'",),
                ),
                "med": Command(
                    text="croppable embedding models beside their rivals, width by width (MED)",
                    config="pmd.settings.med_table:MedTableConfig",
                    function="pmd.papers.med:med_table",
                    examples=(
                        "pmd table med --base.data.path my_graph --base.model.dim 64 --base.model.widths '[4,16,64]'",
                    ),
                ),
                "glue": Command(
                    text="BERTs of every width on GLUE tasks (MED)",
                    config="pmd.papers.glue_table:GlueTableConfig",
                    function="pmd.papers.glue_table:glue_table",
                    examples=("pmd table glue --config glue/minilm_table --base.data.path DIR/glue",),
                ),
                "downstream": Command(
                    text="what embeddings of every width add to other models (MED)",
                    config="pmd.papers.downstream.table:DownstreamConfig",
                    function="pmd.papers.downstream.table:downstream",
                    examples=("pmd table downstream --base.data.path world --out runs/labelling",),
                ),
                "cost": Command(
                    text="parameters and inference time of embedding models by width",
                    config="pmd.papers.cost:CostConfig",
                    function="pmd.papers.cost:cost",
                    examples=("pmd table cost --data.path my_graph --dims '[64,32,16,8]'",),
                ),
            },
        ),
        "results": Group(
            text="put finished comparisons into pages: tables without a typed number, and which row is better",
            commands={
                "collect": Command(
                    text="write the numbers of a comparison to a small file, with what they were measured by",
                    config="pmd.papers.results.command:CollectConfig",
                    function="pmd.papers.results.command:collect",
                    examples=("pmd results collect runs/compare --name world_methods --against '[no distillation]'",),
                    positional=("folder",),
                    repeated=True,
                    measures_load=False,
                ),
                "render": Command(
                    text="fill in the tables of the pages from these files",
                    config="pmd.papers.results.command:RenderConfig",
                    function="pmd.papers.results.command:render",
                    examples=("pmd results render",),
                    measures_load=False,
                ),
                "paired": Command(
                    text="is a row better than another? a paired bootstrap over the queries",
                    config="pmd.papers.results.command:PairedConfig",
                    function="pmd.papers.results.command:paired",
                    examples=("pmd results paired runs/compare --rows '[PMD, LKD]'",),
                    positional=("folder",),
                    measures_load=False,
                ),
            },
        ),
        "completion": Command(
            text="print a script that lets the shell complete commands and options",
            config="pmd.cli.completion:CompletionConfig",
            function="pmd.cli.completion:script",
            examples=(
                "pmd completion bash > ~/.local/share/bash-completion/completions/pmd",
                "source <(pmd completion zsh)",
            ),
            positional=("shell",),
            measures_load=False,
        ),
    },
)
