"""The command line. Errors are told here, once, in the user's words."""

import argparse
import os
import signal
import sys

from manifests.errors import RequestError, RunError

RAY_HELP = "cluster to join: auto, HOST:PORT or ray://HOST:PORT (default: Ray is started here)"


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0 (done), 1 (it failed) or 2 (the request is wrong)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return options.run(options) or 0
    except RequestError as error:
        print(f"audioedit: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"audioedit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("audioedit: interrupted" + ("; the same command goes on from here" if options.run in (_build, _encode, _train) else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audioedit", description="Recordings in, audio-editing pairs out: WebDataset shards with quality reports.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, about: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".", epilog=f"example: {example}")
        added.set_defaults(run=run)
        return added

    build = command("build", _build, "build the dataset into a folder or URI; run again, it does what is missing",
                    "audioedit build configs/demo.yaml -o runs/demo --set edits.add=100")
    _config(build)
    build.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    build.add_argument("--clips", metavar="RUN", help="take another run's ingested clips as they are")
    build.add_argument("--overwrite", action="store_true", help="throw away what another configuration left there")
    planned = command("plan", _plan, "say what a build would make, and make nothing", "audioedit plan configs/demo.yaml -o runs/demo")
    _config(planned)
    verify = command("verify", _verify, "check a finished run against its own records", "audioedit verify runs/demo")
    verify.add_argument("folder", metavar="RUN")
    verify.add_argument("--pairs", type=int, default=50, metavar="N", help="how many pairs to render again from their params (default: 50)")
    report = command("report", _report, "write a run's report again", "audioedit report runs/demo")
    report.add_argument("folder", metavar="RUN")
    status = command("status", _status, "say how far a run is, from any terminal", "audioedit status runs/demo")
    status.add_argument("folder", metavar="RUN")
    select = command("select", _select, "pick pairs of a run by what quality/pairs.parquet says of them",
                     "audioedit select runs/mine --where \"edit == 'remove' and snr_db > 0\" -o keys.parquet")
    select.add_argument("folder", metavar="RUN")
    select.add_argument("--where", required=True, metavar="EXPR", help="over the columns of quality/pairs.parquet, as pandas.DataFrame.query takes it; "
                        "pairs of tier demo are picked only where it speaks of tier")
    select.add_argument("-o", dest="output", required=True, metavar="KEYS.parquet", help="ids of the pairs, for train --select and evaluate --select")
    encode = command("encode", _encode, "compute latents and the MLLM's states once, for train; run again, it does what is missing",
                     "audioedit encode runs/tiny/checkpoints/step-00001500 --data runs/demo -o runs/demo-encoded")
    encode.add_argument("model", metavar="MODEL", help="whose codec and MLLM are used; train --data ENCODED wants the same")
    encode.add_argument("--data", required=True, metavar="RUN", help="a finished run")
    encode.add_argument("-o", dest="folder", required=True, metavar="ENCODED", help="folder or URI to write")
    encode.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="resources: cpus=1, gpus=1, actors=4; may be repeated")
    encode.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    train = command("train", _train, "train a model on the shards of runs; run again, it goes on from its last checkpoint",
                    "audioedit train configs/train/tiny.yaml --data runs/demo -o runs/tiny")
    train.add_argument("config", metavar="CONFIG", help="YAML file; see configs/train/")
    train.add_argument("--data", required=True, nargs="+", metavar="RUN", help="finished runs, or encoded ones; RUN=2 draws its samples twice as often")
    train.add_argument("-o", dest="folder", required=True, metavar="DIR", help="folder of checkpoints, metrics and edited samples")
    train.add_argument("--init", metavar="MODEL", help="begin with this model, in the place of a fresh one of the configuration's sizes")
    train.add_argument("--select", metavar="KEYS", help="a parquet file whose column pair_id says which pairs to train on")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, e.g. --set steps=100; may be repeated")
    train.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    edit = command("edit", _edit, "edit one recording by instruction",
                   "audioedit edit MODEL --audio in.wav --instruction \"Remove the sound of 'rain' from the input audio.\" -o out.wav")
    edit.add_argument("folder", metavar="MODEL")
    edit.add_argument("--audio", required=True, metavar="IN", help="the recording, of any rate, channels and length")
    edit.add_argument("--instruction", required=True, metavar="TEXT")
    edit.add_argument("-o", dest="output", required=True, metavar="OUT", help="a .wav or .flac file, of the rate, channels and length of IN")
    edit.add_argument("--steps", type=int, metavar="N", help="of the sampler (default: the model's)")
    edit.add_argument("--cfg", type=float, metavar="X", help="guidance scale (default: the model's)")
    edit.add_argument("--source-cfg", type=float, default=1.0, metavar="X", help="guidance scale of the source (default: 1)")
    edit.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    edit.add_argument("--mllm", metavar="NAME", help="folder or hub name of the MLLM, in the place of the model's own")
    evaluate = command("evaluate", _evaluate, "score edits of a run's pairs against their targets, beside baselines",
                       "audioedit evaluate MODEL --data runs/demo -o scores.parquet")
    evaluate.add_argument("folder", metavar="MODEL", nargs="?", help="may be left out with --outputs")
    evaluate.add_argument("--data", required=True, metavar="RUN", help="folder or URI of a finished run")
    evaluate.add_argument("--split", default="test", choices=("train", "val", "test"), help="(default: test)")
    evaluate.add_argument("-o", dest="output", required=True, metavar="FILE.parquet", help="a row for each pair and system, and what the run knows of it")
    evaluate.add_argument("--overwrite", action="store_true", help="write FILE.parquet again if it exists")
    evaluate.add_argument("--outputs", metavar="DIR", help="recordings of any system to score, named PAIR_ID.wav or .flac")
    evaluate.add_argument("--select", metavar="KEYS", help="a parquet file whose column pair_id says which pairs")
    evaluate.add_argument("--limit", type=int, metavar="N", help="only the first N pairs")
    evaluate.add_argument("--by", action="append", default=[], metavar="COLUMN", help="show slices by a column of quality/pairs.parquet; may be repeated")
    evaluate.add_argument("--steps", type=int, metavar="N", help="of the sampler (default: the model's)")
    evaluate.add_argument("--cfg", type=float, metavar="X", help="guidance scale (default: the model's)")
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    evaluate.add_argument("--mllm", metavar="NAME", help="folder or hub name of the MLLM, in the place of the model's own")
    official = command("import-official", _import_official, "turn Audio-Omni's published files into a MODEL folder",
                       "audioedit import-official model.ckpt Audio-Omni.json -o audio-omni")
    official.add_argument("checkpoint", metavar="CHECKPOINT", help=".ckpt or .safetensors")
    official.add_argument("config", metavar="CONFIG.json")
    official.add_argument("-o", dest="folder", required=True, metavar="MODEL", help="folder to write; must not exist or be empty")
    official.add_argument("--vocab", metavar="FILE", help="the speech vocabulary, where the configuration's path does not exist")
    official.add_argument("--mllm", metavar="NAME", help="folder or hub name of the MLLM (default: what the configuration names)")
    return parser


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="YAML file; see configs/")
    parser.add_argument("-o", dest="folder", metavar="RUN", help="folder or URI of the run (default: runs/ and the configuration's name)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, e.g. --set edits.add=100; may be repeated")


def _folder(options: argparse.Namespace) -> str:
    return options.folder or os.path.join("runs", os.path.splitext(os.path.basename(options.config))[0])


def _build(options: argparse.Namespace) -> int:
    from pipeline.read_config import load

    config, folder = load(options.config, options.set), _folder(options)
    from pipeline import build
    from pipeline.status import table

    if build.build(config, folder, options.ray, options.clips, options.overwrite) == "already":
        print(f"{folder} is finished already: nothing to do (audioedit verify {folder} checks it)")
        return 0
    print(table(folder))
    for name, what in (("report/index.html", "to see and hear"), ("quality/pairs.parquet", "a row a pair"), ("shards", "to train on")):
        print(f"  {os.path.join(folder, name):44} {what}")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from pipeline.read_config import load
    from pipeline.status import planned

    print(planned(load(options.config, options.set), _folder(options)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from pipeline.verify import verify

    faults = verify(options.folder, options.pairs)
    for fault in faults[:50]:
        print(fault)
    print(f"{options.folder}: {len(faults)} faults" if faults else f"{options.folder}: all is as recorded")
    return 1 if faults else 0


def _report(options: argparse.Namespace) -> int:
    from pipeline.report import write
    from pipeline.status import open_run

    run, facts = open_run(options.folder)
    if facts["state"] != "done":
        raise RunError(f"{options.folder}: the run is {facts['state']}, not done; audioedit status says how far it is")
    write(run)
    print(run.path("report/index.html"))
    return 0


def _status(options: argparse.Namespace) -> int:
    from pipeline.status import status

    print(status(options.folder))
    return 0


def _edit(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    _check_model_extra()
    from model import recording
    from model.editor import Editor

    source = recording.given(options.audio, None)
    recording.check_output(options.output, len(source.audio), options.audio)
    editor = Editor.from_pretrained(options.folder, mllm=options.mllm)
    with tqdm(unit=" step", desc="edit", file=sys.stderr, delay=1e-3) as bar:  # nothing is shown of a request that is refused

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = editor.edit(source.audio, options.instruction, rate=source.rate, steps=options.steps, guidance=options.cfg,
                           source_guidance=options.source_cfg, seed=options.seed, progress=progress)
    recording.write(options.output, made)
    print(options.output)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    if options.folder is not None:
        _check_model_extra()
    from pipeline import evaluate

    print(evaluate.run(evaluate.Request(
        data=options.data, output=options.output, split=options.split, select=options.select, model=options.folder, outputs=options.outputs,
        limit=options.limit, by=tuple(options.by), overwrite=options.overwrite, steps=options.steps, guidance=options.cfg, seed=options.seed,
        mllm=options.mllm)))
    print(f"\n  {options.output}  a row a pair and system")
    return 0


def _select(options: argparse.Namespace) -> int:
    from pipeline.select import select

    count, left_out = select(options.folder, options.where, options.output)
    print(f"{options.output}  {count} pairs" + (f"; {left_out} of tier demo left out, as EXPR does not speak of tier" if left_out else ""))
    return 0


def _encode(options: argparse.Namespace) -> int:
    _check_model_extra()
    from manifests.strict import checked
    from pipeline.config import Resources
    from pipeline.encode import encode

    if encode(options.model, options.data, options.folder, checked(options.set, Resources), options.ray) == "already":
        print(f"{options.folder} is finished already: nothing to do")
        return 0
    print(options.folder)
    return 0


def _train(options: argparse.Namespace) -> int:
    _check_model_extra()
    from manifests.strict import load
    from model.training.config import TrainConfig
    from pipeline.select import selected
    from pipeline.train import train, weighted

    keys = None if options.select is None else selected(options.select)
    last = train(load(options.config, options.set, TrainConfig), weighted(options.data), options.folder, options.init, keys, options.ray)
    print(last)
    return 0


def _import_official(options: argparse.Namespace) -> int:
    _check_model_extra()
    from model.official import import_official

    import_official(options.checkpoint, options.config, options.folder, options.vocab, options.mllm)
    print(options.folder)
    return 0


def _check_model_extra() -> None:
    """The model is no part of the core."""
    try:
        import diffusers  # noqa: F401
        import jieba  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise RequestError(f"this command needs {error.name}: pip install 'audioedit[model]'") from None
