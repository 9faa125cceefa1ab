// The contrast of all text that is seen: for each, its ratio, the least that WCAG 2.1 AA asks for, and what it is.
() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const pictures = "option, canvas, noscript, input[type=color], input[type=range], input[type=checkbox]";
  const found = [];
  for (const one of document.body.querySelectorAll("*")) {
    if (!one.checkVisibility() || one.closest(":disabled") || one.matches(pictures)) continue;
    const own = [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!(own || one.matches("input, select")) || one.getBoundingClientRect().right < 0) continue;
    const style = getComputedStyle(one), under = ground(one), size = parseFloat(style.fontSize);
    const inks = [style.color];
    if (one.placeholder && !one.value) inks.push(getComputedStyle(one, "::placeholder").color);
    for (const ink of inks) {
      const [a, b] = [light(over(parse(ink), under)), light(under)].sort((x, y) => y - x);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      const words = (one.textContent || one.placeholder || "").trim().slice(0, 30);
      found.push({ ratio: (a + 0.05) / (b + 0.05), least: large ? 3 : 4.5, what: `${one.tagName} ${one.id} ${one.className} ${words}` });
    }
  }
  return found;
}
