"""The policy pack: rules that `pulumi up --policy-pack stacks/policies` checks every resource against."""
