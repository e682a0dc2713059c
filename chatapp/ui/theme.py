"""Colours, type and spacing: one accent colour, neutrals for the rest, and the system's own fonts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from typing import Literal

# Nothing is fetched from another site; the later families cover Hebrew and Arabic where the first does not.
FONTS = ("system-ui", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans Hebrew", "Noto Sans Arabic", "Arial", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


class _SystemFont(gr.themes.Font):
    """A font that is on the reader's computer; Gradio's own LocalFont asks the server for a file of that name."""

    def stylesheet(self) -> dict[str, str | None]:
        return {"url": None, "css": None}


def chat_theme(accent: Literal["blue", "green"]) -> gr.themes.Base:
    """Return the page's theme; ``accent`` is the codelab's ``THEME``."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue if accent == "blue" else gr.themes.colors.green,
        neutral_hue=gr.themes.colors.gray,
        radius_size=gr.themes.sizes.radius_lg,
        font=[_SystemFont(font) for font in FONTS],
        font_mono=[_SystemFont(font) for font in MONOSPACE_FONTS],
    )
    # White on Gradio's own fifth shade has a contrast of 2.3:1 (green) and 3.7:1 (blue); on the seventh 5:1 and more.
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
    )
