// What somebody sees who looks at the dashboard: `dashboard.mjs SCENE http://127.0.0.1:9090/`.

import assert from "node:assert/strict";
import { done, go, look, please, poorContrast, shows } from "./browser.mjs";

const [scene, base] = process.argv.slice(2);

const PAGES = ["Overview", "Entrypoints", "Routers", "Services", "Middlewares", "Certificates", "Reloads", "Explain"];
const MARKUP = "<img src=x onerror=alert(1)>";

async function api(path) {
  const response = await fetch(`${base}api/gateway/${path}`);
  assert.equal(response.status, 200);
  return response.json();
}

/** The first cell of each row of a table. */
function names(page, caption) {
  return page.getByRole("table", { name: caption }).getByRole("rowheader").allTextContents();
}

const scenes = {
  /** What runs is shown, all of it as text. */
  async shows() {
    await look(base, async (page) => {
      await shows(page, "h1", "Overview");
      await shows(page, "#status", "healthy");
      for (const [title, path] of [["Entrypoints", "entrypoints"], ["Routers", "routers"], ["Services", "services"], ["Middlewares", "middlewares"]]) {
        await go(page, title);
        const expected = await api(path);
        assert.deepEqual(await names(page, title), expected.map((each) => each.name));
        for (const { name } of expected) {
          await page.getByRole("table", { name: title }).getByRole("link", { name, exact: true }).first().click();
          await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
          await page.waitForFunction(() => !document.querySelector("main").textContent.includes("Asking the gateway"));
          await page.goBack();
          await page.getByRole("table", { name: title }).waitFor();
        }
      }
      await go(page, "Routers");
      const row = page.getByRole("row").filter({ hasText: "shop.example.com" });
      const router = (await api("routers")).find((each) => each.name === "shop");
      const cells = await row.getByRole("cell").allTextContents();
      assert.deepEqual(cells.slice(0, 4), [router.rule, String(router.priority), router.service, router.middlewares.join(", ")]);
      await row.getByRole("link", { name: "shop", exact: true }).nth(1).click();
      await page.getByRole("heading", { level: 1, name: "shop" }).waitFor();
      for (const { url } of (await api("services/shop")).servers) {
        await shows(page, "tbody th", url);
      }
      await go(page, "Certificates");
      await shows(page, "main", "shop.example.com");
      await shows(page, "main .badge", "valid");
      await go(page, "Reloads");
      await shows(page, "main .badge", "started");
      await shows(page, "main", "W004");
      await go(page, "Overview");
      // A name is a name, whatever is in it.
      await shows(page, "main", MARKUP);
      assert.equal(await page.locator("main img").count(), 0);
      await page.waitForFunction(() => /[1-9][0-9.]*\/s/.test(document.querySelector(".tile dd").textContent));
    });
  },

  /** The picture of the manual. */
  async picture() {
    await look(base, async (page) => {
      await page.waitForFunction(() => document.querySelector(".tile polyline")?.points.length >= 18);
      await page.screenshot({ path: process.env.DASHBOARD_PICTURE, fullPage: true });
    });
  },

  /** What changes is seen, and said to those who do not see. */
  async changes() {
    await look(base, async (page) => {
      await shows(page, "#status", "healthy");
      await page.goto(`${base}dashboard/#/services/shop`);
      await page.waitForFunction(() => document.querySelectorAll("tbody .badge.good").length === 2);
      await please("stop a server");
      await shows(page, "tbody tr", "unhealthy: connection refused");
      await shows(page, "#changes", "Service shop: 1 of 2 servers take requests.");
      await go(page, "Services");
      await shows(page, "tbody tr", "1 of 2 up");
      await go(page, "Overview");
      await shows(page, ".attention", "1 of 2 servers of service shop take requests.");

      await go(page, "Reloads");
      await please("break the configuration");
      await shows(page, "#changes", "A reload was refused.");
      await shows(page, "#status", "degraded");
      const refused = page.locator(".history > li").first();
      await refused.filter({ hasText: "refused" }).waitFor();
      const told = await refused.textContent();
      const [{ problems }] = await api("reloads");
      assert.equal(problems.length, 1);
      const [{ file, line, column, code, message, help }] = problems;
      assert.equal(code, "E012");
      for (const part of [`${file}:${line}:${column}`, code, message, help]) {
        assert.ok(told.includes(part), `${part} in ${told}`);
      }
      await please("mend the configuration");
      await shows(page, ".history > li:first-child", "took effect");
      await shows(page, ".history > li:first-child", "router all changed");
    });
  },

  /** A server that nobody watches says what it did wrong last. */
  async failed() {
    await look(base, async (page) => {
      await page.goto(`${base}dashboard/#/services/alone`);
      await shows(page, "tbody tr", "healthy");
      await page.waitForFunction(() => /failed (now|.* ago): connect/.test(document.querySelector("tbody tr").textContent));
    });
  },

  /** A token is asked for, kept to this page, and sent in a header. */
  async token() {
    const expected = ["401"];
    await look(base, async (page) => {
      const urls = [];
      page.on("request", (request) => urls.push(request.url()));
      await page.getByRole("heading", { name: "A token is needed" }).waitFor();
      await page.getByLabel("Token").fill("wrong");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").filter({ hasText: "does not know this token" }).waitFor();
      await page.waitForFunction(() => document.activeElement.id === "token");
      await page.getByLabel("Token").fill("hunter2");
      await page.getByRole("button", { name: "Show the gateway" }).click();
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      await shows(page, "#status", "healthy");
      const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, location.href, document.cookie]));
      assert.ok(!kept.includes("hunter2"), kept);
      assert.ok(!urls.some((url) => url.includes("hunter2")));
      await page.getByRole("button", { name: "Forget the token" }).click();
      await page.getByRole("heading", { name: "A token is needed" }).waitFor();
      await page.getByLabel("Token").fill("hunter2");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      await page.reload();
      await page.getByRole("heading", { name: "A token is needed" }).waitFor();
    }, { expected });
  },

  /** All of it can be reached and used without a pointer. */
  async keyboard() {
    await look(base, async (page) => {
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      await page.waitForFunction(() => !document.querySelector("main").textContent.includes("Asking the gateway"));
      const focused = () => page.evaluate(() => {
        const it = document.activeElement;
        const style = getComputedStyle(it);
        return { text: it.textContent.trim() || it.id, tag: it.localName, seen: style.outlineStyle !== "none" && it.checkVisibility() };
      });
      await page.keyboard.press("Tab");
      assert.equal((await focused()).text, "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
      // From the first to the last, and each is seen to have it.
      await page.evaluate(() => document.activeElement.blur());
      await page.getByRole("button", { name: "Pause" }).focus();
      await page.keyboard.press("Enter");
      assert.equal(await page.getByRole("button", { name: "Pause" }).getAttribute("aria-pressed"), "true");
      const wanted = await page.locator("#controls :is(button, select), nav a, main a").count();
      const visited = [];
      for (let step = 0; step < wanted; step += 1) {
        visited.push(await focused());
        await page.keyboard.press("Tab");
      }
      for (const { text, seen } of visited) {
        assert.ok(seen, `the focus on ${text} is not seen`);
      }
      const links = await page.locator("nav a, main a").allTextContents();
      assert.deepEqual(visited.filter(({ tag }) => tag === "a").map(({ text }) => text), links);
      // Enter follows a link, and the reader begins where the page does.
      await page.getByRole("button", { name: "Pause" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("link", { name: "Routers", exact: true }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { level: 1, name: "Routers" }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
      // What is typed stays, whatever is read meanwhile.
      const search = page.getByLabel("Search routers");
      await search.focus();
      await page.keyboard.type("SHOP.example");
      await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
      const looked = page.waitForResponse((response) => response.url().includes("search=SHOP.example"));
      await looked;
      assert.equal(await search.inputValue(), "SHOP.example");
      assert.equal(await page.evaluate(() => document.activeElement.id), "search");
      for (const [role, count] of [["main", 1], ["banner", 1], ["heading", 1]]) {
        const found = page.getByRole(role, role === "heading" ? { level: 1 } : {});
        assert.equal(await found.count(), count, role);
      }
    });
  },

  /** Light, dark, narrow and large. */
  async looks() {
    for (const colorScheme of ["light", "dark"]) {
      await look(base, async (page) => {
        await page.getByRole("heading", { name: "Overview" }).waitFor();
        const grounds = [];
        for (const title of PAGES) {
          await go(page, title);
          const { poor, judged } = await poorContrast(page);
          assert.deepEqual(poor, [], `${title}, ${colorScheme}`);
          assert.ok(judged > 10);
          grounds.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
        }
        const other = colorScheme === "light" ? "dark" : "light";
        await page.getByLabel("Theme").selectOption(other);
        const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        assert.ok(!grounds.includes(ground), "another theme has another ground");
        assert.deepEqual((await poorContrast(page)).poor, []);
        await page.reload();
        assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), ground);
        // Colours that fade from one theme to the other are read when they are there.
      }, { colorScheme, reducedMotion: "reduce" });
    }
    // 320 is 1280 at 400 %.
    await look(base, async (page) => {
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      for (const [width, title] of [1280, 1220, 1024, 640, 320].flatMap((width) => PAGES.map((title) => [width, title]))) {
        await page.setViewportSize({ width, height: 640 });
        await go(page, title);
        const { wide, most } = await page.evaluate(() => {
          const root = document.documentElement;
          const outside = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility()
            && each.getBoundingClientRect().right > root.clientWidth + 1
            && !each.closest(".unseen, .skip, thead, caption"));
          return { wide: root.scrollWidth - root.clientWidth, most: outside.map((each) => each.outerHTML.slice(0, 80)) };
        });
        assert.deepEqual({ wide, most }, { wide: 0, most: [] }, `${title}, ${width}`);
      }
      await page.goto(`${base}dashboard/#/services/shop`);
      await page.getByRole("heading", { level: 1, name: "shop" }).waitFor();
      await page.waitForFunction(() => document.querySelector("tbody"));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
      // A card is still a row.
      assert.ok((await page.getByRole("row").count()) >= 2);
      assert.ok((await page.getByRole("rowheader").count()) >= 2);
    }, { reducedMotion: "reduce" });
  },

  /** A request is explained by a form. */
  async explain() {
    await look(base, async (page) => {
      await page.getByRole("heading", { name: "Explain a request" }).waitFor();
      await page.getByLabel("URL", { exact: true }).fill("http://shop.example.com/api/cart?id=1");
      await page.getByLabel("Entrypoint").selectOption("web");
      await page.getByLabel("Headers").fill("Accept: text/html\nX-Mine: <b>1</b>");
      await page.getByLabel("URL", { exact: true }).focus();
      await page.keyboard.press("Enter");
      const told = page.locator("#explained");
      const response = await fetch(`${base}api/gateway/explain?method=GET&entrypoint=web&url=http%3A%2F%2Fshop.example.com%2Fapi%2Fcart%3Fid%3D1`);
      if (response.status === 404) {
        await told.filter({ hasText: "cannot explain requests" }).waitFor();
        return;
      }
      const { router, service, candidates } = await response.json();
      assert.equal(router, "shop");
      await told.getByRole("heading", { name: "Outcome" }).waitFor();
      await told.filter({ hasText: service }).waitFor();
      assert.deepEqual(await names(page, "Routers"), candidates.map((each) => each.router));
      await page.waitForFunction(() => document.activeElement.id === "explained");
      await told.filter({ hasText: "x-mine: <b>1</b>" }).waitFor();
      assert.deepEqual((await poorContrast(page)).poor, []);
      await page.getByLabel("Client's address").fill("nobody");
      await page.keyboard.press("Enter");
      await told.getByRole("alert").filter({ hasText: "nobody" }).waitFor();
    }, { at: "#/explain", expected: ["400", "404"] });
  },

  /** Many routers are shown in parts, and searched. */
  async many() {
    await look(base, async (page) => {
      await page.getByRole("heading", { name: "Routers" }).waitFor();
      await shows(page, "main", "10,000 are shown");
      await shows(page, ".pager", "Page 1 of 400");
      assert.equal(await page.locator("tbody tr").count(), 25);
      assert.equal((await names(page, "Routers"))[0], "r0");
      await page.getByRole("link", { name: "Next" }).click();
      await shows(page, ".pager", "Page 2 of 400");
      await shows(page, "tbody th", "r25");
      assert.equal((await names(page, "Routers"))[0], "r25");
      await page.getByLabel("Search routers").fill("/path/9876");
      await shows(page, "main", "1 is shown");
      assert.deepEqual(await names(page, "Routers"), ["r9876"]);
      await go(page, "Middlewares");
      await shows(page, "tbody tr", "and 9,980 more");
    }, { at: "#/routers" });
  },
};

await scenes[scene]();
done();
