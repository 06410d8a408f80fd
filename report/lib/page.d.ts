/** The script of the page, bundled. */
export const PAGE_SCRIPT: string;
/** Its style sheet. */
export const PAGE_STYLE: string;
/** The hash of the sources that both were made from. */
export const SOURCE_HASH: string;
