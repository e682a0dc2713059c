"""The policy pack's program, which Pulumi starts: it serves the rules until Pulumi ends it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_policy import PolicyPack

if TYPE_CHECKING:
    from stacks.policies.rules import POLICIES
else:
    # Pulumi runs this folder alone. Its package is found beside it: `stacks` would load every provider's SDK as well.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from policies.rules import POLICIES

PolicyPack("hybrid-chat", POLICIES)
