"""From a source of the page to a report, in a worker.

A spec's text goes through the parser of spec files, an example by its exact name, a zoo's model by a name that
the installed package lists, an upload by the file that the server kept. Only what the user named on the command
line may be a path or a module's factory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eyeshot.errors import EyeshotError, SpecError

__all__ = ["axes_of", "network_of", "report_of"]

#: What a request may leave open is taken from the command line's options, for its own source alone.
Job = dict[str, Any]


def network_of(job: Job) -> tuple[Any, Any, dict[str, Any]]:
    """What ``eyeshot.analyze`` takes of a job's network: source, input, options. Raises EyeshotError."""
    source = job["source"]
    options: dict[str, Any] = {"axes": axes_of(job.get("axes"))}
    size = job.get("input")
    match source["kind"]:
        case "spec":
            thing: Any = _content(source)
        case "example":
            thing = f"example:{source['name']}"
        case "model":
            thing = _model(source["zoo"], source["name"])
        case "upload":
            thing = _uploaded(source["path"])
        case _:
            given = job["given"]
            thing = given["source"]
            size = given["input"] if size is None else size
            options["axes"] = given["axes"] if options["axes"] is None else options["axes"]
            options["training"] = given["training"]
    return thing, size, options


def report_of(job: Job) -> tuple[Any, str]:
    """The report of a job's network, and its title. Raises EyeshotError."""
    import eyeshot

    thing, size, options = network_of(job)
    report = eyeshot.analyze(thing, size, **options)
    return report, job["source"].get("title") or report.title


def axes_of(axes: Any) -> Any:
    """``"2,3"``, or ``{name: "2,3"}``, as the command line reads it."""
    from eyeshot.cli.shared import parsed_axes

    if axes is None:
        return None
    if isinstance(axes, str):
        return parsed_axes((axes,))
    return parsed_axes(tuple(f"{name}={dims}" for name, dims in axes.items()))


def _content(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """A text may write a mapping and nothing else: another value could be taken for a path or a reference."""
    from eyeshot.frontends.spec import loads

    content = loads(source["text"], source["format"])
    if not isinstance(content, Mapping):
        raise SpecError("spec: expected a mapping of layers")
    return content


def _model(zoo: str, name: str) -> str:
    from eyeshot.frontends.references.building import need
    from eyeshot.frontends.references.parse import near

    package = need(zoo, f"{zoo}:{name}")
    known = package.models.list_models() if zoo == "torchvision" else package.list_models()
    if name not in known:
        raise EyeshotError(f"{zoo} has no model {name!r}{near(name, known)}")
    return f"{zoo}:{name}"


def _uploaded(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        raise EyeshotError("the file is no longer there; open it again") from None
