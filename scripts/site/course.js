// A page opened from disk may not read other files, so the search shows titles there without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  // Code that is wider than the page scrolls; with the keyboard too, once it can be reached.
  for (const block of document.querySelectorAll("pre, .table-wrapper")) {
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
  }
  // The theme calls the captions of its navigation headings without saying of which level.
  for (const caption of document.querySelectorAll(".caption[role=heading]")) caption.ariaLevel = "2";
  // Nor does it name its two side columns.
  for (const [column, name] of [[".sidebar-drawer", "The course"], [".toc-drawer", "This page"]]) {
    const aside = document.querySelector(column);
    if (aside) aside.ariaLabel = name;
  }
});
