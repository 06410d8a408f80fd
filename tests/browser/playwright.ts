/**
 * The driver of the browser, with the few types that the test uses: its own bring those of Node.
 *
 * @module
 */
// @ts-types="./playwright.d.ts"
export { chromium } from "npm:playwright-core@1.65.1";
