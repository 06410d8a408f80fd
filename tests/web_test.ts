/**
 * The page in Chromium: formats, a whole quantisation with the bytes of the command line, generation,
 * cancelling, broken files, narrow screens, keys alone, contrast, and that nothing leaves.
 *
 * Needs `chromium` (its path in CHROMIUM, if it is not /usr/bin/chromium).
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Page } from "./browser/playwright.d.ts";
import {
  browser,
  build,
  downloaded,
  LOW_CONTRAST,
  outcome,
  plainHost,
  serve,
  type Served,
  until,
} from "./browser/web.ts";
import { ROOT, runCli, runJson } from "./process.ts";
import { temporary } from "./temporary.ts";

const VIEWS = ["formats", "quantise", "methods"];
const READY: Record<string, string> = {
  formats: "#comparison td",
  quantise: "#open-embedded",
  methods: "article",
};

/** Opens a view and waits for it. */
async function open(page: Page, { url }: Served, view: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${url}#/${view}`);
  await page.waitForSelector(READY[view]);
}

/** Opens the shipped model and quantises it. */
async function quantise(page: Page, recipe: string): Promise<string> {
  if (await page.evaluate("document.querySelector('#recipes') === null")) {
    await page.click("#open-embedded");
    assertMatch(await outcome(page), /^Opened: 39 tensors/);
  }
  await page.click(`#recipe-${recipe}`);
  await page.click("#run");
  return await outcome(page);
}

Deno.test({
  name: "the page in Chromium",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn(t) {
    await build();
    using folder = temporary();
    const served = await serve();
    const plain = plainHost();
    const chromium = await browser();
    const page = await chromium.newPage({ viewport: { width: 1280, height: 900 } });
    const errors: string[] = [];
    const requests = new Set<string>();
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("request", (request) => requests.add(new URL(request.url()).origin));
    const value = (selector: string) =>
      page.evaluate(`document.querySelector(${JSON.stringify(selector)}).value`);

    try {
      await t.step(
        "formats: a wrong line is named, a slider changes bits, a link carries it",
        async () => {
          await open(page, served, "formats");
          const yaml = await value("#yaml-0") as string;
          await page.fill("#yaml-0", yaml.replace("bits: 4", "bits: 99"));
          await page.waitForSelector("#fault-0:not(:empty)");
          assertMatch(await page.textContent("#fault-0"), /^Line 4: bits/);
          assertEquals(await page.textContent(".gutter .wrong"), "4");
          await page.fill(
            "#yaml-0",
            "id: mine\nsummary: 5 bits\nfamily: float\nbits: 5\nexponent: 2\nmantissa: 2\nbias: 1\n",
          );
          await until(page, "document.querySelector('#comparison').textContent.includes('mine')");
          await page.fill("#bits-0", "6");
          assertMatch(await value("#yaml-0") as string, /bits: 6\nexponent: 2\nmantissa: 3/);
          await page.click("#add-format");
          assert(
            await page.evaluate("document.querySelector('#add-format').disabled"),
            "four are enough",
          );
          await page.click("#copy-link");
          await until(page, "location.hash.length > 60");
          await page.reload();
          await page.waitForSelector("#yaml-3");
          assertMatch(await value("#yaml-0") as string, /^id: mine_6\n/);
        },
      );

      await t.step(
        "formats: schemes and vector formats, with their errors and in links",
        async () => {
          await open(page, served, "formats");
          for (const [slot, id] of ["q4_k", "e8p", "lut4_channel"].entries()) {
            await page.selectOption(`#pick-${slot}`, id);
          }
          const cells = async () => {
            await until(
              page,
              "['q4_k', 'e8p', 'lut4_channel'].every((id) => " +
                "document.querySelector('#comparison thead')?.textContent.includes(id))",
            );
            return await page.evaluate(`[...document.querySelectorAll("#comparison tbody tr")]
            .slice(0, 4).map((row) => [...row.cells].slice(1).map((cell) => cell.textContent))`);
          };
          const [snr, , entropy, bits] = await cells() as string[][];
          // Q4_K has 144 bytes for 256 numbers; E8P 2 bits and a float32 scale for 256.
          assertEquals(bits, ["4.5", "2.125", "5"]);
          assertEquals(entropy.slice(1), ["–", "–"]);
          assert(Number(snr[0]) > 22 && Number(snr[1]) > 10 && Number(snr[2]) > 20, snr.join());
          assertEquals(
            await page.evaluate("document.querySelectorAll('circle.after').length > 99"),
            true,
          );
          const yaml = await value("#yaml-0") as string;
          await page.fill("#yaml-0", yaml.replace("uint6", "uint66"));
          await page.waitForSelector("#fault-0:not(:empty)");
          const line = 1 + yaml.split("\n").findIndex((text) => text.includes("uint6"));
          assertMatch(await page.textContent("#fault-0"), new RegExp(`^Line ${line}: .*uint66`));
          await page.fill("#yaml-0", yaml);
          await page.click("#copy-link");
          await until(page, "location.hash.length > 60");
          await page.reload();
          assertEquals((await cells() as string[][])[3], bits);
          await page.evaluate("location.hash = '#/formats'");
        },
      );

      await t.step(
        "formats: the table of values and error are those of the command line",
        async () => {
          await open(page, served, "formats");
          const { values } = await runJson(["formats", "show", "nf4"], ["--allow-read"]);
          const shown = await page.evaluate(`[...document.querySelectorAll(
          "details:nth-of-type(2) .codes td.cell")].map((cell) => cell.textContent)`) as string[];
          assertEquals(
            shown.map((text) => Number(text.replace("−", "-"))),
            values.map((v: number) => Number(v.toPrecision(4))),
          );
        },
      );

      await t.step("formats: a tensor of a file", async () => {
        await page.setInputFiles("#formats input[type=file]", [
          `${ROOT}/embedded/model/model.safetensors`,
        ]);
        await until(page, "document.querySelector('#formats select').value === 'tensor'");
        await page.waitForSelector("#comparison td");
      });

      await t.step(
        "quantise: the bytes of the command line, calibrated, on all threads",
        async () => {
          await open(page, served, "quantise");
          assertMatch(await page.textContent("#threads"), /^Running on \d+ thread/);
          assert(await page.evaluate("crossOriginIsolated"));
          assertMatch(await quantise(page, "gptq-w4g128"), /^Done: gptq-w4g128/);
          const out = folder.at("gptq");
          await runJson(["quantize", "embedded", out, "--recipe", "gptq-w4g128"]);
          for (const name of ["model.safetensors", "config.json"]) {
            const bytes = await downloaded(page, `Download ${name} of gptq-w4g128`);
            assertEquals(bytes, await Deno.readFile(`${out}/${name}`), name);
          }
        },
      );

      await t.step("quantise: the figures are those of the command line", async () => {
        const text = Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`);
        const figures = await runJson([
          "eval",
          folder.at("gptq"),
          "--text",
          folder.text("text.txt", text),
          "--windows",
          "8",
          "--context",
          "256",
          "--reference",
          "embedded",
        ]);
        const cells = await page.evaluate(
          "[...document.querySelectorAll('#results td')].map((cell) => cell.textContent)",
        ) as string[];
        assertEquals(Number(cells[2]), Number(figures.perplexity.toPrecision(5)));
        assertEquals(Number(cells[3]), Number(figures.kl.toPrecision(4)));
      });

      await t.step(
        "generate: both stream, and the original says what the command line says",
        async () => {
          await page.fill("#tokens", "24");
          await page.click("#generate");
          await until(
            page,
            "!document.querySelector('#generate').disabled && document.querySelector('#rate-quantised').textContent",
          );
          const prompt = "Once upon a time there was";
          for (const [of, model] of [["original", "embedded"], ["quantised", folder.at("gptq")]]) {
            const { text } = await runJson([
              "generate",
              model,
              "--prompt",
              prompt,
              "--tokens",
              "24",
            ]);
            assertEquals(await page.textContent(`#text-${of}`), prompt + text);
          }
        },
      );

      await t.step("quantise: a GGUF file, the bytes of the command line", async () => {
        await page.selectOption("#target", "gguf");
        await outcome(page);
        assertMatch(await quantise(page, "ggml-q4_0"), /^Done: ggml-q4_0/);
        const out = folder.at("q4_0.gguf");
        await runJson(["quantize", "embedded", out, "--recipe", "ggml-q4_0", "--to", "gguf"]);
        const bytes = await downloaded(page, "Download model.gguf of ggml-q4_0");
        assertEquals(bytes, await Deno.readFile(out));
      });

      await t.step("quantise: cancelled at once, and ready again", async () => {
        await page.click("#recipe-ggml-q8_0");
        await page.click("#run");
        await page.click("#cancel");
        assertEquals(await outcome(page), "Cancelled; nothing was kept of it.");
        assertEquals(
          await page.evaluate("document.querySelectorAll('#results tbody tr').length"),
          2,
        );
        assertMatch(await quantise(page, "ggml-q8_0"), /^Done: ggml-q8_0/);
      });

      await t.step("quantise: broken files are refused in one line", async () => {
        const whole = Deno.readFileSync(`${ROOT}/embedded/model/model.safetensors`);
        const broken = async (name: string, bytes: Uint8Array) => {
          Deno.writeFileSync(folder.at(name), bytes);
          await page.setInputFiles("#files", [folder.at(name)]);
          await until(
            page,
            "!document.querySelector('.working').hidden || document.querySelector('#fault').textContent",
          );
          return await outcome(page);
        };
        assertMatch(await broken("cut.safetensors", whole.slice(0, 90_000)), /^TRUNCATED: /);
        assertMatch(await broken("noise.bin", whole.slice(70_000, 70_400)), /^UNSUPPORTED: noise/);
        assertMatch(await broken("empty.gguf", new Uint8Array()), /^[A-Z]+: empty\.gguf/);
      });

      await t.step(
        "quantise: a host without the headers gives one thread and the same bytes",
        async () => {
          await open(page, plain, "quantise");
          assertMatch(await page.textContent("#threads"), /^Running on one thread: this host/);
          assertMatch(await quantise(page, "gptq-w4g128"), /^Done: gptq-w4g128/);
          const bytes = await downloaded(page, "Download model.safetensors of gptq-w4g128");
          assertEquals(bytes, await Deno.readFile(`${folder.at("gptq")}/model.safetensors`));
        },
      );

      await t.step(
        "nothing leaves: no other origin can be asked, from page or worker",
        async () => {
          const own = [served.url, plain.url].map((url) => new URL(url).origin);
          assertEquals(
            [...requests].filter((origin) => origin !== "null" && !own.includes(origin)),
            [],
          );
          let hits = 0;
          const other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
            hits++;
            return new Response("", { headers: { "access-control-allow-origin": "*" } });
          });
          const url = JSON.stringify(`http://127.0.0.1:${other.addr.port}/`);
          const program =
            `fetch(${url}).then(() => postMessage("sent"), () => postMessage("refused"))`;
          for (const host of [served, plain]) {
            await open(page, host, "formats");
            const answer = await page.evaluate(`Promise.all([
            fetch(${url}).then(() => "sent", () => "refused"),
            new Promise((resolve) => {
              const url = URL.createObjectURL(new Blob([${JSON.stringify(program)}]));
              new Worker(url).onmessage = ({ data }) => resolve(data);
            }),
          ])`);
            assertEquals(answer, ["refused", "refused"]);
          }
          await other.shutdown();
          assertEquals(hits, 0);
        },
      );

      await t.step("methods: searched, filtered, and one that runs", async () => {
        await open(page, served, "methods");
        await page.fill("#search", "gptq");
        await page.click("#only-here");
        await until(page, "document.querySelectorAll('article').length < 10");
        await page.click("article[aria-label=GPTQ] button");
        await until(
          page,
          "/KL/.test(document.querySelector('article[aria-label=GPTQ] [role=status]').textContent)",
        );
      });

      await t.step("360 pixels are enough", async () => {
        await page.setViewportSize({ width: 360, height: 740 });
        for (const view of VIEWS) {
          await open(page, served, view);
          if (view === "quantise") await quantise(page, "rtn-w8");
          assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 360, view);
        }
        await page.setViewportSize({ width: 1280, height: 900 });
      });

      await t.step("texts have contrast in light and dark; controls have names", async () => {
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          for (const view of VIEWS) {
            await open(page, served, view);
            if (view === "quantise") await quantise(page, "rtn-w8");
            assertEquals(await page.evaluate(LOW_CONTRAST), [], `${view}, ${colorScheme}`);
            const nameless = await page.evaluate(`[...document.querySelectorAll(
              "button, input, select, textarea, progress")].filter((control) =>
              !control.labels?.length && !control.ariaLabel && !control.textContent.trim())
              .map(({ outerHTML }) => outerHTML)`);
            assertEquals(nameless, []);
          }
        }
      });

      await t.step("keys alone: from the address to a quantised model", async () => {
        await open(page, served, "formats");
        const focus = async (selector: string) => {
          for (let presses = 0; presses < 80; presses++) {
            await page.keyboard.press("Tab");
            if (
              await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)
            ) {
              return;
            }
          }
          throw new Error(`${selector} is out of reach`);
        };
        await focus("nav a[href='#/quantise']");
        await page.keyboard.press("Enter");
        await focus("#open-embedded");
        await page.keyboard.press("Enter");
        await page.waitForSelector("#recipes");
        await outcome(page);
        await focus("#recipes input");
        const chosen = "document.querySelector('#recipes input:checked').value";
        const before = await page.evaluate(chosen);
        await page.keyboard.press("ArrowDown");
        const recipe = await page.evaluate(chosen) as string;
        assert(recipe !== before);
        await focus("#windows");
        await page.keyboard.press("Control+a");
        await page.keyboard.type("0");
        await focus("#run");
        await page.keyboard.press("Enter");
        await until(page, "/^Done/.test(document.querySelector('#status').textContent)");
      });

      assertEquals(errors, []);
    } finally {
      await chromium.close();
      await served.stop();
      await plain.stop();
    }
  },
});

Deno.test("the command refuses a port that is none, and helps", async () => {
  const refused = await runCli(["web", "--port", "70000"], [
    "--allow-read",
    "--allow-net=127.0.0.1",
  ]);
  assertEquals(refused.code, 2);
  assertMatch(refused.stderr, /--port must be at most 65535/);
});
