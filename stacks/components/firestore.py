"""The Firestore database for the conversation history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ChatDatabaseArgs:
    """Arguments of `ChatDatabase`.

    Attributes:
        name: the database's ID.
        project: the project's ID.
        location: a location of Firestore, such as nam5; it cannot be changed later.
        rules: the security rules, which apply to client libraries only.
        expiry_field: the time after which Firestore deletes a document, in the collection groups ``expiring``.
        indexed_fields: collection group -> the fields that queries filter or order by. Others have no index: an index
            costs storage and time at every write, and holds a second copy of the conversations' text.
        depends_on: the APIs of Firestore and of security rules.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    name: str
    project: str
    location: str
    rules: str
    expiry_field: str
    expiring: Sequence[str]
    indexed_fields: Mapping[str, Sequence[str]]
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class ChatDatabase(pulumi.ComponentResource):
    """A Firestore database, which is deleted with the stack.

    Attributes:
        database: the database.
        name: its ID.
    """

    database: gcp.firestore.Database
    name: pulumi.Output[str]

    def __init__(self, name: str, args: ChatDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ChatDatabase", name, {}, opts)
        self.database = gcp.firestore.Database(
            "database",
            name=args.name,
            project=args.project,
            location_id=args.location,
            type="FIRESTORE_NATIVE",
            # The provider's default is ABANDON, which leaves the database, its data and its cost behind.
            deletion_policy="DELETE",
            delete_protection_state="DELETE_PROTECTION_DISABLED",
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks),
        )
        self._configure_fields(args)
        ruleset = gcp.firebaserules.Ruleset(
            "rules",
            project=args.project,
            source={"files": [{"name": "firestore.rules", "content": args.rules}]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.database], hooks=args.hooks),
        )
        gcp.firebaserules.Release(
            "rules-release",
            project=args.project,
            name=f"cloud.firestore/{args.name}",
            ruleset_name=pulumi.Output.format("projects/{0}/rulesets/{1}", args.project, ruleset.name),
            # Rulesets and releases are immutable: a change replaces both, with a moment without rules between them.
            # Without rules Firestore denies everything, as these rules do.
            opts=pulumi.ResourceOptions(parent=self, hooks=args.hooks),
        )
        self.name = self.database.name
        self.register_outputs({"name": self.name})

    def _configure_fields(self, args: ChatDatabaseArgs) -> None:
        for collection, indexed in args.indexed_fields.items():
            self._configure(args, collection, "*", _NO_INDEX)
            if collection in args.expiring:
                self._configure(args, collection, args.expiry_field, _NO_INDEX, gcp.firestore.FieldTtlConfigArgs())
            for name in indexed:
                self._configure(args, collection, name, _ORDERED)

    def _configure(
        self,
        args: ChatDatabaseArgs,
        collection: str,
        name: str,
        index: gcp.firestore.FieldIndexConfigArgs,
        ttl: gcp.firestore.FieldTtlConfigArgs | None = None,
    ) -> None:
        gcp.firestore.Field(
            f"{collection}-{'others' if name == '*' else name}",
            project=args.project,
            database=self.database.name,
            collection=collection,
            field=name,
            index_config=index,
            ttl_config=ttl,
            # Deleted with the database; resetting each field first would take minutes.
            opts=pulumi.ResourceOptions(parent=self, deleted_with=self.database, hooks=args.hooks),
        )


_NO_INDEX = gcp.firestore.FieldIndexConfigArgs()
_ORDERED = gcp.firestore.FieldIndexConfigArgs(
    indexes=[
        gcp.firestore.FieldIndexConfigIndexArgs(order=order, query_scope="COLLECTION")
        for order in ("ASCENDING", "DESCENDING")
    ]
)
