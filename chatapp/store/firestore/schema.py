"""Collections and fields in Cloud Firestore, and which fields have an index or an expiry time.

The infrastructure program imports this module to configure the database: it imports only the standard library, in a few
milliseconds.
"""

USERS, CONVERSATIONS, MESSAGES, DELETIONS = "users", "conversations", "messages", "deletions"
IMAGES, DOCUMENTS, REVOCATIONS, SESSIONS = "images", "documents", "revocations", "sessions"
SHARES, PIECES, LIBRARY, LIBRARY_VECTORS = "shares", "pieces", "library", "libraryVectors"
OF_CONVERSATION = (MESSAGES, IMAGES, DOCUMENTS)  # its subcollections, which Firestore does not delete with it

# The fields that queries order by, and those that they filter by: they need single-field indexes only.
ORDER_FIELDS = {CONVERSATIONS: "updatedMs", MESSAGES: "createdAt"}
PINNED_FIELD, FOLDER_FIELD, COLLECTION_FIELD = "pinned", "folder", "collection"
# How many bytes a conversation takes with its messages and attachments, a share with its pieces, or a document of a
# collection. Queries add it up, over all of a user's and over all (a collection group).
SIZE_FIELD = "bytes"
# In a profile: how often documents of collections were added or removed. See `chatapp.store.firestore.library`.
CHANGES_FIELD = "libraryChanges"
# All other fields are exempt: an index costs storage and time at every write, and holds a second copy of the text.
INDEXED_FIELDS = {
    CONVERSATIONS: ("updatedMs", PINNED_FIELD, FOLDER_FIELD, SIZE_FIELD),
    MESSAGES: ("createdAt",),
    IMAGES: (),
    DOCUMENTS: (),
    USERS: (),
    REVOCATIONS: (),
    SESSIONS: (),
    SHARES: (SIZE_FIELD,),
    PIECES: (),
    LIBRARY: (COLLECTION_FIELD, SIZE_FIELD),
    LIBRARY_VECTORS: (),
}
GROUP_FIELDS = {
    CONVERSATIONS: (SIZE_FIELD,),
    SHARES: (SIZE_FIELD,),
    LIBRARY: (SIZE_FIELD,),
}  # those that also need an index of the collection group
# The time after which Firestore's TTL policies delete a document of these collection groups. It needs no index either.
EXPIRY_FIELD = "expireAt"
EXPIRING = (CONVERSATIONS, MESSAGES, IMAGES, DOCUMENTS, REVOCATIONS, SESSIONS, SHARES, PIECES)
