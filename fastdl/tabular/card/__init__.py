"""The card of a trained table: report.html, one page for whoever must decide on the model."""

from fastdl.tabular.card.content import content_of
from fastdl.tabular.card.page import page

__all__ = ["content_of", "page"]
