"""The policy pack: rules that `pulumi up --policy-pack stacks/policies` holds every resource against."""
