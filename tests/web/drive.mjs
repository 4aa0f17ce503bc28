// Use a web kit as a person would: open its page, choose each file, read what is shown.
//   node drive.mjs '{"url": …, "browser": …, "profile": …, "files": […], "screenshot": … or null}'
// One JSON array on stdout: for each file the status line and the labels with their shares.
import { chromium } from "playwright-core";

const { url, browser, profile, files, screenshot } = JSON.parse(process.argv[2]);

const context = await chromium.launchPersistentContext(profile, {
  executablePath: browser,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const seen = [];
try {
  const page = await context.newPage();
  page.on("pageerror", (error) => process.stderr.write(`page: ${error}\n`));
  page.on("console", (message) => process.stderr.write(`console: ${message.text()}\n`));
  page.on("requestfailed", (request) => process.stderr.write(`failed: ${request.url()}\n`));
  await page.goto(url);
  const ended = (text) => page.waitForFunction((wanted) => new RegExp(wanted).test(document.getElementById("status").textContent), text);
  await ended("Ready|could not");
  for (const file of files) {
    // A status of its own, so that an old answer is not taken for the new one.
    await page.evaluate(() => (document.getElementById("status").textContent = "asked"));
    await page.setInputFiles("#file", file);
    await ended("Answered|Expected|rror");
    seen.push({
      status: await page.textContent("#status"),
      answers: await page.$$eval("#answers li", (items) =>
        items.map((item) => ({ label: item.firstChild.textContent, share: Number(item.dataset.share) })),
      ),
    });
  }
  if (screenshot) await page.screenshot({ path: screenshot });
} finally {
  await context.close();
}
process.stdout.write(JSON.stringify(seen));
