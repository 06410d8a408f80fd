/**
 * The report in Chromium: by keyboard alone, on a telephone, and on paper. Needs `chromium` (its path
 * in CHROMIUM, if it is not /usr/bin/chromium). With REPORT_SHOTS a folder gets pictures of it.
 */

import { assert, assertEquals } from "@std/assert";
import { chromium } from "./browser/playwright.ts";
import { CHROMIUM } from "./browser/serve.ts";
import { ROOT, runCli } from "./process.ts";
import { temporary } from "./temporary.ts";

Deno.test({
  name: "the report: keyboard, narrow screens, print",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn(t) {
    using place = temporary();
    const text = Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 6000);
    const html = place.at("report.html");
    const { code, stderr } = await runCli([
      ...["compare", "embedded", "--text", place.text("text.txt", text), "--context", "128"],
      ...["--windows", "2", "--recipes", "rtn-w4g64,smoothquant-w8a8", "--report", html],
      ...["--no-cache", "--quiet"],
    ]);
    assertEquals(code, 0, stderr);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(error.message));
      await page.goto(`file://${html}`);
      await page.waitForSelector("table");
      const focused = (what: string) => page.evaluate(`document.activeElement.${what}`);

      await t.step("every control is reached by Tab and shows its focus", async () => {
        const wanted = await page.evaluate(
          `[...document.querySelectorAll("button, select, summary, [tabindex='0']")]
            .filter((e) => e.checkVisibility()).length`,
        ) as number;
        assert(wanted > 10, String(wanted));
        const seen = new Set<unknown>();
        for (let i = 0; i < wanted; i++) {
          await page.keyboard.press("Tab");
          seen.add(
            await page.evaluate(
              `[...document.querySelectorAll("*")].indexOf(document.activeElement)`,
            ),
          );
          const outline = await page.evaluate(
            `getComputedStyle(document.activeElement).outlineStyle`,
          );
          assert(outline !== "none", String(await focused("outerHTML.slice(0, 120)")));
        }
        assertEquals(seen.size, wanted);
      });

      await t.step(
        "Enter sorts a table; Space chooses a figure; an arrow chooses a recipe",
        async () => {
          await page.evaluate(`document.querySelector("th button").focus()`);
          await page.keyboard.press("Enter");
          assertEquals(await focused(`parentElement.getAttribute("aria-sort")`), "ascending");
          await page.keyboard.press("Enter");
          assertEquals(await focused(`parentElement.getAttribute("aria-sort")`), "descending");
          await page.evaluate(`document.querySelector("[data-value=perplexity]").focus()`);
          await page.keyboard.press("Space");
          assertEquals(await focused(`getAttribute("aria-pressed")`), "true");
          await page.evaluate(`document.querySelector("select").focus()`);
          const before = await focused("value");
          await page.keyboard.press("ArrowUp");
          assert(await focused("value") !== before);
        },
      );

      await t.step("nothing is wider than the screen", async () => {
        for (const width of [1280, 390]) {
          await page.setViewportSize({ width, height: 900 });
          const over = await page.evaluate(
            `document.documentElement.scrollWidth - document.documentElement.clientWidth`,
          );
          assertEquals(over, 0, `${width}`);
        }
      });
      assertEquals(errors, []);
    } finally {
      await browser.close();
    }
    await t.step("print: several pages, with the figures on them", async () => {
      const pdf = place.at("report.pdf");
      const { success } = await new Deno.Command(CHROMIUM, {
        args: [
          ...[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            `--user-data-dir=${place.at("profile")}`,
          ],
          ...["--no-pdf-header-footer", `--print-to-pdf=${pdf}`, `file://${html}`],
        ],
        stdout: "null",
        stderr: "null",
      }).output();
      assert(success);
      const printed = new TextDecoder("latin1").decode(Deno.readFileSync(pdf));
      assert(printed.startsWith("%PDF"));
      const pages = [...printed.matchAll(/\/Type\s*\/Page\b/g)].length;
      assert(pages >= 2 && pages <= 30, `${pages} pages`);
    });
    const shots = Deno.env.get("REPORT_SHOTS");
    for (const width of shots ? [390, 1280] : []) {
      await new Deno.Command(CHROMIUM, {
        args: [
          ...["--headless", "--no-sandbox", "--hide-scrollbars", `--window-size=${width},3000`],
          ...["--virtual-time-budget=3000", `--screenshot=${shots}/report-${width}.png`],
          `file://${html}`,
        ],
        stdout: "null",
        stderr: "null",
      }).output();
    }
  },
});
