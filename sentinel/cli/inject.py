"""`sentinel inject`: manifests in, the same manifests with Sentinel as a native sidecar out.

All or nothing: when one pod of the input cannot be injected nothing is printed, so that no half-injected release is
applied by a pipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from sentinel.admission.manifests import (
    SIZE_BYTES_MAX,
    InjectedDocument,
    inject_document,
    objects_of,
    read_documents,
    write_documents,
)
from sentinel.admission.profiles import (
    DEFAULT_CONFIG_MAP,
    DEFAULT_IMAGE,
    DEFAULT_PROFILE,
    SidecarConfig,
    SidecarKind,
    SidecarRole,
    built_in_profiles,
)
from sentinel.admission.replicas import scalers_of
from sentinel.app.admission.config import load_admission
from sentinel.cli.wrapping import tell
from sentinel.errors import MalformedInputError
from sentinel.runtime.printable import printable

EXIT_DONE, EXIT_WRONG, EXIT_USAGE, EXIT_UNREADABLE = 0, 1, 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = (
        "Reads Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs\n"
        "and Lists of them, and prints them with Sentinel as a native sidecar\n"
        "(Kubernetes 1.29 or newer), or with --sidecar container as one beside the\n"
        "application's. Other objects pass through."
    )
    parser.epilog = (
        "examples:\n"
        "  kubectl create configmap sentinel --from-file=sentinel.yaml\n"
        "  sentinel inject -f deploy.yaml --image registry.example/sentinel:0.1.0 \\\n"
        "      --config-map sentinel | kubectl apply -f -\n"
        "  sentinel inject -f pod.yaml --role both -o patch\n"
        "  sentinel inject -f deploy.yaml --config admission.yaml\n"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="manifest to read; - is standard input; may be given again",
    )
    parser.add_argument(
        "--image",
        metavar="REFERENCE",
        help=f"image of the sidecar, where the cluster finds it (default: {DEFAULT_IMAGE})",
    )
    parser.add_argument(
        "--config-map",
        metavar="NAME",
        help=f'ConfigMap with the configuration, in the pod\'s namespace; "" for the built-in defaults, with --role both (default: {DEFAULT_CONFIG_MAP})',
    )
    parser.add_argument(
        "--role",
        choices=[str(role) for role in SidecarRole],
        help="collect hands windows to the service's scorer, which the ConfigMap names; both decides in the pod, and is refused"
        f" where there may be several (default: {SidecarRole.COLLECT})",
    )
    parser.add_argument(
        "--each-replica-scores",
        action="store_true",
        help="with --role both: several pods are meant, each a service of its own that pages by what it hears alone",
    )
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help=f"profile of pods that name none by annotation: small, standard, large, or one of --config (default: {DEFAULT_PROFILE})",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="the injector's configuration, whose profiles are meant then",
    )
    parser.add_argument(
        "--sidecar",
        choices=[str(kind) for kind in SidecarKind],
        default=str(SidecarKind.NATIVE),
        help="native; container for clusters before 1.29, where pods that are to end get none (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-host-network", action="store_true", help="inject pods with hostNetwork too"
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=["yaml", "json", "patch"],
        default="yaml",
        help="yaml; json (a List when there are several documents); patch (a JSON Patch a line, one a document)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Inject, print, and say by the exit code how it went."""
    try:
        config = _wanted(arguments)
    except ValueError as error:
        _complain(str(error))
        return EXIT_USAGE
    documents: list[tuple[str, dict[str, Any]]] = []
    injected: list[InjectedDocument] = []
    problems = 0
    for filename in arguments.filename:
        try:
            read = read_documents(_read(filename))
        except OSError as error:
            _complain(f"{filename}: cannot be read: {error.strerror or error}")
            return EXIT_UNREADABLE
        except MalformedInputError as error:
            _complain(f"{filename}: {error}")
            problems += 1
            continue
        documents += [(f"{filename}: document {number}", document) for number, document in read]
    # What scales a workload may stand before it, after it, or in another file.
    scalers = scalers_of(item for _, document in documents for item in objects_of(document))
    for where, document in documents:
        result = inject_document(document, config, scalers=scalers)
        injected.append(result)
        problems += len(result.problems)
        for sentence in result.problems:
            _complain(f"{where}: {sentence}")
        for sentence in result.warnings:
            _complain(f"{where}: warning: {sentence}")
    if problems:
        _complain("nothing was written")
        return EXIT_WRONG
    if not any(result.injected_count for result in injected):
        _complain("no pod to inject was found, nothing was written")
        return EXIT_WRONG
    for sentence in _assumed(arguments):
        _complain(f"warning: {sentence}")
    sys.stdout.write(_output(injected, arguments.output))
    return EXIT_DONE


def _wanted(arguments: argparse.Namespace) -> SidecarConfig:
    """What to put in; ValueError for what cannot be, ConfigError where the injector's configuration is wrong."""
    kind = SidecarKind(arguments.sidecar)
    if arguments.config is None:
        image = DEFAULT_IMAGE if arguments.image is None else arguments.image
        return SidecarConfig(
            profiles=built_in_profiles(
                image=image,
                config_map=DEFAULT_CONFIG_MAP
                if arguments.config_map is None
                else arguments.config_map,
                role=SidecarRole(arguments.role or SidecarRole.COLLECT),
                each_replica_scores=arguments.each_replica_scores,
            ),
            default_profile=arguments.profile or DEFAULT_PROFILE,
            kind=kind,
            allow_host_network=arguments.allow_host_network,
        )
    told = {
        "--image": arguments.image is not None,
        "--config-map": arguments.config_map is not None,
        "--role": arguments.role is not None,
        "--each-replica-scores": arguments.each_replica_scores,
    }
    if twice := [option for option, is_given in told.items() if is_given]:
        msg = f"--config says that by its profiles: leave out {', '.join(twice)}"
        raise ValueError(msg)
    given = load_admission(arguments.config, environment=os.environ).config.sidecar_config(kind)
    return dataclasses.replace(
        given,
        default_profile=arguments.profile or given.default_profile,
        allow_host_network=arguments.allow_host_network or given.allow_host_network,
    )


def _assumed(arguments: argparse.Namespace) -> list[str]:
    """What was not said and has to be true for the pods to start and to page."""
    assumed: list[str] = []
    if arguments.config is not None:
        return assumed
    if arguments.image is None:
        assumed.append(
            f"the image {DEFAULT_IMAGE} has to be on the cluster's nodes, or its pods wait for it; give --image"
        )
    name = DEFAULT_CONFIG_MAP if arguments.config_map is None else arguments.config_map
    if not name:
        assumed.append("without a ConfigMap the sidecar runs on its defaults, which page nobody")
    elif arguments.role is None:
        assumed.append(
            f"the sidecars collect: ConfigMap {name} of the pods' namespace has to name their scorer, or they page nobody;"
            " say --role collect, or --role both for a pod that decides by itself"
        )
    elif arguments.config_map is None:
        assumed.append(
            f"ConfigMap {name} of the pods' namespace is meant; until it is there the sidecar runs on its defaults, which page"
            " nobody; give --config-map"
        )
    return assumed


def _read(filename: str) -> str:
    """The text of a file or of standard input, up to a bound."""
    if filename == "-":
        data = sys.stdin.buffer.read(SIZE_BYTES_MAX + 1)
    else:
        with Path(filename).open("rb") as file:
            data = file.read(SIZE_BYTES_MAX + 1)
    if len(data) > SIZE_BYTES_MAX:
        msg = f"larger than {SIZE_BYTES_MAX} bytes"
        raise MalformedInputError(msg)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"not UTF-8 at byte {error.start}"
        raise MalformedInputError(msg) from error


def _output(injected: list[InjectedDocument], kind: str) -> str:
    if kind == "patch":
        return "".join(f"{json.dumps(list(result.operations))}\n" for result in injected)
    documents: list[dict[str, Any]] = [result.document for result in injected]
    if kind == "yaml":
        return write_documents(documents)
    whole = (
        documents[0]
        if len(documents) == 1
        else {"apiVersion": "v1", "kind": "List", "items": documents}
    )
    return json.dumps(whole, indent=2) + "\n"


def _complain(sentence: str) -> None:
    # Names of the manifest stand in it, which may hold what a terminal would obey.
    tell(f"sentinel inject: {printable(sentence)}", file=sys.stderr)
