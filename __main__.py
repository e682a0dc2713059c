"""The Pulumi program: load the settings, create the resources, export the outputs.

`make up` runs it. `stacks/hybrid.py` is the deployment; `Pulumi.yaml` describes the settings.
"""

import pulumi

from stacks.hybrid import HybridChat
from stacks.names import Names
from stacks.run_errors import report_run_errors_once
from stacks.settings import Settings

report_run_errors_once()
settings = Settings.load()
chat = HybridChat("hybrid-chat", settings, Names(pulumi.get_stack()))
for name, value in chat.outputs.items():
    pulumi.export(name, value)
