"""The cost of a deployment, by part, from its settings and the table of prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.models.gemini.embedding_models import default_model
from stacks.components.chat_pod import RESOURCES
from stacks.components.endpoint_picker import RESOURCES as PICKER_RESOURCES
from stacks.components.manifests import Manifest
from stacks.components.model_group import RESOURCES as CONTROLLER_RESOURCES
from stacks.cost.prices import Prices, prices
from stacks.ingress.cloud_armor import PREVIEW_RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma.profiles import GpuProfile
    from stacks.settings import Settings

    Path = str | tuple[str, ...]
    """Of a price in the table."""

KIB_IN_GIB = 1024 * 1024
POD_PRICES = ("pod_vcpu_hour", "pod_gib_hour", "pod_storage_gib_hour")


@dataclass(frozen=True)
class Part:
    """One part of the bill, in US dollars.

    Attributes:
        name: for a person.
        hour: what it costs while it exists.
        month: what it costs a month in addition, such as storage.
        thousand_questions: what 1,000 questions cost in addition.
        is_verified: whether all its prices have a source.
        note: what a person should know about it.
    """

    name: str
    hour: float = 0
    month: float = 0
    thousand_questions: float = 0
    is_verified: bool = True
    note: str = ""


@dataclass(frozen=True)
class Estimate:
    """The parts, and their sums in US dollars."""

    parts: tuple[Part, ...]
    hours_per_month: float
    questions_per_month: float

    @property
    def hour(self) -> float:
        """An hour without questions; what is billed by the month is not in it."""
        return sum(part.hour for part in self.parts)

    @property
    def month_idle(self) -> float:
        """A month without questions."""
        return sum(self.month_of(part) for part in self.parts)

    @property
    def thousand_questions(self) -> float:
        """1,000 questions that Gemini answers; those that Gemma answers cost no tokens."""
        return sum(part.thousand_questions for part in self.parts)

    @property
    def month(self) -> float:
        """A month with `questions_per_month`."""
        return self.month_idle + self.thousand_questions * self.questions_per_month / 1000

    def month_of(self, part: Part) -> float:
        """Return what a part costs in a month without questions."""
        return part.hour * self.hours_per_month + part.month


def estimate(settings: Settings, table: Prices | None = None) -> Estimate:
    """Return what the deployment with these settings costs."""
    bill = _Bill(settings, table or prices())
    parts = tuple(bill.on_google_cloud() if settings.on_gcp else bill.gemini())
    usage = bill.table.usage
    return Estimate(parts, usage["hours_per_month"], usage["questions_per_month"])


class _Bill:
    """Yields the parts of one deployment's bill."""

    def __init__(self, settings: Settings, table: Prices) -> None:
        self.settings, self.table, self.usage = settings, table, table.usage

    def on_google_cloud(self) -> Iterator[Part]:
        settings = self.settings
        yield self._part(
            "GKE cluster", ["cluster_hour"], hour=self._amount("cluster_hour"), note="free for one cluster an account"
        )
        if settings.gpu_profile:
            yield from self._gemma(settings.gpu_profile)
        yield self._chat_pods()
        if settings.ingress == "https":
            yield self._load_balancer(["forwarding_rules_hour", "load_balancer_gib", "internet_gib"])
        elif settings.ingress == "public-http":  # a network load balancer
            yield self._load_balancer(["forwarding_rules_hour", "address_hour", "load_balancer_gib", "internet_gib"])
        if settings.cloud_armor:
            yield self._cloud_armor()
        if settings.private_nodes and not settings.network:
            yield self._nat()
        yield self._firestore()
        if settings.point_in_time_recovery or settings.backup_days:
            yield self._copies()
        if settings.builds_image:
            yield from self._image()
        yield self._logging()
        yield self._metrics()
        yield from self.gemini()

    def gemini(self) -> Iterator[Part]:
        """Yield Gemini's tokens and embeddings; on another cluster they are the only part that is known."""
        yield from self._tokens()
        yield from self._embeddings()

    def _tokens(self) -> Iterator[Part]:
        settings, model = self.settings, self.settings.gemini_model
        if not settings.on_gcp and not settings.gemini_api_key.get_secret_value():
            return
        if model not in self.table.prices["gemini"]:
            yield Part("Gemini tokens", is_verified=False, note=f"no price of {model} is in the table: not included")
            return
        tokens = {"input": self.usage["tokens_in"], "output": self.usage["tokens_out"]}
        paths: list[Path] = [("gemini", model, kind) for kind in tokens]
        cost = sum(self._amount(path) * count * 1000 / 1e6 for path, count in zip(paths, tokens.values(), strict=True))
        note = f"{tokens['input']:g} tokens in and {tokens['output']:g} out a question; none where Gemma answers"
        yield self._part(f"Gemini tokens ({model})", paths, thousand_questions=cost, note=note)

    def _embeddings(self) -> Iterator[Part]:
        """Yield what embedding documents costs, which no number of questions tells: a price, and no part of the sum."""
        settings = self.settings
        if settings.embeddings != "gemini":
            return
        project = settings.project if settings.on_gcp else ""
        model = settings.embeddings_model or default_model(project=project, location=settings.model_location)
        if model not in self.table.prices["embeddings"]:
            yield Part("Embeddings", is_verified=False, note=f"no price of {model} is in the table: not included")
            return
        price = self._amount(("embeddings", model))
        note = f"${price:.2f} a million tokens of documents, at each replica that is asked: not included"
        yield self._part(f"Embeddings ({model})", [("embeddings", model)], note=note)

    def _gemma(self, profile: GpuProfile) -> Iterator[Part]:
        settings = self.settings
        yield self._gpus(profile)
        if settings.serves_on_several_machines:
            yield self._part("LeaderWorkerSet's controller", list(POD_PRICES), hour=self._pod(CONTROLLER_RESOURCES))
        if settings.balances_gemma:
            yield self._inference_gateway()
        if settings.weights_bucket:
            yield self._part(
                "Gemma's weights in a bucket",
                ["storage_gib"],
                month=self._amount("storage_gib") * self.usage["weights_gib"],
                note="read within the region for free"
                + (f"; for {self.usage['weights_gib']:g} GiB, of which yours has more" * (profile.machines > 1)),
            )

    def _gpus(self, profile: GpuProfile) -> Part:
        machine = machine_of(profile)
        names: list[Path] = [("machines", machine), "autopilot_premium", "disk_gib"]
        how = "" if profile.on_demand else ", on demand; flex-start and spot cost less"
        count = f"{profile.machines} x " if profile.machines > 1 else ""
        most = self.settings.gemma_max_replicas
        more = f"; up to {most} of them while questions wait" if most > 1 else ""
        return self._part(
            f"Gemma: {profile.all_gpus} {profile.accelerator}",
            names,
            hour=self._amount(names[0]) * (1 + self._amount("autopilot_premium")) * profile.machines,
            month=self._amount("disk_gib") * self.usage["gpu_disk_gib"] * profile.machines,
            note=f"{count}{machine}{how}; day and night, also without questions{more}",
        )

    def _chat_pods(self) -> Part:
        count = self.settings.replicas
        hour = self._pod(RESOURCES) * count
        return self._part(f"chat: {count} pod{'s' * (count > 1)}", list(POD_PRICES), hour=hour)

    def _pod(self, resources: tuple[str, str, str]) -> float:
        """Return what an hour of a pod costs; ``resources``: CPU (500m), memory (1Gi), ephemeral storage (2Gi)."""
        amounts = (
            float(resources[0].removesuffix("m")) / 1000,
            *(float(each.removesuffix("Gi")) for each in resources[1:]),
        )
        return sum(self._amount(name) * amount for name, amount in zip(POD_PRICES, amounts, strict=True))

    def _inference_gateway(self) -> Part:
        names: list[Path] = ["internal_proxies_hour", *POD_PRICES]
        hour = self._amount("internal_proxies_hour") + self._pod(PICKER_RESOURCES)
        note = "an internal load balancer and the endpoint picker; its traffic is not included"
        return self._part("Gemma's load balancer", names, hour=hour, note=note)

    def _load_balancer(self, names: list[Path]) -> Part:
        gib = self.usage["kib_sent"] * 1000 / KIB_IN_GIB
        sent = (self._amount("load_balancer_gib") + self._amount("internet_gib")) * gib
        hour = sum(self._amount(name) for name in names if str(name).endswith("_hour"))
        return self._part("load balancer", names, hour=hour, thousand_questions=sent)

    def _cloud_armor(self) -> Part:
        rules = len(PREVIEW_RULES) + 2  # the rate limit and the default
        return self._part(
            "Cloud Armor",
            ["armor_policy", "armor_rule", "armor_million_requests"],
            month=self._amount("armor_policy") + self._amount("armor_rule") * rules,
            thousand_questions=self._amount("armor_million_requests") * self.usage["requests"] * 1000 / 1e6,
        )

    def _nat(self) -> Part:
        gemma = self.settings.gpu_profile.machines if self.settings.gpu_profile else 0
        nodes = self.settings.replicas + gemma
        # With the bucket, once, and not at each start; within Google's network no NAT is needed.
        starts = 0 if self.settings.weights_bucket else self.usage["starts_per_month"]
        weights = self._amount("nat_gib") * self.usage["weights_gib"] * starts * gemma
        return self._part(
            "Cloud NAT",
            ["nat_node_hour", "address_hour", "nat_gib"],
            hour=self._amount("nat_node_hour") * nodes + self._amount("address_hour"),
            month=weights,
            note=f"for {nodes} nodes" + (", and Gemma's weights at each of its starts" if gemma and starts else ""),
        )

    def _firestore(self) -> Part:
        location = self.settings.firestore_location
        kind = "region" if "-" in location else "multi-region"
        names: list[Path] = [("firestore", kind, name) for name in ("reads", "writes", "gib")]
        reads, writes, gib = map(self._amount, names)
        usage = self.usage
        operations = (reads * usage["firestore_reads"] + writes * usage["firestore_writes"]) * 1000 / 100_000
        stored = gib * usage["firestore_kib"] * 1000 / KIB_IN_GIB
        note = "with a month of storage for the answers"
        return self._part(f"Firestore in {location}", names, thousand_questions=operations + stored, note=note)

    def _copies(self) -> Part:
        settings = self.settings
        kind = "region" if "-" in settings.firestore_location else "multi-region"
        stored = self.usage["firestore_kib"] * 1000 / KIB_IN_GIB
        names: list[Path] = []
        cost = 0.0
        if settings.point_in_time_recovery:
            names.append(("firestore", kind, "pitr"))
            cost += self._amount(names[-1]) * stored
        if settings.backup_days:
            names.append(("firestore", kind, "backup"))
            cost += self._amount(names[-1]) * stored * settings.backup_days
        note = "each backup holds all conversations" if settings.backup_days else "every version of 7 days"
        return self._part("Firestore: recovery and backups", names, thousand_questions=cost, note=note)

    def _image(self) -> Iterator[Part]:
        usage = self.usage
        images = usage["images"] * usage["image_gib"]
        yield self._part("Artifact Registry", ["registry_gib"], month=self._amount("registry_gib") * images)
        if self.settings.image_source == "cloud-build":
            minutes = usage["builds_per_month"] * usage["build_minutes"]
            yield self._part(
                "Cloud Build and its bucket",
                ["build_minute", "storage_gib"],
                month=self._amount("build_minute") * minutes + self._amount("storage_gib") * usage["build_bucket_gib"],
                note=f"{minutes:g} minutes a month; 2,500 are free",
            )

    def _logging(self) -> Part:
        cost = self._amount("logging_gib") * self.usage["log_kib"] * 1000 / KIB_IN_GIB
        return self._part("Cloud Logging", ["logging_gib"], thousand_questions=cost, note="50 GiB a month are free")

    def _metrics(self) -> Part:
        gemma = self.usage["gemma_series"] if self.settings.gpu_profile else 0
        samples = (self.usage["chat_series"] * self.settings.replicas + gemma) * 120  # an hour, one each 30 s
        cost = self._amount("metrics_million_samples") * samples / 1e6
        return self._part("metrics", ["metrics_million_samples"], hour=cost, note="Managed Service for Prometheus")

    def _amount(self, path: Path) -> float:
        return self.table[path].amount

    def _part(self, name: str, paths: list[Path], *, note: str = "", **costs: float) -> Part:
        return Part(name, **costs, is_verified=all(self.table[path].is_verified for path in paths), note=note)


def machine_of(profile: GpuProfile) -> str:
    """Return the machine that the profile's ComputeClass asks for first, which the pod's requests fit."""
    return str(Manifest.read(profile.compute_class).documents[0]["spec"]["priorities"][0]["machineType"])
