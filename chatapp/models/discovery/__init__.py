"""Model servers that run on this computer already: their models are offered without a setting.

`servers` looks for them, `discovery` puts their models into the catalogue. Only a chat for one person at home uses it.
"""
