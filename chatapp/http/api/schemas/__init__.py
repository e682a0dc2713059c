"""The wire format of the API, declared once: requests, responses and the events of the stream.

OpenAPI describes it from these models (it is not served; the tests check every response against it). JSON names are
camelCase, except for the parameters of generation, which are called as models' APIs call them: ``top_p``.
"""
