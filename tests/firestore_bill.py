"""Counts what Firestore would bill: documents read, written and deleted by this process."""

from collections import Counter

from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient


class Bill(Counter):
    """The numbers of "reads", "writes" and "deletes" since the last `taken`.

    A query is at least one read, and a document that does not exist is one too. Aggregations are not counted.
    """

    def taken(self):
        """Return the numbers, in this order, and begin anew."""
        numbers = self["reads"], self["writes"], self["deletes"]
        self.clear()
        return numbers


def counting(monkeypatch):
    """Return the bill of this process's requests from now on."""
    bill = Bill()
    get, query, commit = (
        getattr(FirestoreAsyncClient, name) for name in ("batch_get_documents", "run_query", "commit")
    )

    async def batch_get_documents(self, request, **options):
        bill["reads"] += len(request["documents"])
        return await get(self, request=request, **options)

    async def run_query(self, request, **options):
        responses = await query(self, request=request, **options)

        async def counted():
            number = 0
            async for response in responses:
                number += bool(response.document.name)
                yield response
            bill["reads"] += max(number, 1)

        return counted()

    async def committed(self, request, **options):
        deletes = sum(bool(write.delete) for write in request["writes"])
        bill["deletes"] += deletes
        bill["writes"] += len(request["writes"]) - deletes
        return await commit(self, request=request, **options)

    for name, method in (("batch_get_documents", batch_get_documents), ("run_query", run_query), ("commit", committed)):
        monkeypatch.setattr(FirestoreAsyncClient, name, method)
    return bill
