"""Selectors of Gradio's own elements, for gradio 6.31: the only place in the tests that knows them."""

APP = "gradio-app"
SIDEBAR = ".sidebar"
OPEN_SIDEBAR = ".sidebar.open"
SIDEBAR_BUTTON = ".sidebar .toggle-button"
QUESTIONS = "#messages .user-row .message.user"
ANSWERS = "#messages .bot-row .message.bot"
ANSWER_ROWS = ".bot-row"
MESSAGE_ROWS = "#messages .message-row"
MESSAGES = "#messages .message"
MESSAGE_LIST = "#messages .message-wrap"
SCROLLER = "#messages .bubble-wrap"
SEND = "#message .submit-button"
STOP = "#message .stop-button"
MATHEMATICS = ".katex"
# The classes of a row and of the message in it, by whether it is a question.
ROW_CLASSES = {False: "message-row bubble bot-row", True: "message-row bubble user-row"}
MESSAGE_CLASSES = {False: "message bot", True: "message user"}
DARK = "body.dark"
