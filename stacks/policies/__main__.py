"""The policy pack's program, started by Pulumi: it serves the rules until Pulumi stops it."""

import sys
from pathlib import Path

from pulumi_policy import PolicyPack

# Pulumi runs this folder alone; the repository's root makes `stacks` importable.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from stacks.policies.rules import POLICIES

PolicyPack("hybrid-chat", POLICIES)
