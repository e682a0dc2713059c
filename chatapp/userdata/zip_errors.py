"""What `zipfile` raises for an archive that is damaged, or that it cannot read."""

import zipfile
import zlib

DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # an unknown method of compression
    RuntimeError,  # an encrypted entry
    KeyError,  # no such entry
)
