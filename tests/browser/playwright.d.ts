/** Where to wait for, and how long. */
export interface Waiting {
  /** Milliseconds. */
  timeout?: number;
}
/** A file that the page gave. */
export interface Download {
  /** What it is called. */
  suggestedFilename(): string;
  /** Where it lies. */
  path(): Promise<string>;
}
/** A tab. */
export interface Page {
  /** Opens an address. */
  goto(url: string): Promise<unknown>;
  /** Opens the same address again. */
  reload(): Promise<unknown>;
  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  /** Closes it. */
  close(): Promise<void>;
  /** Clicks an element. */
  click(selector: string): Promise<void>;
  /** Replaces the text of a control. */
  fill(selector: string, text: string): Promise<void>;
  /** Chooses from a list. */
  selectOption(selector: string, value: string): Promise<unknown>;
  /** Gives files to a control. */
  setInputFiles(selector: string, files: string[]): Promise<void>;
  /** Waits for an element. */
  waitForSelector(selector: string, options?: Waiting): Promise<unknown>;
  /** Waits for a file. */
  waitForEvent(name: "download"): Promise<Download>;
  /** The text of an element. */
  textContent(selector: string): Promise<string>;
  /** Colours that the user prefers. */
  emulateMedia(media: { colorScheme: "light" | "dark" }): Promise<void>;
  /** Another size. */
  setViewportSize(size: { width: number; height: number }): Promise<void>;
  /** The keys. */
  keyboard: { press(key: string): Promise<void>; type(text: string): Promise<void> };
  /** Listens. */
  on(name: "request", listener: (request: { url(): string }) => void): void;
  on(name: "pageerror", listener: (error: Error) => void): void;
}
/** A running browser. */
export interface Browser {
  /** Opens a tab. */
  newPage(options?: { viewport?: { width: number; height: number } }): Promise<Page>;
  /** Ends it. */
  close(): Promise<void>;
}
/** How Chromium is started. */
export const chromium: {
  launch(options: { executablePath: string; args: string[] }): Promise<Browser>;
};
