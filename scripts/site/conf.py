"""Sphinx settings of the course site. build_site.py puts this file beside the pages and passes project and release."""

author = "The course authors"
copyright = "2026 The course authors. Text and figures: CC BY 4.0. Code: MIT"
language = "en"

extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebooks are executed already, and their outputs tested
nb_merge_streams = True
nb_ipywidgets_js = {}  # no widget state is kept, so nothing has to be fetched to show it
myst_heading_anchors = 4  # "#installation" finds its heading, as on GitHub
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["files/**"]  # the notebooks as downloads
suppress_warnings = ["misc.highlighting_failure"]  # "!unzip" in Python is a notebook's way, shown all the same

html_theme = "furo"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
