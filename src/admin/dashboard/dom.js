// The page as plain values, and the document made to look like them. What stays the same is left alone, so that focus,
// selection and what is typed outlive each look at the gateway. Texts become text, whatever is in them.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "polyline", "line"]);
const WANTED = Symbol("what a node was made to look like");

/**
 * An element: `h("a", { href: "#/" }, "text", [more])`. What is null or false leaves its place empty, so that those
 * after it keep theirs. `key` says which of several it is; `on...` is a function.
 */
export function h(tag, attributes, ...children) {
  const shown = children.flat(Infinity).map((child) => (child?.tag ? child : text(child)));
  return { tag, attributes: attributes ?? {}, children: shown };
}

function text(value) {
  return value === null || value === undefined || value === false ? "" : String(value);
}

/** Makes what is in `parent` look like `children`. */
export function render(parent, ...children) {
  patch(parent, h(parent.localName, {}, ...children).children);
}

function patch(parent, children) {
  children.forEach((child, index) => {
    const node = parent.childNodes[index];
    if (node && fits(node, child)) {
      update(node, child);
    } else {
      const made = make(child);
      node ? node.replaceWith(made) : parent.append(made);
    }
  });
  while (parent.childNodes.length > children.length) {
    parent.lastChild.remove();
  }
}

function fits(node, child) {
  if (typeof child === "string") {
    return node.nodeType === Node.TEXT_NODE;
  }
  const was = node[WANTED];
  return was?.tag === child.tag && was.attributes.key === child.attributes.key;
}

function make(child) {
  if (typeof child === "string") {
    return document.createTextNode(child);
  }
  const { tag } = child;
  const node = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  update(node, child);
  return node;
}

function update(node, child) {
  if (typeof child === "string") {
    if (node.data !== child) {
      node.data = child;
    }
    return;
  }
  const was = node[WANTED]?.attributes ?? {};
  for (const name of Object.keys({ ...was, ...child.attributes })) {
    const value = child.attributes[name];
    if (name !== "key" && value !== was[name]) {
      set(node, name, value);
    }
  }
  node[WANTED] = child;
  patch(node, child.children);
}

function set(node, name, value) {
  if (name.startsWith("on")) {
    node[name] = value ?? null;
  } else if (value === null || value === undefined || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? "" : value);
  }
}
