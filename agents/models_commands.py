"""Commands about models: ``octastream models list | show | promote | rollback | split | verify | …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from agents.cluster_options import KafkaOptions
from agents.failure import EXIT_ERROR
from agents.options import spread

if TYPE_CHECKING:
    from models.manifest import Manifest
    from models.registry import ModelRegistry
    from stream.records import ModelPublished

models = typer.Typer(
    no_args_is_help=True,
    help="Models, their names, how traffic is split between them, and which may serve on a cluster.",
)

Folder = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER",
        help="A run folder, the workers' --folder, or the URI of a registry, as s3://a/models.",
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="An id, or an alias.")]
Alias = Annotated[str, typer.Option(help="The name to move.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(models, name="models")


@models.command("list")
def list_models(folder: Folder) -> None:
    """Models of a registry, the one trained up to the earliest stamp first."""
    from agents import console
    from agents.models_tables import models_table

    registry = _registry(folder)
    manifests = [registry.manifest(model_id) for model_id in registry.list()]
    console.show(models_table(manifests, registry.aliases(), registry.kept()))


@models.command()
def show(folder: Folder, model: Model) -> None:
    """A model's manifest, its ancestors, and whether a run still holds what it has learnt from."""
    from agents import console
    from agents.models_tables import model_rows, source_rows
    from agents.origin import check_sources
    from stream.sweep_rows import sweep_files

    registry = _registry(folder)
    manifest = registry.manifest(registry.resolve(model))
    console.show(console.grid(model_rows(manifest, _ancestors(registry, manifest))))
    if "://" in folder or not sweep_files(Path(folder)):
        return
    checked = check_sources(Path(folder), manifest)
    console.show(console.grid(source_rows(checked)))
    if not all(source.matches for source in checked):
        raise typer.Exit(EXIT_ERROR)


@models.command()
def promote(folder: Folder, model: Model, alias: Alias = "champion") -> None:
    """Let an alias stand for a model. Workers follow what is published: octastream models pin tells them."""
    import time

    from agents import console

    registry = _registry(folder)
    change = registry.promote(registry.resolve(model), alias, time.time_ns())
    console.show(escape(f"{alias}: {change.model_id}, before {change.before or 'none'}"))


@models.command()
def rollback(folder: Folder, alias: Alias = "champion") -> None:
    """Undo the newest promotion of an alias."""
    from agents import console

    change = _registry(folder).rollback(alias)
    console.show(escape(f"{alias}: {change.before}, no longer {change.model_id}"))


@models.command()
def split(
    folder: Folder,
    weights: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ALIAS=WEIGHT]...", help="As champion=0.9 challenger=0.1."),
    ] = None,
    salt: Annotated[str, typer.Option(help="Another one splits the same keys differently.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Split traffic no longer.")] = False,
    key: Annotated[list[str] | None, typer.Option(help="Say which alias has this key.")] = None,
) -> None:
    """Split the traffic of octastream serve between aliases by a hash of keys; without weights, show it."""
    from agents import console
    from agents.models_tables import split_table

    registry = _registry(folder)
    if weights or off:
        registry.set_split({} if off else _weights(weights or []), salt)
    now = registry.split()
    if now is None:
        console.show("traffic is not split")
        return
    console.show(split_table(now, registry.aliases()))
    for name in key or []:
        console.show(escape(f"{name}: {now.name_of(name)}"))


@models.command()
def verify(
    folder: Folder,
    named: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all.")] = None,
) -> None:
    """Check files against their sums, and that each model still answers its canary batch as it did."""
    from agents import console
    from models.manifest import ModelRefused

    registry = _registry(folder)
    failed = 0
    for model_id in [registry.resolve(name) for name in named or []] or registry.list():
        try:
            registry.verify(model_id)
        except ModelRefused as error:
            failed += 1
            console.show(escape(str(error)))
        else:
            console.show(escape(f"{model_id}: whole"))
    for alias, model_id in registry.aliases().items():
        if model_id not in registry.list():
            failed += 1
            console.show(escape(f"{alias}: {model_id} is not there"))
    if failed:
        raise typer.Exit(EXIT_ERROR)


@models.command()
@spread
def pin(model_id: Annotated[str, typer.Argument(metavar="MODEL")], kafka: KafkaOptions) -> None:
    """Have every Perceive of a cluster serve this model and no other, until released."""
    registry = _registry(kafka.folder)
    _hold(registry.manifest(model_id), kafka, registry)


@models.command()
@spread
def freeze(kafka: KafkaOptions) -> None:
    """Have every Perceive of a cluster go on with the model that was published last, until released."""
    from agents.kafka.admin import require_topics, run
    from agents.kafka.holds import newest_model
    from models.online.builtin import MODEL_ID as BUILTIN

    registry, settings = _registry(kafka.folder), kafka.to_settings()
    run(require_topics(settings))
    newest = run(newest_model(settings))
    _hold(registry.manifest(newest) if newest not in (None, BUILTIN) else None, kafka, registry)


@models.command()
@spread
def release(kafka: KafkaOptions) -> None:
    """Follow again what is published, beginning with the newest model."""
    import time

    from agents import console
    from agents.holds import release as released

    registry = _registry(kafka.folder)
    _send(released(time.time_ns()), kafka)
    registry.let_go()
    console.show("released: what is published serves again")


def _hold(manifest: Manifest | None, kafka: KafkaOptions, registry: ModelRegistry) -> None:
    """Keep the file first: who is told to serve it may have to load it again, long after."""
    import time

    from agents import console
    from agents.holds import pin as pinned

    before = registry.kept()
    if manifest is not None:
        registry.keep(manifest.model_id)
    record = pinned(manifest, time.time_ns())
    _send(record, kafka)
    if replaced := [model_id for model_id in before if model_id != record.model_id]:
        registry.let_go(*replaced)
    console.show(escape(f"held: {record.model_id} serves until octastream models release"))


def _send(record: ModelPublished, kafka: KafkaOptions) -> None:
    from agents.kafka.admin import require_topics, run
    from agents.kafka.holds import send_hold

    settings = kafka.to_settings()
    run(require_topics(settings))
    run(send_hold(record, settings))


def _weights(given: list[str]) -> dict[str, str]:
    from models.manifest import ModelRefused

    found: dict[str, str] = {}
    for text in given:
        name, separator, weight = text.partition("=")
        if not separator or name in found:
            raise ModelRefused(f"{text}: give ALIAS=WEIGHT, each alias once")
        found[name] = weight
    return found


def _registry(folder: Path | str) -> ModelRegistry:
    """The registry of a run or of workers; a registry would make the folder, so it must be there."""
    from models.manifest import ModelRefused
    from models.registry import ModelRegistry

    if isinstance(folder, str) and "://" in folder:
        try:
            return ModelRegistry(folder)
        except ValueError as error:
            raise ModelRefused(str(error)) from error
    place = Path(folder) / "models"
    if not place.is_dir():
        raise ModelRefused(f"{folder}: has no models/; name a run folder, or what workers have as --folder")
    return ModelRegistry(place)


def _ancestors(registry: ModelRegistry, manifest: Manifest) -> list[str]:
    """Parent, its parent, and so on, as far as the registry still has them; the last one may be gone."""
    from models.manifest import ModelRefused

    found: list[str] = []
    parent = manifest.parent_id
    while parent and parent not in found:
        found.append(parent)
        try:
            parent = registry.manifest(parent).parent_id
        except ModelRefused:
            break
    return found
