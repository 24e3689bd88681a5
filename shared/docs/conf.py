"""How the documentation is built: `make docs`."""

from __future__ import annotations

from drupelet_shared import __version__

project = "drupelet"
release = version = __version__
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["docs_generator", "man"]
# ```json request``` and the like tell the tests what a block is.
suppress_warnings = ["misc.highlighting_failure"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["schemas"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "github-dark"

# What a person copies is the commands.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
