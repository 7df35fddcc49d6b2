// A browser that notes whatever goes wrong in it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(`${process.env.NODE_PACKAGES}/`)("playwright-core");

/** The longest that is waited for anything: a machine may have much else to do. */
const PATIENCE = 60_000;

/** Opens the dashboard in a browser, has `scene` look at it, and sees to it that nothing went wrong meanwhile. */
export async function look(base, scene, options = {}) {
  const { expected = [], at = "", ...context } = options;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    // Tests may run as root, and in containers with little shared memory.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...context });
    page.setDefaultTimeout(PATIENCE);
    const wrong = [];
    const { origin } = new URL(base);
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !expected.some((each) => message.text().includes(each))) {
        wrong.push(`console: ${message.text()}`);
      }
    });
    page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
    page.on("dialog", (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== origin) {
        wrong.push(`request: ${url}`);
      }
    });
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
        console.error(`policy: ${violatedDirective} ${blockedURI}`));
    });
    await page.goto(`${base}dashboard/${at}`);
    await scene(page);
    assert.deepEqual(wrong, []);
  } finally {
    await browser.close();
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test do something, and waits until it has. */
export async function please(what) {
  console.log(`please ${what}`);
  const { value } = await lines.next();
  assert.equal(value, `done ${what}`);
}

/** Says that all is well. */
export function done() {
  console.log("done");
  process.exit(0);
}

/** Waits until `text` stands in what `selector` finds. */
export async function shows(page, selector, text) {
  await page.locator(selector, { hasText: text }).first().waitFor();
}

/** Goes to a page by its link, as a reader would. */
export async function go(page, name) {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.waitForFunction(() => !document.querySelector("main").textContent.includes("Asking the gateway"));
}

/** Texts whose contrast with their ground is below AA (WCAG 2.2, 1.4.3). */
export function poorContrast(page) {
  return page.evaluate(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => {
      const [R, G, B] = [r, g, b].map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * R + 0.7152 * G + 0.0722 * B;
    };
    const ground = (element) => {
      for (let each = element; each; each = each.parentElement) {
        const colour = rgba(getComputedStyle(each).backgroundColor);
        if (colour[3] === 255) {
          return colour;
        }
      }
      return [255, 255, 255, 255];
    };
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let judged = 0;
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const element = text.parentElement;
      if (!text.data.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) {
        continue;
      }
      const style = getComputedStyle(element);
      const size = Number.parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const [one, other] = [luminance(rgba(style.color)), luminance(ground(element))].sort((a, b) => b - a);
      const contrast = (one + 0.05) / (other + 0.05);
      judged += 1;
      if (contrast < (isLarge ? 3 : 4.5)) {
        poor.push(`${contrast.toFixed(2)} ${text.data.trim().slice(0, 40)}`);
      }
    }
    return { poor, judged };
  });
}
