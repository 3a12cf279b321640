"""Try everything that guardian does on Azure, in a subscription of yours, and clean up after it.

    az login
    python examples/try_azure.py --subscription ID --location eastus2 [--yes]

Makes a resource group of its own with random names, types guardian's commands one after the other,
checks what they did, and removes the group at the end, also after a failure or Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.capacity import Capacity
from guardian_cli.lifecycle.azure.client import AzureClient, WorkspaceAddress

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "nsfw-detector"
GROUP_API = "2021-04-01"
ENDPOINT_API = "2022-02-01-preview"
COMPUTE_API = "2023-04-01"
CLUSTER = "guardian-try"
REMOVE_TIMEOUT_S = 3600.0
# A first deployment builds an image, which takes Azure 10 to 20 minutes.
HOURS = 1.0


class StepFailedError(Exception):
    """A command or what it should have done is not as it should be."""


@dataclass
class Trial:
    """One run: where, in which folder, and what was checked so far."""

    address: WorkspaceAddress
    endpoint: str
    folder: Path
    options: argparse.Namespace
    passed: list[str] = field(default_factory=list)

    def type(self, *args: str, code: int = 0) -> str:
        """Type a command of guardian; what it wrote to stdout. Raises StepFailedError."""
        print(f"\n$ guardian {' '.join(args)}", flush=True)
        names = {
            "AZURE_SUBSCRIPTION_ID": self.address.subscription_id,
            "AZURE_RESOURCE_GROUP": self.address.resource_group,
            "AZURE_ML_WORKSPACE": self.address.workspace,
        }
        done = subprocess.run(
            [sys.executable, "-m", "guardian_cli", *args],
            cwd=self.folder, env={**os.environ, **names}, stdout=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
        print(done.stdout, end="", flush=True)
        if done.returncode != code:
            raise StepFailedError(f"guardian {args[0]} ended with {done.returncode}, not {code}")
        return done.stdout

    def check(self, what: str, good: object) -> None:
        """Note that something is as it should be. Raises StepFailedError when it is not."""
        if not good:
            raise StepFailedError(f"not so: {what}")
        self.passed.append(what)
        print(f"ok: {what}", flush=True)

    def rows(self, text: str) -> dict[str, tuple[str | None, int]]:
        """Role and traffic of each deployment, from what `deploy --json` wrote."""
        after = json.loads(text)["after"]
        return {row["name"]: (row["role"], row["traffic"]) for row in after}


def run_all(trial: Trial) -> None:
    """Every verb once, from the workspace to the second rollback. Raises StepFailedError."""
    write_settings(trial)
    make_workspace(trial)
    train_versions(trial)
    release(trial)
    hand_out(trial)


def write_settings(trial: Trial) -> None:
    """A guardian.yaml with one model, on an endpoint whose name nobody else in the region has."""
    section = {
        "category": "nsfw",
        "endpoint_name": trial.endpoint,
        "instance_type": trial.options.instance_type,
        "instance_count": 1,
    }
    settings = {
        "target": "azure",
        "azure": {"location": trial.options.location},
        "models": {MODEL: section},
        # The endpoint's score is what this is about; CLIP needs its weights.
        "scan": {"detectors": ["endpoint"]},
    }
    (trial.folder / "guardian.yaml").write_text(json.dumps(settings), encoding="utf-8")


def make_workspace(trial: Trial) -> None:
    """Look, make, and make again, which changes nothing."""
    trial.type("setup", "--check", code=4)
    insights = ("--app-insights", trial.options.app_insights)
    first = json.loads(trial.type("setup", *insights, "--json"))
    trial.check("setup makes the workspace", any("workspace" in one for one in first["created"]))
    again = json.loads(trial.type("setup", *insights, "--json"))
    trial.check("the same setup again makes nothing", again["created"] == [])


def train_versions(trial: Trial) -> None:
    """Two versions, the second on a cluster that is made for it."""
    if not trial.options.no_cluster:
        make_cluster(trial)
    quick = ("--backbone", "tiny", "--epochs", "1", "--json")
    first = json.loads(trial.type("train", MODEL, *quick))
    there = () if trial.options.no_cluster else ("--compute", CLUSTER)
    second = json.loads(trial.type("train", MODEL, *quick, "--seed", "1", *there))
    trial.check(
        "train registers one version after the other",
        (first["version"], second["version"]) == ("1", "2"),
    )


def make_cluster(trial: Trial) -> None:
    """Make a cluster of at most one machine, and none when nothing runs: guardian makes none."""
    client = AzureClient(trial.address, Printer())
    machines = {
        "vmSize": trial.options.instance_type,
        "vmPriority": "Dedicated",
        "scaleSettings": {
            "minNodeCount": 0,
            "maxNodeCount": 1,
            "nodeIdleTimeBeforeScaleDown": "PT120S",
        },
    }
    body = {
        "location": trial.address.location,
        "properties": {"computeType": "AmlCompute", "properties": machines},
    }
    path = f"{trial.address.workspace_path}/computes/{CLUSTER}"
    with client.calls("making the cluster"):
        poller = client.begin("PUT", path, COMPUTE_API, body)
        client.wait(poller, f"cluster {CLUSTER}", timeout_s=REMOVE_TIMEOUT_S)


def release(trial: Trial) -> None:
    """Champion, challenger, promotion, and back and forth."""
    one = ("deploy", MODEL, "--version", "1", "--json")
    rows = trial.rows(trial.type(*one))
    trial.check("the first version gets everything", rows == {"version-1": ("champion", 100)})
    trial.check("the same deploy again changes nothing", trial.rows(trial.type(*one)) == rows)
    rows = trial.rows(trial.type("deploy", MODEL, "--version", "2", "--json"))
    beside = {"version-1": ("champion", 90), "version-2": ("challenger", 10)}
    trial.check("the second one becomes challenger", rows == beside)
    rows = trial.rows(trial.type("deploy", MODEL, "--version", "2", "--promote", "--json"))
    promoted = {"version-1": ("previous", 0), "version-2": ("champion", 100)}
    trial.check("it is promoted", rows == promoted)
    back = trial.rows(trial.type("rollback", MODEL, "--why", "a trial", "--json"))
    trial.check("rollback brings the first one back", back["version-1"] == ("champion", 100))
    told = json.loads(trial.type("rollback", MODEL, "--history", "--json"))["changes"]
    actions = [one["action"] for one in told]
    trial.check("the history tells", actions == ["rollback", "promote", "deploy", "deploy"])


def hand_out(trial: Trial) -> None:
    """Addresses and keys, a new key, and a scan that uses them."""
    trial.type("endpoints", "--check", "--write-env", "--write-configmap", "k8s.yaml")
    env = trial.folder / ".env"
    before = env.read_text(encoding="utf-8")
    trial.check("the endpoint scores a picture, .env has its address", "NSFW_MODEL" in before)
    draw_picture(trial.folder / "picture.png")
    scan = ("scan", "picture.png", "--json", "--frames", "--fail-on", "never")
    [found] = json.loads(trial.type(*scan))["scans"]
    score = found["frames"][0]["scores"]["nsfw"]["custom"]
    trial.check(f"a scan takes its score ({score})", score is not None and 0 <= score <= 1)
    trial.type("endpoints", "--rotate-key", MODEL, "--write-env", "--check")
    trial.check("the key is a new one, and opens", env.read_text(encoding="utf-8") != before)


def draw_picture(path: Path) -> None:
    """A picture of our own."""
    from PIL import Image

    Image.radial_gradient("L").convert("RGB").save(path)


def make_group(client: AzureClient) -> None:
    """Make the resource group that everything else is in."""
    body = {"location": client.address.location, "tags": {"made-by": "guardian try_azure"}}
    client.send("PUT", client.address.group_path, GROUP_API, "making the resource group", body)


def clean_up(client: AzureClient, endpoint: str) -> list[str]:
    """Remove the endpoint first, which bills, and then the group; what could not be removed."""
    address = client.address
    left = []
    where = f"--resource-group {address.resource_group} --workspace-name {address.workspace}"
    remove_endpoint = f"az ml online-endpoint delete --name {endpoint} {where}"
    remove_group = f"az group delete --name {address.resource_group}"
    path = f"{address.workspace_path}/onlineEndpoints/{endpoint}"
    steps = (
        (f"endpoint {endpoint}", path, ENDPOINT_API, remove_endpoint),
        (f"resource group {address.resource_group}", address.group_path, GROUP_API, remove_group),
    )
    for what, path, api, command in steps:
        print(f"removing {what}", flush=True)
        try:
            with client.calls(f"removing {what}"):
                poller = client.begin("DELETE", path, api)
                client.wait(poller, what, timeout_s=REMOVE_TIMEOUT_S)
        except PlatformError as error:
            if "404" not in str(error):
                left.append(f"{what} could not be removed ({error}): {command}")
    return left


class Printer:
    """Where the client says what it waits for, and what it could not look up."""

    def note(self, text: str) -> None:
        print(text, flush=True)

    def warn(self, text: str) -> None:
        print(f"warning: {text}", flush=True)

    def quote(self, title: str, text: str) -> None:
        print(f"{title}:\n{text}", flush=True)


def confirm(client: AzureClient, options: argparse.Namespace, ask: Callable[[str], str]) -> bool:
    """Say what will be made and what it costs, and ask."""
    month = Capacity(client).monthly_cost_usd(options.location, options.instance_type, 2)
    price = f"about ${month / 730 * HOURS:.2f}" if month else "a price that is not known here"
    address = client.address
    print(
        f"This makes, in the subscription {address.subscription_id} ({options.location}):\n"
        f"  the resource group {address.resource_group}, in it a workspace with what it needs,\n"
        f"  a cluster of at most one machine, and an endpoint with two deployments on "
        f"{options.instance_type}:\n"
        f"  {price} for {HOURS:g} h of both, and some cents for the rest.\n"
        "It removes all of it at the end."
    )
    return options.yes or ask("Go on? Type yes: ").strip().lower() == "yes"


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--subscription", default=os.environ.get("AZURE_SUBSCRIPTION_ID"))
    parser.add_argument("--location", default="eastus2")
    parser.add_argument("--instance-type", default="Standard_DS3_v2")
    parser.add_argument("--app-insights", choices=("new", "none"), default="none")
    parser.add_argument("--no-cluster", action="store_true", help="leave train --compute out")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    if not options.subscription:
        parser.error("--subscription, or AZURE_SUBSCRIPTION_ID")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run it all; 0 when everything was as it should be and nothing is left."""
    options = read_options(arguments)
    name = f"guardian-try-{secrets.token_hex(4)}"
    address = WorkspaceAddress(options.subscription, name, name, options.location)
    client = AzureClient(address, Printer())
    if not confirm(client, options, input):
        return 2
    problem: Any = None
    with tempfile.TemporaryDirectory(prefix="guardian-try-") as folder:
        trial = Trial(address, name, Path(folder), options)
        try:
            make_group(client)
            run_all(trial)
        except (StepFailedError, PlatformError, KeyboardInterrupt) as error:
            problem = error
            print(f"\nfailed: {str(error) or 'interrupted'}", flush=True)
        finally:
            left = clean_up(client, name)
    for one in left:
        print(f"LEFT BEHIND: {one}")
    print(f"{len(trial.passed)} checks passed; {'one failed' if problem else 'none failed'}")
    return 1 if problem or left else 0


if __name__ == "__main__":
    sys.exit(main())
