"""What a deployment costs: a table of list prices (`prices.yaml`), multiplied with the settings. It creates nothing."""
