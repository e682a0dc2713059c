"""What it costs and how it grows."""

from chatapp.limits import SHARED_QUOTA, USER_QUOTA

# What is measured is what the chat can do, not what it lets one do.
UNLIMITED = {
    "CHAT_NEW_GUESTS_PER_HOUR": "0",
    **{f"CHAT_{name.upper()}": "0" for name in USER_QUOTA.__slots__},
    **{f"CHAT_ALL_{name.upper()}": "0" for name in SHARED_QUOTA.__slots__},
}
