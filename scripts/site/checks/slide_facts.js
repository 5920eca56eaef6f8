// Run by check_site.py inside a deck: shows every slide at its own size and measures it.
() => {
  const { width, height } = Reveal.getConfig();
  const findings = [];
  const slides = Reveal.getSlides();
  for (const slide of slides) {
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v);
    const where = `slide ${Reveal.getSlidePastCount() + 1} (${slide.id || "#/" + h + "/" + v})`;
    if (slide.scrollHeight > height + 1) findings.push(`${where} is ${slide.scrollHeight} px high, at most ${height}`);
    if (slide.scrollWidth > width + 1) findings.push(`${where} is ${slide.scrollWidth} px wide, at most ${width}`);
    if (!slide.querySelector("h1, h2")) findings.push(`${where} has no heading`);
    for (const pre of slide.querySelectorAll("pre")) {
      if (pre.scrollWidth > pre.clientWidth + 1) findings.push(`${where}: a line is cut off: ${pre.textContent.slice(0, 50)}`);
    }
    for (const node of slide.querySelectorAll("p, li, td, pre, figcaption, summary")) {
      const size = parseFloat(getComputedStyle(node).fontSize);
      const least = node.tagName === "PRE" || node.tagName === "TD" ? 16 : 18;
      if (size < least - 0.1 && !node.closest("aside")) findings.push(`${where}: text of ${size} px: ${node.textContent.trim().slice(0, 40)}`);
    }
    for (const image of slide.querySelectorAll("img")) {
      const box = image.getBoundingClientRect();
      if (image.naturalWidth && (box.width < 120 || box.height < 60)) findings.push(`${where}: a figure of ${box.width} x ${box.height} px`);
    }
  }
  return { findings, count: slides.length };
}
