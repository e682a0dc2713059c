"""The page. Importing this package imports Gradio."""

from chatapp.ui import gradio_compat

gradio_compat.import_gradio()
