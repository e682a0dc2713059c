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
        expiry_field: the time after which Firestore deletes a document, in the collection groups ``expiring``.
        group_fields: of these, those that queries over a whole collection group need.
        indexed_fields: collection group -> the fields that queries filter or order by. Others have no index: an index
            costs storage and time at every write, and holds a second copy of the conversations' text.
        point_in_time_recovery: whether every version of the last 7 days can be restored, and not of the last hour only.
        backup_days: for which a daily backup is kept; 0: there are none.
        depends_on: the API of Firestore.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    name: str
    project: str
    location: pulumi.Input[str]
    expiry_field: str
    expiring: Sequence[str]
    indexed_fields: Mapping[str, Sequence[str]]
    group_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    point_in_time_recovery: bool = False
    backup_days: int = 0
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class ChatDatabase(pulumi.ComponentResource):
    """A Firestore database, which is deleted with the stack.

    It has no security rules: a database that is not connected to Firebase accepts only server libraries, which IAM
    authorizes (https://docs.cloud.google.com/firestore/native/docs/security/insecure-rules). The API of rules would
    also refuse a person's own credentials without a quota project (hashicorp/terraform-provider-google#8263).

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
            point_in_time_recovery_enablement=_RECOVERY if args.point_in_time_recovery else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks),
        )
        self._configure_fields(args)
        if args.backup_days:
            self._schedule_backups(args)
        self.name = self.database.name
        self.register_outputs({"name": self.name})

    def _schedule_backups(self, args: ChatDatabaseArgs) -> None:
        """Have Google take a backup each day. Backups outlive the database: `make destroy` lists them."""
        gcp.firestore.BackupSchedule(
            "backups",
            project=args.project,
            database=self.database.name,
            retention=f"{args.backup_days * 24 * 3600}s",
            daily_recurrence={},
            # A part of the database, which goes with it.
            opts=pulumi.ResourceOptions(parent=self, deleted_with=self.database, hooks=args.hooks),
        )

    def _configure_fields(self, args: ChatDatabaseArgs) -> None:
        """Configure the fields one after the other: Firestore answers 409 to changes at the same time.

        See firebase/firebase-tools#1119. A chain costs little, because only index changes are awaited (`_configure`).
        """
        previous: gcp.firestore.Field | None = None
        for collection, indexed in args.indexed_fields.items():
            previous = self._configure(args, collection, "*", previous, index=_NO_INDEX)
            if collection in args.expiring:
                ttl = gcp.firestore.FieldTtlConfigArgs()
                previous = self._configure(args, collection, args.expiry_field, previous, index=_NO_INDEX, ttl=ttl)
            for name in indexed:
                is_of_group = name in args.group_fields.get(collection, ())
                index = _ORDERED_IN_GROUP if is_of_group else _ORDERED
                previous = self._configure(args, collection, name, previous, index=index)

    def _configure(
        self,
        args: ChatDatabaseArgs,
        collection: str,
        name: str,
        previous: gcp.firestore.Field | None,
        *,
        index: gcp.firestore.FieldIndexConfigArgs,
        ttl: gcp.firestore.FieldTtlConfigArgs | None = None,
    ) -> gcp.firestore.Field:
        return gcp.firestore.Field(
            f"{collection}-{'others' if name == '*' else name}",
            project=args.project,
            database=self.database.name,
            collection=collection,
            field=name,
            index_config=index,
            ttl_config=ttl,
            # A TTL policy takes 10 minutes or more to become active, and nothing waits for it
            # (https://docs.cloud.google.com/firestore/native/docs/ttl).
            skip_wait=True if ttl else None,
            opts=pulumi.ResourceOptions(
                parent=self,
                # Deleted with the database; resetting each field first would take minutes.
                deleted_with=self.database,
                depends_on=[previous] if previous else None,
                hooks=args.hooks,
            ),
        )


_RECOVERY = "POINT_IN_TIME_RECOVERY_ENABLED"
_NO_INDEX = gcp.firestore.FieldIndexConfigArgs()
_ORDERS = [
    gcp.firestore.FieldIndexConfigIndexArgs(order=order, query_scope="COLLECTION")
    for order in ("ASCENDING", "DESCENDING")
]
_ORDERED = gcp.firestore.FieldIndexConfigArgs(indexes=_ORDERS)
_ORDERED_IN_GROUP = gcp.firestore.FieldIndexConfigArgs(
    indexes=[*_ORDERS, gcp.firestore.FieldIndexConfigIndexArgs(order="ASCENDING", query_scope="COLLECTION_GROUP")]
)
