"""``python -m chatapp`` without the page, which no user here opens: a start takes less than half of the CPU."""

from __future__ import annotations

import sys
from functools import partial
from unittest import mock

from chatapp.__main__ import main
from chatapp.app import create_app

if __name__ == "__main__":
    with mock.patch("chatapp.__main__.create_app", partial(create_app, with_page=False)):
        sys.exit(main())
