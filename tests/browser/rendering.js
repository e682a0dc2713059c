// Renders texts in rows of the page's own list, and reports what no text may do. For test_rendering.py.
async ({ texts, version, isQuestion, seconds, atOnce, rowClasses, messageClasses }) => {
  const module = (name) => import(new URL(`page/${version}/js/${name}.js`, document.baseURI));
  const [{ drawText }, { drawn }, bridge] = await Promise.all(["message_text", "renderer", "gradio_bridge"].map(module));
  const list = bridge.messageList() || document.querySelector("#messages");
  const problems = [];
  let number = window.rendered || 0;

  // Draw a text in a new row; resolve with the time until the first of it was there, in ms.
  const draw = async (text) => {
    const row = document.createElement("div");
    row.className = rowClasses;
    row.innerHTML = `<div class="${messageClasses}"></div>`;
    list.append(row);
    let time = Infinity;
    const started = performance.now();
    const observer = new MutationObserver(() => ((time = performance.now() - started), observer.disconnect()));
    observer.observe(row.firstChild, { childList: true, subtree: true, characterData: true });
    drawText(row, { id: `text-${++number}`, text, isQuestion, isWriting: false, images: "conversations/own/images/" });
    await drawn();
    // The observer and the drawing of a long text go on in tasks of their own.
    const holder = row.querySelector(".message-text");
    for (let wait = 0; time === Infinity && text.trim() && wait < 1000 * seconds; wait += 5)
      await new Promise((resolve) => setTimeout(resolve, 5));
    return { row, holder, text, time };
  };
  const ELEMENTS = new Set(
    ("a blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr img li ol p pre s span strong table tbody td th thead " +
      "tr ul").split(" "),
  );
  const MATH = new Set(
    ("annotation math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub " +
      "msubsup msup mtable mtd mtext mtr munder munderover semantics svg path line g span").split(" "),
  );
  const ATTRIBUTES = /^(?:alt|class|data-(?:language|diagram)|dir|href|hidden|loading|rel|src|start|style|tabindex|target|title|width)$/;
  const CLASSES = /^(?:as-written|code-block|diagram|done|formula|formula-block|task|task-item|hljs-[\w-]+|[a-z]+_+|language-[\w+#.-]+)$/;
  const check = ({ row, holder, text, time }) => {
    const fail = (what) => problems.push(`${what}: ${JSON.stringify(text.slice(0, 400))}`);
    if (text.trim() && !(time < 1000 * seconds)) fail(`drawn after ${time} ms`);
    if (!getComputedStyle(holder).contain.match(/paint|strict|content/)) fail("not contained");
    const box = holder.getBoundingClientRect();
    for (const element of holder.querySelectorAll("*")) {
      const name = element.localName;
      const math = element.closest(bridge.MATHEMATICS);
      const isOwn = element.closest("button") && element.closest(".code-block > button"); // the page's own copy button
      if (isOwn) continue;
      if (!(math ? MATH : ELEMENTS).has(name) || name === "button") fail(`element ${name}`);
      for (const { name: attribute, value } of element.attributes) {
        if (math) {
          if (/^(?:id|name|on|href|src|xlink)/i.test(attribute)) fail(`attribute ${attribute}`);
          if (attribute === "style" && /url|fixed|absolute|sticky|expression|var\(/i.test(value)) fail(`style ${value}`);
          continue;
        }
        if (!ATTRIBUTES.test(attribute)) fail(`attribute ${attribute}`);
        if (attribute === "style" && !/^text-align: ?\w+;?$/.test(value)) fail(`style ${value}`);
        if (attribute === "class")
          for (const one of value.split(" ")) if (!CLASSES.test(one) && !element.firstElementChild?.closest(bridge.MATHEMATICS)) fail(`class ${one}`);
        if (attribute === "href" && !/^(?:https?:\/\/|mailto:)/.test(value)) fail(`link ${value}`);
        if (attribute === "src" && !/^(?:data:image\/|conversations\/own\/images\/)/.test(value)) fail(`picture ${value}`);
      }
      if (!math && !["static", "relative"].includes(getComputedStyle(element).position)) fail(`position of ${name}`);
      const { left, right, top, bottom } = element.getBoundingClientRect();
      const points = [[left + 1, top + 1], [right - 1, bottom - 1], [left + 1, bottom - 1], [right - 1, top + 1]];
      for (const [x, y] of points) {
        const isOutside = x < box.left - 5 || x > box.right + 5 || y < box.top - 5 || y > box.bottom + 5;
        if (isOutside && holder.contains(document.elementFromPoint(x, y))) fail(`${name} reaches out of its row`);
      }
    }
  };
  const times = [];
  for (let first = 0; first < texts.length; first += atOnce) {
    const rows = [];
    for (const text of texts.slice(first, first + atOnce)) rows.push(await draw(text));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    rows.forEach(check);
    rows.forEach(({ row, time }) => (times.push(time), row.remove()));
  }
  window.rendered = number;
  if (window.hacked) problems.push("a script ran");
  return { problems, slowest: Math.max(...times) };
}
