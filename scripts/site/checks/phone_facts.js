// Run by check_site.py inside each page at the width of a phone: what sticks out, what is too small to read.
() => {
  const findings = [];
  const width = document.documentElement.clientWidth;
  const scrolls = (node) => {
    for (let at = node; at && at !== document.body; at = at.parentElement)
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(at).overflowX)) return true;
    return false;
  };
  const inArticle = [...document.querySelectorAll("article *, main *")];
  if (document.documentElement.scrollWidth > width + 1) {
    const wide = inArticle.filter((node) => node.getBoundingClientRect().right > width + 1 && !scrolls(node));
    const which = wide.slice(0, 3).map((node) => node.outerHTML.replace(/\s+/g, " ").slice(0, 80));
    findings.push(`the page is ${document.documentElement.scrollWidth} px wide on a screen of ${width}: ${which.join(" | ")}`);
  }
  const smallest = { P: 14, LI: 14, TD: 13, PRE: 12 };
  const seen = new Set();
  for (const node of inArticle) {
    const least = smallest[node.tagName];
    const size = parseFloat(getComputedStyle(node).fontSize);
    if (least && node.getClientRects().length && size < least && !seen.has(node.tagName)) {
      seen.add(node.tagName);
      findings.push(`text of ${size} px in <${node.tagName.toLowerCase()}>: ${node.textContent.trim().slice(0, 50)}`);
    }
  }
  return findings;
}
