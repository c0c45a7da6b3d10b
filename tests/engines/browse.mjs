// node browse.mjs visits.json answers.json: visits of headless Chromium. {packages, chromium, visits}, of which one is
// {address}: ask.mjs and questions.json are beside it, and all that is answered is brought back; or
// {address, rows, picture}: the page of examples/browser. What it shows is brought back, at first and for each row that
// it is filled with, {field: text}; and what is wrong with it as a page.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [from, to] = process.argv.slice(2);
const told = JSON.parse(readFileSync(from, "utf8"));
const { chromium } = createRequire(`${told.packages}/`)("playwright-core");
const quiet = ["gpu", "quic", "background-networking", "component-update", "sync"].map((name) => `--disable-${name}`);
const PHONE = 360;

async function askedAll() {
  const { askAll } = await import("./ask.mjs");
  const ort = await import("./ort/ort.wasm.bundle.min.mjs");
  return askAll(ort, await (await fetch("questions.json")).json());
}

async function shown(page) {
  await page.waitForFunction(() => !/^(Loading|$)/.test(document.querySelector("output").innerText));
  return page.innerText("output");
}

async function asked(page, row) {
  for (const [name, text] of Object.entries(row)) {
    const field = page.locator(`[name="${name}"]`);
    const chosen = await field.evaluate((element) => element.tagName === "SELECT");
    await (chosen ? field.selectOption(text) : field.fill(text));
  }
  await page.evaluate(() => document.querySelector("output").replaceChildren());
  await page.click("button");
  return shown(page);
}

async function filled(page, { rows, picture }) {
  const answers = [await shown(page)];
  for (const row of rows) answers.push(await asked(page, row));
  if (picture) await page.screenshot({ path: picture, fullPage: true });
  await page.setViewportSize({ width: PHONE, height: 640 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  return { answers, wrong: width > PHONE ? [`it is ${width} wide where a phone is ${PHONE}`] : [] };
}

const browser = await chromium.launch({
  executablePath: told.chromium,
  args: ["--no-sandbox", "--no-first-run", ...quiet],
});
try {
  const brought = [];
  for (const visit of told.visits) {
    const page = await browser.newPage({ viewport: { width: 760, height: 480 } });
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(visit.address);
    if (visit.rows) {
      const { answers, wrong } = await filled(page, visit);
      brought.push({ answers, wrong: [...errors, ...wrong] });
    } else brought.push({ answers: await page.evaluate(askedAll), wrong: errors });
    await page.close();
  }
  writeFileSync(to, JSON.stringify(brought));
} finally {
  await browser.close();
}
