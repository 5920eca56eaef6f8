// Run by check_site.py inside each page: what it holds and what is wrong with it, as plain data.
() => {
  const visible = (node) => node.getClientRects().length > 0;
  const name = (node) => node.outerHTML.replace(/\s+/g, " ").slice(0, 90);
  const findings = [];
  if (!document.documentElement.lang) findings.push("<html> has no lang");
  if (!document.title.trim()) findings.push("no <title>");
  const tops = document.querySelectorAll("h1").length;
  if (tops !== 1) findings.push(`${tops} top headings (h1), wanted 1`);
  for (const image of document.images) {
    if (image.complete && image.naturalWidth === 0) findings.push(`broken image: ${image.getAttribute("src")}`);
    if (!(image.getAttribute("alt") || "").trim()) findings.push(`image without alt text: ${image.getAttribute("src")}`);
  }
  const ids = [...document.querySelectorAll("[id], a[name]")].map((node) => node.id || node.name);
  const twice = [...new Set(ids.filter((id, place) => id && ids.indexOf(id) !== place))];
  if (twice.length) findings.push(`the same id twice: ${twice.join(", ")}`);
  for (const link of document.querySelectorAll("a[href]")) {
    const said = link.textContent.trim() || link.getAttribute("aria-label") || link.title || link.querySelector("img[alt]");
    if (!said) findings.push(`link without words: ${name(link)}`);
  }
  return { findings, ids, links: [...document.querySelectorAll("a[href]")].map((link) => link.href) };
}
