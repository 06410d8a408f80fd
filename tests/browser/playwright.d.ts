/** A tab. */
export interface Page {
  /** Opens an address. */
  goto(url: string): Promise<unknown>;
  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  /** Closes it. */
  close(): Promise<void>;
}
/** A running browser. */
export interface Browser {
  /** Opens a tab. */
  newPage(): Promise<Page>;
  /** Ends it. */
  close(): Promise<void>;
}
/** How Chromium is started. */
export const chromium: {
  launch(options: { executablePath: string; args: string[] }): Promise<Browser>;
};
