"""Images that people send: checked, decoded in a child process, and kept until a message uses them.

`header` reads what a file is and how large, without decoding it. `decoder` admits a file and starts a child process
(`child`, which runs `scaling`) that decodes it. `uploads` keeps the results for the messages that name them.
"""
